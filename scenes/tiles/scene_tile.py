"""An existing Sionna or Mitsuba scene becomes a tile: its meshes, its radio materials, and where on earth it is."""

import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Transformer

from scenes.config import SceneFileConfig
from scenes.mesh.mesh_parts import MeshPart, merge_parts
from scenes.scene_files.mitsuba_reader import read_scene
from scenes.scene_files.shape_meshes import ShapeMesh, ground_shapes, load_shapes, parts_of
from scenes.tiles.mesh_tile import MeshSquare, SceneParts, terrain_bounds, write_mesh_tile
from scenes.tiles.metadata import bounding_box
from scenes.tiles.mitsuba_xml import material_bsdfs
from scenes.tiles.scene_materials import radio_bsdfs
from uel.core.io import file_hash
from uel.errors import UelError
from uel.geo.tile import Tile

SCENE_WIDTHS = (30.0, 50_000.0)  # m: a scene of other widths is in other units, or no city
BUILDING_HEIGHTS = (2.0, 1000.0)  # m: of the tallest thing above the lowest ground
MAX_DISTANCE_FROM_ORIGIN = 100_000.0  # m: beyond, single precision is coarser than a centimetre
LEVEL_BASES = 2.0  # m: between the bases of buildings that may stand on one plane
DEFAULT_SIDE = 512.0
GROUND_MATERIAL = "concrete"


def build_scene_tile(
    file: Path,
    folder: Path,
    name: str,
    config: SceneFileConfig,
    *,
    origin: tuple[float, float] | None = None,
    center: tuple[float, float] | None = None,
    size: float | None = None,
    margin: float = 128.0,
    pixel: float = 1.0,
    progress: bool = True,
) -> tuple[Tile, list[MeshPart]]:
    """Cut a square tile out of a scene and write it to `folder`.

    Args:
        file: the scene (.xml); its mesh files stand beside it.
        folder: of the tile.
        name: of the tile.
        config: how the scene is read.
        origin: latitude and longitude in degrees of the scene's point (0, 0); y is true north there. Without it the
            tile has no georeference.
        center: x and y in metres of the tile's centre in the scene; default: (0, 0), or the middle of the ground where
            the square would leave it.
        size: side in metres; default: 512, or what the ground allows.
        margin: width in metres of the border in which meshes are kept, as far as the scene extends.
        pixel: side of a raster pixel in metres.
        progress: shows a bar on a terminal.

    Returns:
        The tile, and the parts of which it consists.

    Raises:
        UelError: for what `read_scene_parts` refuses, and when the ground does not cover the square or no building is
            in it.
    """
    scene = read_scene_parts(file, config, progress=progress)
    side = size or _default_side(scene.parts, pixel)
    square = MeshSquare(center or _default_center(scene.parts, side), side, margin, pixel)
    return write_mesh_tile(folder, scene, square, _metadata(scene, file, name, origin, square))


def scene_hashes(file: Path) -> dict[str, str]:
    """SHA-256 of a scene's file and of its mesh files, by path beside it. Raises `UelError` as `read_scene`."""
    paths = (file, *read_scene(file).mesh_files)
    return {os.path.relpath(path, file.parent): file_hash(path) for path in paths}


def read_scene_parts(file: Path, config: SceneFileConfig, *, progress: bool = False) -> SceneParts:
    """Read a scene's meshes, merged by kind and material, in its metres.

    Raises `UelError` for what `read_scene`, `load_shapes` and `radio_bsdfs` refuse, for a size that no city has (wrong
    units, y up), and for a scene without a ground whose buildings stand at different heights.
    """
    description = read_scene(file)
    meshes, empty = load_shapes(description, config.unit, config.up, progress=progress)
    ground = ground_shapes(meshes)
    _require_plausible(file, meshes, ground)
    materials = radio_bsdfs(description.materials, {mesh.material for mesh in meshes}, config.material_classes, file)
    names = {identity: name for identity, (name, _) in materials.items()}
    bsdfs = dict([*materials.values()][::-1])  # of two that have one name the first counts
    parts = merge_parts(parts_of(meshes, ground, names))
    notes = [f"shapes without triangles: {', '.join(empty)}"] if empty else []
    if not ground:
        parts = [_flat_ground(file, meshes), *parts]
        bsdfs = {**material_bsdfs([GROUND_MATERIAL]), **bsdfs}
        notes.append("no shape is the ground: a plane of concrete at the buildings' bases stands in for it")
    return SceneParts(file.stem, parts, bsdfs, tuple(notes))


def _require_plausible(file: Path, meshes: list[ShapeMesh], ground: set[str]) -> None:
    """Raise `UelError` for a scene that is too small, too large, too far away, or lies on its side."""
    if not meshes:
        raise UelError("the scene has no triangle", got=str(file), do="export its meshes again")
    low = np.min([mesh.vertices.min(axis=0) for mesh in meshes], axis=0).astype(float)
    high = np.max([mesh.vertices.max(axis=0) for mesh in meshes], axis=0).astype(float)
    wide, deep, tall = (high - low).tolist()
    got = f"{file}: {wide:g} × {deep:g} m, {tall:g} m high"
    if tall > 2 * min(wide, deep) and tall > SCENE_WIDTHS[0]:
        do = "give --scene.up y where y points up, or export the scene with z up"
        raise UelError("the scene is higher than it is wide: it may lie on its side", got=got, do=do)
    if not SCENE_WIDTHS[0] <= max(wide, deep) <= SCENE_WIDTHS[1]:
        do = "give the length of its unit in metres: --scene.unit 0.01 for centimetres, 1000 for kilometres"
        raise UelError("the scene has a size that no city has", got=got, do=do)
    if max(np.abs(low[:2]).max(), np.abs(high[:2]).max()) > MAX_DISTANCE_FROM_ORIGIN:
        where = f"x {low[0]:.0f} to {high[0]:.0f} m, y {low[1]:.0f} to {high[1]:.0f} m"
        do = "move the scene to its origin before it is exported, and give that point as --origin"
        raise UelError(
            "the scene is far from its origin, where single precision is coarse", got=f"{file}: {where}", do=do
        )
    _require_heights(file, meshes, ground)


def _require_heights(file: Path, meshes: list[ShapeMesh], ground: set[str]) -> None:
    heights = {mesh.id: float(np.ptp(mesh.vertices[:, 2])) for mesh in meshes if mesh.id not in ground}
    if not heights:
        got = f"{file}: ground: {', '.join(sorted(ground)[:5])}"
        raise UelError(
            "the scene has no building", got=got, do="give a scene with buildings, or name the ground's shape ground"
        )
    tallest = max(heights, key=lambda identity: heights[identity])
    if not BUILDING_HEIGHTS[0] <= heights[tallest] <= BUILDING_HEIGHTS[1]:
        do = "give the length of the scene's unit in metres: --scene.unit 0.3048 for feet, 0.01 for centimetres"
        got = f"{file}: the tallest shape, {tallest}, is {heights[tallest]:g} m high"
        raise UelError("the scene's buildings have heights that no city has", got=got, do=do)


def _flat_ground(file: Path, meshes: list[ShapeMesh]) -> MeshPart:
    """A plane beneath the buildings. Raises `UelError` where they do not stand on one."""
    base = np.array([mesh.vertices[:, 2].min() for mesh in meshes])
    if np.quantile(base, 0.9) - base.min() > LEVEL_BASES:
        got = f"{file}: bases from {base.min():.1f} to {np.quantile(base, 0.9):.1f} m"
        do = "add the terrain's mesh to the scene, as a shape that is named ground"
        raise UelError("the scene has no ground, and its buildings stand at different heights", got=got, do=do)
    low = np.min([mesh.vertices[:, :2].min(axis=0) for mesh in meshes], axis=0)
    high = np.max([mesh.vertices[:, :2].max(axis=0) for mesh in meshes], axis=0)
    (west, south), (east, north), z = low, high, base.min()
    corners = np.array([[west, south, z], [east, south, z], [east, north, z], [west, north, z]], np.float64)
    return MeshPart("terrain", GROUND_MATERIAL, corners, np.array([[0, 1, 2], [0, 2, 3]]))


def _default_side(parts: list[MeshPart], pixel: float) -> float:
    """512 m, or the largest whole number of 16 pixels that the ground allows."""
    low, high = terrain_bounds(parts)
    step = 16 * pixel
    return min(DEFAULT_SIDE, max(math.floor(float((high - low).min()) / step), 1) * step)


def _default_center(parts: list[MeshPart], side: float) -> tuple[float, float]:
    """The scene's origin, or the middle of its ground where a square around the origin would leave it."""
    low, high = terrain_bounds(parts)
    if (low <= -side / 2).all() and (high >= side / 2).all():
        return 0.0, 0.0
    x, y = ((low + high) / 2).round(3).tolist()
    return x, y


def _metadata(
    scene: SceneParts, file: Path, name: str, origin: tuple[float, float] | None, square: MeshSquare
) -> dict[str, Any]:
    """Entries of `tile.json`, except materials and the square; no date, so the same build gives the same hash."""
    metadata: dict[str, Any] = {
        "name": name,
        "place": name,
        "center": list(square.center),
        "crs": None,
        "provenance": {"source": "scene", "file": file.name, "sha256": file_hash(file), "notes": list(scene.notes)},
        "versions": {library: version(library) for library in ("trimesh", "zarr")},
    }
    if origin is None:
        return metadata
    crs = local_crs(*origin)
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*square.center)
    place = {"crs": crs, "origin": list(square.center), "center": [latitude, longitude]}
    return {**metadata, **place, "bbox": bounding_box(crs, square.center, square.size)}


def local_crs(latitude: float, longitude: float) -> str:
    """Metres east and true north of a point in degrees: a transverse Mercator projection around it (WGS 84).

    Raises `UelError` for a point that is not on earth.
    """
    if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) < 85 and abs(longitude) <= 180):
        do = "give latitude and longitude in degrees: --origin 48.137 11.575"
        raise UelError("the scene's origin is no place on earth", got=f"{latitude} {longitude}", do=do)
    return f"+proj=tmerc +lat_0={latitude!r} +lon_0={longitude!r} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
