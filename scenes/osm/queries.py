"""Sources of maps: parses the text that names a source, and reads its features in degrees."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import osmnx
import requests
from osmnx._errors import InsufficientResponseError, ResponseStatusCodeError
from osmnx._overpass import _download_overpass_features

from scenes.osm.files.feature_table import FEATURE_KEYS, MapContent
from scenes.osm.files.formats import MAP_SUFFIXES, map_suffix
from scenes.osm.files.map_file import read_map_file
from scenes.osm.files.osm_elements import map_content
from scenes.osm.files.overpass_json import read_overpass_json
from scenes.osm.geo_box import GeoBox
from uel.core.io import data_folder
from uel.errors import UelError

MAX_SQUARE_SIDE = 20_000.0  # metres: in larger squares the scale of UTM varies too much, and Overpass refuses them


@dataclass(frozen=True)
class MapQuery:
    """A parsed source: a file, a point, a box or a place's name."""

    kind: Literal["file", "point", "bbox", "name"]
    text: str
    point: tuple[float, float] | None = None
    """latitude and longitude in degrees, of kind point"""
    box: GeoBox | None = None
    """of kind bbox"""

    @property
    def file(self) -> Path:
        """Path of the file, with `~` expanded; of kind file."""
        return Path(os.path.expanduser(self.text))


def parse_source(source: str | Path | MapQuery) -> MapQuery:
    """Parse the text of a source.

    `"48.87,2.33"` is a point (latitude, longitude), `"2.32,48.86,2.34,48.88"` a box (west, south, east, north), a path
    a file, anything else a place's name.

    Raises `UelError` for numbers that are neither a point nor a box, for a point or a box that is out of range, and for
    a file that does not exist or is of an unknown type.
    """
    if isinstance(source, MapQuery):
        return source
    text = str(source).strip()
    numbers = _numbers(text)
    if isinstance(source, Path) or (numbers is None and _looks_like_file(text)):
        _require_file(Path(os.path.expanduser(text)))
        return MapQuery("file", text)
    if numbers is None:
        _require_name(text)
        return MapQuery("name", text)
    if len(numbers) == 2:
        return MapQuery("point", text, point=require_point(numbers[0], numbers[1]))
    if len(numbers) == 4:
        return MapQuery("bbox", text, box=_require_box(GeoBox(*numbers)))
    raise UelError(
        f"the source has {len(numbers)} numbers, which is neither a point nor a box",
        got=text,
        do="give 'lat,lon' or 'west,south,east,north' in degrees",
    )


def source_center(source: MapQuery, cache: Path | None = None) -> tuple[float, float] | None:
    """Latitude and longitude in degrees of a source's centre; None for a file, whose content tells it.

    The position of a place's name is asked for online. Raises `UelError` for an unknown name, or without a connection.
    """
    if source.kind == "name":
        with _map_server(source.text, cache):
            return osmnx.geocode(source.text)
    return source.point or (source.box.center if source.box else None)


def source_content(
    source: str | Path | MapQuery, box: GeoBox | None = None, *, cache: Path | None = None
) -> MapContent:
    """Buildings, roads, water and green of a source, and what could not be read of it.

    `box` (degrees) limits the result of a map server, which needs it, and of files that can be read in part. Answers of
    the server are kept in `cache` (default: `osm` in the data folder).

    Raises `UelError` for a damaged or empty file, when there are no features, and without a connection.
    """
    source = parse_source(source)
    if source.kind == "file":
        return read_map_file(source.file, box)
    if box is None:
        raise UelError("a map server needs a box", got=source.text, do="give `box`, in degrees")
    if box.west < -180 or box.east > 180:
        got = f"longitudes {box.west:.4f} to {box.east:.4f}"
        raise UelError("the square crosses the antimeridian", got=got, do="move its centre, or use a map file")
    with _map_server(source.text, cache):
        elements = read_overpass_json({"elements": _overpass_elements(box)}, source.text)
        return map_content(elements, source.text)


def _overpass_elements(box: GeoBox) -> list[dict[str, Any]]:
    """The elements that an Overpass server has in a box; each once, as a large box is asked for in several queries."""
    answers = _download_overpass_features(
        osmnx.utils_geo.bbox_to_poly((box.west, box.south, box.east, box.north)), dict.fromkeys(FEATURE_KEYS, True)
    )
    elements = {(item["type"], item["id"]): item for answer in answers for item in answer["elements"]}
    if not elements:
        raise InsufficientResponseError("no elements")
    return list(elements.values())


def require_point(latitude: float, longitude: float) -> tuple[float, float]:
    """The point itself. Raises `UelError` where UTM has no zone: beyond 84° north, 80° south, ±180° longitude."""
    if -80 <= latitude <= 84 and -180 <= longitude <= 180:
        return latitude, longitude
    swapped = abs(longitude) <= 84 and abs(latitude) <= 180
    hint = "perhaps the two are swapped: " if swapped else ""
    raise UelError(
        "the point is outside the range of UTM",
        got=f"latitude {latitude:g}, longitude {longitude:g}",
        do=f"{hint}give 'lat,lon'",
    )


def _require_box(box: GeoBox) -> GeoBox:
    require_point(box.south, box.west)
    require_point(box.north, box.east)
    if box.west >= box.east and box.west > 0 > box.east:
        raise UelError("the box crosses the antimeridian", got=str(tuple(box)), do="choose a box on one side of ±180°")
    if box.west >= box.east or box.south >= box.north:
        raise UelError(
            "the box is empty, or its corners are swapped", got=str(tuple(box)), do="give 'west,south,east,north'"
        )
    if box.side > MAX_SQUARE_SIDE:
        raise UelError(
            f"the box is larger than {MAX_SQUARE_SIDE / 1000:g} km",
            got=f"{tuple(box)}, {box.side / 1000:.0f} km",
            do="build several smaller tiles",
        )
    return box


def _numbers(text: str) -> list[float] | None:
    """The numbers of a comma-separated list, or None for any other text; `nan` and `inf` are not numbers."""
    fields = text.split(",")
    if len(fields) < 2 or not all(re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", f, re.I) for f in fields):
        return None
    return [float(field) for field in fields]


def _looks_like_file(text: str) -> bool:
    """Whether a text has a file suffix, exists as a path, or starts like one; `Biel/Bienne` is a name."""
    is_path = text.startswith(("/", ".", "~")) or re.search(r"\.[a-z0-9]{2,8}$", text, re.I)
    return bool(text) and (bool(is_path) or os.path.exists(text))


def _require_file(path: Path) -> None:
    if map_suffix(path) is None:
        raise UelError("unknown type of map file", got=str(path), do=f"give one of {', '.join(MAP_SUFFIXES)}")
    if not os.path.isfile(path):  # unlike Path.is_file it is False for a name that is too long
        raise UelError("the map file does not exist", got=str(path), do="check the path")
    if path.stat().st_size == 0:
        raise UelError("the map file is empty", got=str(path), do="download it again")


def _require_name(text: str) -> None:
    if not re.search(r"[^\W\d_]", text) or "\0" in text or len(text) > 200:
        raise UelError(
            "the source is neither a file, numbers nor a name",
            got=repr(text[:80]),
            do="give a file, 'lat,lon', 'west,south,east,north' or the name of a place",
        )


@contextmanager
def _map_server(query: str, cache: Path | None) -> Iterator[None]:
    """Use osmnx with the given cache folder, turn its exceptions into `UelError`, and restore its settings."""
    settings = osmnx.settings.cache_folder, osmnx.settings.use_cache
    osmnx.settings.cache_folder, osmnx.settings.use_cache = cache or data_folder() / "osm", True
    try:
        yield
    except InsufficientResponseError as error:
        raise UelError("the map has no features there", got=query, do="check the name or the coordinates") from error
    except (requests.RequestException, ResponseStatusCodeError, OSError) as error:
        detail = type(error).__name__
        raise UelError(
            "the map server does not answer",
            got=f"{query} ({detail})",
            do="check the connection, or use a map file instead",
        ) from error
    finally:
        osmnx.settings.cache_folder, osmnx.settings.use_cache = settings
