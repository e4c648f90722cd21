"""Candidates written into Sionna's buffers of paths: chains of walls, edges and scatterers, and what they are put
together to.

An atlas gives all chains of a neighbourhood, most of which are no paths to the receiver itself: their lines meet a
wall's plane beside the wall. That is found out by arithmetic alone, before a ray is traced (`_meets_walls`).

As `sionna_internals` it touches private names of version 2.2.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import drjit as dr
import mitsuba as mi
import numpy as np
from jaxtyping import Int
from sionna.rt.constants import InteractionType
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from sionna.rt.utils import WedgeGeometry
from torch import Tensor

BOX_MARGIN = 0.5  # m around the walls of a plane: far above float32's rounding over several images
LINE_MARGIN = 1e-3  # of a line's length, by which it may seem to end before a plane
Column = TypeVar("Column")
_ROWS = ("_valid", "_src_indices", "_tgt_indices", *(f"_k_{end}_{axis}" for end in ("tx", "rx") for axis in "xyz"))
_TENSORS = ("_interaction_types", "_shapes", "_primitives", "_vertices_x", "_vertices_y", "_vertices_z", "_probs")


@dataclass(frozen=True)
class PlaneTable:
    """The planes of a scene, one a row."""

    shape: mi.UInt
    """Mitsuba's number of the mesh of a triangle in it"""
    primitive: mi.UInt
    """that triangle's index in the mesh"""
    corner: mi.Point3f
    """of that triangle, m"""
    normal: mi.Vector3f
    low: mi.Point3f
    """of the box around all walls in the plane, and in planes next to the same, m"""
    high: mi.Point3f


def from_chains(
    target: Int[Tensor, " row"],
    source: Int[Tensor, " row"],
    walls: Int[Tensor, "row depth"],
    planes: PlaneTable,
    ends: tuple[mi.Point3f, mi.Point3f],
    diffraction: bool,
) -> PathsBuffer:
    """Candidates as Sionna's image method takes them, in the order of the chains.

    Args:
        target: receiver of each chain.
        source: its cell.
        walls: 0 nothing more, 1 a wall gone through, 2 + i a reflection off plane i (`Atlas.walls`).
        planes: of the scene.
        ends: positions of cells and of receivers, m.
        diffraction: whether the buffer's paths may diffract.
    """
    depth = walls.shape[1]
    if not len(walls):  # Dr.Jit does not calculate with empty arrays
        return PathsBuffer(0, depth, diffraction)
    wall, cell, receiver = (_uint(values) for values in (walls.flatten(), source, target))
    points = (dr.gather(mi.Point3f, ends[0], cell), dr.gather(mi.Point3f, ends[1], receiver))
    kept = dr.compress(_meets_walls(wall, depth, planes, *points))
    rows = dr.width(kept)
    paths = PathsBuffer(rows, depth, diffraction)
    if not rows:
        return paths
    paths._src_indices, paths._tgt_indices = (dr.gather(mi.UInt, index, kept) for index in (cell, receiver))
    row, level = (dr.repeat(kept, depth), dr.tile(dr.arange(mi.UInt, depth), rows))
    wall = dr.gather(mi.UInt, wall, row * depth + level)
    plane = dr.select(wall > 1, wall - 2, 0)
    passes = dr.select(wall == 1, mi.UInt(InteractionType.REFRACTION), mi.UInt(InteractionType.NONE))
    kind = dr.select(wall > 1, mi.UInt(InteractionType.SPECULAR), passes)
    shape, primitive = (dr.gather(mi.UInt, values, plane) for values in (planes.shape, planes.primitive))
    for name, values in (("_interaction_types", kind), ("_shapes", shape), ("_primitives", primitive)):
        setattr(paths, name, mi.TensorXu(values, shape=(rows, depth)))
    for axis, values in zip("xyz", dr.gather(mi.Point3f, planes.corner, plane), strict=True):
        setattr(paths, f"_vertices_{axis}", mi.TensorXf(values, shape=(rows, depth)))
    paths._probs = dr.full(mi.TensorXf, 1.0, [rows, depth])
    paths._paths_counter = mi.UInt(rows)
    paths.schedule()
    dr.eval()
    return paths


def _meets_walls(wall: mi.UInt, depth: int, planes: PlaneTable, source: mi.Point3f, target: mi.Point3f) -> mi.Bool:
    """Whether the line of each chain, unfolded, meets the walls it is reflected off, be something in the way or not."""
    images, image = [], source
    codes = [dr.gather(mi.UInt, wall, dr.arange(mi.UInt, dr.width(target.x)) * depth + level) for level in range(depth)]
    for code in codes:
        plane, reflects = dr.select(code > 1, code - 2, 0), code > 1
        normal = dr.gather(mi.Vector3f, planes.normal, plane)
        height = dr.dot(image - dr.gather(mi.Point3f, planes.corner, plane), normal)
        image = dr.select(reflects, image - 2 * height * normal, image)
        images.append(image)
    meets, ahead = mi.Bool(True), target
    for code, image in zip(reversed(codes), reversed(images), strict=True):
        plane, reflects = dr.select(code > 1, code - 2, 0), code > 1
        normal, line = dr.gather(mi.Vector3f, planes.normal, plane), image - ahead
        height = dr.dot(dr.gather(mi.Point3f, planes.corner, plane) - ahead, normal)
        share = height / dr.dot(line, normal)
        point = ahead + share * line
        low, high = (dr.gather(mi.Point3f, box, plane) for box in (planes.low, planes.high))
        inside = dr.all((point > low - BOX_MARGIN) & (point < high + BOX_MARGIN))
        meets &= ~reflects | (inside & (share > -LINE_MARGIN) & (share < 1 + LINE_MARGIN))
        ahead = dr.select(reflects, point, ahead)
    return meets


def around_edges(
    target: np.ndarray, source: np.ndarray, wedges: Sequence[WedgeGeometry], points: Sequence[mi.Point3f], depth: int
) -> PathsBuffer:
    """Candidates around one edge each, by any of its points (m), as the image method takes them; or paths around
    several in a row, by their turning points, whose `diffracting_wedges` are the first ones."""
    rows = len(target)
    paths = PathsBuffer(rows, depth, True)
    if not rows:  # Dr.Jit does not calculate with empty arrays
        return paths
    paths._src_indices, paths._tgt_indices = (mi.UInt(index.astype(np.uint32)) for index in (source, target))
    for level, (edge, point) in enumerate(zip(wedges, points, strict=True)):
        index = dr.arange(mi.UInt, rows) * paths.depth_dim_size + level
        for tensor, values in (
            (paths._interaction_types, dr.full(mi.UInt, InteractionType.DIFFRACTION, rows)),
            (paths._shapes, dr.reinterpret_array(mi.UInt, edge.shape)),
            (paths._primitives, edge.prim0),
            *zip((paths._vertices_x, paths._vertices_y, paths._vertices_z), point, strict=True),
        ):
            dr.scatter(tensor.array, values, index)
    paths._probs = dr.full(mi.TensorXf, 1.0, [rows, paths.depth_dim_size])
    paths._diffracting_wedges, paths._paths_counter = wedges[0], mi.UInt(rows)
    return paths


def by_scatterers(
    target: np.ndarray,
    source: np.ndarray,
    shape: np.ndarray,
    primitive: np.ndarray,
    position: np.ndarray,
    weight: np.ndarray,
    depth: int,
    diffraction: bool,
) -> PathsBuffer:
    """Paths by way of one scatterer each, in sight of both ends, as Sionna's search leaves them.

    `weight` multiplies the power that Sionna gives to one of its rays: it takes the inverse for the probability by
    which a ray was drawn. `position` (row, 3) in metres.
    """
    rows = len(target)
    paths = PathsBuffer(rows, depth, diffraction)
    if not rows:
        return paths
    paths._src_indices, paths._tgt_indices = (mi.UInt(index.astype(np.uint32)) for index in (source, target))
    first = dr.arange(mi.UInt, rows) * paths.depth_dim_size
    for tensor, values in (
        (paths._interaction_types, dr.full(mi.UInt, InteractionType.DIFFUSE, rows)),
        (paths._shapes, mi.UInt(shape.astype(np.uint32))),
        (paths._primitives, mi.UInt(primitive.astype(np.uint32))),
    ):
        dr.scatter(tensor.array, values, first)
    for tensor, values in zip((paths._vertices_x, paths._vertices_y, paths._vertices_z), position.T, strict=True):
        dr.scatter(tensor.array, mi.Float(values.astype(np.float32)), first)
    paths._probs = dr.full(mi.TensorXf, 1.0, [rows, paths.depth_dim_size])
    dr.scatter(paths._probs.array, mi.Float((1 / weight).astype(np.float32)), first)
    paths._valid, paths._paths_counter = dr.full(mi.Bool, True, rows), mi.UInt(rows)
    return paths


def joined(first: PathsBuffer, second: PathsBuffer) -> PathsBuffer:
    """Candidates of two buffers of the same depth in one; both know edges, or neither."""
    if not first.buffer_size or not second.buffer_size:
        return first if first.buffer_size else second
    rows, depth = first.buffer_size + second.buffer_size, first.depth_dim_size
    one, other = first.diffracting_wedges, second.diffracting_wedges
    paths = PathsBuffer(rows, first.max_depth, one is not None)
    for name in _ROWS:
        setattr(paths, name, dr.concat((getattr(first, name), getattr(second, name))))
    for name in _TENSORS:
        tensors = [getattr(part, name) for part in (first, second)]
        setattr(paths, name, type(tensors[0])(dr.concat(tuple(t.array for t in tensors)), shape=(rows, depth)))
    paths._paths_counter = mi.UInt(rows)
    if one is None:
        return paths
    parts = [(getattr(one, part.name), getattr(other, part.name)) for part in fields(WedgeGeometry)]
    paths._diffracting_wedges = WedgeGeometry(*(_concatenated(*pair) for pair in parts))
    return paths


@dataclass(frozen=True)
class MixedEdges:
    """Candidates around an edge with other interactions besides."""

    row: np.ndarray
    """(candidate,) in the buffer"""
    level: np.ndarray
    """(candidate,) which interaction the edge is, from 0"""
    origin: np.ndarray
    direction: np.ndarray
    length: np.ndarray
    normal: np.ndarray
    """(candidate, 3) of the first face; as the edge's origin and direction"""


def split_off_edges(paths: PathsBuffer) -> tuple[np.ndarray, MixedEdges]:
    """Rows without an edge, and those with an edge and more."""
    if not paths.buffer_size:
        none, vectors = np.zeros(0, np.int64), np.zeros((0, 3))
        return none, MixedEdges(none, none, vectors, vectors, np.zeros(0), vectors)
    kind = paths.interaction_types.numpy()
    edge = kind == InteractionType.DIFFRACTION
    row = np.flatnonzero(edge.any(1) & ((kind != InteractionType.NONE).sum(1) > 1))
    wedge = paths.diffracting_wedges

    def read(v):
        return np.stack([np.asarray(axis.numpy()) for axis in v], -1)[row].astype(np.float64)

    length = np.asarray(wedge.length.numpy())[row].astype(np.float64)
    mixed = MixedEdges(row, edge[row].argmax(1), read(wedge.o), read(wedge.e_hat), length, read(wedge.n0))
    return np.flatnonzero(~edge.any(1)), mixed


def at_wedges(paths: PathsBuffer, row: np.ndarray, level: np.ndarray, wedges: WedgeGeometry) -> PathsBuffer:
    """Candidates of some rows, around other edges at `level` (from 0)."""
    paths = paths.gather(mi.UInt(row.astype(np.uint32)))
    if len(row):
        index = mi.UInt((np.arange(len(row)) * paths.depth_dim_size + level).astype(np.uint32))
        dr.scatter(paths._shapes.array, dr.reinterpret_array(mi.UInt, wedges.shape), index)
        dr.scatter(paths._primitives.array, wedges.prim0, index)
        paths._diffracting_wedges = wedges
    return paths


def _concatenated(first: Column, second: Column) -> Column:
    """One after the other, for numbers, vectors and pointers to meshes."""
    if isinstance(first, mi.MeshPtr):
        numbers = (dr.reinterpret_array(mi.UInt, first), dr.reinterpret_array(mi.UInt, second))
        return dr.reinterpret_array(mi.MeshPtr, dr.concat(numbers))
    if isinstance(first, mi.Float | mi.UInt):
        return dr.concat((first, second))
    return type(first)(*(dr.concat(axes) for axes in zip(first, second, strict=True)))


def _uint(values: Tensor) -> mi.UInt:
    return mi.UInt(values.numpy().astype(np.uint32))
