"""Lengths of straight lines inside crowns of trees, exact for a raster of columns, with their derivatives.

A line goes from pixel to pixel (Amanatides and Woo, "A fast voxel traversal algorithm for ray tracing", Eurographics
1987), and in each it is inside from where it comes between the ends of that column of crowns to where it leaves it.
A part of a line is bounded by planes, or by the line's own ends; the derivatives are those of these planes' cuts, so
that no automatic differentiation of a loop is needed. All of it is gathers and sums: no second scene in a kernel.
"""

from dataclasses import dataclass

import drjit as dr
import mitsuba as mi
import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.backend.torch_drjit import LOCK, call_drjit
from uel.core.grid import Grid
from uel.errors import UelError

SMALLEST_STEP = 1e-9  # m, along an axis: instead of 0, by which nothing can be divided
LINE_END, AXIS_X, AXIS_Y, AXIS_Z = 0, 1, 2, 3  # what bounds a part of a line: an end of it, or a plane across an axis
Vectors = tuple[mi.Vector3f, mi.Vector3f]


@dataclass(frozen=True, eq=False)
class Canopy:
    """Columns of crowns on a grid, the ends of each as elevations in metres; empty where both are alike."""

    grid: Grid
    base: mi.Float
    """row after row, row 0 in the south"""
    top: mi.Float
    low: mi.Vector3f
    """lowest and highest coordinates of all crowns; as what follows in memory, so that one kernel does for all grids"""
    high: mi.Vector3f
    pixel: mi.Float
    count: mi.Int

    @staticmethod
    def of_rasters(grid: Grid, base: Float[Tensor, "row column"], top: Float[Tensor, "row column"]) -> "Canopy":
        """With elevations of the crowns' lower and upper ends."""
        half, crowns = grid.size / 2, top > base
        extent = ((-half, -half, float(base[crowns].min())), (half, half, float(top[crowns].max())))
        with LOCK:
            ends = [mi.Float(values.float().flatten().cpu().numpy()) for values in (base, top)]
            corners = [mi.Vector3f(*(dr.opaque(mi.Float, axis) for axis in corner)) for corner in extent]
            return Canopy(grid, *ends, *corners, dr.opaque(mi.Float, grid.pixel), dr.opaque(mi.Int, grid.count))

    def fraction(self, start: mi.Point3f, end: mi.Point3f, active: mi.Bool) -> mi.Float:
        """Fraction of each line that is inside crowns."""
        return self._follow(start, end, active, False)[0]

    def length(self, start: mi.Point3f, end: mi.Point3f, active: mi.Bool) -> mi.Float:
        """Metres of each line that are inside crowns; 0 for lines that are not `active`."""
        line = dr.select(active, mi.Vector3f(end - start), mi.Vector3f(0))
        return self.fraction(start, end, active) * dr.norm(line)

    def fraction_and_derivatives(self, start: mi.Point3f, end: mi.Point3f) -> tuple[mi.Float, Vectors]:
        """The fraction of each line, and its derivatives by the line's ends (1/m)."""
        return self._follow(start, end, mi.Bool(True), True)

    def _follow(
        self, start: mi.Point3f, end: mi.Point3f, active: mi.Bool, differentiated: bool
    ) -> tuple[mi.Float, Vectors]:
        way = mi.Vector3f(end - start)
        way = dr.select(dr.abs(way) < SMALLEST_STEP, SMALLEST_STEP, way)
        rate = dr.rcp(way)
        one, other = ((corner - mi.Vector3f(start)) * rate for corner in (self.low, self.high))
        enter, first = dr.minimum(one, other), dr.maximum(dr.max(dr.minimum(one, other)), 0)
        last = dr.minimum(dr.min(dr.maximum(one, other)), 1)
        entered = mi.UInt(AXIS_Z)
        for when, axis in ((enter.y == first, AXIS_Y), (enter.x == first, AXIS_X), (first == 0, LINE_END)):
            entered = dr.select(when, mi.UInt(axis), entered)
        column = self._index(start.x + first * way.x - self.low.x)
        row = self._index(start.y + first * way.y - self.low.y)
        step_x, step_y = (dr.select(part > 0, mi.Int(1), mi.Int(-1)) for part in (way.x, way.y))

        def step(active, column, row, at, entered, total, by_start, by_end):
            index = mi.UInt(row * self.count + column)
            base, top = (dr.gather(mi.Float, values, index, active) for values in (self.base, self.top))
            next_x = (self._border(column, step_x) + self.low.x - start.x) * rate.x
            next_y = (self._border(row, step_y) + self.low.y - start.y) * rate.y
            across_x = next_x <= next_y
            border = dr.minimum(next_x, next_y)
            leave, left = dr.minimum(border, 1), dr.select(across_x, mi.UInt(AXIS_X), mi.UInt(AXIS_Y))
            one, other = (base - start.z) * rate.z, (top - start.z) * rate.z
            above, below = dr.minimum(one, other), dr.maximum(one, other)
            inside_from, inside_to = dr.maximum(at, above), dr.minimum(leave, below)
            inside = active & (inside_to > inside_from)
            total += dr.select(inside, inside_to - inside_from, 0)
            if differentiated:
                ends = (
                    (inside_to, dr.select(below < leave, mi.UInt(AXIS_Z), dr.select(border > 1, LINE_END, left)), 1.0),
                    (inside_from, dr.select(above > at, mi.UInt(AXIS_Z), entered), -1.0),
                )
                for where, axis, sign in ends:
                    cut = _cut(rate, axis, inside) * sign
                    by_start, by_end = by_start - (1 - where) * cut, by_end - where * cut
            column = dr.select(across_x, column + step_x, column)
            row = dr.select(across_x, row, row + step_y)
            on_grid = (column >= 0) & (column < self.count) & (row >= 0) & (row < self.count)
            return active & (leave < last) & on_grid, column, row, leave, left, total, by_start, by_end

        zero = mi.Vector3f(0)
        state = (mi.Bool(active & (first < last)), column, row, mi.Float(first), entered, mi.Float(0), zero, zero)
        *_, total, by_start, by_end = dr.while_loop(state, lambda active, *_: active, step, mode="symbolic")
        return total, (by_start, by_end)

    def _index(self, offset: mi.Float) -> mi.Int:
        """Row or column of pixels, so many metres from the first."""
        return dr.clip(mi.Int(dr.floor(offset / self.pixel)), 0, self.count - 1)

    def _border(self, number: mi.Int, step: mi.Int) -> mi.Float:
        """Where a line that goes up (1) or down (-1) leaves a row or column of pixels, m from the first."""
        return mi.Float(dr.select(step > 0, number + 1, number)) * self.pixel


def _cut(rate: mi.Vector3f, axis: mi.UInt, active: mi.Bool) -> mi.Vector3f:
    """1 over a line's extent along the axis across which a plane lies, as a vector; 0 for ends of the line."""
    numbers = (AXIS_X, AXIS_Y, AXIS_Z)
    return mi.Vector3f(*(dr.select(active & (axis == n), part, 0) for n, part in zip(numbers, rate, strict=True)))


def lengths_in_canopy(
    canopy: Canopy, start: Float[Tensor, "line 3"], end: Float[Tensor, "line 3"]
) -> Float[Tensor, " line"]:
    """Metres of each line that are inside crowns, differentiable in the lines' ends (first derivatives)."""
    if not len(start):
        return (end - start).sum(1)
    return _Fraction.apply(canopy, start, end) * (end - start).norm(dim=1)


class _Fraction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, canopy: Canopy, start: Tensor, end: Tensor) -> Tensor:
        def follow(*axes: mi.TensorXf) -> list[mi.TensorXf]:
            points = [mi.Point3f(*(axis.array for axis in axes[k : k + 3])) for k in (0, 3)]
            fraction, derivatives = canopy.fraction_and_derivatives(*points)
            return [mi.TensorXf(values) for values in (fraction, *derivatives[0], *derivatives[1])]

        with LOCK:
            fraction, *derivatives = call_drjit(follow, [*start.detach().unbind(1), *end.detach().unbind(1)])
        ctx.save_for_backward(*(torch.stack(derivatives[k : k + 3], 1).to(start.dtype) for k in (0, 3)))
        return fraction.to(start.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        if torch.is_grad_enabled():  # create_graph=True
            raise UelError(
                "ray-traced values have first derivatives only",
                got="a backward pass with create_graph=True",
                do="leave create_graph out; for curvature take differences of gradients",
            )
        by_start, by_end = ctx.saved_tensors
        return None, gradient[:, None] * by_start, gradient[:, None] * by_end
