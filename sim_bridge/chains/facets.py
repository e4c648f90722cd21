"""The triangles of a scene and the planes they lie in, of which chains of reflections are made."""

import re
from dataclasses import dataclass
from functools import cached_property

import drjit as dr
import mitsuba as mi
import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy.spatial import KDTree
from torch import Tensor

from sim_bridge.backend.candidate_buffers import PlaneTable
from sim_bridge.backend.path_buffers import to_drjit, to_numpy

NORMAL_STEPS, OFFSET_STEPS = 1e3, 1e2  # per unit, per m: planes are one whose normals and offsets round alike
NEXT_PLANE_STEPS = 5.0  # between two planes that are next to the same


@dataclass(frozen=True)
class Facets:
    """Triangles of all meshes, the same in every process; number = `base` of the mesh + its primitive's index."""

    corner: np.ndarray
    """(triangle, 3, 3) in metres"""
    normal: np.ndarray
    """(triangle, 3) unit vectors, of either sign"""
    plane: np.ndarray
    """(triangle,) index of the plane it lies in"""
    first: np.ndarray
    """(plane,) one triangle of each plane"""
    shape: np.ndarray
    """(triangle,) Mitsuba's number of its mesh, as long as this scene lives"""
    primitive: np.ndarray
    """(triangle,) its index in the mesh"""
    base: np.ndarray
    """(mesh number,) number of the mesh's first triangle"""

    @staticmethod
    def from_scene(scene: mi.Scene) -> "Facets":
        """Read all meshes of a scene."""
        meshes = sorted(scene.shapes(), key=_sort_key)
        if not meshes:
            return _no_facets()
        corner = np.concatenate([_corners(mesh) for mesh in meshes]).astype(np.float64)
        count = [mesh.face_count() for mesh in meshes]
        number = [mesh_number(mesh) for mesh in meshes]
        base = np.zeros(max(number) + 1, np.int64)
        base[number] = np.cumsum([0, *count[:-1]])
        normal = _normals(corner)
        plane, first = _planes(corner, normal)
        primitive = np.concatenate([np.arange(n) for n in count])
        return Facets(corner, normal, plane, first, np.repeat(number, count), primitive, base)

    @staticmethod
    def from_corners(corner: np.ndarray) -> "Facets":
        """Triangles (triangle, 3, 3) of one mesh that no scene holds, m."""
        corner = np.asarray(corner, np.float64).reshape(-1, 3, 3)
        normal, primitive = _normals(corner), np.arange(len(corner))
        plane, first = _planes(corner, normal)
        return Facets(corner, normal, plane, first, np.zeros_like(primitive), primitive, np.zeros(1, np.int64))

    @property
    def extent(self) -> float:
        """Side in metres of the square around the origin that holds all triangles."""
        return 2 * float(np.abs(self.corner[..., :2]).max(initial=0.0))

    @cached_property
    def plane_table(self) -> PlaneTable:
        """The planes, for Dr.Jit."""
        low, high = _boxes(self)
        shape, primitive = (mi.UInt(values[self.first].astype(np.uint32)) for values in (self.shape, self.primitive))
        corner, normal = self.corner[self.first, 0], self.normal[self.first]
        points = (to_drjit(mi.Point3f, rows) for rows in (low, high))
        return PlaneTable(shape, primitive, to_drjit(mi.Point3f, corner), to_drjit(mi.Vector3f, normal), *points)

    def number(self, shape: Int[Tensor, "*n"], primitive: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Numbers of triangles that Mitsuba knows by mesh and index."""
        return torch.from_numpy(self.base)[shape] + primitive

    def values_at(self, values: np.ndarray, triangle: Int[Tensor, "*n"]) -> Float64[Tensor, "*n 3"]:
        """Values of triangles; 0 in a scene that has none."""
        values = values if len(values) else np.zeros((1, 3))
        return torch.from_numpy(values)[triangle]


def mesh_number(mesh: mi.Mesh) -> int:
    """Mitsuba's number of a mesh, as long as its scene lives."""
    return int(to_numpy(dr.reinterpret_array(mi.UInt, mi.ShapePtr(mesh)))[0])


def _no_facets() -> Facets:
    none = np.zeros(0, np.int64)
    return Facets(np.zeros((0, 3, 3)), np.zeros((0, 3)), none, none, none, none, np.zeros(1, np.int64))


def _sort_key(mesh: mi.Mesh) -> tuple[str, str, bytes]:
    """By name, or by material where Mitsuba merged all meshes of one.

    It merges, and numbers what it merged, in another order every time that a scene is loaded.
    """
    name, merged = str(mesh.id()), re.fullmatch(r"no-name-\d+", mesh.id())
    return ("" if merged else name), str(mesh.bsdf().id()), _corners(mesh).tobytes() if merged else b""


def _corners(mesh: mi.Mesh) -> np.ndarray:
    parameters = mi.traverse(mesh)
    faces = np.asarray(parameters["faces"]).reshape(-1, 3)
    return np.asarray(parameters["vertex_positions"]).reshape(-1, 3)[faces]


def _normals(corner: np.ndarray) -> np.ndarray:
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _planes(corner: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each triangle's plane, and the first triangle of each plane."""
    _, first, plane = np.unique(_plane_keys(corner, normal), axis=0, return_index=True, return_inverse=True)
    return plane.reshape(-1), first


def _plane_keys(corner: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Normal and distance from the origin of triangles' planes in whole steps."""
    normal = same_side(normal)
    offset = (normal * corner[:, 0]).sum(1)
    return np.concatenate([np.round(normal * NORMAL_STEPS), np.round(offset * OFFSET_STEPS)[:, None]], 1).astype(
        np.int64
    )


def _boxes(facets: Facets) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinates (plane, 3) of the triangles in each plane and in planes next to the same, off
    which the image method takes a reflection for one off the plane itself (m)."""
    low, high = np.full((len(facets.first), 3), np.inf), np.full((len(facets.first), 3), -np.inf)
    np.minimum.at(low, facets.plane, facets.corner.min(1))
    np.maximum.at(high, facets.plane, facets.corner.max(1))
    key = _plane_keys(facets.corner[facets.first], facets.normal[facets.first]).astype(np.float64)
    near = KDTree(key).query_pairs(NEXT_PLANE_STEPS, output_type="ndarray")
    one, other = np.concatenate([near, near[:, ::-1]]).T
    around = low.copy(), high.copy()
    np.minimum.at(around[0], one, low[other])
    np.maximum.at(around[1], one, high[other])
    return around


def same_side(normal: np.ndarray) -> np.ndarray:
    """Normals (n, 3) alike for both sides of a wall: the last component that is not zero is positive."""
    flip = np.zeros(len(normal), bool)
    for component in normal.T:
        flip = np.where(np.abs(component) > 1e-4, component < 0, flip)
    return np.where(flip[:, None], -normal, normal)
