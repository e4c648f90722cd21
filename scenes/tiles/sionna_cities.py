"""Tiles cut out of the real cities that Sionna RT brings along. Sionna itself is never imported here."""

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
TERRAIN_SHAPES = ("ground", "plane", "terrain")  # what the four cities call their ground


def build_city_tile(
    place: str,
    folder: Path | str,
    *,
    center: tuple[float, float] = (0.0, 0.0),
    size: float = 512.0,
    margin: float = 128.0,
    pixel: float = 1.0,
    progress: bool = True,
) -> tuple[Tile, list[MeshPart]]:
    """Cut a square tile out of a bundled city and write it to `folder`; an old tile there is replaced.

    Returns the tile and the parts that it is made of.

    `center` is the tile's centre in the city's own metres (x east, y north), `size` the side of the square
    in metres, `margin` how far in metres the meshes go on around it (as far as the city does), `pixel` the
    side of a raster pixel in metres. `progress` shows a bar when somebody watches.

    Raises `UelError` for an unknown place, when the city's terrain does not cover the square, when no
    building stands on it, and when `folder` holds something that is not a tile.
    """
    _require_square(center, size, margin)
    grid = Grid(size=size, pixel=pixel)
    source = city_scene_file(place)
    bsdfs, parts = read_city_scene(source, progress=progress)
    _require_cover(parts, center, size)
    parts = [cut_part(recentre_part(part, center), size / 2 + margin) for part in parts]
    parts = [part for part in parts if len(part.faces)]
    rasters = rasterise_parts(parts, grid)
    _require_building(rasters["footprint"], place, center, size)
    meta = _meta(place, center, parts) | {"size": size, "margin": margin, "pixel": pixel}
    return write_tile(Path(folder), parts, bsdfs, rasters, meta), parts


def city_scene_file(place: str) -> Path:
    """A bundled city's Mitsuba scene. Raises `UelError` for an unknown place, or without Sionna RT."""
    if place not in BUNDLED_CITIES:
        close = difflib.get_close_matches(place, BUNDLED_CITIES, n=1, cutoff=0.4)
        hint = f"perhaps you meant {close[0]}; " if close else ""
        raise UelError("unknown place", got=place, do=f"{hint}known are {', '.join(BUNDLED_CITIES)}")
    # find_spec of the top-level package reads no code of it, so no ray tracer starts up.
    spec = importlib.util.find_spec("sionna")
    roots = (spec.submodule_search_locations or []) if spec else []
    files = [Path(root) / "rt" / "scenes" / place / f"{place}.xml" for root in roots]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise UelError("the bundled cities are missing", got=place, do="install them: pip install sionna-rt")
    return found


def read_city_scene(file: Path, *, progress: bool = False) -> tuple[dict[str, ElementTree.Element], list[MeshPart]]:
    """Material elements by name, and the shapes merged per kind and material, in the city's own metres."""
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
    """The name that Sionna gives to a material, which drops Blender's prefix."""
    return element.attrib["id"].removeprefix("mat-")


def _kind(shape: ElementTree.Element) -> MeshKind:
    return "terrain" if shape.attrib["id"].removeprefix("mesh-").lower() in TERRAIN_SHAPES else "building"


def _meta(place: str, center: tuple[float, float], parts: list[MeshPart]) -> dict[str, Any]:
    """What `tile.json` says apart from the geometry of the square. No date: the same build, the same hash."""
    return {
        "name": place if center == (0.0, 0.0) else f"{place}{center[0]:+g}{center[1]:+g}",
        "place": place,
        "center": list(center),
        "crs": None,  # the cities come without a georeference
        "materials": material_names(parts),
        "provenance": {"source": f"sionna-rt bundled scene {place}"},
        "versions": {name: version(name) for name in ("sionna-rt", "trimesh", "zarr")},
    }


def _terrain_bounds(parts: list[MeshPart]) -> tuple[np.ndarray, np.ndarray]:
    """South-west and north-east corner of the terrain in metres."""
    points = np.concatenate([part.vertices[:, :2] for part in parts if part.kind == "terrain"])
    points = points.astype(np.float64)
    return points.min(axis=0), points.max(axis=0)


def _require_cover(parts: list[MeshPart], center: tuple[float, float], size: float) -> None:
    """The terrain's bounding box holds the tile's square; holes in the terrain are found by the rays."""
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
    """An interval in metres, rounded inwards where it holds a whole number."""
    first, last = math.ceil(low), math.floor(high)
    return f"[{first}, {last}] m" if first <= last else f"[{low:.3f}, {high:.3f}] m"


def _require_square(center: tuple[float, float], size: float, margin: float) -> None:
    if not all(map(math.isfinite, (*center, size, margin))) or size <= 0 or margin < 0:
        raise UelError(
            "this is no square",
            got=f"center {center}, size {size} m, margin {margin} m",
            do="give finite metres, a positive size and a margin that is not negative",
        )


def _require_building(footprint: np.ndarray, place: str, center: tuple[float, float], size: float) -> None:
    if not footprint.any():
        raise UelError(
            "empty tile: no building stands on it",
            got=f"{place}, center {center}, size {size:g} m",
            do="make it larger or move its centre",
        )
