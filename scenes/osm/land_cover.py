"""Land cover of a map: green, water, paths and roads as polygons in metres of the tile."""

from collections.abc import Mapping, Sequence
from typing import Literal

import geopandas as gpd
import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from scenes.osm.above_ground import layer_of
from scenes.osm.coastline import sea_polygon
from scenes.osm.footprints import Outline, feature_ids, has_tag, repair_polygons, square, tags_of, wall_polygons
from scenes.osm.map_features import LandCoverPatch
from scenes.osm.tags import parse_count, parse_length

LandCoverKind = Literal["road", "path", "water", "green"]

DRAWING_ORDER: tuple[LandCoverKind, ...] = ("green", "water", "path", "road")  # later classes cover earlier ones
LANE_WIDTH = 3.25  # metres
PASSAGE_FRACTION = 0.25  # of a building's area over a street, from which on it is a passage above it
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
    """Land-cover patches of a table in metres, cut at the square |x|, |y| ≤ `half`: green, water, paths, then roads.

    The width of a line is its `width`, else that of its lanes, else that of its class. Features in a tunnel, under
    the ground or inside a building are left out. The sea lies to the right of the coastlines.
    """
    rows = [
        (id, _area_or_line(geometry, tags), tags)
        for id, geometry, tags in zip(feature_ids(frame), frame.geometry, tags_of(frame), strict=True)
    ]
    features: list[tuple[str, LandCoverKind, BaseGeometry, float]] = [
        (id, kind, geometry, width)
        for id, geometry, tags in rows
        if (kind := _kind(geometry, tags)) and (width := _width(geometry, tags)) is not None
    ]
    lines = np.array([geometry for _, _, geometry, _ in features], dtype=object)
    half_width = np.array([width / 2 for *_, width in features])
    areas = shapely.buffer(lines, half_width, cap_style="flat", quad_segs=4)
    clipped = repair_polygons(shapely.intersection(repair_polygons(areas), square(half)))
    patches: list[LandCoverPatch] = [
        LandCoverPatch(id=id, kind=kind, footprint=piece)
        for (id, kind, _, _), area in zip(features, clipped, strict=True)
        for piece in wall_polygons(area)
    ]
    coast = [line for _, line, tags in rows if tags.get("natural") == "coastline" and "Line" in line.geom_type]
    water = [
        LandCoverPatch(id=f"sea#{n + 1}", kind="water", footprint=area)
        for n, area in enumerate(sea_polygon(coast, half))
    ]
    return sorted(water + patches, key=lambda patch: DRAWING_ORDER.index(patch.kind))


def outlines_over_roads(outlines: Sequence[Outline], frame: gpd.GeoDataFrame) -> set[int]:
    """Indices of the outlines that cross a street above it, by their layer: a passage, not a wall across the street.

    Such an outline is on a higher layer than the street and lies over it with `PASSAGE_FRACTION` of its area.
    """
    high = [k for k, outline in enumerate(outlines) if layer_of(outline.tags) > 0]
    roads = []
    for geometry, tags in zip(frame.geometry, tags_of(frame), strict=True) if high else ():
        if (
            tags.get("highway", "").removesuffix("_link") in ROAD_WIDTHS
            and not _is_hidden(tags)
            and "Line" in geometry.geom_type
        ):
            roads.append((geometry.buffer((_width(geometry, tags) or 0.0) / 2, cap_style="flat"), layer_of(tags)))
    over = set()
    for k in high:
        shape, layer = outlines[k].shape, layer_of(outlines[k].tags)
        shared = sum(road.intersection(shape).area for road, level in roads if level < layer and road.intersects(shape))
        over |= {k} if shared >= PASSAGE_FRACTION * shape.area else set()
    return over


def _area_or_line(geometry: BaseGeometry, tags: Mapping[str, str]) -> BaseGeometry:
    """The geometry; a closed line with `area=yes`, such as a pedestrian square, as a polygon."""
    closed = geometry.geom_type == "LineString" and tags.get("area") == "yes" and shapely.is_ring(geometry)
    return Polygon(geometry.coords) if closed else geometry


def _kind(geometry: BaseGeometry, tags: Mapping[str, str]) -> LandCoverKind | None:
    """The land-cover class of a line or an area; None for anything else."""
    if _is_hidden(tags) or tags.get("layer", "").startswith("-") or geometry.is_empty or "Point" in geometry.geom_type:
        return None
    highway = tags.get("highway", "").removesuffix("_link")
    if highway in ROAD_WIDTHS:
        return "road"
    if highway in PATH_WIDTHS:
        return "path"
    if _any_of(tags, WATER_TAGS) or tags.get("waterway") in STREAM_WIDTHS:
        return "water"
    return "green" if _any_of(tags, GREEN_TAGS) else None


def _is_hidden(tags: Mapping[str, str]) -> bool:
    """Whether a feature lies in a tunnel, under the ground or inside a building."""
    return has_tag(tags, "tunnel") or tags.get("location") == "underground" or tags.get("indoor") == "yes"


def _any_of(tags: Mapping[str, str], classes: Mapping[str, str]) -> bool:
    return any(tags.get(key) in values.split() for key, values in classes.items())


def _width(geometry: BaseGeometry, tags: Mapping[str, str]) -> float | None:
    """Width in metres of a line; 0 for an area, None for a line whose class has areas only."""
    if "Polygon" in geometry.geom_type:
        return 0.0
    highway = tags.get("highway", "").removesuffix("_link")
    by_class = ROAD_WIDTHS.get(highway) or PATH_WIDTHS.get(highway) or STREAM_WIDTHS.get(tags.get("waterway", ""))
    if by_class is None:
        return None
    lanes = parse_count(tags.get("lanes")) if highway in ROAD_WIDTHS else None
    return parse_length(tags.get("width")) or (LANE_WIDTH * lanes if lanes else by_class)
