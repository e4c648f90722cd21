"""Triangles of a tile's buildings, read from its PLY files."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from uel.geo.scene_files import TriangleMesh, read_ply, scene_meshes
from uel.geo.tile import Tile


@dataclass(frozen=True, eq=False)
class TileMesh:
    """Triangles of buildings, clipped to the tile."""

    corner: Float[np.ndarray, "face 3 3"]
    """m"""
    material: Int[np.ndarray, " face"]
    """index into `names`"""
    names: tuple[str, ...]
    """of materials"""


def read_buildings(tile: Tile) -> TileMesh:
    """The buildings of a tile. Raises `UelError` where a mesh is missing or damaged."""
    corners, indices, names = [np.zeros((0, 3, 3))], [np.zeros(0, dtype=np.int64)], []
    for file, material in scene_meshes(tile):
        if file.name.startswith("terrain"):
            continue
        if material not in names:
            names.append(material)
        corners.append(clip_to_square(_triangles(read_ply(file)), tile.size / 2))
        indices.append(np.full(len(corners[-1]), names.index(material)))
    return TileMesh(np.concatenate(corners), np.concatenate(indices), tuple(names))


def _triangles(mesh: TriangleMesh) -> Float[np.ndarray, "face 3 3"]:
    return mesh.vertex[mesh.face]


def clip_to_square(triangle: Float[np.ndarray, "face 3 3"], half: float) -> Float[np.ndarray, "kept 3 3"]:
    """Triangles clipped to the square |x|, |y| ≤ `half` m."""
    for axis, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)):
        triangle = _cut_at(triangle, half - sign * triangle[:, :, axis])
    return triangle


def _cut_at(triangle: Float[np.ndarray, "face 3 3"], inside: Float[np.ndarray, "face 3"]) -> np.ndarray:
    """The parts of triangles where `inside`, linear on each, is not negative; a quadrangle becomes two triangles."""
    kept = (inside >= 0).sum(1)
    parts = [triangle[kept == 3]]
    for count in (1, 2):  # corners inside
        some = kept == count
        odd = ((inside[some] >= 0) == (count == 1)).argmax(1)  # the corner that is alone on its side
        turn = (odd[:, None] + np.arange(3)) % 3
        corner = np.take_along_axis(triangle[some], turn[..., None], 1)
        level = np.take_along_axis(inside[some], turn, 1)
        share = level[:, :1] / (level[:, :1] - level[:, 1:])
        first, second = (corner[:, 0] + share[:, k, None] * (corner[:, k + 1] - corner[:, 0]) for k in (0, 1))
        if count == 1:
            parts.append(np.stack([corner[:, 0], first, second], 1))
        else:
            parts.append(np.stack([first, corner[:, 1], corner[:, 2]], 1))
            parts.append(np.stack([first, corner[:, 2], second], 1))
    return np.concatenate(parts)
