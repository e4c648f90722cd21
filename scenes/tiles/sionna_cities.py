"""Cuts tiles out of the cities that Sionna RT bundles, without importing Sionna."""

import difflib
import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scenes.config import SceneFileConfig
from scenes.mesh.mesh_parts import MeshPart
from scenes.tiles.mesh_tile import MeshSquare, write_mesh_tile
from scenes.tiles.scene_tile import read_scene_parts
from uel.errors import UelError
from uel.extras import install_command
from uel.geo.tile import Tile

BUNDLED_CITIES = ("munich", "etoile", "florence", "san_francisco")


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
    file, square = city_scene_file(city), MeshSquare(center, size, margin, pixel)
    scene = read_scene_parts(file, SceneFileConfig(), progress=progress)
    return write_mesh_tile(Path(folder), scene, square, _metadata(city, center))


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
        raise UelError("the bundled cities are not installed", got=city, do=f"install them: {install_command('sim')}")
    return scene


def _metadata(city: str, center: tuple[float, float]) -> dict[str, Any]:
    """Entries of `tile.json`, except materials and the square; no date, so the same build gives the same hash."""
    return {
        "name": city if center == (0.0, 0.0) else f"{city}{center[0]:+g}{center[1]:+g}",
        "place": city,
        "center": list(center),
        "crs": None,  # the cities have no georeference
        "provenance": {"source": f"sionna-rt bundled scene {city}"},
        "versions": {name: version(name) for name in ("sionna-rt", "trimesh", "zarr")},
    }
