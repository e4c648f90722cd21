"""One small artefact of each kind, and how each is opened."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scenes.tiles.writer import write_sites
from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.chains.link_index import LinkIndex
from tests.helpers.demo_run import make_run
from tests.helpers.surveys import made
from tests.helpers.toy_city import SITES, toy_tile
from tests.helpers.village_tile import village, write
from uel.core.grid import Grid
from uel.geo.scene_files import require_sound_scene
from uel.geo.tile import Tile
from uel.inference.run_folder import RECORD_FILE, Run, write_sweep
from uel.radio import radio_map_io
from uel.radio.simulator import FreeSpace
from uel.results.run_summary import base_errors
from uel.survey.dataset import Survey

Open = Callable[[Path], Any]


@dataclass(frozen=True)
class JsonArtefact:
    """A JSON file of an artefact."""

    folder: str
    """of the artefact, below that of all"""
    file: str
    """in it"""
    open: Open
    vital: tuple[str, ...]
    """names of values without which the artefact cannot be opened, dotted where they lie in another"""


def make_artefacts(root: Path) -> Path:
    """Write a tile with sites, a traced tile, a radio map, a survey, a run with an evaluation, a sweep and an atlas."""
    tile = write_sites(toy_tile(root / "tile"), SITES)
    write(root / "village", village())
    radio_map_io.save(FreeSpace(SITES, size=tile.size, made_on=tile.reference).radio_map(tile.grid(16.0)), root / "map")
    made(root / "surveys" / "toy")
    make_run(root / "runs" / "small", paths=False)
    write_sweep(root / "runs", "small")
    small_atlas().save(root / "atlas")
    return root


def small_atlas() -> Atlas:
    """One chain at one of four pixels."""
    none = LinkIndex(torch.zeros(5, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    return Atlas(
        grid=Grid(size=16.0, pixel=8.0),
        config=AtlasConfig(),
        sites=SITES[:1],
        walls=torch.tensor([[2, 0, 0]]),
        chains=LinkIndex(torch.tensor([0, 1, 1, 1, 1]), torch.tensor([0])),
        edges=none,
        pairs=torch.zeros(0, 2, dtype=torch.long),
        edge_pairs=none,
        scatterers=none,
        scatterer_weight=torch.zeros(0),
        searched_empty=torch.zeros(4, dtype=torch.bool),
    )


def open_tile(folder: Path) -> dict[str, Any]:
    tile = Tile.open(folder)
    return {"rasters": tile.rasters, "sites": tile.sites, "name": tile.name}


def open_traced_tile(folder: Path) -> Tile:
    tile = Tile.open(folder)
    require_sound_scene(tile)
    return tile


JSON_ARTEFACTS = {
    "tile": JsonArtefact("tile", "tile.json", open_tile, ("schema", "name", "size", "pixel", "materials", "files")),
    "sites": JsonArtefact("tile", "sites.json", open_tile, ("format", "sites", "sites.0.position", "sites.0.cells")),
    "radio map": JsonArtefact(
        "map",
        "radiomap.zarr/zarr.json",
        radio_map_io.load,
        ("attributes.schema", "attributes.size", "attributes.pixel", "attributes.sites"),
    ),
    "array of a radio map": JsonArtefact(
        "map",
        "radiomap.zarr/gain/zarr.json",
        radio_map_io.load,
        ("shape", "data_type", "chunk_grid", "codecs", "chunk_grid.configuration.chunk_shape", "node_type"),
    ),
    "survey": JsonArtefact(
        "surveys/toy",
        "survey.json",
        lambda folder: Survey.open(folder)["toy"],
        ("schema", "tracks", "reports", "unit", "features", "tiles", "tiles.toy.sites", "tiles.toy.sizes"),
    ),
    "record of a unit": JsonArtefact(
        "surveys/toy", "units/toy-0.json", lambda folder: Survey.open(folder)["toy"], ("unit", "files", "moments")
    ),
    "run": JsonArtefact(
        "runs/small", RECORD_FILE, lambda folder: Run.open(folder).deployment, ("deployment", "deployment.tile")
    ),
    "sweep": JsonArtefact("runs", "sweep.json", Run.open, ("best",)),
    "evaluation": JsonArtefact("runs/small/eval/demo", "protocol.json", base_errors, ("base", "cells")),
    "atlas": JsonArtefact("atlas", "atlas.json", Atlas.load, ("schema", "size", "plan", "sites", "meta", "plan.pixel")),
}


def changed_json(content: bytes, path: str, change: Callable[[Any], Any] | None) -> bytes:
    """JSON with another value at a dotted path, or without it, and without its checksum: a fault that nothing but the
    reader of the values can find."""
    document = json.loads(content)
    inner = document
    *above, last = path.split(".")
    for name in above:
        inner = inner[int(name) if isinstance(inner, list) else name]
    key: Any = int(last) if isinstance(inner, list) else last
    if change is None:
        del inner[key]
    else:
        inner[key] = change(inner[key])
    document.pop("checksum", None)
    document.get("attributes", {}).pop("checksum", None) if isinstance(document, dict) else None
    return json.dumps(document).encode()
