"""Whatever ring people draw: valid footprints or an exclusion by name, and prisms that share no volume."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely import LineString, MultiPolygon, Polygon

from scenes.osm.building_parts import disjoint_prisms, remove_duplicates
from scenes.osm.files.feature_table import feature_table
from scenes.osm.footprints import (
    LATTICE_STEP,
    MIN_FOOTPRINT_AREA,
    Outline,
    building_outlines,
    is_sliver,
    repair_polygons,
)
from scenes.osm.map_features import Height
from tests.helpers.shared_volume import shared_volume

# Whole metres and their halves: corners that coincide and rings that touch themselves come up often.
COORDINATE = st.integers(-40, 40).map(lambda half: half / 2)
RING = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9)
KEY = st.sampled_from(["building", "building:part"])
LEVEL = st.integers(0, 12).map(float)


def _metres(shapes: list, tags: dict[str, str] | None = None) -> gpd.GeoDataFrame:
    """A table whose metres we give ourselves."""
    rows = [("way", number, shape, tags or {"building": "yes"}) for number, shape in enumerate(shapes)]
    return gpd.GeoDataFrame(feature_table(rows).set_crs("EPSG:32632", allow_override=True))


def _height(base: float, top: float) -> Height:
    return Height(base=base, top=top, std=0.0, provenance="tag")


def _outline(number: int, shape: Polygon | MultiPolygon, key: str = "building") -> Outline:
    return Outline(id=f"way/{number}", shape=shape, tags={key: "yes"})


SPIKE = [(0.0, -0.5), (0.0, -1.0), (15.5, -19.5)]  # a hole that runs along it left an invalid area


@given(RING, st.lists(RING, max_size=2))
@example(SPIKE, [[(0.5, 0.0), (0.0, -0.5), (15.5, -19.5), (7.0, 8.0), (0.0, -18.0)]])
@example(SPIKE, [[(0.0, 0.0), (0.5, 0.0), (0.0, -0.5), (15.5, -19.5), (7.0, 8.0), (0.0, -18.0)]])
@settings(deadline=None)
def test_any_ring_is_a_footprint_or_an_exclusion(shell: list, holes: list):
    """Bow ties, spikes, duplicated corners, rings without area, holes that touch or cross the shell."""
    drawn, excluded = building_outlines(_metres([Polygon(shell, holes)]))
    assert len(drawn) + len(excluded) == 1
    for outline in drawn:
        assert outline.shape.is_valid
        assert outline.shape.area >= MIN_FOOTPRINT_AREA
        assert Polygon(shell).convex_hull.buffer(LATTICE_STEP).covers(outline.shape)
    for exclusion in excluded:
        assert exclusion.id == "way/0"
        assert exclusion.reason.startswith(("a sliver", "no area"))


# A sliver of the second one would cut the first into two slivers.
CUT = ([(0.0, 0.0), (0.0, -4.5), (0.5, 0.0)], "building", 0.0, 1.0)
CUTS = ([(0.0, -0.5), (0.5, -0.5), (-1.0, 0.0), (0.0, 2.0)], "building", 0.0, 2.0)


@given(st.lists(st.tuples(RING, KEY, LEVEL, LEVEL), min_size=1, max_size=6))
@example([CUT, CUTS])
@settings(max_examples=150, deadline=None)  # a busy machine is no bug
def test_prisms_share_no_volume_and_nobody_is_lost(drawn: list):
    found = [_outline(n, shape, key) for n, (ring, key, *_) in enumerate(drawn) if (shape := _repair(ring)).area > 1.1]
    heights = [_height(low, high) for _, _, low, high in drawn][: len(found)]
    buildings, gone = disjoint_prisms(found, heights)
    assert {b.id.split("#")[0] for b in buildings} | {e.id for e in gone} == {outline.id for outline in found}
    assert not {b.id.split("#")[0] for b in buildings} & {e.id for e in gone}
    assert shared_volume(tuple(buildings)) < 1.0
    for building in buildings:
        assert building.footprint.is_valid
        assert not is_sliver(building.footprint)
        assert building.top - building.base >= 0.5
    _require_no_hole(found, heights, buildings)


def _require_no_hole(found: list[Outline], heights: list[Height], buildings: list) -> None:
    """Where an outline stood, something stands as high, but for slivers."""
    for outline, height in zip(found, heights, strict=True):
        if outline.is_part or height.top - height.base < 0.5:
            continue
        reach = shapely.union_all([b.footprint for b in buildings if b.top > height.base])
        rest = shapely.difference(outline.shape, reach.buffer(0.1))
        assert all(is_sliver(piece) for piece in shapely.get_parts(rest))


def _repair(ring: list[tuple[float, float]]) -> Polygon | MultiPolygon:
    return repair_polygons([Polygon(ring)])[0]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (Polygon([(0, 0), (5, 0), (10, 0)]), "no area"),
        (Polygon([(0, 0), (0, 0), (0, 0)]), "no area"),
        (Polygon([(0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5)]), r"a sliver of 0.25 m²"),
        (Polygon([(0, 0), (200, 0), (200, 0.02), (0, 0.02)]), "a sliver"),
        (LineString([(0, 0), (10, 0), (10, 10)]), "no area"),
        (shapely.Point(0, 0), "no area"),
        (Polygon(), "no area"),
    ],
)
def test_slivers_are_excluded_by_name(shape: shapely.Geometry, reason: str):
    drawn, (exclusion,) = building_outlines(_metres([shape]))
    assert not drawn
    assert exclusion.reason.startswith(reason)


def test_crossed_rings_keep_both_halves():
    (outline,), _ = building_outlines(_metres([Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])]))
    assert outline.shape.area == pytest.approx(50.0, abs=0.1)
    buildings, _ = disjoint_prisms([outline], [_height(0.0, 5.0)])
    assert [building.id for building in buildings] == ["way/0#1", "way/0#2"]


def test_holes_may_touch_the_shell():
    hole = [(0, 5), (5, 3), (5, 7)]
    (outline,), _ = building_outlines(_metres([Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [hole])]))
    assert outline.shape.area == pytest.approx(90.0)


def test_a_hole_outside_its_shell_is_not_built():
    (outline,), _ = building_outlines(
        _metres([Polygon(shapely.box(0, 0, 10, 10).exterior, [shapely.box(20, 0, 25, 5).exterior])])
    )
    assert outline.shape.area == pytest.approx(100.0)


def test_doubled_corners_go():
    ring = [(0, 0), (0, 0), (10, 0), (10, 1e-5), (10, 10), (0, 10)]
    (outline,), _ = building_outlines(_metres([Polygon(ring)]))
    assert len(shapely.get_coordinates(outline.shape)) == 5


def test_a_lower_wall_stays_beneath_a_bridge():
    house, bridge = _outline(0, shapely.box(0, 0, 10, 10)), _outline(1, shapely.box(5, 0, 30, 10))
    buildings, gone = disjoint_prisms([house, bridge], [_height(0.0, 6.0), _height(4.0, 9.0)])
    found = {b.id: (b.footprint.area, b.base, b.top) for b in buildings}
    assert sorted(found.values()) == [(50.0, 0.0, 4.0), (50.0, 0.0, 6.0), (250.0, 4.0, 9.0)]
    assert not gone


def test_stacked_parts_stay():
    """One above the other, touching: no volume is shared, nothing is cut."""
    stack = [_outline(n, shapely.box(0, 0, 10, 10), "building:part") for n in range(3)]
    buildings, gone = disjoint_prisms(stack, [_height(10.0 * n, 10.0 * n + 10.0) for n in range(3)])
    assert [(b.base, b.top, b.footprint.area) for b in buildings] == [(0, 10, 100), (10, 20, 100), (20, 30, 100)]
    assert not gone


def test_a_part_is_no_copy_of_its_outline():
    """A part with a courtyard in an outline without one: both are kept, as are two with the same courtyard."""
    full, holed = shapely.box(0, 0, 10, 10), shapely.box(0, 0, 10, 10) - shapely.box(4, 4, 6, 6)
    assert len(remove_duplicates([_outline(0, full), _outline(1, holed, "building:part")])[0]) == 2
    assert len(remove_duplicates([_outline(0, holed), _outline(1, holed)])[0]) == 2
    kept, gone = remove_duplicates([_outline(0, full), _outline(1, holed)])
    assert [outline.id for outline in kept] == ["way/1"]
    assert [(e.id, e.reason) for e in gone] == [("way/0", "drawn twice: way/1 has its courtyards")]
    assert remove_duplicates([]) == ([], [])


def test_order_does_not_matter_but_for_twins():
    """Which of several overlapping houses gives way hangs on their heights, not on the order in the file."""
    shapes = [shapely.box(4 * k, 3 * (k % 3), 4 * k + 9, 3 * (k % 3) + 9) for k in range(8)]
    found, heights = [_outline(k, s) for k, s in enumerate(shapes)], [_height(0.0, 5.0 + 7 * k % 8) for k in range(8)]
    order = np.random.default_rng(0).permutation(8)
    one, _ = disjoint_prisms(found, heights)
    two, _ = disjoint_prisms([found[k] for k in order], [heights[k] for k in order])
    areas = [{b.id: round(b.footprint.area, 2) for b in buildings} for buildings in (one, two)]
    assert areas[0] == areas[1]
