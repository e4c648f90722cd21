"""What kind of map a file is, by its first bytes; its name says only that it is a map."""

import re
import zipfile
from pathlib import Path
from typing import Literal

from uel.core.outside.compression import open_unpacked, require_bounded_archive
from uel.errors import UelError

MAP_SUFFIXES = (
    ".osm", ".xml", ".osm.gz", ".osm.bz2", ".osm.xz", ".osm.pbf", ".pbf", ".json", ".json.gz",
    ".geojson", ".geojson.gz", ".geojsonl", ".geojsonl.gz", ".geojsons", ".geojsonseq", ".ndjson", ".jsonl", ".csv.gz",
    ".parquet", ".geoparquet", ".gpkg", ".shp", ".zip", ".shp.zip", ".fgb",
)  # fmt: skip
SHAPEFILE_PARTS = (".dbf", ".shx", ".prj", ".cpg")  # files beside a .shp that belong to it
REFERENCE_MARKS = (b"<OGRVRT", b"<VRTDataset", b"<GDAL_", b"gdal_streamed_alg")  # of GDAL's formats that name files
BYTES_OF_A_START = 4096  # enough for a byte-order mark, a declaration and a comment

MapFormat = Literal["osm_xml", "osm_pbf", "json", "json_lines", "parquet", "vector"]

_BINARY_FORMATS: tuple[tuple[bytes, MapFormat], ...] = (
    (b"PAR1", "parquet"),
    (b"SQLite format 3\0", "vector"),  # GeoPackage
    (b"PK\x03\x04", "vector"),  # a zipped shapefile
    (b"\x00\x00\x27\x0a", "vector"),  # a shapefile
    (b"fgb\x03", "vector"),
)
_OTHER_FILES = (  # what people give by mistake: how it begins, what it is, what to do
    (rb"\x1a\x45|\xff\xe0\x04?\W*o5m", "an o5m file", "convert it: osmium cat IN.o5m -o OUT.osm.pbf"),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it: zstd -d FILE"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*", "a picture or a raster", "give the map's data, not its picture"),
    (rb"%PDF", "a PDF", "give the map's data, not its picture"),
)
_OTHER_XML = {
    "html": ("a web page", "save the file that the page links to, not the page"),
    "osmchange": ("an OsmChange file, a list of edits", "apply it to a map: osmium apply-changes MAP CHANGE -o OUT"),
    "osmaugmenteddiff": ("an augmented diff, a list of edits", "give the map itself"),
    "gpx": ("a GPX track", "give a map of buildings"),
    "kml": ("a KML file", "convert it: ogr2ogr OUT.geojson IN.kml"),
    "scene": ("a Mitsuba scene", "give the place of its origin: --origin LAT LON"),
}


def map_suffix(path: Path) -> str | None:
    """The longest of `MAP_SUFFIXES` that a file's name ends with, or None."""
    name = path.name.lower()
    return max((suffix for suffix in MAP_SUFFIXES if name.endswith(suffix)), key=len, default=None)


def map_format(path: Path) -> MapFormat:
    """The format of a map file, by its content.

    Raises `UelError` for a file of another kind, saying which one.
    """
    with open_unpacked(path) as file:
        start = file.read(BYTES_OF_A_START)
    if b"OSMHeader" in start[:64]:
        return "osm_pbf"
    for magic, kind in _BINARY_FORMATS:
        if start.startswith(magic):
            _require_main_file(path)
            return kind
    for pattern, what, remedy in _OTHER_FILES:
        if re.match(pattern, start):
            raise UelError(f"the map file is {what}", got=str(path), do=remedy)
    text = decode(start, path, is_start=True).lstrip("\x1e \t\r\n")
    if text.startswith("<"):
        return _xml_format(text, path)
    if text.startswith(("{", "[")):
        return "json_lines" if _is_json_lines(text) else "json"
    raise UelError(
        "the map file is damaged",
        got=f"{path}: begins with {text[:40]!r}, which is neither OpenStreetMap's XML or PBF, nor JSON, nor a layer",
        do="download it again",
    )


def decode(content: bytes, path: Path, *, is_start: bool = False) -> str:
    """Text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Raises `UelError` for another coding; `is_start` allows a cut and odd bytes.
    """
    marks = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    coding = next((name for mark, name in marks if content.startswith(mark)), "utf-8-sig")
    if coding == "utf-8-sig" and b"\0" in content[:4]:  # without a mark: JSON and XML begin with an ASCII sign
        coding = "utf-16-be" if content.startswith(b"\0") else "utf-16-le"
    try:
        return content.decode(coding, errors="replace" if is_start else "strict")
    except UnicodeDecodeError as error:
        got = f"{path}: byte {error.start} is {content[error.start : error.start + 1]!r}"
        raise UelError("the map file is not in UTF-8", got=got, do="save it as UTF-8") from error


def unpacked_vector_file(path: Path) -> str:
    """The path by which GDAL opens a layer file, inside a zip archive where it is one.

    Raises `UelError` for an archive that holds no single layer file.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _require_no_reference(file.read(BYTES_OF_A_START), path)
        return str(path.resolve())
    with zipfile.ZipFile(path) as archive:
        require_bounded_archive(archive, path)
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    layers = [name for name in names if name.lower().endswith((".shp", ".gpkg", ".geojson", ".fgb"))]
    if len(layers) != 1:
        raise UelError(
            "the archive does not hold one map layer",
            got=f"{path}: {', '.join(layers or names)[:200]}",
            do="unpack it, and give one of its files",
        )
    with zipfile.ZipFile(path) as archive, archive.open(layers[0]) as layer:
        _require_no_reference(layer.read(BYTES_OF_A_START), path)
    return f"/vsizip/{path.resolve()}/{layers[0]}"


def _require_no_reference(start: bytes, path: Path) -> None:
    """Raise `UelError` for a description by which GDAL would read other files or ask a server."""
    if any(mark in start for mark in REFERENCE_MARKS):
        do = "give the file that holds the map itself"
        raise UelError("the map file is a description of other files", got=str(path), do=do)


def _require_main_file(path: Path) -> None:
    if path.suffix.lower() in SHAPEFILE_PARTS:
        raise UelError(
            "this is a part of a shapefile", got=str(path), do=f"give {path.with_suffix('.shp').name} beside it"
        )


def _xml_format(text: str, path: Path) -> MapFormat:
    match = re.search(r"<(?:!doctype\s+)?([a-z]\w*)", text, re.I)
    root = match[1].lower() if match else ""
    if root == "osm":
        return "osm_xml"
    what, remedy = _OTHER_XML.get(root, (f"XML of another kind: <{root}>", "give an .osm file"))
    raise UelError(f"the map file is {what}", got=str(path), do=remedy)


def _is_json_lines(text: str) -> bool:
    """Whether every line is a JSON value of its own: the first line ends as an object, and another one follows."""
    first, _, rest = text.partition("\n")
    return first.rstrip().endswith("}") and rest.lstrip("\x1e \t\r\n").startswith("{")
