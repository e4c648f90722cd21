"""Areas of multipolygons, by geometry alone: what lies inside an odd number of rings."""

from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Bool, Float
from shapely import MultiPolygon, Polygon

Points = Sequence[tuple[float, float]]


def even_odd_area(lines: Sequence[Points]) -> tuple[Polygon | MultiPolygon, bool]:
    """The area inside an odd number of the rings that lines make, and whether all lines were used.

    The lines may come in any order and direction, and neither roles nor the order of rings count, as in the rules of
    OpenStreetMap's multipolygons. A line that is given twice counts once. Lines that end nowhere make no ring.

    Args:
        lines: points of each line, two or more of them.

    Example:
        >>> corner, rest = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)], [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0)]
        >>> hole = [(1.0, 1.0), (3.0, 1.0), (3.0, 3.0), (1.0, 3.0), (1.0, 1.0)]
        >>> area, complete = even_odd_area([rest, hole, corner])
        >>> area.area, complete
        (12.0, True)
    """
    pieces = _segments(lines)
    segments = _without_dead_ends(pieces)
    if not len(segments):
        return Polygon(), not len(pieces)
    edges = shapely.union_all(shapely.linestrings(segments))
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(edges)))
    points = shapely.get_coordinates(shapely.point_on_surface(faces))
    is_inside = np.array([_is_inside(point, segments) for point in points], dtype=bool)
    area = shapely.union_all(faces[is_inside])
    shape = area if isinstance(area, Polygon | MultiPolygon) else Polygon()
    return shape, len(segments) == len(pieces)


def _segments(lines: Sequence[Points]) -> Float[np.ndarray, "segment 2 2"]:
    """The segments of all lines; of lines that are given twice only the first one's, and none without length."""
    unique = {min(tuple(line), tuple(reversed(line))): line for line in lines}
    arrays = [np.asarray(line, dtype=float).reshape(-1, 2) for line in unique.values()]
    pieces = [np.stack([array[:-1], array[1:]], axis=1) for array in arrays if len(array) > 1]
    segments = np.concatenate(pieces) if pieces else np.empty((0, 2, 2))
    return segments[(segments[:, 0] != segments[:, 1]).any(axis=1)]


def _without_dead_ends(segments: Float[np.ndarray, "segment 2 2"]) -> Float[np.ndarray, "rest 2 2"]:
    """The segments that are part of some ring: those with a free end are taken away until none is left."""
    while len(segments):
        _, node, count = np.unique(segments.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
        is_tied = (count[node.reshape(-1, 2)] > 1).all(axis=1)
        if is_tied.all():
            break
        segments = segments[is_tied]
    return segments


def _is_inside(point: Float[np.ndarray, "2"], segments: Float[np.ndarray, "segment 2 2"]) -> bool:
    """Whether a ray from the point eastwards crosses an odd number of segments."""
    (x0, y0), (x1, y1) = segments[:, 0].T, segments[:, 1].T
    crosses: Bool[np.ndarray, " segment"] = (y0 > point[1]) != (y1 > point[1])
    x = x0[crosses] + (point[1] - y0[crosses]) * (x1[crosses] - x0[crosses]) / (y1[crosses] - y0[crosses])
    return bool((x > point[0]).sum() % 2)
