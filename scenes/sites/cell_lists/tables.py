"""Lists of cells as rows: CSV of any separator and encoding (OpenCelliD's, too), JSON, GeoJSON, KML."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from scenes.osm.files.geojson import foreign_crs
from scenes.sites.cell_lists.column_names import OPEN_CELL_ID_COLUMNS
from uel.core.outside.compression import read_unpacked
from uel.core.outside.json_text import parse_json
from uel.core.outside.xml_text import parse_xml
from uel.core.tables.text_files import decode
from uel.errors import UelError, brief

SEPARATOR_NAMES = {";": "semicolon", ",": "comma", "\t": "tab", "|": "vertical bar"}
TECHNOLOGY_WORDS = ("GSM", "UMTS", "CDMA", "LTE", "NR", "NBIOT")
MAX_LIST_BYTES = 1 << 28  # of a list: some millions of cells
RawRow = Mapping[str, Any]


@dataclass(frozen=True)
class ListRow:
    """A row of a list: its number (the first below the header is 1), and what it says by the file's column names."""

    number: int
    values: RawRow


def read_rows(file: Path) -> list[ListRow]:
    """The rows of a list by its suffix: `.csv`, `.tsv`, `.txt`, `.json`, `.geojson`, `.kml`, each also `.gz`.

    Empty fields are left out. Raises `UelError` for a file that cannot be read, and for rows of too few or many fields.
    """
    suffixes = [suffix.lower() for suffix in file.suffixes]
    suffix = next((s for s in reversed(suffixes) if s != ".gz"), "")
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".txt": _read_csv, ".json": _read_json, ".geojson": _read_geojson}
    readers |= {".kml": _read_kml}
    if suffix not in readers:
        raise UelError(
            "unknown type of site file",
            got=str(file),
            do="give a .csv, .tsv, .json, .geojson or .kml file, with the suffix of its format (.gz may follow)",
        )
    try:
        rows = readers[suffix](decode(read_unpacked(file, MAX_LIST_BYTES), file.name))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        fault = brief(error) if isinstance(error, UelError) else repr(error)
        raise UelError("the site file cannot be read", got=f"{file}: {fault}", do="correct the file") from error
    return [ListRow(number, row) for number, row in enumerate(rows, 1)]


def _read_csv(text: str) -> list[RawRow]:
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and (named := re.fullmatch(r"sep=(.)", lines[0].strip(), re.IGNORECASE)):
        separator, lines = named[1], lines[1:]
    else:
        separator = max(SEPARATOR_NAMES, key=lambda mark: lines[0].count(mark)) if lines else ","
    if not lines:
        return []
    if lines[0].split(",")[0].strip().upper() in TECHNOLOGY_WORDS and len(lines[0].split(",")) == 14:
        lines = [",".join(OPEN_CELL_ID_COLUMNS), *lines]  # as OpenCelliD publishes a country
    header, *rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True, strict=True)
    rows = [row for row in rows if any(value.strip() for value in row)]
    # A spreadsheet's empty columns end every line with separators.
    width = max((number for number, name in enumerate(header, 1) if name.strip()), default=0)
    rows = [row if any(value.strip() for value in row[width:]) else row[:width] for row in rows]
    names = [name.strip() for name in header[:width]]
    if len(set(names) - {""}) < len(names):
        raise ValueError(f"the header does not name each column once: {separator.join(names)}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            name = SEPARATOR_NAMES.get(separator, repr(separator))
            raise ValueError(
                f"row {number} does not have as many fields as the header: {len(row)}, not {len(names)}; the separator "
                f"is the {name} (put a field that contains it, such as a decimal comma, into quotes)"
            )
    return [{name: v.strip() for name, v in zip(names, row, strict=True) if v.strip()} for row in rows]


def _read_json(text: str) -> list[RawRow]:
    """Rows of a list of objects, of the list in an object (`cells`, `sites`), or of a GeoJSON FeatureCollection."""
    data = parse_json(text, "the list", is_finite=False)
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        return _read_geojson(text)
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list) and value]
        data = lists[0] if len(lists) == 1 else data
    if not (isinstance(data, list) and all(isinstance(row, dict) for row in data)):
        raise ValueError("the file is not a list of objects")
    return [{key: value for key, value in row.items() if value is not None} for row in data]


def _read_geojson(text: str) -> list[RawRow]:
    """Rows of the Points of a FeatureCollection (RFC 7946); heights are properties, a third coordinate is ignored."""
    content, rows = parse_json(text, "the list", is_finite=False), []
    features = content["features"]
    if crs := foreign_crs(content):
        raise ValueError(f"coordinates are not degrees of WGS 84: {crs}")
    for number, feature in enumerate(features, 1):
        geometry = feature["geometry"]
        if geometry is None:
            raise ValueError(f"feature {number} has no geometry: a site has a Point")
        if geometry["type"] != "Point":
            raise ValueError(f"the geometry of a site must be a Point, not a {geometry['type']} (feature {number})")
        longitude, latitude = geometry["coordinates"][:2]
        properties = {key: value for key, value in (feature["properties"] or {}).items() if value is not None}
        rows.append({"longitude": longitude, "latitude": latitude, **properties})
    return rows


def _read_kml(text: str) -> list[RawRow]:
    """Rows of the placemarks of a KML file that are points: name, coordinates, and their ExtendedData."""
    rows = []
    for placemark in _elements(parse_xml(text.encode(), "the KML file"), "Placemark"):
        point = next(_elements(placemark, "Point"), None)
        coordinates = next(_elements(point, "coordinates"), None) if point is not None else None
        name = next(_elements(placemark, "name"), None)
        label = (name.text or "").strip() if name is not None else ""
        if coordinates is None or not coordinates.text:
            raise ValueError(f"placemark {label!r} is no point: the geometry of a site must be a Point")
        longitude, latitude = (float(value) for value in coordinates.text.strip().split(",")[:2])
        data = {item.get("name", ""): item.text or "" for item in _elements(placemark, "SimpleData")}
        for item in _elements(placemark, "Data"):
            value = next(_elements(item, "value"), None)
            data[item.get("name", "")] = (value.text or "") if value is not None else ""
        kept = {key: value.strip() for key, value in data.items() if key and value.strip()}
        rows.append({**({"name": label} if label else {}), "longitude": longitude, "latitude": latitude, **kept})
    return rows


def _elements(root: Element, tag: str) -> Any:
    """Elements of a tag in any namespace of KML."""
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == tag)
