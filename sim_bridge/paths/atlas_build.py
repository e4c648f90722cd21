"""Build an atlas: what each mast reaches, searched where that is nothing, and compared with the full search.

What one mast reaches depends on nothing but its position and the seed. So masts are units of work, which any engine
makes (`sim_bridge/engines`) and a folder keeps: an atlas of more sites needs the new masts alone.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, runtime_checkable

import mitsuba as mi
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sim_bridge.backend.path_buffers import to_drjit
from sim_bridge.backend.runtime import limit_threads
from sim_bridge.backend.torch_drjit import LOCK
from sim_bridge.chains.atlas import SCHEMA, Atlas, geometry_key
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.chains.link_index import smallest_of_groups
from sim_bridge.chains.mast_entries import MastEntries, masts
from sim_bridge.chains.ray_launching import THROUGH, crossings
from sim_bridge.chains.scatterers import sampled_scatterers
from sim_bridge.chains.wedges import edges_in_sight
from sim_bridge.engines.config import EngineConfig
from sim_bridge.engines.run import make_units
from sim_bridge.engines.units import FieldState, UnitDone, UnitError
from sim_bridge.paths.atlas_audit import audit
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.paths.edges.edge_pairs import EdgePairs
from sim_bridge.paths.edges.edge_search import EdgeSearch
from sim_bridge.paths.edges.horizons import horizon_pairs
from sim_bridge.scene.measurement_surface import measurement_surface
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.display.progress import with_progress
from uel.core.grid import Grid
from uel.geo.tile import Tile

log = logging.getLogger(__name__)


@runtime_checkable
class AtlasOwner(Protocol):
    """A simulator whose finder may have an atlas (`sim_bridge.simulator.Sionna`). It is pickled to the processes that
    make masts, and opens its scene there."""

    finder: PathFinder


def build_atlas(
    simulator: AtlasOwner,
    config: AtlasConfig,
    grid: Grid,
    folder: Path | None = None,
    engine: EngineConfig | None = None,
) -> Atlas:
    """Make the entries of every mast, attach the atlas that comes of them, and complete it as `config` asks.

    Args:
        simulator: whose finder takes paths from the atlas from now on.
        config: rays and limits.
        grid: the atlas's pixels.
        folder: keeps the entries of masts; those that it has of the same scene, grid and seed are not made again.
        engine: where masts are made; the atlas is the same.

    Returns:
        The finder's atlas, with what the searches at its end have added.

    Raises:
        UnitError: where masts failed; the others are kept in `folder`.
    """
    start, finder = time.perf_counter(), simulator.finder
    with nullcontext(folder) if folder else TemporaryDirectory() as parts:
        job = AtlasJob(simulator, config, grid, Path(parts))
        numbers = [number for number in range(len(job.files)) if not job.files[number].is_file()]
        if failures := make_units(job, numbers, engine or EngineConfig(), "atlas: masts"):
            raise UnitError(failures)
        entries = [MastEntries.load(file) for file in job.files]
    tracing = finder.scene.tracing
    meta = {
        "walls": geometry_key(finder.scene.facets.corner),
        "diffraction": tracing.diffraction,
        "pairs of edges": tracing.pairs_of_edges,
        "scattering": tracing.scattering > 0,
    }
    finder.attach_atlas(Atlas.from_masts(grid, config, finder.scene.sites, entries, meta))
    if config.settle:
        presearch(finder, config.settle)
    seconds = time.perf_counter() - start
    if config.audit:
        audit(finder, config.audit)
    assert finder.atlas is not None
    finder.atlas = replace(finder.atlas, meta=finder.atlas.meta | _size(finder.atlas, len(numbers), seconds))
    log.info("atlas: %s", cost_text(finder.atlas))
    return finder.atlas


def _size(atlas: Atlas, made: int, seconds: float) -> dict[str, float | int]:
    """How long an atlas took, and how large it is."""
    sizes = {name: len(getattr(atlas, name).item) for name in ("edges", "edge_pairs", "scatterers")}
    sizes = {"chains": len(atlas.walls), "entries": len(atlas.chains.item), **sizes}
    return {"masts_made": made, "seconds": round(seconds, 1), **sizes}


def cost_text(atlas: Atlas) -> str:
    """What an atlas costs, and from how many links on that is less than searching.

    Example:
        >>> from types import SimpleNamespace
        >>> meta = {"seconds": 25.0, "entries": 10, "edges": 1, "edge_pairs": 1, "scatterers": 3}
        >>> audit = {"search_ms_per_link": 12.0, "atlas_ms_per_link": 0.5}
        >>> cost_text(SimpleNamespace(meta=meta | {"audit": audit}))
        '25 s, 15 entries; a link costs 0.5 ms instead of 12 ms by search: it pays from some 2174 links on'
    """
    meta, entries = atlas.meta, sum(atlas.meta[name] for name in ("entries", "edges", "edge_pairs", "scatterers"))
    text = f"{meta['seconds']:.0f} s, {entries} entries"
    if "audit" not in meta:
        return text
    search, query = (meta["audit"][f"{name}_ms_per_link"] for name in ("search", "atlas"))
    text += f"; a link costs {query:.2g} ms instead of {search:.2g} ms by search"
    return (
        f"{text}: it pays from some {1e3 * meta['seconds'] / (search - query):.0f} links on" if search > query else text
    )


# ---- masts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AtlasJob(FieldState):
    """Entries of the masts of an atlas, a file each."""

    simulator: AtlasOwner
    config: AtlasConfig
    grid: Grid
    folder: Path

    @cached_property
    def files(self) -> list[Path]:
        """File of each mast, named by all that its entries depend on."""
        scene = self.simulator.finder.scene
        tracing, common = scene.tracing, hashlib.sha256(_points_of_pixels(scene, self.grid).numpy().tobytes())
        common.update(geometry_key(scene.facets.corner).encode())
        limits = replace(self.config, seed=0, settle=0, audit=0)
        effects = (tracing.diffraction, tracing.pairs_of_edges, tracing.scattering > 0)
        common.update(repr((SCHEMA, asdict(limits), *effects)).encode())
        files = []
        for number, position in enumerate(masts(scene.sites)[0].tolist()):
            key = common.copy()
            key.update(repr((position, _seed(scene, self.config, number))).encode())
            files.append(self.folder / f"mast-{key.hexdigest()[:16]}.npz")
        return files

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        """The function that makes the file of a mast; it may use `threads` (None: all)."""
        if threads:
            limit_threads(threads)
        return self._make

    def _make(self, number: int) -> UnitDone:
        entries = mast_entries(self.simulator.finder.scene, self.config, self.grid, number)
        entries.save(self.files[number])
        return UnitDone(number)


def mast_entries(scene: RadioScene, config: AtlasConfig, grid: Grid, number: int) -> MastEntries:
    """What is worth trying from a mast: chains where its rays go, edges and scatterers at a point of each pixel."""
    position, centres = masts(scene.sites)[0][number].double().numpy(), _points_of_pixels(scene, grid)
    with LOCK:
        surface, _ = measurement_surface(scene, grid)
        pixel, walls = crossings(
            scene.rt_scene.mi_scene,
            scene.facets,
            tuple(position.tolist()),
            surface,
            grid,
            config.rays_on(min(grid.size, scene.facets.extent)),
            config.depth,
            _seed(scene, config, number),
        )
        reflected = (walls > THROUGH).any(1)  # chains that only go straight on are tried everywhere
        edges = _edges_of_pixels(scene, config, position, centres)
        pairs = _pairs_of_pixels(scene, config, position, centres)
        scatterers = _scatterers_of_pixels(scene, config, position, centres, grid.pixel)
    return MastEntries(pixel[reflected], walls[reflected], *edges, *pairs, *scatterers)


def _seed(scene: RadioScene, config: AtlasConfig, number: int) -> int:
    """Seed of a mast's rays: it stays when sites are added after those that there are."""
    return config.seed + int((masts(scene.sites)[1] == number).nonzero()[0])


def _points_of_pixels(scene: RadioScene, grid: Grid) -> Float[Tensor, "pixel 3"]:
    """The centre of each pixel at UE height; where a building stands there, the nearest open ground of the pixel."""
    centres = grid.centres().reshape(-1, 2)
    return scene.at_height(centres if scene.tile is None else _on_open_ground(scene.tile, grid, centres))


def _on_open_ground(tile: Tile, grid: Grid, centres: Float[Tensor, "pixel 2"]) -> Float[Tensor, "pixel 2"]:
    """Centres of pixels, moved out of buildings where the pixel has open ground."""
    ground = tile.raster_grid.centres().reshape(-1, 2)
    ground = ground[grid.contains(ground) & tile.is_outdoor(ground)]
    row, column = grid.pixel_of(ground)
    pixel = row * grid.count + column
    order = (ground - centres[pixel]).norm(dim=1).argsort(stable=True)
    order = order[pixel[order].argsort(stable=True)]
    first = order[torch.searchsorted(pixel[order], pixel.unique())]
    nearest = centres.clone()
    nearest[pixel[first]] = ground[first]
    return torch.where(tile.is_outdoor(centres)[:, None], centres, nearest)


def _edges_of_pixels(
    scene: RadioScene, config: AtlasConfig, position: np.ndarray, centres: Float[Tensor, "pixel 3"]
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"]]:
    """Pixels and the edges around which a wave comes to their centres, those with the shortest detours."""
    none = torch.zeros(0, dtype=torch.long, device="cpu")
    if not (scene.tracing.diffraction and config.edges and len(scene.edges)):
        return none, none
    seen = edges_in_sight(scene.rt_scene.mi_scene, scene.edges, position)
    if not len(seen):
        return none, none
    search = EdgeSearch(scene.rt_scene.mi_scene, scene.edges.select(seen))
    points = (to_drjit(mi.Point3f, rows) for rows in (position[None], centres.numpy()))
    _, pixel, edge, detour = search.all_ways(*points, 1, len(centres))
    kept = smallest_of_groups(pixel, detour, config.edges)
    return torch.from_numpy(pixel[kept]), torch.from_numpy(seen[edge[kept]])


def _pairs_of_pixels(
    scene: RadioScene, config: AtlasConfig, position: np.ndarray, centres: Float[Tensor, "pixel 3"]
) -> tuple[Int[Tensor, " entry"], Int[Tensor, "entry 2"]]:
    """Pixels and the two edges around which a wave comes to their centres, those with the shortest ways."""
    if not (scene.tracing.pairs_of_edges and config.edge_pairs and len(scene.edges)):
        none = torch.zeros(0, dtype=torch.long, device="cpu")
        return none, none.view(0, 1).expand(0, 2)
    targets = centres.double().numpy()
    pixel, *edges = horizon_pairs(scene.edges, position, targets)
    pairs = EdgePairs.of_edges(scene.edges, pixel, np.zeros_like(pixel), np.stack(edges, 1))
    ways = pairs.free(scene.rt_scene.mi_scene, position[None], targets, scene.boundary_detour)
    ways = ways.shortest(position[None], targets, config.edge_pairs)
    return torch.from_numpy(ways.target), torch.from_numpy(ways.number)


def _scatterers_of_pixels(
    scene: RadioScene, config: AtlasConfig, position: np.ndarray, centres: Float[Tensor, "pixel 3"], pixel: float
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"], Float[Tensor, " entry"]]:
    """Pixels, the scatterers that bring power to their centres, and what each of these stands for."""
    if not (scene.tracing.scattering > 0 and config.scatterers):
        none = torch.zeros(0, dtype=torch.long, device="cpu")
        return none, none, torch.zeros(0, device="cpu")
    row, piece, weight = sampled_scatterers(
        scene.rt_scene.mi_scene, scene.scatterers, position, centres.double().numpy(), pixel, config.scatterers
    )
    return torch.from_numpy(row), torch.from_numpy(piece), torch.from_numpy(weight).float()


# ---- what a search adds ----------------------------------------------------------------------------------


def presearch(finder: PathFinder, max_pixels: int) -> None:
    """Search once at uncovered pixels of a fresh atlas, `max_pixels` of those outdoors, so that no query has to.

    A search costs as much as a thousand queries of the atlas, and few pixels are uncovered: 41 of munich's 4096.
    """
    assert finder.atlas is not None
    scene = finder.scene
    points = _points_of_pixels(scene, finder.atlas.grid)
    if scene.tile is not None:
        points = points[scene.tile.is_outdoor(points[:, :2])]
    uncovered = points[finder.atlas.uncovered(points)][:max_pixels]
    for part in with_progress(uncovered.split(finder.scene.tracing.chunk), "atlas: uncovered pixels"):
        with torch.no_grad():
            if len(part):  # splitting an empty tensor gives one empty part
                finder.trace(part, {}, search=True)
    finder.atlas = replace(finder.atlas, meta={**finder.atlas.meta, "settled": len(uncovered)})
