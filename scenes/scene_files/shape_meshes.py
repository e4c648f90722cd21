"""Triangles of a scene's shapes in metres, and which of them are the ground."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from trimesh.exchange.ply import load_ply

from scenes.mesh.mesh_parts import Array, MeshKind, MeshPart
from scenes.scene_files.mitsuba_reader import SceneDescription, SceneShape
from uel.core.display.progress import with_progress
from uel.errors import UelError

TERRAIN_SHAPES = ("ground", "plane", "terrain")  # names of the ground's shape in Sionna's cities
GROUND_WORDS = re.compile(
    r"(^|[^a-z])(ground|plane|terrain|floor|dem|dtm|road|roads|street|sidewalk|grass|water)([^a-z]|$)"
)
FLAT_SHAPE = 2.0  # m of height up to which a wide shape is taken for the ground
WIDE_SHAPE = 0.5  # of the scene's extent, from which a flat shape is taken for the ground


@dataclass(frozen=True)
class ShapeMesh:
    """The triangles of one shape in the scene's metres."""

    id: str
    material: str
    vertices: Array
    faces: Array


def load_shapes(
    scene: SceneDescription, unit: float = 1.0, up: str = "z", *, progress: bool = False
) -> tuple[list[ShapeMesh], list[str]]:
    """The triangles of all shapes in metres, and the ids of shapes that have none.

    Args:
        scene: the description.
        unit: length of one unit of the scene in metres.
        up: axis that points up: `z`, or `y` as in exports of many modellers (then -z points north).
        progress: shows a bar on a terminal.

    Raises `UelError` for a mesh file that cannot be read, and for vertices that are not finite.
    """
    shapes = with_progress(scene.shapes, f"reading {scene.file.stem}", shown=progress)
    meshes = [_load(scene.file, shape, unit, up) for shape in shapes]
    return [mesh for mesh in meshes if len(mesh.faces)], [mesh.id for mesh in meshes if not len(mesh.faces)]


def _load(scene_file: Path, shape: SceneShape, unit: float, up: str) -> ShapeMesh:
    try:
        vertices, faces = _geometry(shape)
    except Exception as error:  # trimesh raises what its parsers raise
        got, do = f"{scene_file}: {shape.file}: {error!r}"[:500], "export the scene again, or copy the file again"
        raise UelError(f"a mesh of the scene cannot be read: {shape.id}", got=got, do=do) from error
    if not np.isfinite(vertices).all():
        wrong = int((~np.isfinite(vertices)).any(axis=1).sum())
        got = f"{scene_file}: {shape.file}: {wrong} of {len(vertices)} vertices"
        raise UelError(
            f"a mesh of the scene has vertices that are not finite: {shape.id}", got=got, do="export it again"
        )
    if not np.array_equal(shape.to_world, np.eye(4)):
        vertices = vertices @ shape.to_world[:3, :3].T + shape.to_world[:3, 3]
    if up == "y":
        vertices = np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=1)
    return ShapeMesh(shape.id, shape.material, vertices if unit == 1.0 else vertices * unit, faces)


def _geometry(shape: SceneShape) -> tuple[Array, Array]:
    """Vertices and triangles in the shape's own coordinates."""
    if shape.type == "rectangle":  # from -1 to 1 in x and y
        corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        return corners, np.array([[0, 1, 2], [0, 2, 3]])
    if shape.type == "cube":  # from -1 to 1
        box = trimesh.creation.box(extents=(2.0, 2.0, 2.0))
        return np.asarray(box.vertices), np.asarray(box.faces)
    assert shape.file is not None, "a mesh has a file"
    if shape.type == "ply":
        with shape.file.open("rb") as stream:
            mesh = load_ply(stream)
        vertices, faces = np.asarray(mesh["vertices"]), np.asarray(mesh.get("faces", np.zeros((0, 3), np.int64)))
    else:
        loaded = trimesh.load(shape.file, file_type="obj", force="mesh", process=False, skip_materials=True)
        vertices, faces = np.asarray(loaded.vertices), np.asarray(loaded.faces)  # type: ignore[union-attr]
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"a face refers to vertex {int(faces.max())} of {len(vertices)}")
    return vertices, faces


def ground_shapes(meshes: list[ShapeMesh]) -> set[str]:
    """Ids of the shapes that are the ground: by their names, or flat, low and wide.

    Sionna's names come first (`TERRAIN_SHAPES`), then names with a word of `GROUND_WORDS`, then geometry. Empty where
    no shape is the ground.
    """
    exact = {mesh.id for mesh in meshes if mesh.id.lower() in TERRAIN_SHAPES}
    named = exact or {mesh.id for mesh in meshes if GROUND_WORDS.search(mesh.id.lower()) and _is_level(mesh)}
    if named or not meshes:
        return named
    low, high = (np.stack([bound(mesh.vertices, axis=0) for mesh in meshes]) for bound in (np.min, np.max))
    extent = high.max(axis=0) - low.min(axis=0)
    is_flat = high[:, 2] - low[:, 2] <= FLAT_SHAPE
    is_low = low[:, 2] <= low[:, 2].min() + FLAT_SHAPE
    is_wide = ((high - low)[:, :2] >= WIDE_SHAPE * extent[:2]).all(axis=1)
    return {mesh.id for mesh, is_ground in zip(meshes, is_flat & is_low & is_wide, strict=True) if is_ground}


def _is_level(mesh: ShapeMesh) -> bool:
    """Whether most of a shape's surface is level: `water tower` and `street lamp` are no ground."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    return bool(np.abs(normal[:, 2]).sum() > 0.7 * area.sum())  # cos 45°


def parts_of(meshes: Iterable[ShapeMesh], ground: set[str], names: Mapping[str, str]) -> list[MeshPart]:
    """One part for each shape; `names` are the tile's names of the scene's materials."""
    return [MeshPart(_kind(mesh, ground), names[mesh.material], mesh.vertices, mesh.faces) for mesh in meshes]


def _kind(mesh: ShapeMesh, ground: set[str]) -> MeshKind:
    return "terrain" if mesh.id in ground else "building"
