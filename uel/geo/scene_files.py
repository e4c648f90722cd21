"""The files that a tile is traced from, `scene.xml` and its meshes, checked before a ray tracer in C++ reads them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float, Int

from uel.core.outside.xml_text import read_xml
from uel.errors import UelError

if TYPE_CHECKING:
    from uel.geo.tile import Tile

PLY_TYPES = {"float": "<f4", "double": "<f8", "uchar": "u1", "int": "<i4", "uint": "<u4"}
MAX_COORDINATE = 1e6  # m from the tile's centre
SCENE_FILE = "scene.xml"
ELEMENTS_IN_SCENES = {"shape", "bsdf"}  # that a tile's scene consists of; Mitsuba has others that read files


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """The content of a PLY file."""

    vertex: Float[np.ndarray, "vertex 3"]
    """m"""
    face: Int[np.ndarray, "face 3"]
    """numbers of vertices"""


def require_sound_scene(tile: "Tile") -> None:
    """Raise `UelError` unless the scene's files are those that the tile was written with, and a ray tracer can use
    them: every mesh lies in the tile's folder, is whole, has finite corners, and faces of vertices that there are."""
    tile.require_files(SCENE_FILE)
    meshes = [file for file, _ in scene_meshes(tile)]
    tile.require_files(*(file.relative_to(tile.folder.resolve()).as_posix() for file in meshes))
    for file in meshes:
        read_ply(file)


def scene_meshes(tile: "Tile") -> list[tuple[Path, str]]:
    """Files of a tile's meshes and their materials. Raises `UelError` for a scene of anything else."""
    root = read_xml(tile.scene_file)
    if root.tag != "scene" or (others := {element.tag for element in root} - ELEMENTS_IN_SCENES):
        got = root.tag if root.tag != "scene" else ", ".join(sorted(others))[:200]
        raise _damaged(tile.scene_file, f"elements that a tile's scene does not have: {got}")
    strings = [e.get("name") for bsdf in root.findall("bsdf") for e in bsdf.iter("string")]
    if "filename" in strings or root.find(".//include") is not None:
        raise _damaged(tile.scene_file, "a material that is read from a file")
    return [(_mesh_file(tile, shape), _material(tile, shape)) for shape in root.findall("shape")]


def _mesh_file(tile: "Tile", shape: Element) -> Path:
    named = [e for e in shape.findall("string") if e.get("name") == "filename"]
    if shape.get("type") != "ply" or len(named) != 1:
        raise _damaged(tile.scene_file, f"a shape of type {shape.get('type')!r} with {len(named)} files")
    file = (tile.folder / named[0].get("value", "")).resolve()
    if not file.is_relative_to(tile.folder.resolve()):
        raise UelError("the tile's scene names a mesh outside its folder", got=str(file), do="build the tile again")
    return file


def _material(tile: "Tile", shape: Element) -> str:
    named = shape.find("ref")
    if named is None or not named.get("id"):
        raise _damaged(tile.scene_file, "a shape without a material")
    return named.attrib["id"]


def read_ply(file: Path) -> TriangleMesh:
    """The triangles in a binary little-endian PLY file whose faces are all triangles.

    Raises `UelError` for a file that is missing, not as long as its header says, has a corner that is not finite or
    farther than 1000 km off, and a face of a vertex that it does not have.
    """
    try:
        content = file.read_bytes()
        head, mark, body = content.partition(b"end_header\n")
        lines = [line.split() for line in head.decode("ascii").splitlines()]
        if not mark or ["format", "binary_little_endian", "1.0"] not in lines:
            raise ValueError("not a binary little-endian PLY file")
        counts = {line[1]: int(line[2]) for line in lines if line[:1] == ["element"]}
        fields = [(line[2], PLY_TYPES[line[1]]) for line in lines if line[:1] == ["property"] and line[1] in PLY_TYPES]
        layout = np.dtype([("corners", "u1"), ("index", "<i4", 3)])
        expected = counts["vertex"] * np.dtype(fields).itemsize + counts["face"] * layout.itemsize
        if min(counts.values()) < 0 or len(body) != expected:
            raise ValueError(f"{len(body)} bytes of vertices and faces instead of {expected}")
        vertex = np.frombuffer(body, dtype=fields, count=counts["vertex"])
        face = np.frombuffer(body, dtype=layout, count=counts["face"], offset=vertex.nbytes)
        corner = np.stack([vertex[axis] for axis in "xyz"], -1).astype(np.float64)
        _require_mesh(corner, face["corners"], face["index"])
        return TriangleMesh(corner, face["index"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UelError("this mesh cannot be read", got=f"{file}: {error}", do="build the tile again") from error


def _require_mesh(corner: np.ndarray, corners: np.ndarray, index: np.ndarray) -> None:
    """Raise `ValueError` for what a ray tracer would read memory by that is not the mesh's."""
    if not (corners == 3).all():
        raise ValueError("faces of other than three corners")
    if not (np.abs(corner) <= MAX_COORDINATE).all():  # False for NaN
        raise ValueError(f"a vertex that is not finite, or farther than {MAX_COORDINATE:g} m off")
    if index.size and not 0 <= index.min() <= index.max() < len(corner):
        raise ValueError(f"a face of vertex {index.max() if index.min() >= 0 else index.min()} of {len(corner)}")


def _damaged(file: Path, got: str) -> UelError:
    return UelError("the tile's scene is damaged", got=f"{file}: {got}", do="build the tile again: uel build")
