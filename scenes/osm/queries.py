"""Sources of maps: parses the text that names a source, and reads its features in degrees."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import geopandas as gpd
import osmnx
import requests
import shapely
from osmnx._errors import InsufficientResponseError, ResponseStatusCodeError

from scenes.osm.map_files import FEATURE_KEYS, MAP_SUFFIXES, header_bounds, map_suffix, read_map_file
from uel.core.io import data_folder
from uel.errors import UelError

MAX_SQUARE_SIDE = 20_000.0  # metres: in larger squares the scale of UTM varies too much, and Overpass refuses them
METRES_PER_DEGREE = 111_320.0  # of latitude; on the equator also of longitude


class GeoBox(NamedTuple):
    """A box of longitudes and latitudes in degrees."""

    west: float
    south: float
    east: float
    north: float

    @property
    def center(self) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        return (self.south + self.north) / 2, (self.west + self.east) / 2

    @property
    def side(self) -> float:
        """Length of the longer side in metres."""
        wide = (self.east - self.west) * math.cos(math.radians(self.center[0]))
        return METRES_PER_DEGREE * max(wide, self.north - self.south)


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
    """Latitude and longitude in degrees of a source's centre; None for a file whose header has no bounds.

    The position of a place's name is asked for online. Raises `UelError` for an unknown name, or without a connection.
    """
    if source.point:
        return source.point
    box = header_bounds(source.file) if source.kind == "file" else source.box
    if box is None and source.kind == "name":
        with _map_server(source.text, cache):
            return osmnx.geocode(source.text)
    return GeoBox(*box).center if box else None


def source_features(
    source: str | Path | MapQuery, box: GeoBox | None = None, *, cache: Path | None = None
) -> gpd.GeoDataFrame:
    """Buildings, roads, water and green of a source: WGS84 geometry, string tags, indexed by element and id.

    `box` (degrees) limits the result; sources other than files need it. Answers of the server are kept in `cache`
    (default: `osm` in the data folder). Buildings without a valid geometry are included with an empty one.

    Raises `UelError` for a damaged or empty file, when there are no features, and without a connection.
    """
    source = parse_source(source)
    if source.kind == "file":
        frame = read_map_file(source.file)
        return frame if box is None else _inside_box(frame, box)
    if box is None:
        raise UelError("a map server needs a box", got=source.text, do="give `box`, in degrees")
    with _map_server(source.text, cache):
        return osmnx.features_from_bbox((box.west, box.south, box.east, box.north), dict.fromkeys(FEATURE_KEYS, True))


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


def _inside_box(frame: gpd.GeoDataFrame, box: GeoBox) -> gpd.GeoDataFrame:
    """Features that touch the box, and those without a geometry, whose position is unknown."""
    is_near = frame.geometry.intersects(shapely.box(*box)) | frame.geometry.is_empty
    return gpd.GeoDataFrame(frame[is_near])


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
