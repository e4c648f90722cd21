"""Where phones are: positions outdoors, and short walks and drives from there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.errors import UelError
from uel.sites import Site, cell_positions
from uel.tile import Tile


@dataclass(frozen=True, kw_only=True)
class TrackPlan:
    """How many phones, and how they move."""

    tracks: int = 128
    """tracks on the tile"""
    reports: int = 2
    """reports on a track"""
    interval: float = 0.5
    """s between reports"""
    speeds: tuple[float, ...] = (0.0, 1.0, 10.0)
    """m/s: stationary, pedestrian, vehicular; each track draws one"""
    min_distance: float = 10.0
    """m, least horizontal distance to a site"""
    max_distance: float = 1000.0
    """m, greatest horizontal distance to the nearest site"""

    def __post_init__(self) -> None:
        if self.tracks < 1 or self.reports < 1 or not self.speeds:
            raise UelError("a survey needs tracks with reports and speeds", got=self, do="give at least one of each")


def draw_positions(
    tile: Tile, sites: tuple[Site, ...], count: int, generator: torch.Generator, plan: TrackPlan | None = None
) -> Float[Tensor, "count 2"]:
    """Uniform positions in metres, outdoors and within the plan's distances of the sites.

    Raises `UelError` when the tile has hardly any such place.
    """
    plan = plan or TrackPlan()
    found: list[Tensor] = []
    for _ in range(200):
        candidates = (torch.rand(4 * count, 2, generator=generator) - 0.5) * tile.size
        found.append(candidates[_allowed(tile, sites, candidates, plan)])
        if sum(map(len, found)) >= count:
            return torch.cat(found)[:count]
    raise UelError(
        "hardly any outdoor place on this tile", got=tile.name, do="choose another centre or distance limits"
    )


def draw_tracks(
    tile: Tile, sites: tuple[Site, ...], plan: TrackPlan, seed: int
) -> tuple[Float[Tensor, "track report 2"], Float[Tensor, "track report"]]:
    """Positions in metres and times in seconds of every report. A track turns round where a wall stands."""
    generator = torch.Generator().manual_seed(seed)
    here = draw_positions(tile, sites, plan.tracks, generator, plan)
    speed = torch.tensor(plan.speeds)[torch.randint(len(plan.speeds), (plan.tracks,), generator=generator)]
    heading = torch.rand(plan.tracks, generator=generator) * 2 * torch.pi
    stride = torch.stack([heading.cos(), heading.sin()], -1) * (speed * plan.interval).unsqueeze(-1)
    position = [here]
    for _ in range(plan.reports - 1):
        free = _allowed(tile, sites, here + stride, plan)
        stride = torch.where(free.unsqueeze(-1), stride, -stride)
        here = torch.where(_allowed(tile, sites, here + stride, plan).unsqueeze(-1), here + stride, here)
        position.append(here)
    time = torch.arange(plan.reports) * plan.interval
    return torch.stack(position, 1), time.expand(plan.tracks, -1).clone()


def _allowed(tile: Tile, sites: tuple[Site, ...], position: Tensor, plan: TrackPlan) -> Tensor:
    nearest = (position[:, None] - cell_positions(sites)[:, :2]).norm(dim=-1).amin(-1)
    near_enough = (nearest >= plan.min_distance) & (nearest <= plan.max_distance)
    return near_enough & tile.raster_grid.contains(position) & tile.outdoor(position)
