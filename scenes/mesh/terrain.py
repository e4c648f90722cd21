"""Terrain of a tile: one triangulated lattice, from which meshes, rasters and site heights are made."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from scenes.mesh.dem import sample_dem, sample_dem_with_holes
from scenes.mesh.mesh_parts import Array
from uel.errors import UelError


@dataclass(frozen=True)
class Terrain:
    """Elevations at the nodes of a square lattice over |x|, |y| ≤ `half`, and two triangles in each of its cells.

    Every cell is split from its south-west to its north-east corner. Elevations are metres above the datum
    of their source, for most elevation models the sea level (SRTM: the geoid EGM96). Outside the square the elevation
    is that of the nearest point of its edge.
    """

    half: float
    """half the side of the square in metres"""
    heights: Float[Array, "count count"]
    """elevations in metres, row 0 in the south, column 0 in the west; at least 2 × 2"""
    known: float = 1.0
    """fraction of the nodes at which the source has an elevation; the others are interpolated"""

    @staticmethod
    def flat(elevation: float = 0.0, half: float = 1000.0) -> "Terrain":
        """A horizontal plane at `elevation` over |x|, |y| ≤ `half`, both in metres."""
        _require_square(half)
        return Terrain(half, np.full((2, 2), float(elevation)))

    @staticmethod
    def from_dem(
        file: Path | str, crs: str, origin: tuple[float, float], half: float, pixel: float = 10.0
    ) -> "Terrain":
        """The square |x|, |y| ≤ `half` metres around `origin` (easting, northing in `crs`) of an elevation raster.

        `file` is a GeoTIFF in any CRS; its first band is interpolated bilinearly at nodes about `pixel` metres apart.

        Raises `UelError` where the file cannot be read, does not cover the square, has holes in it, no CRS or
        another vertical unit than metres.
        """
        return Terrain(half, sample_dem(file, crs, origin, half, _node_count(half, pixel)))

    @staticmethod
    def from_dem_with_holes(
        file: Path | str,
        crs: str,
        origin: tuple[float, float],
        half: float,
        pixel: float = 10.0,
        unknown: float | None = None,
    ) -> "Terrain":
        """As `from_dem`, with holes interpolated from their edges; `unknown` is the value of undeclared ones.

        Raises `UelError` as `from_dem`, but only where the whole square is a hole.
        """
        heights, is_known = sample_dem_with_holes(file, crs, origin, half, _node_count(half, pixel), unknown)
        return Terrain(half, heights, float(is_known.mean()))

    def subdivide(self, step: float) -> "Terrain":
        """The same surface with nodes at most `step` metres apart; every cell and its diagonal are divided."""
        parts = math.ceil(self.step / step - 1e-9)
        axis = np.linspace(-self.half, self.half, (len(self.heights) - 1) * parts + 1)
        return replace(self, heights=self.elevation(*np.meshgrid(axis, axis)))

    @property
    def step(self) -> float:
        """Side of a cell in metres."""
        return 2 * self.half / (len(self.heights) - 1)

    @cached_property
    def nodes(self) -> Float[Array, "node 3"]:
        """Nodes of the lattice in metres, row by row from the south."""
        axis = np.linspace(-self.half, self.half, len(self.heights))
        x, y = np.meshgrid(axis, axis)
        return np.stack([x.ravel(), y.ravel(), self.heights.ravel()], axis=1)

    def mesh(self) -> tuple[Float[Array, "node 3"], Integer[Array, "face 3"]]:
        """Vertices in metres, and faces with upward normals."""
        count = len(self.heights)
        sw = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).ravel()
        se, nw, ne = sw + 1, sw + count, sw + count + 1
        return self.nodes, np.concatenate([np.stack([sw, se, ne], axis=1), np.stack([sw, ne, nw], axis=1)])

    def elevation(self, x: Float[Array, "*n"], y: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Elevation of the mesh in metres at positions in metres."""
        u, v = (np.clip(self._in_cells(axis), 0, len(self.heights) - 1) for axis in (x, y))
        column, row = (np.minimum(axis.astype(np.int64), len(self.heights) - 2) for axis in (u, v))
        u, v = u - column, v - row
        sw, se = self.heights[row, column], self.heights[row, column + 1]
        nw, ne = self.heights[row + 1, column], self.heights[row + 1, column + 1]
        return sw + np.where(u >= v, (se - sw) * u + (ne - se) * v, (ne - nw) * u + (nw - sw) * v)

    def extremes(
        self, start: Float[Array, "segment 2"], end: Float[Array, "segment 2"]
    ) -> tuple[Float[Array, " segment"], Float[Array, " segment"]]:
        """Lowest and highest elevation in metres along straight segments, exact.

        The ground is linear within a triangle, so both extremes are at the segment's ends or where it crosses a
        triangle's edge.
        """
        first, last = self.elevation(*start.T), self.elevation(*end.T)
        segment, fraction = self._crossings(start, end)
        between = self.elevation(*(start[segment] + fraction[:, None] * (end - start)[segment]).T)
        low, high = np.minimum(first, last), np.maximum(first, last)
        np.minimum.at(low, segment, between)
        np.maximum.at(high, segment, between)
        return low, high

    def _crossings(
        self, start: Float[Array, "segment 2"], end: Float[Array, "segment 2"]
    ) -> tuple[Integer[Array, " crossing"], Float[Array, " crossing"]]:
        """Index of a segment and the fraction of its length for every crossing of a triangle's edge."""
        # The edges lie where u, v or u - v is an integer, u and v in cells.
        a, b = (self._in_cells(points) for points in (start, end))
        a, b = (np.concatenate([axes, axes[:, :1] - axes[:, 1:]], axis=1).ravel() for axes in (a, b))
        line = np.floor(np.minimum(a, b)) + 1
        count = (np.ceil(np.maximum(a, b)) - line).clip(0, None).astype(np.int64)
        item = np.repeat(np.arange(len(a)), count)
        rank = np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)
        return item // 3, (line[item] + rank - a[item]) / (b - a)[item]

    def _in_cells(self, metres: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return (metres + self.half) / self.step


def _node_count(half: float, pixel: float) -> int:
    """Number of nodes on a side, about `pixel` metres apart."""
    _require_square(half)
    if not 0 < pixel < math.inf:
        raise UelError(
            "the terrain's pixel is out of range", got=f"{pixel} m", do="give a positive number, such as 10 m"
        )
    return math.ceil(2 * half / pixel - 1e-9) + 1


def _require_square(half: float) -> None:
    if not 0 < half < math.inf:
        raise UelError(
            "the terrain's half side is out of range", got=f"{half} m", do="give a positive number of metres"
        )
