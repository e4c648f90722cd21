"""Ground with a class of its own: green, water, paths and roads, in metres of the tile."""

from collections.abc import Mapping
from typing import Literal

import geopandas as gpd
import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from scenes.osm.coastline import sea_polygon
from scenes.osm.footprints import feature_ids, has_tag, repair_polygons, square, tags_of, wall_polygons
from scenes.osm.map_features import LandCoverPatch
from scenes.osm.tags import parse_count, parse_length

LandCoverKind = Literal["road", "path", "water", "green"]

DRAWING_ORDER: tuple[LandCoverKind, ...] = ("green", "water", "path", "road")  # later ones lie over earlier ones
LANE_WIDTH = 3.25  # metres
ROAD_WIDTHS = {  # metres between the kerbs, where neither width nor lanes are tagged
    "motorway": 14.0,
    "trunk": 12.0,
    "primary": 10.0,
    "secondary": 9.0,
    "tertiary": 7.5,
    "residential": 6.0,
    "unclassified": 6.0,
    "living_street": 5.0,
    "busway": 4.0,
    "raceway": 10.0,
    "service": 4.0,
    "road": 6.0,
}
PATH_WIDTHS = {
    "pedestrian": 5.0,
    "cycleway": 2.5,
    "track": 3.0,
    "footway": 2.0,
    "steps": 2.0,
    "path": 1.5,
    "bridleway": 2.0,
}
STREAM_WIDTHS = {"river": 15.0, "canal": 10.0, "stream": 2.0, "drain": 1.5, "ditch": 1.0}
GREEN_TAGS = {
    "landuse": "grass forest meadow orchard vineyard allotments cemetery recreation_ground village_green flowerbed",
    "leisure": "park garden golf_course nature_reserve dog_park",
    "natural": "wood grassland scrub heath wetland fell tundra shrubbery",
}
WATER_TAGS = {
    "natural": "water bay",
    "waterway": "riverbank dock",
    "landuse": "reservoir basin",
    "leisure": "swimming_pool",
}


def land_cover_patches(frame: gpd.GeoDataFrame, half: float) -> list[LandCoverPatch]:
    """Patches of a table in metres, cut at the square |x|, |y| ≤ `half`: green, water, paths, roads in this order.

    A line is as wide as its `width`, else as its lanes, else as its class. What lies in a tunnel, under the
    ground or inside a building is left out. The sea is what lies right of the coastlines.
    """
    read = [
        (id, _area_or_line(geometry, tags), tags)
        for id, geometry, tags in zip(feature_ids(frame), frame.geometry, tags_of(frame), strict=True)
    ]
    found: list[tuple[str, LandCoverKind, BaseGeometry, float]] = [
        (id, kind, geometry, width)
        for id, geometry, tags in read
        if (kind := _kind(geometry, tags)) and (width := _width(geometry, tags)) is not None
    ]
    lines = np.array([geometry for _, _, geometry, _ in found], dtype=object)
    half_width = np.array([width / 2 for *_, width in found])
    areas = shapely.buffer(lines, half_width, cap_style="flat", quad_segs=4)
    cut = repair_polygons(shapely.intersection(repair_polygons(areas), square(half)))
    patches: list[LandCoverPatch] = [
        LandCoverPatch(id=id, kind=kind, footprint=piece)
        for (id, kind, _, _), area in zip(found, cut, strict=True)
        for piece in wall_polygons(area)
    ]
    coast = [line for _, line, tags in read if tags.get("natural") == "coastline" and "Line" in line.geom_type]
    water = [
        LandCoverPatch(id=f"sea#{n + 1}", kind="water", footprint=area)
        for n, area in enumerate(sea_polygon(coast, half))
    ]
    return sorted(water + patches, key=lambda patch: DRAWING_ORDER.index(patch.kind))


def _area_or_line(geometry: BaseGeometry, tags: Mapping[str, str]) -> BaseGeometry:
    """A closed way that says it is an area, such as a square for pedestrians, is one."""
    closed = geometry.geom_type == "LineString" and tags.get("area") == "yes" and shapely.is_ring(geometry)
    return Polygon(geometry.coords) if closed else geometry


def _kind(geometry: BaseGeometry, tags: Mapping[str, str]) -> LandCoverKind | None:
    """The class of a line or an area; None for what is no ground."""
    hidden = has_tag(tags, "tunnel") or tags.get("location") == "underground" or tags.get("indoor") == "yes"
    if hidden or tags.get("layer", "").startswith("-") or geometry.is_empty or "Point" in geometry.geom_type:
        return None
    way = tags.get("highway", "").removesuffix("_link")
    if way in ROAD_WIDTHS:
        return "road"
    if way in PATH_WIDTHS:
        return "path"
    if _any_of(tags, WATER_TAGS) or tags.get("waterway") in STREAM_WIDTHS:
        return "water"
    return "green" if _any_of(tags, GREEN_TAGS) else None


def _any_of(tags: Mapping[str, str], classes: Mapping[str, str]) -> bool:
    return any(tags.get(key) in values.split() for key, values in classes.items())


def _width(geometry: BaseGeometry, tags: Mapping[str, str]) -> float | None:
    """Metres by which a line is widened; 0 for an area, None for a line whose class is an area's."""
    if "Polygon" in geometry.geom_type:
        return 0.0
    way = tags.get("highway", "").removesuffix("_link")
    by_class = ROAD_WIDTHS.get(way) or PATH_WIDTHS.get(way) or STREAM_WIDTHS.get(tags.get("waterway", ""))
    if by_class is None:
        return None
    lanes = parse_count(tags.get("lanes")) if way in ROAD_WIDTHS else None
    return parse_length(tags.get("width")) or (LANE_WIDTH * lanes if lanes else by_class)
