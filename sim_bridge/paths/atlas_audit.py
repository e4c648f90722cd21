"""Audit of an atlas: its paths beside those of the full search, at random positions."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.chains.atlas import Atlas
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.units import to_db
from uel.errors import UelError


@dataclass(frozen=True)
class AtlasAudit:
    """An atlas against the full search. The fields stand in `atlas.json`."""

    positions: int
    links: int
    """that the search finds"""
    links_found_share: float
    """of those, the atlas finds too"""
    power_missing_share: float
    """of the linear power that the search finds, summed over links; what the atlas finds beyond it does not count"""
    median_gain_diff_db: float
    """of links that both find"""
    thin_share: float
    """of the positions, where the atlas has nothing and leaves the answer to the search"""
    reached_share: float
    """of the positions, to which any path of the atlas leads"""
    search_reached_share: float
    """of the positions, to which any path of the search leads"""
    atlas_ms_per_link: float
    """value alone, in this process"""
    search_ms_per_link: float


def audit(finder: PathFinder, count: int = 64, seed: int = 0) -> AtlasAudit:
    """Trace `count` random positions outdoors by atlas and by search; the atlas keeps what it missed.

    Costs a full search (tens of milliseconds) a link. The figures are those before learning, and are kept in the
    atlas's `meta`. Raises `UelError` without an atlas.
    """
    atlas = finder.atlas
    if atlas is None:
        raise UelError("no atlas to audit", got="atlas=None", do="build one: sim.build_atlas()")
    points = _random_points(finder.scene, atlas, count, seed)
    uncovered = atlas.uncovered(points)
    with torch.no_grad():
        finder.trace(points, {})  # what a query compiles counts for none
        by_atlas, atlas_seconds = _timed(lambda: finder.trace(points, {}).gain())
        by_search, search_seconds = _timed(lambda: finder.trace(points, {}, search=True).gain())
    result = _compare(by_atlas, by_search, uncovered, atlas_seconds, search_seconds)
    finder.atlas = replace(finder.atlas or atlas, meta={**atlas.meta, "audit": asdict(result)})
    return result


def _timed(call: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _compare(
    by_atlas: Float[Tensor, "n cell"],
    by_search: Float[Tensor, "n cell"],
    uncovered: Tensor,
    atlas_seconds: float,
    search_seconds: float,
) -> AtlasAudit:
    both, links = (by_atlas > 0) & (by_search > 0), int((by_search > 0).sum())
    difference = (to_db(by_atlas[both]) - to_db(by_search[both])).abs()
    common = torch.minimum(by_atlas, by_search).sum()
    return AtlasAudit(
        positions=len(by_atlas),
        links=links,
        links_found_share=float(both.sum()) / max(links, 1),
        power_missing_share=float(1 - common / by_search.sum().clamp(min=1e-30)),
        median_gain_diff_db=float(difference.median()) if len(difference) else 0.0,
        thin_share=float(uncovered.float().mean()),
        reached_share=float((by_atlas > 0).any(1).float().mean()),
        search_reached_share=float((by_search > 0).any(1).float().mean()),
        atlas_ms_per_link=1e3 * atlas_seconds / by_atlas.numel(),
        search_ms_per_link=1e3 * search_seconds / by_atlas.numel(),
    )


def _random_points(scene: RadioScene, atlas: Atlas, count: int, seed: int) -> Float[Tensor, "n 3"]:
    """Uniform over the atlas's square, outdoors where there is a tile."""
    random = torch.Generator().manual_seed(seed)
    flat = (torch.rand(16 * count, 2, generator=random, device=random.device) - 0.5) * atlas.grid.size
    if scene.tile is not None:
        flat = flat[scene.tile.is_outdoor(flat)]
    return scene.at_height(flat[:count])
