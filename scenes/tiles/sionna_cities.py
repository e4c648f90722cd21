"""Cuts tiles out of the cities that Sionna RT bundles, without importing Sionna."""

import difflib
import importlib.util
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from rich.console import Console
from rich.progress import track
from trimesh.exchange.ply import load_ply

from scenes.mesh.mesh_parts import MeshKind, MeshPart, cut_part, merge_parts, recentre_part
from scenes.mesh.rasters import material_names, rasterise_parts
from scenes.tiles.writer import write_tile
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile

BUNDLED_CITIES = ("munich", "etoile", "florence", "san_francisco")
TERRAIN_SHAPES = ("ground", "plane", "terrain")  # names of the ground's shape in the four cities


def build_city_tile(
    city: str,
    folder: Path | str,
    *,
    center: tuple[float, float] = (0.0, 0.0),
    size: float = 512.0,
    margin: float = 128.0,
    pixel: float = 1.0,
    progress: bool = True,
) -> tuple[Tile, list[MeshPart]]:
    """Cut a square tile out of a bundled city and write it to `folder`, replacing an older tile.

    Args:
        city: one of `BUNDLED_CITIES`.
        folder: of the tile.
        center: of the tile in the city's metres (x east, y north).
        size: side of the square in metres.
        margin: width in metres of the border around the square in which meshes are kept, as far as the city extends.
        pixel: side of a raster pixel in metres.
        progress: shows a bar on a terminal.

    Returns:
        The tile, and the parts of which it consists.

    Raises:
        UelError: for an unknown city, when the city's terrain does not cover the square, when the square has no
            building, and when `folder` holds something that is not a tile.
    """
    _require_square(center, size, margin)
    grid = Grid(size=size, pixel=pixel)
    source = city_scene_file(city)
    bsdfs, parts = read_city_scene(source, progress=progress)
    _require_cover(parts, center, size)
    parts = [cut_part(recentre_part(part, center), size / 2 + margin) for part in parts]
    parts = [part for part in parts if len(part.faces)]
    rasters = rasterise_parts(parts, grid)
    _require_building(rasters["footprint"], city, center, size)
    metadata = _metadata(city, center, parts) | {"size": size, "margin": margin, "pixel": pixel}
    return write_tile(Path(folder), parts, bsdfs, rasters, metadata), parts


def city_scene_file(city: str) -> Path:
    """Path of a bundled city's Mitsuba scene. Raises `UelError` for an unknown city, or without Sionna RT."""
    if city not in BUNDLED_CITIES:
        close = difflib.get_close_matches(city, BUNDLED_CITIES, n=1, cutoff=0.4)
        hint = f"perhaps you meant {close[0]}; " if close else ""
        raise UelError("unknown bundled city", got=city, do=f"{hint}known are {', '.join(BUNDLED_CITIES)}")
    # find_spec does not execute the top-level package, so no ray tracer starts.
    spec = importlib.util.find_spec("sionna")
    roots = (spec.submodule_search_locations or []) if spec else []
    files = [Path(root) / "rt" / "scenes" / city / f"{city}.xml" for root in roots]
    scene = next((file for file in files if file.is_file()), None)
    if scene is None:
        raise UelError("the bundled cities are not installed", got=city, do="install them: pip install sionna-rt")
    return scene


def read_city_scene(file: Path, *, progress: bool = False) -> tuple[dict[str, ElementTree.Element], list[MeshPart]]:
    """Material elements by name, and the shapes merged by kind and material, in the city's metres."""
    root = ElementTree.parse(file).getroot()
    bsdfs = {_material(bsdf): bsdf for bsdf in root.findall("bsdf")}
    for name, bsdf in bsdfs.items():
        bsdf.attrib["id"] = name
    shapes = root.findall("shape")
    console = Console(stderr=True)
    bar = track(shapes, f"reading {file.stem}", console=console, disable=not (progress and console.is_terminal))
    return bsdfs, merge_parts(_read_shape(file.parent, shape) for shape in bar)


def _read_shape(folder: Path, shape: ElementTree.Element) -> MeshPart:
    assert shape.attrib["type"] == "ply", "the bundled cities hold PLY shapes only"
    values = {child.attrib["name"]: child for child in shape}
    with (folder / values["filename"].attrib["value"]).open("rb") as stream:
        mesh = load_ply(stream)
    return MeshPart(_kind(shape), _material(values["bsdf"]), np.asarray(mesh["vertices"]), np.asarray(mesh["faces"]))


def _material(element: ElementTree.Element) -> str:
    """Sionna's name of a material, without Blender's prefix."""
    return element.attrib["id"].removeprefix("mat-")


def _kind(shape: ElementTree.Element) -> MeshKind:
    return "terrain" if shape.attrib["id"].removeprefix("mesh-").lower() in TERRAIN_SHAPES else "building"


def _metadata(city: str, center: tuple[float, float], parts: list[MeshPart]) -> dict[str, Any]:
    """Entries of `tile.json`, except the geometry of the square; no date, so the same build gives the same hash."""
    return {
        "name": city if center == (0.0, 0.0) else f"{city}{center[0]:+g}{center[1]:+g}",
        "place": city,
        "center": list(center),
        "crs": None,  # the cities have no georeference
        "materials": material_names(parts),
        "provenance": {"source": f"sionna-rt bundled scene {city}"},
        "versions": {name: version(name) for name in ("sionna-rt", "trimesh", "zarr")},
    }


def _terrain_bounds(parts: list[MeshPart]) -> tuple[np.ndarray, np.ndarray]:
    """South-west and north-east corner of the terrain in metres."""
    points = np.concatenate([part.vertices[:, :2] for part in parts if part.kind == "terrain"])
    points = points.astype(np.float64)
    return points.min(axis=0), points.max(axis=0)


def _require_cover(parts: list[MeshPart], center: tuple[float, float], size: float) -> None:
    """Raise `UelError` unless the terrain's bounding box contains the square; `rasterise_parts` finds holes."""
    low, high = _terrain_bounds(parts)
    first, last = low + size / 2, high - size / 2
    if (first > last).any():
        widest = math.floor((high - low).min())
        raise UelError("the city is smaller than the tile", got=f"size {size:g} m", do=f"give at most {widest} m")
    if (center < first).any() or (center > last).any():
        raise UelError(
            "the city's terrain does not cover the tile",
            got=f"center {center}, size {size:g} m",
            do=f"choose x in {_whole_metres(first[0], last[0])} and y in {_whole_metres(first[1], last[1])}",
        )


def _whole_metres(low: float, high: float) -> str:
    """An interval in metres, rounded inwards where it contains an integer."""
    first, last = math.ceil(low), math.floor(high)
    return f"[{first}, {last}] m" if first <= last else f"[{low:.3f}, {high:.3f}] m"


def _require_square(center: tuple[float, float], size: float, margin: float) -> None:
    if not all(map(math.isfinite, (*center, size, margin))) or size <= 0 or margin < 0:
        raise UelError(
            "centre, size or margin of the square is out of range",
            got=f"center {center}, size {size} m, margin {margin} m",
            do="give finite metres, a positive size and a margin that is not negative",
        )


def _require_building(footprint: np.ndarray, city: str, center: tuple[float, float], size: float) -> None:
    if not footprint.any():
        raise UelError(
            "the tile has no building",
            got=f"{city}, center {center}, size {size:g} m",
            do="make it larger or move its centre",
        )
