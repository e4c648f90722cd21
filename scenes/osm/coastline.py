"""The sea as polygons: OSM maps only coastlines, with the water on their right."""

from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Float
from shapely import Point, Polygon
from shapely.geometry.base import BaseGeometry

from scenes.osm.footprints import square

MAX_SEGMENT_LENGTH = 10.0  # metres: longer segments are divided, so that some lie inside the square
SIDE_OFFSET = 0.01  # metres left and right of the coastline at which an area counts as land or sea


def sea_polygon(coastlines: Sequence[BaseGeometry], half: float) -> list[Polygon]:
    """Polygons of the sea in the square |x|, |y| ≤ `half` metres, from coastlines in metres.

    A coastline that ends inside the square, as in a file that was cut too narrowly, bounds no sea.
    """
    inside = shapely.intersection(shapely.union_all(list(coastlines)), square(half))
    if inside.length == 0:
        return []
    edges = shapely.node(shapely.union_all([inside, square(half).boundary]))
    areas = shapely.get_parts(shapely.polygonize(shapely.get_parts(edges)))
    sea_points, land_points = (_points_per_area(areas, points) for points in _points_beside(coastlines))
    return [area for area, is_wet in zip(areas, sea_points > land_points, strict=True) if is_wet]


def _points_beside(
    coastlines: Sequence[BaseGeometry],
) -> tuple[Float[np.ndarray, "segment 2"], Float[np.ndarray, "segment 2"]]:
    """Points to the right and to the left of the middle of every segment."""
    lines = [
        shapely.get_coordinates(line)
        for line in shapely.get_parts(shapely.segmentize(list(coastlines), MAX_SEGMENT_LENGTH))
    ]
    start, end = (np.concatenate([line[part] for line in lines]) for part in (slice(-1), slice(1, None)))
    along = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1, keepdims=True), 1e-9)
    offset = SIDE_OFFSET * np.stack([along[:, 1], -along[:, 0]], axis=1)
    middle = (start + end) / 2
    return middle + offset, middle - offset


def _points_per_area(areas: np.ndarray, points: Float[np.ndarray, "segment 2"]) -> np.ndarray:
    """Number of points in each area."""
    area, _ = shapely.STRtree(list(map(Point, points))).query(areas, predicate="contains")
    return np.bincount(area, minlength=len(areas))
