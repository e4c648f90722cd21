"""Reads sites from tables in CSV, JSON or GeoJSON.

A row is a site. Its position is `latitude` and `longitude` (degrees, WGS 84) or `x` and `y` (metres east and north of
the tile's centre). Its height is one of `height` (metres above the ground), `height_above_roof` (metres above the roof
or ground there) or `z` (elevation in the tile's datum). `azimuth_deg` lists one azimuth per sector (`0;120;240`,
clockwise from north); `tilt_deg` and `power_dbm` apply to all sectors. `name` is ignored. In GeoJSON the position is
the point's, and the rest are its properties.
"""

import csv
import difflib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pyproj import Transformer

from scenes.config import MAX_SITES
from scenes.osm.map_files import foreign_crs
from scenes.osm.queries import require_point
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Cell, Site

SiteRow = Mapping[str, Any]
HEIGHT_COLUMNS = ("height", "height_above_roof", "z")
POSITION_COLUMNS = (("latitude", "longitude"), ("x", "y"))
SITE_COLUMNS = ("name", "latitude", "longitude", "x", "y", *HEIGHT_COLUMNS, "azimuth_deg", "tilt_deg", "power_dbm")
MIN_SITE_DISTANCE = 0.1  # m: closer sites are the same site


def read_sites(tile: Tile, file: Path, template: Cell | None = None) -> tuple[Site, ...]:
    """Read the sites of a table, in its order; values that a row does not give for its cells are the `template`'s.

    Raises `UelError`, with row and column, for a file that cannot be read, unknown, missing or contradicting columns,
    values that are not numbers, more than 8 sites, two sites at one position, and a site off the tile, inside a wall or
    in the ground; and for degrees on a tile without a georeference.
    """
    rows = _rows(file)
    if not 1 <= len(rows) <= MAX_SITES:
        raise UelError(
            f"the number of sites in a file is not 1 to {MAX_SITES}",
            got=f"{len(rows)} rows in {file}",
            do="write one row for each site",
        )
    sites = tuple(_site(tile, row, f"row {number} of {file.name}", template) for number, row in enumerate(rows, 1))
    _require_apart(sites, file)
    tile.require_sites(sites)
    return sites


def _rows(file: Path) -> Sequence[SiteRow]:
    """The rows of a file, read by its suffix, with valid columns."""
    readers = {".csv": _read_csv, ".json": _read_json, ".geojson": _read_geojson}
    if file.suffix.lower() not in readers:
        raise UelError(
            "unknown type of site file",
            got=str(file),
            do="give a .csv, .json or .geojson file, with the suffix of its format",
        )
    try:
        rows = readers[file.suffix.lower()](file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UelError("the site file cannot be read", got=f"{file}: {error!r}", do="correct the file") from error
    for number, row in enumerate(rows, 1):
        _require_columns(row, f"row {number} of {file.name}")
    return rows


def _read_csv(text: str) -> list[SiteRow]:
    """Rows of a table with a header; empty fields are left out."""
    rows = list(csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True))
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} does not have as many fields as the header")
    return [{key.strip(): value for key, value in row.items() if value.strip()} for row in rows]


def _read_json(text: str) -> list[SiteRow]:
    """Rows of a list of objects, or of a GeoJSON FeatureCollection."""
    data = json.loads(text)
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        return _read_geojson(text)
    if not (isinstance(data, list) and all(isinstance(row, dict) for row in data)):
        raise ValueError("the file is not a list of objects")
    return [{key: value for key, value in row.items() if value is not None} for row in data]


def _read_geojson(text: str) -> list[SiteRow]:
    """Rows of the Points of a FeatureCollection (RFC 7946); heights are properties, a third coordinate is ignored."""
    content, rows = json.loads(text), []
    features = content["features"]
    if crs := foreign_crs(content):
        raise ValueError(f"coordinates are not degrees of WGS 84: {crs}")
    for feature in features:
        if feature["geometry"]["type"] != "Point":
            raise ValueError(f"the geometry of a site must be a Point, not a {feature['geometry']['type']}")
        longitude, latitude = feature["geometry"]["coordinates"][:2]
        properties = {key: value for key, value in (feature["properties"] or {}).items() if value is not None}
        rows.append({"longitude": longitude, "latitude": latitude, **properties})
    return rows


def _require_columns(row: SiteRow, where: str) -> None:
    for column in row:
        if column not in SITE_COLUMNS:
            close = difflib.get_close_matches(column, SITE_COLUMNS, n=1)
            hint = f"perhaps you meant {close[0]}; " if close else ""
            raise UelError(f"unknown column in {where}", got=column, do=f"{hint}known are {', '.join(SITE_COLUMNS)}")
    positions = [pair for pair in POSITION_COLUMNS if any(column in row for column in pair)]
    if len(positions) != 1 or not all(column in row for column in positions[0]):
        raise UelError(
            f"{where} does not have one position",
            got=f"columns {', '.join(row)}",
            do="give either latitude and longitude, or x and y in metres from the tile's centre",
        )
    heights = [column for column in HEIGHT_COLUMNS if column in row]
    if len(heights) != 1:
        raise UelError(
            f"{where} does not have one height",
            got=", ".join(heights) or "none",
            do=f"give one of {', '.join(HEIGHT_COLUMNS)}",
        )


def _site(tile: Tile, row: SiteRow, where: str, template: Cell | None) -> Site:
    x, y = _position(tile, row, where)
    position = torch.tensor([x, y], dtype=torch.float64)
    if not bool(tile.raster_grid.contains(position)):
        raise UelError(
            f"the site in {where} is off the tile",
            got=f"x = {x:.1f} m, y = {y:.1f} m",
            do=f"give a position within ±{tile.size / 2:g} m of the tile's centre",
        )
    return Site(position=(x, y, _elevation(tile, row, position, where)), cells=_cells(row, where, template or Cell()))


def _position(tile: Tile, row: SiteRow, where: str) -> tuple[float, float]:
    if "x" in row:
        return _number(row, "x", where), _number(row, "y", where)
    if not tile.meta.get("crs"):
        raise UelError(
            f"tile {tile.name} has no georeference", got=f"degrees in {where}", do="give x and y in metres instead"
        )
    latitude, longitude = require_point(_number(row, "latitude", where), _number(row, "longitude", where))
    to_metres = Transformer.from_crs("EPSG:4326", tile.meta["crs"], always_xy=True)
    east, north = to_metres.transform(longitude, latitude)
    return east - tile.meta["origin"][0], north - tile.meta["origin"][1]


def _elevation(tile: Tile, row: SiteRow, position: torch.Tensor, where: str) -> float:
    column = next(column for column in HEIGHT_COLUMNS if column in row)
    value = _number(row, column, where)
    if column == "z":
        return value
    pixel = tile.pixel_of(position)
    base = tile.rasters["height" if column == "height_above_roof" else "ground"][pixel]
    return float(base) + value


def _cells(row: SiteRow, where: str, template: Cell) -> tuple[Cell, ...]:
    given = {name: _number(row, name, where) for name in ("tilt_deg", "power_dbm") if name in row}
    cell = replace(template, **given)
    if "azimuth_deg" not in row:
        return (cell,)
    value = row["azimuth_deg"]
    if cell.array.pattern == "iso" and cell.array.rows * cell.array.columns == 1:
        raise UelError(
            f"{where} gives azimuth_deg, but the antenna is isotropic",
            got=f"pattern {cell.array.pattern}",
            do="choose a directional pattern, such as --pattern tr38901, or leave azimuth_deg out",
        )
    azimuths = value if isinstance(value, list) else str(value).split(";")
    return tuple(replace(cell, azimuth_deg=_finite_number(item, "azimuth_deg", where)) for item in azimuths)


def _number(row: SiteRow, column: str, where: str) -> float:
    return _finite_number(row[column], column, where)


def _finite_number(value: Any, column: str, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise UelError(f"{column} in {where} is not a number", got=repr(value), do="give a finite number, such as 12.5")
    return number


def _require_apart(sites: Sequence[Site], file: Path) -> None:
    for second, site in enumerate(sites):
        for first, other in enumerate(sites[:second]):
            if math.dist(site.position, other.position) < MIN_SITE_DISTANCE:
                raise UelError(
                    f"rows {first + 1} and {second + 1} of {file.name} have the same position",
                    got=f"{site.position}",
                    do="give the sectors of a site in one row: azimuth_deg 0;120;240",
                )
