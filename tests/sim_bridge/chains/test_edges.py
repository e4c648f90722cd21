"""Edges of a scene: those that solids have, however their surfaces are drawn."""

import numpy as np
import pytest

from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.facets import Facets
from tests.helpers.blocks import block, rectangle, roof, walls

HALL = rectangle((-30.0, 30.0), (-10.0, 10.0))


def edges_of(*parts: np.ndarray) -> DiffractionEdges:
    return DiffractionEdges.from_facets(Facets.from_corners(np.concatenate(parts)))


def ends(edges: DiffractionEdges) -> set[tuple[tuple[float, ...], ...]]:
    """Both ends of every edge, rounded to 1 cm."""
    both = np.stack([edges.origin, edges.origin + edges.length[:, None] * edges.direction], 1).round(2) + 0.0
    return {tuple(sorted(tuple(end) for end in edge)) for edge in both.tolist()}


def test_walls_and_roof_of_two_meshes_meet_in_eaves_and_corners() -> None:
    edges = edges_of(walls(HALL, 15.0), roof(HALL, 15.0))
    assert len(edges) == 8  # four corners and four eaves; the foot has one face
    assert edges.length.sum() == pytest.approx(4 * 15 + 2 * (60 + 20))
    eave = np.flatnonzero((edges.origin[:, 2] == 15) & (np.abs(edges.direction[:, 0]) > 0.9))
    assert {tuple(n) for n in edges.normal[eave].reshape(-1, 3).round(6) + 0.0} == {(0, -1, 0), (0, 1, 0), (0, 0, 1)}
    assert (edges.outwards[eave, 2] > 0.7).all()


@pytest.mark.parametrize("how", ["six houses in a row", "a corner every metre", "drawn twice", "wound the other way"])
def test_one_hall_has_the_same_edges_however_it_is_drawn(how: str) -> None:
    whole = edges_of(block(HALL, 15.0))
    if how == "six houses in a row":
        parts = [block(rectangle((x, x + 10.0), (-10.0, 10.0)), 15.0) for x in range(-30, 30, 10)]
    elif how == "a corner every metre":
        long = [float(x) for x in range(-30, 30)]
        dense = [*((x, -10.0) for x in long), *((30.0, y) for y in range(-10, 10)), *((-x, 10.0) for x in long)]
        parts = [block([*dense, *((-30.0, -y) for y in range(-10, 10))], 15.0)]
    elif how == "drawn twice":
        parts = [block(HALL, 15.0), block(HALL, 15.0)]
    else:
        parts = [block(HALL, 15.0)[:, ::-1]]
    edges = edges_of(*parts)
    assert ends(edges) == ends(whole)
    np.testing.assert_allclose(edges.normal, whole.normal, atol=1e-6)


def test_a_lower_neighbour_covers_a_part_of_an_edge() -> None:
    """T-junction: fronts are flush up to 10 m, so the corner of the higher house begins there."""
    low, high = block(rectangle((-10.0, 0.0), (0.0, 8.0)), 10.0), block(rectangle((0.0, 10.0), (0.0, 8.0)), 15.0)
    found = ends(edges_of(low, high))
    assert ((0.0, 0.0, 10.0), (0.0, 0.0, 15.0)) in found
    assert not any(a[:2] == (0.0, 0.0) == b[:2] and a[2] < 10 for a, b in found)
    assert ((-10.0, 0.0, 10.0), (0.0, 0.0, 10.0)) in found
    assert ((0.0, 0.0, 15.0), (10.0, 0.0, 15.0)) in found


def test_a_storey_on_top_that_is_flush_makes_no_edge() -> None:
    lower, ring = block(HALL, 8.0), rectangle((-30.0, 30.0), (-10.0, 0.0))
    found = ends(edges_of(lower, walls(ring, 12.0, bottom=8.0), roof(ring, 12.0)))
    assert not any(a[1:] == (-10.0, 8.0) == b[1:] for a, b in found)
    assert ((-30.0, -10.0, 0.0), (-30.0, -10.0, 12.0)) in found  # the corner of both, in one
    assert ((-30.0, 10.0, 8.0), (30.0, 10.0, 8.0)) in found


@pytest.mark.parametrize(("bend", "count"), [(2.0, 0), (5.0, 1)])
def test_planes_that_bend_by_less_than_3_degrees_make_no_edge(bend: float, count: int) -> None:
    down = -10 * np.tan(np.radians(bend))
    flat = np.array([[(-10, 0, 0), (0, 0, 0), (0, 9, 0)], [(0, 0, 0), (10, 0, down), (0, 9, 0)]], dtype=np.float64)
    assert len(edges_of(flat)) == count


def test_a_screen_and_an_empty_scene_have_no_edges() -> None:
    screen = walls([(0.0, 0.0), (10.0, 0.0)], 5.0)[:2]
    assert len(edges_of(screen)) == 0
    assert len(edges_of(np.zeros((0, 3, 3)))) == 0
    assert len(edges_of(np.ones((1, 3, 3)))) == 0  # a triangle without an area


def test_order_and_orientation_follow_from_coordinates() -> None:
    """Mitsuba merges meshes in another order every time: triangles in any order, from any corner, and rounded anew."""
    random = np.random.default_rng(0)
    parts = [block(rectangle((x, x + 9.0), (0.0, 7.0 + x % 5)), 6.0 + x % 4) for x in range(0, 90, 9)]
    corner = np.concatenate(parts)
    whole = edges_of(corner)
    for _ in range(3):
        shuffled = corner[random.permutation(len(corner))]
        shuffled = np.stack(
            [np.roll(rows, k, 0) for rows, k in zip(shuffled, random.integers(0, 3, len(shuffled)), strict=True)]
        )
        again = edges_of(shuffled)
        for name in ("origin", "direction", "length", "normal"):
            np.testing.assert_allclose(getattr(again, name), getattr(whole, name), atol=1e-9)
        rounded = edges_of(shuffled + random.uniform(-2e-4, 2e-4, shuffled.shape))
        assert len(rounded) == len(whole)


def test_turned_edges_are_the_same_edges() -> None:
    edges = edges_of(block(HALL, 15.0))
    turned = edges.turned(np.ones(len(edges), bool))
    assert ends(turned) == ends(edges)
    for part in (edges, turned):  # Sionna's rule: the first normal × the direction points into the first face
        into = np.cross(part.normal[:, 0], part.direction)
        middle = block(HALL, 15.0)[part.triangle[:, 0]].mean(1)
        assert (((middle - part.origin) * into).sum(1) > 0).all()
