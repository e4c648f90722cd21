"""Mesh parts, of which a tile consists: triangles of one kind (terrain or building) and one material."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import trimesh
from jaxtyping import Float, Integer
from trimesh.exchange.ply import export_ply
from trimesh.intersections import slice_faces_plane

MeshKind = Literal["terrain", "building"]
Array = np.ndarray


@dataclass(frozen=True)
class MeshPart:
    """Triangles that share kind and material; vertices in metres, x east, y north, z up."""

    kind: MeshKind
    material: str
    vertices: Float[Array, "vertex 3"]
    faces: Integer[Array, "face 3"]
    label: str = ""
    """distinguishes parts of the same kind and material; fit for a file name: `way-1-roof`"""

    @property
    def name(self) -> str:
        """Kind and label, or kind and material without a label: the name of its file."""
        return f"{self.kind}-{self.label or self.material}"

    @property
    def triangles(self) -> Float[Array, "face 3 3"]:
        """Corners of every triangle in metres."""
        return self.vertices[self.faces]

    def to_ply(self) -> bytes:
        """Binary PLY file with single-precision vertices and faces only."""
        mesh = trimesh.Trimesh(self.vertices, self.faces, process=False)
        return export_ply(mesh, vertex_normal=False, include_attributes=False)


def merge_parts(parts: Iterable[MeshPart]) -> list[MeshPart]:
    """One part per kind and material, without a label, in order of first appearance."""
    groups: dict[tuple[MeshKind, str], list[MeshPart]] = {}
    for part in parts:
        groups.setdefault((part.kind, part.material), []).append(part)
    return [_concatenate(group) for group in groups.values()]


def _concatenate(group: list[MeshPart]) -> MeshPart:
    first = np.cumsum([0, *(len(part.vertices) for part in group)])
    faces = [part.faces + offset for part, offset in zip(group, first[:-1], strict=True)]
    vertices = np.concatenate([part.vertices for part in group])
    return MeshPart(group[0].kind, group[0].material, vertices, np.concatenate(faces))


def recentre_part(part: MeshPart, center: tuple[float, float]) -> MeshPart:
    """The part with its origin moved horizontally to `center` (metres)."""
    vertices = part.vertices.astype(np.float64) - np.array([*center, 0.0])
    return replace(part, vertices=vertices)


def cut_part(part: MeshPart, half: float) -> MeshPart:
    """The piece of a part in the square |x|, |y| ≤ `half` metres; walls that cross its edge are left open there."""
    vertices, faces = part.vertices, part.faces
    for inward in np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]):
        # Trimesh.slice_plane calls this function, but always imports shapely.
        vertices, faces, _ = slice_faces_plane(vertices, faces, inward, -half * inward)
    return replace(part, vertices=vertices, faces=faces)
