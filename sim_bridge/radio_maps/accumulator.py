"""Power, delays and directions of the rays that cross a measurement surface, summed per cell and pixel."""

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


class MapAccumulator:
    """Power, and delays and directions weighted by power, of every ray that crosses the surface."""

    def __init__(self, grid: Grid, cells: int, wavelength: float) -> None:
        self.grid, self.shape = grid, (cells, *grid.shape)
        self.factor = (wavelength / (4 * np.pi)) ** 2
        pixels = cells * grid.count**2
        # The channels of a pixel lie side by side: one ray's writes fall into one or two lines of the cache.
        self.weighted = dr.zeros(mi.Float, pixels * len(WEIGHTED_CHANNELS))
        self.area = dr.zeros(mi.Float, pixels)
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
        gain = self.factor * density * dr.abs(where.n.z) / self.grid.pixel**2
        weights = (mi.Float(1), excess, dr.square(excess), *arrival, *departure)
        for channel, weight in enumerate(weights):
            dr.scatter_add(self.weighted, gain * weight, index * len(WEIGHTED_CHANNELS) + channel, active)
        dr.scatter_reduce(dr.ReduceOp.Min, self.first, excess, index, active)

    def add_direct_area(self, area: mi.Float, where: mi.SurfaceInteraction3f, cell: mi.UInt, active: mi.Bool) -> None:
        """Add direct rays, and the ground in m² that each stands for."""
        index, active = self._pixel(where, cell, active)
        dr.scatter_add(self.area, area, index, active)

    def _pixel(self, where: mi.SurfaceInteraction3f, cell: mi.UInt, active: mi.Bool) -> tuple[mi.UInt, mi.Bool]:
        half, count = self.grid.size / 2, self.grid.count
        inside = (dr.abs(where.p.x) < half) & (dr.abs(where.p.y) < half)
        column, row = (mi.UInt(dr.clip((v + half) / self.grid.pixel, 0, count - 1)) for v in (where.p.x, where.p.y))
        return (cell * count + row) * count + column, active & inside

    def to_torch(self) -> dict[str, Tensor]:
        """All sums in double precision, `cell row column`; `first` is infinite where no ray came."""
        dr.eval(self.weighted, self.area, self.first)

        def as_maps(v, *more):
            return torch.from_numpy(v.numpy().astype(np.float64)).view(*self.shape, *more)

        weighted = dict(zip(WEIGHTED_CHANNELS, as_maps(self.weighted, len(WEIGHTED_CHANNELS)).unbind(-1), strict=True))
        return {**weighted, "area": as_maps(self.area), "first": as_maps(self.first)}
