"""Parts: the triangles of one kind (terrain or building) and one material; a tile is made of them."""

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
    """what sets it apart from others of its kind and material, fit for a file name: `way-1-roof`"""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.label or self.material}"

    @property
    def triangles(self) -> Float[Array, "face 3 3"]:
        """Corners of every triangle in metres."""
        return self.vertices[self.faces]

    def ply(self) -> bytes:
        """Binary PLY with single-precision vertices and nothing else."""
        mesh = trimesh.Trimesh(self.vertices, self.faces, process=False)
        return export_ply(mesh, vertex_normal=False, include_attributes=False)


def merge_parts(parts: Iterable[MeshPart]) -> list[MeshPart]:
    """One part per kind and material, without a label, in the order in which these first appear."""
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
    """The part with `center` (metres) as its origin; elevations stay."""
    moved = part.vertices.astype(np.float64) - np.array([*center, 0.0])
    return replace(part, vertices=moved)


def cut_part(part: MeshPart, half: float) -> MeshPart:
    """What lies in the square |x|, |y| ≤ `half` metres; a wall that straddles its edge is left open there."""
    vertices, faces = part.vertices, part.faces
    for inward in np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]):
        # The function below Trimesh.slice_plane, which imports shapely even where it needs none.
        vertices, faces, _ = slice_faces_plane(vertices, faces, inward, -half * inward)
    return replace(part, vertices=vertices, faces=faces)
