"""Reads a map file of any format: what it is says its content, not its name."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from xml.etree import ElementTree

from scenes.osm.files.feature_table import MapContent
from scenes.osm.files.formats import map_format
from scenes.osm.files.geojson import read_geojson, read_geojson_lines, read_json
from scenes.osm.files.osm_elements import map_content
from scenes.osm.files.osm_pbf import read_osm_pbf
from scenes.osm.files.osm_xml import read_osm_xml
from scenes.osm.files.overpass_json import is_overpass_json, read_overpass_json
from scenes.osm.files.vector_layers import LAYER_ERRORS, read_parquet, read_vector_layers
from scenes.osm.geo_box import GeoBox
from uel.errors import UelError, brief

DAMAGE_ERRORS = (
    EOFError, zlib.error, LZMAError, OSError, RuntimeError, ElementTree.ParseError, UnicodeDecodeError,
    json.JSONDecodeError, *LAYER_ERRORS,
)  # fmt: skip


def read_map_file(path: Path, box: GeoBox | None = None) -> MapContent:
    """The content of a map file: OSM XML, PBF, Overpass JSON, GeoJSON, or a layer of another maker.

    Args:
        box: of formats that can be read in part, only what touches this box in degrees; others are read whole.

    Raises `UelError` for a damaged file, one of another kind, and one without a building, road or land cover.
    """
    with _readable_errors(path):
        kind = map_format(path)
        if kind == "osm_xml":
            return map_content(read_osm_xml(path), path)
        if kind == "osm_pbf":
            return map_content(read_osm_pbf(path), path)
        if kind == "vector":
            return read_vector_layers(path, box)
        if kind == "parquet":
            return read_parquet(path, box)
        return read_geojson_lines(path) if kind == "json_lines" else _read_json_map(path)


def _read_json_map(path: Path) -> MapContent:
    try:
        content = read_json(path)
    except UelError as error:
        fault = error.__cause__
        if not isinstance(fault, json.JSONDecodeError):
            raise
        if fault.msg == "Extra data":  # a value a line, the first one longer than what was looked at
            return read_geojson_lines(path)
        raise UelError("the map file is damaged", got=brief(error), do="download it again") from error
    if is_overpass_json(content):
        return map_content(read_overpass_json(content, path), path)
    if isinstance(content, dict) and (content.get("type") == "Topology" or "geometryType" in content):
        driver = "TopoJSON" if content.get("type") == "Topology" else "ESRIJSON"
        return read_vector_layers(path, driver=driver)
    return read_geojson(content, path)


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Turn the exceptions by which libraries report a damaged file into `UelError`."""
    try:
        yield
    except UelError:
        raise
    except DAMAGE_ERRORS as error:
        raise UelError("the map file is damaged", got=f"{path}: {error}", do="download it again") from error
