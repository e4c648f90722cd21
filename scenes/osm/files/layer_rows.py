"""Rows of a table of other makers' features: which of them are buildings, and under which id."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shapely.geometry.base import BaseGeometry

from scenes.osm.files.attributes import (
    ColumnUse,
    building_type,
    has_size_column,
    looks_like_footprints,
    osm_tags,
)
from scenes.osm.files.feature_table import (
    FeatureRow,
    LostFeature,
    MapContent,
    feature_table,
    has_feature_key,
    is_building,
    no_features_error,
    not_degrees_error,
    unwrapped_rows,
)
from uel.errors import UelError

ID_NAMES = ("@id", "id", "osm_id", "full_id", "gml_id", "uuid", "fid", "objectid")
OVERTURE_TYPES = {"building_part": "building:part"}  # of `type`; other ones of other themes are no buildings
MAX_ID_LENGTH = 40
MAX_LONGITUDE = 360.0  # degrees: some files go on beyond 180 across the antimeridian

LayerFeature = tuple[Any, BaseGeometry | None, Mapping[str, Any], str]
"""id or None, geometry in degrees or None, properties, why the geometry cannot be read"""


def layer_content(features: Iterable[LayerFeature], place: str, file: object) -> MapContent:
    """The content of features whose properties are OpenStreetMap's tags, or columns of other makers.

    A polygon without a tag of OpenStreetMap is a building where it has a column of heights or storeys; in a file
    without any such tag every polygon is one, if the columns or the names of file and layer (`place`) say so. A
    feature without a geometry is lost by name, if it is a building, and costs no other one.

    Raises `UelError` for a file without buildings or roads, naming the columns that it has, and for coordinates that
    are not degrees.
    """
    columns, rows, lost = ColumnUse(), [], []
    items = [(feature, osm_tags(feature[2], columns)) for feature in features]
    is_map = any(has_feature_key(tags) for _, tags in items)
    names = {name for _, tags in items for name in tags}
    is_footprints = not is_map and looks_like_footprints(names, place)
    seen: set[tuple[str, int | str]] = set()
    for number, ((id, geometry, properties, fault), tags) in enumerate(items):
        is_sized = has_size_column(properties) and not has_feature_key(properties)
        if not has_feature_key(tags) and _is_polygonal(geometry) and (is_footprints or is_sized):
            tags |= _building_tag(tags)
        if not has_feature_key(tags):
            continue
        key = _unique(_element_id(id, tags, number), number, seen)
        reason = fault or _fault(geometry)
        if geometry is not None and not reason:
            rows.append((*key, geometry, tags))
        elif is_building(tags):
            lost.append(LostFeature("/".join(map(str, key)), reason))
    _require_content(rows, lost, names, file)
    note = columns.note()
    return MapContent(frame=feature_table(unwrapped_rows(rows)), lost=tuple(lost), notes=(note,) if note else ())


def _is_polygonal(geometry: BaseGeometry | None) -> bool:
    """Whether a geometry has an area, or is not known."""
    return geometry is None or geometry.is_empty or geometry.geom_type.endswith(("Polygon", "Collection"))


def _building_tag(tags: Mapping[str, str]) -> dict[str, str]:
    """The tag of a feature that is a building without saying so; none for Overture's other themes."""
    if tags.get("theme", "buildings") != "buildings":
        return {}
    if tags.get("type") in OVERTURE_TYPES:
        return {OVERTURE_TYPES[tags["type"]]: "yes"}
    return {"building": building_type(tags)}


def _fault(geometry: BaseGeometry | None) -> str:
    if geometry is None or geometry.is_empty:
        return "no geometry"
    west, south, east, north = geometry.bounds
    if max(-west, east) > MAX_LONGITUDE or max(-south, north) > 90:
        return f"coordinates are no degrees: {west:g}, {south:g}"
    return ""


def _element_id(id: Any, tags: Mapping[str, str], number: int) -> tuple[str, int | str]:
    """Element and id: OpenStreetMap's where it is one, else a word that is fit for a file name."""
    known = (tags[name] for name in (*ID_NAMES, *(name.upper() for name in ID_NAMES)) if name in tags)
    name = str(id if id not in (None, "") else next(known, number))
    if match := re.fullmatch(r"(node|way|relation)/(-?\d{1,19})", name):
        return match[1], match[2]
    if match := re.fullmatch(r"([nwr])(-?\d{1,19})", name):
        return {"n": "node", "w": "way", "r": "relation"}[match[1]], match[2]
    return "feature", re.sub(r"\W+", "_", name.removeprefix("feature/"))[:MAX_ID_LENGTH]


def _unique(key: tuple[str, int | str], number: int, seen: set[tuple[str, int | str]]) -> tuple[str, int | str]:
    """The key; with the number of the feature where it occurred before."""
    unique = (key[0], f"{key[1]}~{number}") if key in seen else key
    seen.add(unique)
    return unique


def _require_content(rows: Sequence[FeatureRow], lost: Sequence[LostFeature], names: set[str], file: object) -> None:
    if rows:
        return
    wrong = [item.reason for item in lost if "degrees" in item.reason]
    if wrong:
        raise not_degrees_error(f"{file}: {wrong[0].partition(': ')[2]}")
    if lost:
        raise UelError(
            "no building of the map file has a geometry",
            got=f"{file}: {lost[0].id}: {lost[0].reason}, {len(lost)} in all",
            do="export it with geometries",
        )
    if names:
        raise UelError(
            "the map file has neither buildings nor roads that can be told",
            got=f"{file}: columns {', '.join(sorted(names))[:300]}",
            do="give it a column building (yes), height (m) or num_floors, or a larger extract of the map",
        )
    raise no_features_error(file)
