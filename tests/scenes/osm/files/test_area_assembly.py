"""What lies inside an odd number of rings, against arithmetic."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.osm.files.area_assembly import even_odd_area


def ring(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]


def floats(lines: list) -> list:
    return [[(float(x), float(y)) for x, y in line] for line in lines]


@pytest.mark.parametrize(
    ("lines", "area"),
    [
        ([ring(0, 0, 4)], 16),
        ([ring(0, 0, 4), ring(1, 1, 2)], 12),
        ([ring(0, 0, 6), ring(1, 1, 4), ring(2, 2, 2)], 36 - 16 + 4),  # a house in the courtyard
        ([ring(0, 0, 4), ring(4, 0, 4)], 32),  # two outlines that share an edge
        ([ring(0, 0, 4), ring(0, 0, 2)], 12),  # a courtyard at the corner of its outline
        ([ring(0, 0, 4), ring(4, 4, 4)], 32),  # two that touch at a corner
        ([ring(0, 0, 4), ring(0, 0, 4)], 16),  # the same member twice
        ([ring(0, 0, 4), ring(0, 0, 4)[::-1]], 16),
        ([[(0, 0), (4, 4), (4, 0), (0, 4), (0, 0)]], 8),  # a bow tie
        ([], 0),
    ],
)
def test_areas(lines: list, area: float):
    shape, complete = even_odd_area(floats(lines))
    assert shape.area == pytest.approx(area)
    assert shape.is_valid
    assert complete


def test_loose_ends_make_no_area():
    shape, complete = even_odd_area(floats([ring(0, 0, 4), [(10, 0), (14, 0), (14, 4)], [(2, 4), (2, 9)]]))
    assert (shape.area, complete) == (pytest.approx(16), False)
    shape, complete = even_odd_area(floats([[(0, 0), (4, 0), (4, 4)]]))
    assert shape.is_empty
    assert not complete


@given(st.integers(3, 12), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_pieces_in_any_order_and_direction_make_the_same_ring(corners: int, seed: int):
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, corners))
    points = [(float(x), float(y)) for x, y in np.stack([10 * np.cos(angle), 10 * np.sin(angle)], axis=1)]
    if len(set(points)) < corners:
        return
    pieces = [[points[k], points[(k + 1) % corners]][:: int(random.choice([-1, 1]))] for k in range(corners)]
    shape, complete = even_odd_area([pieces[k] for k in random.permutation(corners)])
    assert complete
    assert shape.area == pytest.approx(shapely.Polygon(points).area, rel=1e-9)
