"""Which rays of a batch are shot at once, so that a radio map keeps to its memory.

A ray has its random numbers by its place in the batch: the map is the same, to the byte, in whatever parts it is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import drjit as dr
import mitsuba as mi

from sim_bridge.backend.memory import BYTES_PER_MAP_PIXEL, BYTES_PER_RAY

CELLS_PER_LAUNCH = 24  # whose rays are shot at once at most, and have random numbers of their own
PCG32_SEQUENCE = 0xDA3E39CB94B95BDB  # PCG32's own


@dataclass(frozen=True)
class RayLaunch:
    """Rays `first` to `first + count` of the `rays` of each of some cells."""

    cells: range
    first: int
    count: int
    rays: int

    @property
    def width(self) -> int:
        """All rays, those of the first cell before those of the second."""
        return self.count * len(self.cells)

    @property
    def side_by_side(self) -> range:
        """The cells whose rays have random numbers of their own beside these: what draws some must not depend on
        parts."""
        first = self.cells.start // CELLS_PER_LAUNCH * CELLS_PER_LAUNCH
        return range(first, first + CELLS_PER_LAUNCH)

    @property
    def cell(self) -> mi.UInt:
        """Number of each ray's cell."""
        return dr.repeat(dr.arange(mi.UInt, self.cells.start, self.cells.stop), self.count)

    @property
    def ray(self) -> mi.UInt:
        """Number of each ray among those of its cell."""
        return dr.tile(dr.arange(mi.UInt, self.first, self.first + self.count), len(self.cells))

    def random(self, seed: int) -> mi.PCG32:
        """Random numbers of each ray, those that `mi.PCG32(WIDTH, seed)` gives to all rays of `CELLS_PER_LAUNCH` cells
        side by side."""
        lane = mi.UInt64(self.cell % CELLS_PER_LAUNCH) * self.rays + mi.UInt64(self.ray)
        random = mi.PCG32()
        random.seed(dr.opaque(mi.UInt64, seed) + lane, dr.opaque(mi.UInt64, PCG32_SEQUENCE) + lane)
        return random


def cell_groups(cells: int, pixels: int, budget: float) -> list[range]:
    """Cells whose sums are held at once, within half of `budget` bytes."""
    at_once = max(int(budget / 2 / (pixels * BYTES_PER_MAP_PIXEL)), 1)
    return [range(first, min(first + at_once, cells)) for first in range(0, cells, at_once)]


def ray_launches(cells: range, rays: int, budget: float) -> Iterator[RayLaunch]:
    """All `rays` of each of some cells, in parts within half of `budget` bytes: whole cells, or some rays of one."""
    at_once = max(int(budget / 2 / BYTES_PER_RAY), 1)
    cell = cells.start
    while cell < cells.stop:
        end = min(cell + max(at_once // rays, 1), (cell // CELLS_PER_LAUNCH + 1) * CELLS_PER_LAUNCH, cells.stop)
        for first in range(0, rays, at_once):
            yield RayLaunch(range(cell, end), first, min(at_once, rays - first), rays)
        cell = end
