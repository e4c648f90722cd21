"""Metadata of a tile (`tile.json`): position, sources, and the heights and materials of each building."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pyproj import Transformer

from scenes.materials.osm_materials import SurfaceMaterials
from scenes.materials.random_materials import RandomMaterials
from scenes.osm.map_features import Building, MapExtract
from uel import __version__

TILE_LIBRARIES = ("osmnx", "shapely", "rasterio", "pyproj", "trimesh", "zarr")


def tile_metadata(
    extract: MapExtract,
    surfaces: Mapping[str, SurfaceMaterials],
    *,
    pixel: float,
    seed: int,
    draws: RandomMaterials | None = None,
) -> dict[str, Any]:
    """The `metadata` of `write_tile` for a map whose buildings have these `surfaces` (classes by id).

    `pixel` is the side of a raster pixel in metres, `seed` that of all random draws. The caller adds `materials` and
    `covers`. There is no date in it: the same build gives the same hash.
    """
    buildings = {b.id: _building(b, surfaces[b.id], draws) for b in extract.buildings}
    return {
        "name": extract.name,
        "crs": extract.crs,
        "origin": list(extract.origin),
        "center": list(extract.center),
        "bbox": bounding_box(extract.crs, extract.origin, extract.size),
        "size": extract.size,
        "margin": extract.margin,
        "pixel": pixel,
        "seed": seed,
        "provenance": dict(extract.provenance),
        "versions": {"uel": __version__, **{name: version(name) for name in TILE_LIBRARIES}},
        "buildings": buildings,
        "exclusions": {exclusion.id: exclusion.reason for exclusion in extract.exclusions},
        **({"drawn": draws.record(), "bands": draws.bands} if draws else {}),
    }


def bounding_box(crs: str, origin: Sequence[float], size: float) -> list[float]:
    """West, south, east and north in degrees (WGS 84) of the smallest box around a tile of side `size` metres."""
    x, y = origin
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return list(to_degrees.transform_bounds(x - size / 2, y - size / 2, x + size / 2, y + size / 2))


def _building(building: Building, classes: SurfaceMaterials, draws: RandomMaterials | None) -> dict[str, Any]:
    entry = {
        "base": building.base,
        "top": building.top,
        "top_std": building.top_std,
        "provenance": building.provenance,
        **asdict(classes),
    }
    return entry | ({"drawn": _values(draws, building.id)} if draws else {})


def _values(draws: RandomMaterials, identity: str) -> dict[str, Any]:
    names = draws.surfaces[identity]
    return {side: asdict(draws.materials[name]) for side, name in (("wall", names.wall), ("roof", names.roof))}
