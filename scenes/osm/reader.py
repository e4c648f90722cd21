"""Reads a square of a map: buildings with heights, exclusions, land cover and vegetation in metres (`MapExtract`)."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from pyproj import Transformer

from scenes.osm.building_parts import disjoint_prisms, remove_duplicates
from scenes.osm.extent import buildings_advice, content_center, coverage_notes, covered_fractions
from scenes.osm.files.feature_table import MapContent
from scenes.osm.files.formats import map_suffix
from scenes.osm.footprints import Outline, building_outlines, to_local, touching_square
from scenes.osm.geo_box import box_around
from scenes.osm.heights.estimates import draw_heights, estimate_heights, height_notes, height_summary
from scenes.osm.heights.storeys import storey_of_map
from scenes.osm.land_cover import land_cover_patches, outlines_over_roads
from scenes.osm.map_features import Building, Exclusion, MapExtract
from scenes.osm.queries import MAX_SQUARE_SIDE, MapQuery, parse_source, require_point, source_center, source_content
from scenes.osm.vegetation import vegetation_patches
from uel.core.files.folder_names import fit_for_name, is_folder_name, require_folder_name
from uel.errors import UelError

READER_LIBRARIES = ("osmnx", "osmium", "shapely", "pyproj")


def read_map(
    source: str | Path,
    *,
    size: float | None = None,
    margin: float = 128.0,
    center: tuple[float, float] | None = None,
    name: str | None = None,
    seed: int | None = None,
    storey_height: float | None = None,
    cache: Path | None = None,
) -> MapExtract:
    """Read the buildings and the land cover of a square of a map, from a file or online.

    Args:
        source: a map file (OpenStreetMap's XML, PBF or JSON, GeoJSON, footprints of other makers), a point
            `"48.87,2.33"` (latitude, longitude), a box `"2.32,48.86,2.34,48.88"` (west, south, east, north) or a
            place's name; all but files are read from an Overpass server.
        size: side of the square in metres; default: 512, or the longer side of a box.
        margin: width in metres of the border around the square in which features are kept, uncut.
        center: latitude and longitude in degrees; default: the source's centre, for a file the middle of its bounds
            or of its buildings (`content_center`).
        name: of the tile; default: made from the source.
        storey_height: of a level in metres; default: learned from the map (`storey_of_map`).
        seed: draws the heights that are not tagged from their uncertainty; None: the best estimate.
        cache: folder for the server's answers; default: `osm` in the data folder.

    Returns:
        The features in metres of a UTM zone: y is grid north, lengths are true to 0.1 %.

    Raises:
        UelError: for a source that cannot be read, a square without a building, and a size or margin out of range.
    """
    query = parse_source(source)
    if size is None:
        size = float(math.ceil(query.box.side)) if query.box else 512.0
    _require_square(size, margin)
    if name is not None:
        require_folder_name(name, "the tile's name")
    half = size / 2 + margin
    content, center = _content(query, size, half, center, cache)
    crs = utm_zone(*center)
    origin = _origin(center, crs)
    covered = covered_fractions(content, crs, origin, size, margin) if query.kind == "file" else None
    local = touching_square(to_local(content.frame, crs, origin), half)
    cover = land_cover_patches(local, half)
    buildings, exclusions, summary = _buildings(local, seed, storey_height)
    _require_building(buildings, query, content, center, size)
    return MapExtract(
        name=name or tile_name(query),
        crs=crs,
        origin=origin,
        center=center,
        size=float(size),
        margin=float(margin),
        buildings=tuple(buildings),
        exclusions=(*_lost_nearby(content, crs, origin, half), *exclusions),
        land_cover=tuple(cover),
        vegetation=tuple(vegetation_patches(local, half)),
        provenance={**_provenance(query, buildings, seed), "known_heights": summary, "coverage": covered},
        notes=(*(coverage_notes(covered, margin) if covered else ()), *content.notes, *height_notes(summary)),
    )


def outlines_of_file(file: str | Path) -> list[Outline]:
    """Every building outline of a map file in metres around the file's centre, for statistics."""
    content, center = _content(parse_source(file), 512.0, 0.0, None, None)
    crs = utm_zone(*center)
    return building_outlines(to_local(content.frame, crs, _origin(center, crs)))[0]


def utm_zone(latitude: float, longitude: float) -> str:
    """The UTM zone of a point in degrees, such as `EPSG:32632`."""
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def _content(
    source: MapQuery, size: float, half: float, center: tuple[float, float] | None, cache: Path | None
) -> tuple[MapContent, tuple[float, float]]:
    """What a source says, in degrees, and latitude and longitude of the centre."""
    center = center or source_center(source, cache)
    box = box_around(require_point(*center), half) if center else None
    if source.kind == "file" and box and (box.west < -180 or box.east > 180):
        box = None  # a box across the antimeridian would find one side of it
    content = source_content(source, box, cache=cache)
    return content, center or require_point(*content_center(content, size))


def _origin(center: tuple[float, float], crs: str) -> tuple[float, float]:
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(center[1], center[0])
    return float(east), float(north)


def _buildings(
    frame: gpd.GeoDataFrame, seed: int | None, storey_height: float | None
) -> tuple[list[Building], list[Exclusion], dict[str, Any]]:
    """Buildings and exclusions of a table in metres, and how well the heights are known."""
    outlines, without_outline = building_outlines(frame)
    unique, duplicates = remove_duplicates(outlines)
    storey = storey_of_map(unique, storey_height)
    estimates = estimate_heights(unique, storey, outlines_over_roads(unique, frame))
    summary = height_summary(unique, estimates, storey)
    estimates = estimates if seed is None else draw_heights(estimates, seed)
    buildings, vanished = disjoint_prisms(unique, estimates)
    return buildings, without_outline + duplicates + vanished, summary


def _lost_nearby(content: MapContent, crs: str, origin: tuple[float, float], half: float) -> list[Exclusion]:
    """The buildings that could not be read, without those whose known place is off the square."""
    to_metres = Transformer.from_crs("EPSG:4326", crs, always_xy=True)

    def is_near(place: tuple[float, float]) -> bool:
        east, north = to_metres.transform(*place)
        return max(abs(east - origin[0]), abs(north - origin[1])) <= half

    lost = [item for item in content.lost if item.place is None or is_near(item.place)]
    return [Exclusion(id=item.id, reason=item.reason) for item in lost]


def tile_name(source: str | Path | MapQuery) -> str:
    """The default name of a source's tile, fit for a folder."""
    source = parse_source(source)
    text = source.file.name.removesuffix(map_suffix(source.file) or "") if source.kind == "file" else source.text
    cleaned = re.sub(r"[^\w .,()+-]+", "_", text)[:80].rstrip(" .")
    return cleaned if is_folder_name(cleaned) else fit_for_name(f"{source.kind} {cleaned}")


def _provenance(source: MapQuery, buildings: Sequence[Building], seed: int | None) -> Mapping[str, Any]:
    origin: dict[str, Any] = {"source": source.kind, "query": source.text}
    if source.kind == "file":
        digest = hashlib.sha256(source.file.read_bytes()).hexdigest()
        origin = {"source": "file", "file": source.file.name, "sha256": digest}
    return {
        **origin,
        "heights": dict(Counter(building.provenance for building in buildings)),
        "height_seed": seed,
        "versions": {library: version(library) for library in READER_LIBRARIES},
    }


def _require_square(size: float, margin: float) -> None:
    if not (math.isfinite(size) and math.isfinite(margin) and size > 0 and margin >= 0):
        raise UelError(
            "size or margin of the square is out of range",
            got=f"size {size} m, margin {margin} m",
            do="give finite metres, a positive size and a margin that is not negative",
        )
    if size + 2 * margin > MAX_SQUARE_SIDE:
        got = f"size {size:g} m with a margin of {margin:g} m"
        raise UelError(
            f"the square with its margin is larger than {MAX_SQUARE_SIDE / 1000:g} km",
            got=got,
            do="build several smaller tiles",
        )


def _require_building(
    buildings: Sequence[Building], source: MapQuery, content: MapContent, center: tuple[float, float], size: float
) -> None:
    """Raise `UelError` when no building touches the square without its margin."""
    bounds = np.array([building.footprint.bounds for building in buildings]).reshape(-1, 4)
    if not ((bounds[:, :2] < size / 2).all(axis=1) & (bounds[:, 2:] > -size / 2).all(axis=1)).any():
        raise UelError(
            "the square has no building",
            got=f"{source.text}, latitude {center[0]:.5f}, longitude {center[1]:.5f}, size {size:g} m",
            do=buildings_advice(content, center, size),
        )
