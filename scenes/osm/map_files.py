"""Reads map files (OSM XML, PBF, GeoJSON) into one kind of table of features."""

import bz2
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax import SAXException

import geopandas as gpd
import osmium.filter
import osmium.io
import osmnx
import pandas as pd
import shapely
from osmnx._errors import InsufficientResponseError
from shapely import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from uel.errors import UelError

MAP_SUFFIXES = (".osm", ".osm.gz", ".osm.bz2", ".osm.pbf", ".geojson")
FEATURE_KEYS = ("building", "building:part", "highway", "natural", "landuse", "leisure", "waterway", "water")
BUILDING_KEYS = ("building", "building:part")
AREA_KEYS = (
    *BUILDING_KEYS,
    "natural",
    "landuse",
    "leisure",
    "water",
)  # a closed line with one of these keys is a polygon
METADATA_COLUMNS = ("geometry", "version", "timestamp", "changeset", "uid", "user", "visible")

FeatureRow = tuple[str, int | str, BaseGeometry, Mapping[str, str]]


def map_suffix(path: Path) -> str | None:
    """The one of `MAP_SUFFIXES` that a file's name ends with, or None."""
    name = path.name.lower()
    return next((suffix for suffix in MAP_SUFFIXES if name.endswith(suffix)), None)


def header_bounds(path: Path) -> tuple[float, float, float, float] | None:
    """West, south, east and north in degrees from the header of an OSM file; None without bounds."""
    if map_suffix(path) == ".geojson":
        return None
    with _readable_errors(path):
        box = osmium.io.Reader(str(path)).header().box()
    if not box.valid():
        return None
    low, high = box.bottom_left, box.top_right
    return low.lon, low.lat, high.lon, high.lat


def read_map_file(path: Path) -> gpd.GeoDataFrame:
    """The features of a map file: WGS84 geometry, string tags, indexed by element and id.

    A building whose nodes or members are missing from the file gets an empty geometry.
    Raises `UelError` for a damaged file and for one without a building, road or land cover.
    """
    read = {".geojson": _read_geojson, ".osm.pbf": _read_pbf}.get(str(map_suffix(path)), _read_xml)
    with _readable_errors(path):
        return read(path)


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Turn the exceptions by which libraries report a damaged file into `UelError`."""
    damaged = (EOFError, zlib.error, OSError, RuntimeError, SAXException, ElementTree.ParseError, UnicodeDecodeError)
    try:
        yield
    except UelError:
        raise
    except InsufficientResponseError as error:
        raise _no_features_error(path) from error
    except (*damaged, json.JSONDecodeError) as error:
        if "out of order" in str(error):  # libosmium's message about ids
            raise _unsorted_error(path) from error
        raise UelError("the map file is damaged", got=f"{path}: {error}", do="download it again") from error


def _no_features_error(path: Path) -> UelError:
    return UelError(
        "the map file has neither buildings nor roads", got=str(path), do="give a larger extract of the map"
    )


def feature_table(rows: Sequence[FeatureRow]) -> gpd.GeoDataFrame:
    """A table of features as osmnx makes them from (element, id, geometry in degrees, tags)."""
    index = pd.MultiIndex.from_tuples([row[:2] for row in rows], names=["element", "id"])
    data = pd.DataFrame([row[3] for row in rows], index=index)
    data = data.drop(columns=[name for name in METADATA_COLUMNS if name in data])
    return gpd.GeoDataFrame(data, geometry=[row[2] for row in rows], crs="EPSG:4326")


# XML


def _read_xml(path: Path) -> gpd.GeoDataFrame:
    buildings = _building_ids(path)
    frame = osmnx.features_from_xml(path, tags=dict.fromkeys(FEATURE_KEYS, True))
    frame = frame.drop(columns=[name for name in METADATA_COLUMNS[1:] if name in frame])
    missing = [(*key, Polygon(), tags) for key, tags in buildings.items() if key not in frame.index]
    return gpd.GeoDataFrame(pd.concat([frame, feature_table(missing)]) if missing else frame)


def _building_ids(path: Path) -> dict[tuple[str, int], dict[str, str]]:
    """Tags of every way and multipolygon that is a building; osmnx drops those without a valid geometry."""
    buildings: dict[tuple[str, int], dict[str, str]] = {}
    opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)
    with opener(path, "rb") as stream:
        events = ElementTree.iterparse(stream, events=("start", "end"))
        _, root = next(events)
        for event, element in events:
            if event == "end" and element.tag in ("node", "way", "relation"):
                tags = {tag.attrib["k"]: tag.attrib["v"] for tag in element.iterfind("tag")}
                if _is_drawn(element.tag, tags):
                    buildings[element.tag, int(element.attrib["id"])] = tags
                root.clear()
    return buildings


def _is_drawn(element: str, tags: Mapping[str, str]) -> bool:
    """Whether an element is a building with its own outline; relations of other types group elements."""
    return any(key in tags for key in BUILDING_KEYS) and (element == "way" or tags.get("type") == "multipolygon")


# PBF


def _read_pbf(path: Path) -> gpd.GeoDataFrame:
    rows: dict[tuple[str, int], FeatureRow] = {}
    reader = osmium.FileProcessor(str(path)).with_areas(osmium.filter.KeyFilter(*FEATURE_KEYS))
    last = ""
    for item in reader.with_filter(osmium.filter.KeyFilter(*FEATURE_KEYS)):
        kind = item.type_str()
        if kind in "nwr":
            _require_order(path, last, last := kind)
        if row := _pbf_row(item, kind):
            rows[row[0], int(row[1])] = row
    if not rows:
        raise _no_features_error(path)
    ways = [row[2] for row in rows.values() if row[0] == "way"]
    if ways and all(way.is_empty for way in ways):
        raise _unsorted_error(path)
    return feature_table(list(rows.values()))


def _require_order(path: Path, previous: str, current: str) -> None:
    if previous and "nwr".index(current) < "nwr".index(previous):
        raise _unsorted_error(path)


def _unsorted_error(path: Path) -> UelError:
    return UelError(
        "the map file is not sorted, or has no nodes for its ways",
        got=str(path),
        do="sort it: osmium sort IN.osm.pbf -o OUT.osm.pbf",
    )


def _pbf_row(item: Any, kind: str) -> FeatureRow | None:
    """A feature of a PBF file, or None.

    Ways become geometry from their own nodes, as in osmnx, so that an outline that crosses itself is kept; areas are
    read for relations only.
    """
    tags = {tag.k: tag.v for tag in item.tags}
    if kind == "n":
        return "node", item.id, Point(item.lon, item.lat), tags
    if kind == "w":
        return "way", item.id, _pbf_way(item, tags), tags
    if kind == "a" and not item.from_way():
        return "relation", item.orig_id(), _pbf_area(item), tags
    if kind == "r" and _is_drawn("relation", tags):
        return "relation", item.id, Polygon(), tags  # replaced when its area is read
    return None


def _pbf_way(way: Any, tags: Mapping[str, str]) -> LineString | Polygon:
    points = [(node.lon, node.lat) for node in way.nodes if node.location.valid()]
    is_area = tags.get("area") == "yes" or any(key in tags for key in AREA_KEYS)
    geometry_type = Polygon if way.is_closed() and is_area and tags.get("area") != "no" else LineString
    is_complete = len(points) == len(way.nodes) and len(points) >= (4 if geometry_type is Polygon else 2)
    return geometry_type(points) if is_complete else geometry_type()


def _pbf_area(area: Any) -> BaseGeometry:
    rings = [
        Polygon(_pbf_ring(outer), [_pbf_ring(inner) for inner in area.inner_rings(outer)])
        for outer in area.outer_rings()
    ]
    return rings[0] if len(rings) == 1 else shapely.MultiPolygon(rings)


def _pbf_ring(ring: Any) -> list[tuple[float, float]]:
    return [(node.lon, node.lat) for node in ring]


# GeoJSON


def _read_geojson(path: Path) -> gpd.GeoDataFrame:
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject_constant)
    kind = content.get("type") if isinstance(content, dict) else None
    if kind not in ("FeatureCollection", "Feature"):
        raise UelError(
            "the GeoJSON file is not a FeatureCollection", got=f"{path}: type {kind}", do="give a FeatureCollection"
        )
    if other := foreign_crs(content):
        raise _not_degrees_error(f"{path}: {other}")
    items = content.get("features", []) if kind == "FeatureCollection" else [content]
    rows = [row for number, item in enumerate(items) if (row := _geojson_row(path, number, item))]
    if not rows:
        raise _no_features_error(path)
    frame = feature_table(_with_unique_ids(rows))
    if (abs(frame.total_bounds) > [180, 90, 180, 90]).any():
        raise _not_degrees_error(str(path))
    return frame


def _reject_constant(word: str) -> float:
    """Reject `NaN` and `Infinity`, which Python reads but JSON does not define."""
    raise json.JSONDecodeError(f"{word} is no number", word, 0)


def foreign_crs(content: Mapping[str, Any]) -> str | None:
    """The coordinate reference system of a GeoJSON file (older than RFC 7946) that is not WGS 84, or None."""
    crs = content.get("crs")
    return str(crs) if crs and not re.search(r"CRS84|EPSG:+4326\b", str(crs)) else None


def _not_degrees_error(got: str) -> UelError:
    return UelError(
        "the map file's coordinates are not degrees", got=got, do="convert it to longitude and latitude, WGS84"
    )


def _geojson_row(path: Path, number: int, item: dict[str, Any]) -> FeatureRow | None:
    """A feature of a GeoJSON file, or None.

    A polygon without a known key but with a height is a building, as in footprints from aerial images. An id that is
    not OpenStreetMap's becomes a word that is fit for a file name.
    """
    geometry = _geojson_geometry(path, number, item)
    tags = {
        key: _tag_value(value) for key, value in (item.get("properties") or {}).items() if value not in (None, [], {})
    }
    if not any(key in tags for key in FEATURE_KEYS):
        if "height" not in tags or geometry.geom_type not in ("Polygon", "MultiPolygon"):
            return None
        tags["building"] = "yes"
    name = str(item.get("id") or tags.pop("@id", None) or number)
    if match := re.fullmatch(r"(node|way|relation)/(\d{1,19})", name):
        return match[1], match[2], geometry, tags
    return "feature", re.sub(r"\W+", "_", name.removeprefix("feature/"))[:40], geometry, tags


def _tag_value(value: Any) -> str:
    """A GeoJSON property as the value of an OSM tag."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _with_unique_ids(rows: Sequence[FeatureRow]) -> list[FeatureRow]:
    """The rows with unique ids: the number of the row is added to an id that occurred before."""
    seen: set[tuple[str, int | str]] = set()
    unique: list[FeatureRow] = []
    for number, (element, id, geometry, tags) in enumerate(rows):
        id = f"{id}~{number}" if (element, id) in seen else id
        seen.add((element, id))
        unique.append((element, id, geometry, tags))
    return unique


def _geojson_geometry(path: Path, number: int, item: dict[str, Any]) -> BaseGeometry:
    try:
        return shapely.force_2d(shapely.geometry.shape(item["geometry"]))
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        got = f"{path}: feature {number}: {error!r}"
        raise UelError(
            "a feature of the GeoJSON file has no readable geometry", got=got, do="remove or repair it"
        ) from error
