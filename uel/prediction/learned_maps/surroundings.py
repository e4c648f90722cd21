"""What stands around every square of a district: built-up fraction, heights, skyline and free lengths."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.measurement.measured_network import DistrictRasters
from uel.prediction.link_trend import UE_HEIGHT

SURROUNDINGS_REACHES = (10.0, 25.0, 50.0, 100.0)  # m: half sides of the squares that means are taken over
DIRECTION_COUNT = 8  # compass directions that are looked into, clockwise from north
LOOKED_STEPS = (*range(1, 12), *range(12, 41, 2))  # pixels from a square at which buildings are looked for


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Surroundings(ShortRepr):
    """Rasters of a district's grid.

    Example:
        >>> import torch
        >>> from uel import Grid
        >>> from uel.measurement.measured_network import DistrictRasters
        >>> height, known = torch.zeros(5, 5), torch.ones(5, 5, dtype=torch.bool)
        >>> height[4, 2] = 11.5
        >>> rasters = DistrictRasters(building_height=height, building_known=known, terrain=torch.zeros(5, 5),
        ...     terrain_known=known, clutter=torch.zeros(5, 5).long())
        >>> around = Surroundings.of(rasters, Grid(size=25.0, pixel=5.0))
        >>> [round(float(raster[0, 2, 2])) for raster in (around.free_length, around.skyline_deg)]
        [10, 45]
    """

    built: Float[Tensor, "reach row column"]
    """fraction of the known squares within each of `SURROUNDINGS_REACHES` that are buildings"""
    height: Float[Tensor, "reach row column"]
    """m, mean height of the known squares within each of `SURROUNDINGS_REACHES`, outdoor ones with 0"""
    free_length: Float[Tensor, "direction row column"]
    """m to the nearest building in each direction; the last of `LOOKED_STEPS` where there is none"""
    skyline_deg: Float[Tensor, "direction row column"]
    """elevation of the highest roof in each direction"""

    @staticmethod
    def of(rasters: DistrictRasters, grid: Grid) -> "Surroundings":
        """The surroundings that a district's raster of heights shows."""
        known, height = rasters.building_known.float(), rasters.building_height
        counts = [_box_sum(known, grid, reach).clamp(min=1.0) for reach in SURROUNDINGS_REACHES]
        built = [_box_sum((height > 0).float(), grid, reach) for reach in SURROUNDINGS_REACHES]
        heights = [_box_sum(height, grid, reach) for reach in SURROUNDINGS_REACHES]
        looks = [_look(height, grid.pixel, direction) for direction in range(DIRECTION_COUNT)]
        return Surroundings(
            built=torch.stack(built) / torch.stack(counts),
            height=torch.stack(heights) / torch.stack(counts),
            free_length=torch.stack([length for length, _ in looks]),
            skyline_deg=torch.stack([elevation for _, elevation in looks]),
        )


def direction_towards(bearing_deg: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Index of the direction that is nearest to a compass bearing."""
    return (bearing_deg * (DIRECTION_COUNT / 360)).round().long() % DIRECTION_COUNT


def _box_sum(values: Float[Tensor, "row column"], grid: Grid, reach: float) -> Float[Tensor, "row column"]:
    """Sums over the squares of the grid that are at most `reach` metres away in both axes."""
    pixels = round(reach / grid.pixel)
    total = torch.nn.functional.pad(values.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    index = torch.arange(grid.count, device="cpu")
    first, end = (index - pixels).clamp(min=0), (index + pixels + 1).clamp(max=grid.count)
    rows = total[end] - total[first]
    return (rows[:, end] - rows[:, first]).to(values.dtype)


def _look(
    height: Float[Tensor, "row column"], pixel: float, direction: int
) -> tuple[Float[Tensor, "row column"], Float[Tensor, "row column"]]:
    """Free length in metres and elevation in degrees of the skyline, in one direction from each square."""
    reach, (rows, columns) = LOOKED_STEPS[-1], height.shape
    padded = torch.nn.functional.pad(height, (reach,) * 4)
    angle = 2 * math.pi * direction / DIRECTION_COUNT
    length, slope = torch.full_like(height, reach * pixel), torch.zeros_like(height)
    for step in LOOKED_STEPS:
        north, east = reach + round(step * math.cos(angle)), reach + round(step * math.sin(angle))
        roof = padded[north : north + rows, east : east + columns]
        slope = torch.maximum(slope, (roof - UE_HEIGHT) / (step * pixel))
        length = torch.where(roof > 0, length.clamp(max=step * pixel), length)
    return length, slope.atan().rad2deg()
