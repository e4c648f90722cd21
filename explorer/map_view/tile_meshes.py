"""Triangles of a tile's buildings, read from its PLY files."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int

from uel.errors import UelError
from uel.geo.tile import Tile

PLY_TYPES = {"float": "<f4", "double": "<f8", "uchar": "u1", "int": "<i4", "uint": "<u4"}


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
    for file, material in _shapes(tile):
        if file.name.startswith("terrain"):
            continue
        if material not in names:
            names.append(material)
        corners.append(clip_to_square(read_ply(file), tile.size / 2))
        indices.append(np.full(len(corners[-1]), names.index(material)))
    return TileMesh(np.concatenate(corners), np.concatenate(indices), tuple(names))


def _shapes(tile: Tile) -> list[tuple[Path, str]]:
    """Files of meshes and their materials."""
    try:
        root = ElementTree.parse(tile.scene_file).getroot()
        return [(_file(tile, shape), _reference(shape)) for shape in root.findall("shape")]
    except (OSError, ElementTree.ParseError, KeyError, AttributeError) as error:
        raise UelError(
            "this tile's scene cannot be read", got=f"{tile.folder}: {error!r}", do="build it again"
        ) from error


def _file(tile: Tile, shape: ElementTree.Element) -> Path:
    found = shape.find("string[@name='filename']")
    assert found is not None
    file = (tile.folder / found.attrib["value"]).resolve()
    if not file.is_relative_to(tile.folder.resolve()):
        raise UelError("the tile's scene names a mesh outside its folder", got=str(file), do="build the tile again")
    return file


def _reference(shape: ElementTree.Element) -> str:
    found = shape.find("ref")
    assert found is not None
    return found.attrib["id"]


def read_ply(file: Path) -> Float[np.ndarray, "face 3 3"]:
    """Corners in metres of the triangles in a binary little-endian PLY file whose faces are all triangles."""
    try:
        content = file.read_bytes()
        head, _, body = content.partition(b"end_header\n")
        lines = [line.split() for line in head.decode("ascii").splitlines()]
        counts = {line[1]: int(line[2]) for line in lines if line[:1] == ["element"]}
        fields = [(line[2], PLY_TYPES[line[1]]) for line in lines if line[:1] == ["property"] and line[1] in PLY_TYPES]
        vertex = np.frombuffer(body, dtype=fields, count=counts["vertex"])
        layout = [("corners", "u1"), ("index", "<i4", 3)]
        face = np.frombuffer(body, dtype=layout, count=counts["face"], offset=vertex.nbytes)
        assert (face["corners"] == 3).all(), "faces of other than three corners"
        return np.stack([vertex[axis] for axis in "xyz"], -1).astype(np.float64)[face["index"]]
    except (OSError, ValueError, KeyError, IndexError, AssertionError) as error:
        raise UelError("this mesh cannot be read", got=f"{file}: {error}", do="build the tile again") from error


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
