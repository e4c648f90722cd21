"""Power, delays and directions of the rays that cross a measurement surface, summed per cell and pixel.

Sums are of whole numbers: those of floats depend on the order in which threads add, and one seed is one map, whatever
else the machine does and however many threads it has.
"""

import drjit as dr
import mitsuba as mi
import numpy as np
import torch
from torch import Tensor

from uel.core.grid import Grid

WEIGHTED_CHANNELS = (
    "gain",
    "excess",
    "square",
    *(f"{end}_{axis}" for end in ("arrival", "departure") for axis in "xyz"),
)
EXCESS_UNIT = 1000.0  # m of excess that weigh as much as a direction
GREATEST_GAIN_DB = 30.0  # of a pixel, over an isotropic antenna 1 m away: above, sums would overflow
GAIN_BITS, AREA_BITS = 62, 40


class MapAccumulator:
    """Power, and delays and directions weighted by power, of every ray of some cells that crosses the surface."""

    def __init__(self, grid: Grid, cells: range, wavelength: float) -> None:
        self.grid, self.cells, self.shape = grid, cells, (len(cells), *grid.shape)
        self.factor = (wavelength / (4 * np.pi)) ** 2
        self.greatest = self.factor * 10 ** (GREATEST_GAIN_DB / 10)
        pixels = len(cells) * grid.count**2
        # The channels of a pixel lie side by side: one ray's writes fall into one or two lines of the cache.
        self.weighted = dr.zeros(mi.Int64, pixels * len(WEIGHTED_CHANNELS))
        self.area = dr.zeros(mi.Int64, pixels)
        self.first = dr.full(mi.Float, dr.inf, pixels)
        dr.make_opaque(self.weighted, self.area, self.first)

    def add(
        self,
        density: mi.Float,
        excess: mi.Float,
        arrival: mi.Vector3f,
        departure: mi.Vector3f,
        where: mi.SurfaceInteraction3f,
        cell: mi.UInt,
        active: mi.Bool,
    ) -> None:
        """Add rays that bring `density` (1/m² of surface), `excess` metres longer than the straight line."""
        index, active = self._pixel(where, cell, active)
        gain = self.factor / self.greatest * density * dr.abs(where.n.z) / self.grid.pixel**2
        long = excess / EXCESS_UNIT
        weights = (mi.Float(1), long, dr.square(long), *arrival, *departure)
        for channel, weight in enumerate(weights):
            amount = _whole(dr.clip(gain * weight, -1.0, 1.0), GAIN_BITS)
            dr.scatter_add(self.weighted, amount, index * len(WEIGHTED_CHANNELS) + channel, active)
        dr.scatter_reduce(dr.ReduceOp.Min, self.first, excess, index, active)

    def add_direct_area(self, area: mi.Float, where: mi.SurfaceInteraction3f, cell: mi.UInt, active: mi.Bool) -> None:
        """Add direct rays, and the ground in m² that each stands for."""
        index, active = self._pixel(where, cell, active)
        dr.scatter_add(self.area, _whole(dr.minimum(area / self.grid.pixel**2, 1e6), AREA_BITS), index, active)

    def value_at(self, values: mi.Float, where: mi.SurfaceInteraction3f, cell: mi.UInt, active: mi.Bool) -> mi.Float:
        """Values of a raster `cell row column` of the same cells where rays cross the surface; 0 beside it."""
        index, active = self._pixel(where, cell, active)
        return dr.gather(mi.Float, values, index, active)

    def _pixel(self, where: mi.SurfaceInteraction3f, cell: mi.UInt, active: mi.Bool) -> tuple[mi.UInt, mi.Bool]:
        half, count = self.grid.size / 2, self.grid.count
        inside = (dr.abs(where.p.x) < half) & (dr.abs(where.p.y) < half)
        column, row = (mi.UInt(dr.clip((v + half) / self.grid.pixel, 0, count - 1)) for v in (where.p.x, where.p.y))
        return ((cell - self.cells.start) * count + row) * count + column, active & inside

    def to_torch(self) -> dict[str, Tensor]:
        """All sums in double precision, `cell row column`; `first` is infinite where no ray came."""
        dr.eval(self.weighted, self.area, self.first)

        def as_maps(v, *more):
            return torch.from_numpy(v.numpy().astype(np.float64)).view(*self.shape, *more)

        weighted = as_maps(self.weighted, len(WEIGHTED_CHANNELS)) * (self.greatest * 2.0**-GAIN_BITS)
        channels = dict(zip(WEIGHTED_CHANNELS, weighted.unbind(-1), strict=True))
        channels |= {"excess": channels["excess"] * EXCESS_UNIT, "square": channels["square"] * EXCESS_UNIT**2}
        area = as_maps(self.area) * (self.grid.pixel**2 * 2.0**-AREA_BITS)
        return {**channels, "area": area, "first": as_maps(self.first)}


def _whole(value: mi.Float, bits: int) -> mi.Int64:
    """The whole number nearest to a value times 2^bits."""
    return mi.Int64(dr.round(value * 2.0**bits))
