"""Writing a tile folder: all of it or nothing."""

import json
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scenes.parts import Array, Part
from uel.errors import UelError
from uel.tile import SCHEMA, Tile


def write_tile(
    folder: Path,
    parts: list[Part],
    bsdfs: dict[str, ElementTree.Element],
    rasters: dict[str, Array],
    meta: dict[str, Any],
) -> Tile:
    """Write and open a tile; `bsdfs` are Mitsuba's materials by name, `meta` what `tile.json` is to hold.

    Written beside `folder` and renamed into place, so nobody ever sees half a tile; a tile that is there
    already is replaced. Raises `UelError` when `folder` holds something else.
    """
    _require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as stage:
        new = Path(stage) / "new"
        _write_meshes(new / "meshes", parts)
        (new / "scene.xml").write_text(scene_xml(parts, bsdfs))
        np.savez_compressed(new / "rasters.npz", allow_pickle=False, **rasters)
        (new / "tile.json").write_text(json.dumps({"schema": SCHEMA, **meta}, indent=2) + "\n")
        if folder.exists():
            folder.rename(Path(stage) / "old")
        new.rename(folder)
    return Tile.open(folder)


def scene_xml(parts: list[Part], bsdfs: dict[str, ElementTree.Element]) -> str:
    """A Mitsuba scene of flat-shaded PLY shapes with Sionna's radio materials."""
    scene = ElementTree.Element("scene", version="2.1.0")
    scene.extend([bsdfs[name] for name in dict.fromkeys(part.material for part in parts)])
    for part in parts:
        shape = ElementTree.SubElement(scene, "shape", type="ply", id=f"mesh-{part.name}")
        ElementTree.SubElement(shape, "string", name="filename", value=f"meshes/{part.name}.ply")
        ElementTree.SubElement(shape, "boolean", name="face_normals", value="true")
        ElementTree.SubElement(shape, "ref", name="bsdf", id=part.material)
    ElementTree.indent(scene)
    return ElementTree.tostring(scene, encoding="unicode") + "\n"


def _write_meshes(folder: Path, parts: list[Part]) -> None:
    folder.mkdir(parents=True)
    for part in parts:
        (folder / f"{part.name}.ply").write_bytes(part.ply())


def _require_free(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "tile.json").is_file()):
        raise UelError(
            "there is something else where the tile is to go",
            got=str(folder),
            do="choose a new or an empty folder",
        )
