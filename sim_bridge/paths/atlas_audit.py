"""Audit of an atlas: its paths beside those of the full search, at random positions."""

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
    """of the positions, where the atlas has no chains and leaves the answer to the search"""


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
        by_atlas = finder.trace(points, {}).gain()
        by_search = finder.trace(points, {}, search=True).gain()
    result = _compare(by_atlas, by_search, uncovered)
    finder.atlas = replace(finder.atlas or atlas, meta={**atlas.meta, "audit": asdict(result)})
    return result


def _compare(by_atlas: Float[Tensor, "n cell"], by_search: Float[Tensor, "n cell"], uncovered: Tensor) -> AtlasAudit:
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
    )


def _random_points(scene: RadioScene, atlas: Atlas, count: int, seed: int) -> Float[Tensor, "n 3"]:
    """Uniform over the atlas's square, outdoors where there is a tile."""
    random = torch.Generator().manual_seed(seed)
    flat = (torch.rand(16 * count, 2, generator=random) - 0.5) * atlas.grid.size
    if scene.tile is not None:
        flat = flat[scene.tile.is_outdoor(flat)]
    return scene.at_height(flat[:count])
