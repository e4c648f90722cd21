"""GeoJSON, one feature a line or one collection, with what is odd in files of all makers."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from scenes.osm.files.feature_table import MapContent, no_features_error
from scenes.osm.files.formats import decode
from scenes.osm.files.layer_rows import LayerFeature, layer_content
from uel.core.outside.compression import read_unpacked
from uel.core.outside.json_text import parse_json
from uel.errors import UelError

MAX_DOCUMENT_BYTES = 1 << 30  # of JSON that is read at once; it takes ten times as much memory
MAX_FAULT_LENGTH = 120  # characters of a library's message about a geometry
GEOMETRY_TYPES = (
    "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection",
)  # fmt: skip


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file in UTF-8 or UTF-16."""
    return parse_json(decode(read_unpacked(path, MAX_DOCUMENT_BYTES), path), str(path), is_finite=False)


def read_geojson(content: Any, path: Path) -> MapContent:
    """The features of parsed GeoJSON: a collection, a feature, a geometry, or a list of features.

    A `crs` (older than RFC 7946) is converted. Raises `UelError` for JSON of another kind.
    """
    items = _items(content, path)
    to_degrees = _transformer(content, path) if isinstance(content, dict) else None
    if not items:
        raise no_features_error(path)
    return layer_content((_feature(item, to_degrees) for item in items), path.name, path)


def read_geojson_lines(path: Path) -> MapContent:
    """The features of a file with one GeoJSON feature a line. Raises `UelError` for a line that is none."""
    return layer_content(_line_features(path), path.name, path)


def foreign_crs(content: Mapping[str, Any]) -> str | None:
    """The coordinate reference system of a GeoJSON file (older than RFC 7946) that is not WGS 84, or None."""
    crs = content.get("crs")
    return str(crs) if crs and not re.search(r"CRS84|EPSG:+4326\b", str(crs)) else None


def _items(content: Any, path: Path) -> list[Any]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection" and isinstance(content.get("features"), list):
        return content["features"]
    if kind == "Feature" or kind in GEOMETRY_TYPES:
        return [content]
    if isinstance(content, list) and content and all(_is_feature(item) for item in content):
        return content
    raise UelError(
        "the GeoJSON file is not a FeatureCollection",
        got=f"{path}: type {kind}"
        + (f", members {', '.join(map(str, content))}"[:120] if kind is None and content else ""),
        do="give a FeatureCollection, or Overpass JSON with its `elements`",
    )


def _is_feature(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "Feature"


def _transformer(content: Mapping[str, Any], path: Path) -> Transformer | None:
    """The conversion to degrees of a file whose `crs` is another one."""
    if not (text := foreign_crs(content)):
        return None
    crs = content["crs"]
    name = crs.get("properties", {}).get("name") if isinstance(crs, Mapping) else crs
    try:
        return Transformer.from_crs(CRS.from_user_input(name), "EPSG:4326", always_xy=True)
    except CRSError as error:
        raise UelError(
            "the GeoJSON file's CRS is not known",
            got=f"{path}: {text}",
            do="convert it to WGS 84: ogr2ogr -t_srs EPSG:4326",
        ) from error


def _feature(item: Any, to_degrees: Transformer | None = None) -> LayerFeature:
    """A feature; one that is no object, or whose geometry cannot be read, has None and the reason."""
    if not isinstance(item, Mapping):
        return None, None, {}, "no feature"
    properties = item.get("properties") if item.get("type") not in GEOMETRY_TYPES else {}
    shape = item.get("geometry") if item.get("type") not in GEOMETRY_TYPES else item
    geometry, fault = _geometry(shape)
    if geometry is not None and to_degrees:
        geometry = shapely.transform(geometry, to_degrees.transform, interleaved=False)  # type: ignore[call-overload]
    return item.get("id"), geometry, properties if isinstance(properties, Mapping) else {}, fault


def _geometry(shape: Any) -> tuple[BaseGeometry | None, str]:
    if shape is None:
        return None, "no geometry"
    try:
        with np.errstate(invalid="ignore"):  # NaN is looked for below
            geometry = shapely.force_2d(shapely.geometry.shape(shape))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
        return None, f"unreadable geometry: {error!r}"[:MAX_FAULT_LENGTH]
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None, "a coordinate is no number"
    return geometry, ""


def _line_features(path: Path) -> Iterator[LayerFeature]:
    content = decode(read_unpacked(path, MAX_DOCUMENT_BYTES), path)
    for number, line in enumerate(content.splitlines(), start=1):
        line = line.strip("\x1e \t\r")
        if not line:
            continue
        try:
            item = parse_json(line, f"line {number}", is_finite=False)
        except UelError as error:
            raise UelError(
                "a line of the map file is no JSON", got=f"{path}: line {number}: {line[:60]!r}",
                do="repair it, or download the file again",
            ) from error  # fmt: skip
        yield _feature(item)
