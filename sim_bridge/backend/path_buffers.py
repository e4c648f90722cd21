"""Readers of Sionna's buffers of paths: each path once, and their receivers and cells."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import drjit as dr
import mitsuba as mi
import numpy as np
import torch
from sionna.rt.constants import InteractionType
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from torch import Tensor

from sim_bridge.backend.unique_rows import unique_rows

Vector = TypeVar("Vector")
INTERACTION_KINDS = (
    InteractionType.SPECULAR,
    InteractionType.REFRACTION,
    InteractionType.DIFFRACTION,
    InteractionType.DIFFUSE,
)  # in the order of `PathSet.interactions`
SAME_VERTEX = 0.05  # m: two paths of a link by way of an edge are one where their vertices are this near


def unique_paths(paths: PathsBuffer, base: np.ndarray) -> np.ndarray:
    """Rows of a buffer of paths, each path once. Of those with the same ends and the same primitives in the same order,
    the first.

    Scattered paths are samples of a continuum and stay; at an edge, the vertex tells paths apart. Rows are in an
    order that does not depend on Mitsuba's numbers of meshes, which `base` replaces (`Facets.base`).
    """
    if not paths.buffer_size:
        return np.zeros(0, np.int64)
    shape = (paths.buffer_size, paths.depth_dim_size)
    kind = to_numpy(paths.interaction_types.array).reshape(shape)
    columns = [to_numpy(paths.target_indices)[:, None], to_numpy(paths.source_indices)[:, None], kind]
    mesh, primitive = (to_numpy(v.array).reshape(shape) for v in (paths.shapes, paths.primitives))
    columns += [base[np.where(kind > 0, mesh, 0)] * (kind > 0), np.where(kind > 0, primitive, 0)]
    edge = kind == InteractionType.DIFFRACTION
    for values in (paths.vertices_x, paths.vertices_y, paths.vertices_z):
        columns.append(np.where(edge, np.round(to_numpy(values.array).reshape(shape) / SAME_VERTEX), 0))
    rows = np.concatenate([part.astype(np.int64) for part in columns], axis=1)
    first, _ = unique_rows(rows)
    scattered = np.flatnonzero((kind == InteractionType.DIFFUSE).any(1))
    return np.concatenate([first, np.setdiff1d(scattered, first)])


def receiver_and_cell(paths: PathsBuffer, count: int) -> tuple[Tensor, Tensor]:
    """Receiver and cell of the first `count` paths."""
    columns = (paths.target_indices, paths.source_indices)
    target, source = (torch.from_numpy(to_numpy(v)[:count].astype(np.int64)) for v in columns)
    return target, source


def interaction_counts(paths: PathsBuffer, count: int) -> Tensor:
    """Number of times that each kind of `INTERACTION_KINDS` occurs on the first `count` paths, `path kind`."""
    kind = to_numpy(paths.interaction_types.array).reshape(paths.buffer_size, paths.depth_dim_size)[:count]
    return torch.from_numpy(np.stack([(kind == interaction).sum(1) for interaction in INTERACTION_KINDS], -1))


def interaction_surfaces(paths: PathsBuffer, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Kind, mesh and primitive of every interaction of the first `count` paths, `path depth`; 0 where there is none."""
    shape = (paths.buffer_size, paths.depth_dim_size)

    def read(values):
        return torch.from_numpy(to_numpy(values.array).astype(np.int64)).view(shape)[:count]

    kind = read(paths.interaction_types)
    return kind, torch.where(kind > 0, read(paths.shapes), 0), torch.where(kind > 0, read(paths.primitives), 0)


def vertices(paths: PathsBuffer, count: int) -> Tensor:
    """Vertices of the first `count` paths, m, `path depth 3`; not to be read where `interaction_surfaces` has no
    kind."""
    shape = (paths.buffer_size, paths.depth_dim_size)
    axes = [to_numpy(v.array).reshape(shape)[:count] for v in (paths.vertices_x, paths.vertices_y, paths.vertices_z)]
    return torch.from_numpy(np.stack(axes, -1).astype(np.float32))


@dataclass(frozen=True, eq=False)
class EdgeFaces:
    """The edge that each row of a buffer goes around, if it does: as the edges of a scene were written into it."""

    origin: np.ndarray
    """(row, 3) m"""
    direction: np.ndarray
    """(row, 3)"""
    normal: np.ndarray
    """(row, face, 3) out of the solid"""
    triangle: np.ndarray
    """(row, face) numbers in `Facets`"""

    @staticmethod
    def of(paths: PathsBuffer, base: np.ndarray) -> "EdgeFaces | None":
        """Of all rows of a buffer; None where it has no edges. `base` is that of the scene's `Facets`."""
        if (wedge := paths.diffracting_wedges) is None:
            return None

        def read(vector: Iterable[mi.Float]) -> np.ndarray:
            return np.stack([to_numpy(axis) for axis in vector], -1).astype(np.float64)

        mesh = to_numpy(dr.reinterpret_array(mi.UInt, wedge.shape))
        first = base[np.minimum(mesh, len(base) - 1)] + to_numpy(wedge.prim0)
        triangle = np.stack([first, to_numpy(wedge.local_edge)], -1).astype(np.int64)
        return EdgeFaces(read(wedge.o), read(wedge.e_hat), np.stack([read(wedge.n0), read(wedge.nn)], 1), triangle)


def to_numpy(values: object) -> np.ndarray:
    """A Dr.Jit array in numpy."""
    return np.asarray(values.numpy())  # type: ignore[attr-defined]


def to_drjit(kind: type[Vector], rows: np.ndarray) -> Vector:
    """Rows of three coordinates as points, vectors or normals."""
    return kind(*(mi.Float(np.ascontiguousarray(axis, dtype=np.float32)) for axis in rows.T))
