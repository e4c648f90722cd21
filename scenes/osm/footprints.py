"""Building outlines of a map as valid polygons in metres of the tile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from scenes.osm.above_ground import reason_without_walls
from scenes.osm.files.feature_table import BUILDING_KEYS, METADATA_COLUMNS
from scenes.osm.map_features import Exclusion

LATTICE_STEP = 1e-3  # metres: corners lie on this lattice, so that no edge is too short for single precision
MIN_FOOTPRINT_AREA = 1.0  # square metres: smaller footprints are chimneys, corners of kiosks or rests of an overlay
MIN_FOOTPRINT_WIDTH = (
    0.05  # metres, twice the area over the perimeter: narrower footprints are gaps between two outlines
)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A building or building part of a map, without its height."""

    id: str
    """`way/123`, `relation/45`"""
    shape: Polygon | MultiPolygon
    """valid polygons in metres of the tile"""
    tags: Mapping[str, str]

    @property
    def is_part(self) -> bool:
        """Whether this is a `building:part`, which describes its building in more detail than the building's
        outline."""
        return not has_tag(self.tags, "building")


def to_local(frame: gpd.GeoDataFrame, crs: str, origin: tuple[float, float]) -> gpd.GeoDataFrame:
    """Project features from degrees to metres east and north of `origin` (easting and northing in `crs`)."""
    projected = frame.to_crs(crs)
    geometry = shapely.transform(np.asarray(projected.geometry), lambda points: points - np.array(origin))
    return gpd.GeoDataFrame(projected.drop(columns="geometry"), geometry=geometry)


def touching_square(frame: gpd.GeoDataFrame, half: float) -> gpd.GeoDataFrame:
    """Features in metres that touch the square |x|, |y| ≤ `half`, uncut; those without geometry stay."""
    geometry = np.asarray(frame.geometry)
    touches = shapely.is_empty(geometry) | shapely.intersects(geometry, square(half))
    return gpd.GeoDataFrame(frame[touches])


def square(half: float) -> Polygon:
    """The square |x|, |y| ≤ `half` metres."""
    return shapely.box(-half, -half, half, half)


def building_outlines(frame: gpd.GeoDataFrame) -> tuple[list[Outline], list[Exclusion]]:
    """An outline for every building feature of a table in metres, or an exclusion with the reason."""
    is_building = frame.reindex(columns=list(BUILDING_KEYS)).notna().any(axis=1)
    frame = gpd.GeoDataFrame(frame[is_building])
    kept, excluded = [], []
    for id, geometry, tags in zip(feature_ids(frame), repair_polygons(frame.geometry), tags_of(frame), strict=True):
        reason = _reason(tags, geometry)
        if reason:
            excluded.append(Exclusion(id=id, reason=reason))
        else:
            kept.append(Outline(id=id, shape=geometry, tags=tags))
    return kept, excluded


def has_tag(tags: Mapping[str, str], key: str) -> bool:
    """Whether a tag is present and not `no`."""
    return tags.get(key, "no") != "no"


def feature_ids(frame: gpd.GeoDataFrame) -> list[str]:
    """`element/id` of every feature."""
    return [f"{element}/{id}" for element, id in frame.index]


def tags_of(frame: gpd.GeoDataFrame) -> list[dict[str, str]]:
    """The tags of every feature; one pass per column, because most columns are nearly empty."""
    tags: list[dict[str, str]] = [{} for _ in range(len(frame))]
    for name in frame.columns.drop(list(METADATA_COLUMNS), errors="ignore"):
        values = frame[name].to_numpy(dtype=object)
        for row in np.flatnonzero(frame[name].notna().to_numpy()):
            tags[row][str(name)] = str(values[row])
    return tags


def repair_polygons(geometry: Iterable) -> list[Polygon | MultiPolygon]:
    """Valid polygons or multipolygons on the lattice of `LATTICE_STEP`; lines and points become empty."""
    areas = np.array([polygonal_part(item) for item in geometry], dtype=object)
    for k in np.flatnonzero(~shapely.is_valid(areas)):
        areas[k] = _valid(areas[k])
    snapped = shapely.set_precision(areas, LATTICE_STEP)
    return [polygonal_part(item) for item in snapped]


def _valid(shape: Polygon | MultiPolygon) -> BaseGeometry:
    """Valid union of every shell minus its holes; repairing both at once would add holes that lie outside their shell.

    Coordinates are rounded to the lattice: between edges that nearly coincide, floating point leaves invalid areas.
    """
    solids = []
    for polygon in shapely.get_parts(shape):
        rings = [Polygon(ring) for ring in (polygon.exterior, *polygon.interiors)]
        shell, *holes = shapely.make_valid(rings, method="structure", keep_collapsed=False)
        solids.append(
            shapely.difference(shell, shapely.union_all(holes, grid_size=LATTICE_STEP), grid_size=LATTICE_STEP)
        )
    return shapely.union_all(solids, grid_size=LATTICE_STEP)


def polygonal_part(geometry: BaseGeometry) -> Polygon | MultiPolygon:
    """The polygons of a geometry, without its points and lines."""
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    pieces = [piece for piece in shapely.get_parts(geometry) if isinstance(piece, Polygon | MultiPolygon)]
    return polygonal_part(shapely.union_all(pieces)) if pieces else Polygon()


def wall_polygons(shape: BaseGeometry) -> list[Polygon]:
    """The polygons of a shape that are large and wide enough for walls."""
    return [piece for piece in shapely.get_parts(polygonal_part(shape)) if not is_sliver(piece)]


def is_sliver(polygon: BaseGeometry) -> bool:
    """Whether a polygon is smaller than `MIN_FOOTPRINT_AREA` or narrower than `MIN_FOOTPRINT_WIDTH`."""
    return polygon.area < MIN_FOOTPRINT_AREA or 2 * polygon.area < MIN_FOOTPRINT_WIDTH * polygon.length


def _reason(tags: Mapping[str, str], geometry: BaseGeometry) -> str | None:
    """The reason why a feature is no building that stands on the ground, or None."""
    if reason := reason_without_walls(tags):
        return reason
    if geometry.is_empty:
        return "no area: a point, an open line, a ring without area, or members missing from the source"
    if not wall_polygons(geometry):
        return f"a sliver of {geometry.area:.2f} m²"
    return None
