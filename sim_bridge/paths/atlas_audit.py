"""What an atlas misses: its answers beside those of the full search, at random places."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import to_db
from uel.errors import UelError

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna


@dataclass(frozen=True)
class AtlasAudit:
    """An atlas against the full search."""

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
    """of the positions, where the atlas leaves the answer to the search"""


def audit(sim: "Sionna", count: int = 64, seed: int = 0) -> AtlasAudit:
    """Ask at `count` random places outdoors, by atlas and by search; the atlas keeps what it missed.

    Costs a full search (tens of milliseconds) a link. The figures are those before learning, and are kept in the
    atlas's `meta`. Raises `UelError` without an atlas.
    """
    atlas = sim.atlas
    if atlas is None:
        raise UelError("no atlas to audit", got="atlas=None", do="build one: sim.build_atlas()")
    points = _places(sim, count, seed)
    thin = atlas.thin(points)
    with torch.no_grad():
        ours = sim.path_gain(points)
        full = sim.search(points).gain()
    told = _compared(ours, full, thin)
    sim.atlas = replace(sim.atlas or atlas, meta={**atlas.meta, "audit": asdict(told)})
    return told


def _compared(ours: Float[Tensor, "n cell"], full: Float[Tensor, "n cell"], thin: Tensor) -> AtlasAudit:
    both, links = (ours > 0) & (full > 0), int((full > 0).sum())
    difference = (to_db(ours[both]) - to_db(full[both])).abs()
    return AtlasAudit(
        positions=len(ours),
        links=links,
        links_found_share=float(both.sum()) / max(links, 1),
        power_missing_share=float(1 - torch.minimum(ours, full).sum() / full.sum().clamp(min=1e-30)),
        median_gain_diff_db=float(difference.median()) if len(difference) else 0.0,
        thin_share=float(thin.float().mean()),
    )


def _places(sim: "Sionna", count: int, seed: int) -> Float[Tensor, "n 3"]:
    """Uniform over the atlas's square, outdoors where there is a tile."""
    assert sim.atlas is not None
    random = torch.Generator().manual_seed(seed)
    flat = (torch.rand(16 * count, 2, generator=random) - 0.5) * sim.atlas.grid.size
    if sim.tile is not None:
        flat = flat[sim.tile.outdoor(flat)]
    return sim.at_height(flat[:count])
