"""Obstruction of the straight line from a phone to an antenna by the buildings of a district's raster of heights."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.batch_record import BatchRecord
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.geo.obstruction import knife_edge_db
from uel.measurement.measured_network import DistrictRasters

# Distances from the phone at which the line is looked at, in metres: what stands near the phone matters most.
LINE_STEPS = ((5.0, 100.0), (10.0, 300.0), (20.0, 900.0))
NEAR_PHONE, NEAR_ANTENNA = 60.0, 100.0  # m
NO_OBSTACLE = 900.0  # m to the nearest obstacle where there is none
CLEARANCE_LIMIT = 100.0  # m: larger heights above and below the line are not told apart
MIN_NU, MAX_NU = -5.0, 40.0  # of the knife-edge parameter


@dataclass(frozen=True, eq=False, repr=False)
class LineObstruction(BatchRecord):
    """What stands on the lines to antennas, one entry a link; unknown squares count as open ground."""

    nu: Float[Tensor, " link"]
    """the largest knife-edge parameter ν (ITU-R P.526-15, equation 26)"""
    nu_at_antenna: Float[Tensor, " link"]
    """the largest within `NEAR_ANTENNA` metres of the antenna"""
    cascade_db: Float[Tensor, " link"]
    """loss in dB of all edges together by Bullington's construction (P.526-15, clause 4.5.1)"""
    blocked_length: Float[Tensor, " link"]
    """m of the line inside buildings"""
    blocked_length_near: Float[Tensor, " link"]
    """m of it within `NEAR_PHONE` metres of the phone"""
    crossings: Float[Tensor, " link"]
    """buildings that the line passes over or through"""
    first_building: Float[Tensor, " link"]
    """m from the phone to the first building"""
    first_edge: Float[Tensor, " link"]
    """m from the phone to the first building that reaches above the line"""
    first_edge_height: Float[Tensor, " link"]
    """m of that building above the line; 0 without one"""
    clearance: Float[Tensor, " link"]
    """m of the line above the highest building relative to it; negative where the line is blocked"""
    unknown_length: Float[Tensor, " link"]
    """m of the line over squares of unknown height"""
    unknown_length_near: Float[Tensor, " link"]
    """m of it within `NEAR_PHONE` metres of the phone"""


def line_obstruction(
    rasters: DistrictRasters,
    grid: Grid,
    phone: Float[Tensor, "link 3"],
    antenna: Float[Tensor, "link 3"],
    frequency: Float[Tensor, " link"],
) -> LineObstruction:
    """Look along the lines from phones to antennas, `NO_OBSTACLE` metres far at most.

    Args:
        rasters: heights of buildings and of the ground.
        grid: of the rasters; beyond it heights are unknown.
        phone: x, y in metres from the grid's centre, and elevation in metres.
        antenna: likewise; may lie off the grid.
        frequency: in Hz.

    Example:
        >>> import torch
        >>> from uel import Grid
        >>> from uel.measurement.measured_network import DistrictRasters
        >>> height, known = torch.zeros(20, 20), torch.ones(20, 20, dtype=torch.bool)
        >>> height[:, 12] = 20.0
        >>> rasters = DistrictRasters(building_height=height, building_known=known, terrain=torch.zeros(20, 20),
        ...     terrain_known=known, clutter=torch.zeros(20, 20).long())
        >>> ends = torch.tensor([[-37.5, 0.0, 1.5], [37.5, 0.0, 1.5]])
        >>> wall = line_obstruction(rasters, Grid(size=100.0, pixel=5.0), ends[:1], ends[1:], torch.tensor([3e9]))
        >>> float(wall.crossings), float(wall.first_building), round(float(wall.nu), 1)
        (1.0, 50.0, 20.3)
    """
    distance_from_phone, width = _samples()
    offset = antenna - phone
    distance = offset[:, :2].norm(dim=1).clamp(min=1.0)
    before_antenna = distance - distance_from_phone[:, None]
    on_line = before_antenna > width[:, None] / 2
    fraction = distance_from_phone[:, None] / distance
    position = phone[:, :2] + fraction.unsqueeze(-1) * offset[:, :2]
    row, column = grid.pixel_of(position)
    known = on_line & grid.contains(position) & rasters.building_known[row, column]
    height = rasters.building_height[row, column]
    building = known & (height > 0)
    line = phone[:, 2] + fraction * offset[:, 2]
    above = torch.where(building, height + rasters.terrain[row, column] - line, -CLEARANCE_LIMIT)
    nu_scale = (
        2 * distance * frequency / SPEED_OF_LIGHT / (distance_from_phone[:, None] * before_antenna.clamp(min=1.0))
    ).sqrt()
    nu = torch.where(building, (above * nu_scale).clamp(MIN_NU, MAX_NU), MIN_NU)
    blocked, unknown, near = above > 0, on_line & ~known, (distance_from_phone <= NEAR_PHONE)[:, None]

    def length(mask: Tensor) -> Tensor:
        return torch.where(mask, width[:, None], 0.0).sum(0)

    def first(mask: Tensor) -> Tensor:
        return torch.where(mask, distance_from_phone[:, None], NO_OBSTACLE).amin(0)

    first_edge = first(blocked)
    entry = building & ~torch.cat([torch.zeros_like(building[:1]), building[:-1]])
    return LineObstruction(
        nu=nu.amax(0),
        nu_at_antenna=torch.where(before_antenna < NEAR_ANTENNA, nu, MIN_NU).amax(0),
        cascade_db=_bullington_db(above, distance_from_phone[:, None], before_antenna, distance, frequency),
        blocked_length=length(blocked),
        blocked_length_near=length(blocked & near),
        crossings=entry.float().sum(0),
        first_building=first(building),
        first_edge=first_edge,
        first_edge_height=torch.where(blocked & (distance_from_phone[:, None] == first_edge), above, 0.0).sum(0),
        clearance=-above.amax(0).clamp(min=-CLEARANCE_LIMIT),
        unknown_length=length(unknown),
        unknown_length_near=length(unknown & near),
    )


def _samples() -> tuple[Float[Tensor, " sample"], Float[Tensor, " sample"]]:
    """Distances from the phone in metres, and the length of line that each stands for."""
    starts = (0.0, *(end for _, end in LINE_STEPS[:-1]))
    counts = [round((end - start) / step) for start, (step, end) in zip(starts, LINE_STEPS, strict=True)]
    width = torch.cat(
        [torch.full((count,), step, device="cpu") for count, (step, _) in zip(counts, LINE_STEPS, strict=True)]
    )
    return width.cumsum(0), width


def _bullington_db(
    above: Float[Tensor, "sample link"],
    from_phone: Float[Tensor, "sample 1"],
    to_antenna: Float[Tensor, "sample link"],
    distance: Float[Tensor, " link"],
    frequency: Float[Tensor, " link"],
) -> Float[Tensor, " link"]:
    """Loss behind the one edge where the steepest lines from both ends meet, heights taken above the straight line.

    The last term of P.526-15, equation 60, covers paths with several edges.
    """
    rise_from_phone = (above / from_phone).amax(0)
    rise_from_antenna = (above / to_antenna.clamp(min=1.0)).amax(0)
    sum_of_rises = (rise_from_phone + rise_from_antenna).clamp(min=1e-6)
    from_phone_to_edge = (distance * rise_from_antenna / sum_of_rises).clamp(min=1.0)
    from_phone_to_edge = torch.minimum(from_phone_to_edge, (distance - 1.0).clamp(min=0.5))
    edge = rise_from_phone * from_phone_to_edge
    to_edge = distance - from_phone_to_edge
    nu = edge * (2 * distance * frequency / SPEED_OF_LIGHT / (from_phone_to_edge * to_edge.clamp(min=0.5))).sqrt()
    loss = knife_edge_db(nu)
    several_edges = (1 - torch.exp(-loss / 6)) * (10 + 0.02 * distance / 1000)
    return torch.where(above.amax(0) > 0, loss + several_edges, 0.0)
