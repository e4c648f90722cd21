"""Where a map comes from: the text that names a source, and its features in degrees."""

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

MAX_SQUARE_SIDE = 20_000.0  # side of a square in metres: beyond it UTM's scale drifts and Overpass refuses
METRES_PER_DEGREE = 111_320.0  # of latitude; on the equator also of longitude


class GeoBox(NamedTuple):
    """A box in degrees."""

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
        """The larger side in metres."""
        wide = (self.east - self.west) * math.cos(math.radians(self.center[0]))
        return METRES_PER_DEGREE * max(wide, self.north - self.south)


@dataclass(frozen=True)
class MapQuery:
    """What a user's text means."""

    kind: Literal["file", "point", "bbox", "name"]
    text: str
    point: tuple[float, float] | None = None
    """latitude and longitude in degrees of a point source"""
    box: GeoBox | None = None
    """of a bbox source"""

    @property
    def file(self) -> Path:
        return Path(os.path.expanduser(self.text))


def parse_source(source: str | Path | MapQuery) -> MapQuery:
    """What a source text means: `"48.87,2.33"` is a point (latitude, longitude), `"2.32,48.86,2.34,48.88"` a box
    (west, south, east, north), a path a file, anything else a place's name.

    Raises `UelError` for numbers that are neither, for a point or a box that cannot be, and for a file that is
    missing or that no reader knows.
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
    raise UelError("neither a point nor a box", got=text, do="give 'lat,lon' or 'west,south,east,north' in degrees")


def source_center(source: MapQuery, cache: Path | None = None) -> tuple[float, float] | None:
    """Latitude and longitude in degrees that a source names; None for a file whose header has no bounds.

    A name is asked for online. Raises `UelError` when nobody knows it, or without a connection.
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

    `box` (degrees) limits what is returned, and is what Overpass is asked for: sources other than files need it.
    Answers are kept in `cache` (default `osm` in the data folder), so the same question is asked once.
    Building features whose geometry could not be built come with an empty one: nothing is lost in silence.

    Raises `UelError` for a damaged or empty file, when nothing is there, and without a connection.
    """
    source = parse_source(source)
    if source.kind == "file":
        frame = read_map_file(source.file)
        return frame if box is None else _inside_box(frame, box)
    if box is None:
        raise UelError("the map server needs a box", got=source.text, do="give the square as `box`, in degrees")
    with _map_server(source.text, cache):
        return osmnx.features_from_bbox((box.west, box.south, box.east, box.north), dict.fromkeys(FEATURE_KEYS, True))


def require_point(latitude: float, longitude: float) -> tuple[float, float]:
    """The point itself. Raises `UelError` where UTM has no zone: beyond 84° north, 80° south, ±180° longitude."""
    if -80 <= latitude <= 84 and -180 <= longitude <= 180:
        return latitude, longitude
    swapped = abs(longitude) <= 84 and abs(latitude) <= 180
    hint = "perhaps the two are swapped: " if swapped else ""
    raise UelError(
        "no such point on the map", got=f"latitude {latitude:g}, longitude {longitude:g}", do=f"{hint}give 'lat,lon'"
    )


def _require_box(box: GeoBox) -> GeoBox:
    require_point(box.south, box.west)
    require_point(box.north, box.east)
    if box.west >= box.east and box.west > 0 > box.east:
        raise UelError("the box crosses the antimeridian", got=str(tuple(box)), do="choose a box on one side of ±180°")
    if box.west >= box.east or box.south >= box.north:
        raise UelError("the box is empty or inside out", got=str(tuple(box)), do="give 'west,south,east,north'")
    if box.side > MAX_SQUARE_SIDE:
        raise UelError(
            f"the box is larger than {MAX_SQUARE_SIDE / 1000:g} km",
            got=f"{tuple(box)}, {box.side / 1000:.0f} km",
            do="build several smaller tiles",
        )
    return box


def _numbers(text: str) -> list[float] | None:
    """Comma separated numbers, or None for any other text; `nan` and `inf` are words."""
    fields = text.split(",")
    if len(fields) < 2 or not all(re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", f, re.I) for f in fields):
        return None
    return [float(field) for field in fields]


def _looks_like_file(text: str) -> bool:
    """A known suffix, a path that exists, or one written as a path; `Biel/Bienne` is a name, `map.shp` is not."""
    written = text.startswith(("/", ".", "~")) or re.search(r"\.[a-z0-9]{2,8}$", text, re.I)
    return bool(text) and (bool(written) or os.path.exists(text))


def _require_file(path: Path) -> None:
    if map_suffix(path) is None:
        raise UelError("no reader for this kind of file", got=str(path), do=f"give one of {', '.join(MAP_SUFFIXES)}")
    if not os.path.isfile(path):  # unlike Path.is_file it takes a name that is too long for a no
        raise UelError("no such file", got=str(path), do="check the path")
    if path.stat().st_size == 0:
        raise UelError("the file is empty", got=str(path), do="download it again")


def _require_name(text: str) -> None:
    if not re.search(r"[^\W\d_]", text) or "\0" in text or len(text) > 200:
        raise UelError(
            "not a source", got=repr(text[:80]), do="give a file, 'lat,lon', 'west,south,east,north' or a name"
        )


def _inside_box(frame: gpd.GeoDataFrame, box: GeoBox) -> gpd.GeoDataFrame:
    """Features that touch the box, and those without a geometry, which could be anywhere."""
    near = frame.geometry.intersects(shapely.box(*box)) | frame.geometry.is_empty
    return gpd.GeoDataFrame(frame[near])


@contextmanager
def _map_server(query: str, cache: Path | None) -> Iterator[None]:
    """osmnx with our cache folder, its errors in our words, and its settings as they were afterwards."""
    before = osmnx.settings.cache_folder, osmnx.settings.use_cache
    osmnx.settings.cache_folder, osmnx.settings.use_cache = cache or data_folder() / "osm", True
    try:
        yield
    except InsufficientResponseError as error:
        raise UelError("the map has nothing there", got=query, do="check the name or the coordinates") from error
    except (requests.RequestException, ResponseStatusCodeError, OSError) as error:
        detail = type(error).__name__
        raise UelError("the map server does not answer", got=f"{query} ({detail})", do="use a file instead") from error
    finally:
        osmnx.settings.cache_folder, osmnx.settings.use_cache = before
