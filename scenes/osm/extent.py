"""Where a map file's buildings are, and how much of a tile the file covers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float, Shaped
from pyproj import Transformer

from scenes.osm.files.feature_table import BUILDING_KEYS, MapContent
from scenes.osm.footprints import square
from scenes.osm.geo_box import METRES_PER_DEGREE, GeoBox, box_around, wrapped_longitude
from uel.errors import UelError

FULL_FRACTION = 0.995  # of a tile: from it on a file counts as covering the tile
MIN_COVERED_FRACTION = 0.05  # of a tile: a file that covers less is of another place
POINTS_PER_EDGE = 16  # of a box, whose edges are curves in metres
SWAP_RANGE = 10_000.0  # metres around a place with swapped coordinates that counts as the same place
CENTER_STEPS = 8  # of the search for the place with the most buildings


def content_center(content: MapContent, size: float) -> tuple[float, float]:
    """Latitude and longitude in degrees of the middle of a map file.

    It is the middle of the one area that the file says it covers, else that of its buildings (`middle_of_places`),
    else that of everything in it: railways and woods go on for miles beyond an extract's edge.
    """
    if len(content.boxes) == 1:
        return content.boxes[0].center
    places = building_places(content)
    if len(places):
        return middle_of_places(places, size)
    box = _union(content.boxes) if content.boxes else GeoBox(*map(float, content.frame.total_bounds))
    return box.center


def building_places(content: MapContent) -> Float[np.ndarray, "building 2"]:
    """Longitude and latitude in degrees of the middle of every building."""
    frame = content.frame
    is_built = frame.reindex(columns=list(BUILDING_KEYS)).notna().any(axis=1).to_numpy()
    shapes = np.asarray(frame.geometry)[is_built]
    bounds = shapely.bounds(shapes[~shapely.is_empty(shapes)]).reshape(-1, 4)
    return (bounds[:, :2] + bounds[:, 2:]) / 2


def middle_of_places(places: Float[np.ndarray, "place 2"], size: float) -> tuple[float, float]:
    """Latitude and longitude of the middle of places, or of where most of them are.

    The middle counts if a square of `size` metres around it holds half as many places as the fullest square; else a few
    places far away have moved it, and the middle of the fullest square counts.

    Example:
        >>> import numpy as np
        >>> houses = np.array([[9.0, 48.0], [9.001, 48.0], [9.0, 48.001], [120.0, 10.0]])
        >>> tuple(round(value, 4) for value in middle_of_places(houses, 512.0))
        (48.0005, 9.0005)
    """
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    half = _half_in_degrees(places, size)
    fullest = _fullest_place(places, half)
    inside = [(np.abs(places - point) <= half).all(axis=1).sum() for point in (middle, fullest)]
    longitude, latitude = middle if 2 * inside[0] >= inside[1] else fullest
    return float(latitude), wrapped_longitude(float(longitude))


def _half_in_degrees(places: Float[np.ndarray, "place 2"], size: float) -> Float[np.ndarray, "2"]:
    tall = size / 2 / METRES_PER_DEGREE
    return np.array([tall / max(math.cos(math.radians(float(np.median(places[:, 1])))), 0.1), tall])


def _fullest_place(places: Float[np.ndarray, "place 2"], half: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    """The middle of the places in the fullest square: the fullest cell of a lattice, moved to the middle of its
    neighbourhood until it stays."""
    cell = np.floor(places / half).astype(np.int64)
    _, owner, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    point = places[owner.ravel() == count.argmax()].mean(axis=0)
    for _ in range(CENTER_STEPS):
        near = places[(np.abs(places - point) <= half).all(axis=1)]
        point = (near.min(axis=0) + near.max(axis=0)) / 2
    return point


def _union(boxes: Sequence[GeoBox]) -> GeoBox:
    west, south, east, north = zip(*boxes, strict=True)
    return GeoBox(min(west), min(south), max(east), max(north))


def covered_fractions(
    content: MapContent, crs: str, origin: tuple[float, float], size: float, margin: float
) -> dict[str, Any]:
    """How much of a tile a map file covers.

    Returns:
        `tile`: fraction of the square, `with_margin`: of the square with its margin, `by`: `bounds` where the file says
        which area it covers, else `features`: of the box around all that it holds.

    Raises `UelError` where the file says that it covers less than `MIN_COVERED_FRACTION` of the tile.
    """
    boxes = content.boxes or (GeoBox(*map(float, content.frame.total_bounds)),)
    area = shapely.union_all([_in_metres(box, crs, origin) for box in boxes])
    tile, around = (
        float(shapely.intersection(area, square(half)).area / (4 * half * half))
        for half in (size / 2, size / 2 + margin)
    )
    by = "bounds" if content.boxes else "features"
    if by == "bounds" and tile < MIN_COVERED_FRACTION:
        latitude, longitude = content_center(content, size)
        raise UelError(
            "the map file covers next to nothing of the tile",
            got=f"{percent(tile)} of a square of {size:g} m; the file reaches "
            f"from {boxes[0].south:.4f}, {boxes[0].west:.4f} to {boxes[0].north:.4f}, {boxes[0].east:.4f}",
            do=f"move the tile (--center {latitude:.4f} {longitude:.4f}), or give an extract of this place",
        )
    return {"tile": tile, "with_margin": around, "by": by}


def _in_metres(box: GeoBox, crs: str, origin: tuple[float, float]) -> shapely.Geometry:
    outline = shapely.segmentize(shapely.box(*box), max(box.east - box.west, box.north - box.south) / POINTS_PER_EDGE)
    to_metres = Transformer.from_crs("EPSG:4326", crs, always_xy=True)

    def local(points: Shaped[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        return np.column_stack(to_metres.transform(points[:, 0], points[:, 1])) - np.array(origin)

    return shapely.make_valid(shapely.transform(outline, local))


def coverage_notes(covered: dict[str, Any], margin: float) -> list[str]:
    """What a user should know of a file that covers a tile in part."""
    tile, around = covered["tile"], covered["with_margin"]
    if covered["by"] == "features":
        if tile >= FULL_FRACTION:
            return []
        return [f"the map does not say which area it covers; what it holds spans {percent(tile)} of the tile"]
    if tile < FULL_FRACTION:
        return [f"the map covers {percent(tile)} of the tile: beyond its edge no building is known"]
    if margin and around < FULL_FRACTION:
        return [f"the map covers all of the tile, and {percent(around)} of the tile with its margin of {margin:g} m"]
    return []


def percent(fraction: float) -> str:
    """A fraction in whole per cent, rounded down, so that what is not full is not called 100 %."""
    return f"{math.floor(100 * fraction)} %"


def buildings_advice(content: MapContent, center: tuple[float, float], size: float) -> str:
    """Where the buildings of a file are, as advice to a user whose square has none."""
    places = building_places(content)
    if not len(places):
        return "make the square larger or move its centre"
    latitude, longitude = middle_of_places(places, size)
    place = f"{latitude:.4f} {longitude:.4f}"
    mirrored = box_around((center[1], center[0]), SWAP_RANGE) if abs(center[1]) < 80 else None
    if mirrored and mirrored.south <= latitude <= mirrored.north and mirrored.west <= longitude <= mirrored.east:
        return f"latitude and longitude are swapped, in the file or in --center: its buildings are around {place}"
    return f"make the square larger, or move its centre: the buildings are around --center {place}"
