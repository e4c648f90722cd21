"""The sea from coastlines, and squares that are areas."""

from pathlib import Path

import pytest
import shapely
from shapely import LineString

from scenes.osm import reader
from scenes.osm.coastline import sea_polygon
from scenes.osm.files.feature_table import feature_table
from scenes.osm.land_cover import land_cover_patches


def test_water_is_on_the_right():
    """A coast from south to north has its sea in the east; reversed, in the west."""
    coast = LineString([(0, -200), (10, 0), (0, 200)])
    (east,) = sea_polygon([coast], 100.0)
    (west,) = sea_polygon([coast.reverse()], 100.0)
    assert east.area + west.area == pytest.approx(200.0**2)
    assert east.area == pytest.approx(100 * 200 - 1500)
    assert east.contains(shapely.Point(90, 0))


def test_islands_and_bays():
    """A ring anticlockwise is an island, clockwise an inland sea; two lines enclose a bay."""
    ring = LineString([(-10, -10), (10, -10), (10, 10), (-10, 10), (-10, -10)])
    (around,) = sea_polygon([ring], 100.0)
    assert around.area == pytest.approx(200**2 - 400)
    (within,) = sea_polygon([ring.reverse()], 100.0)
    assert within.area == pytest.approx(400)
    strait = [LineString([(-5, -200), (-5, 200)]), LineString([(5, 200), (5, -200)])]
    assert [area.area for area in sea_polygon(strait, 100.0)] == pytest.approx([2000.0])


def test_a_coast_that_ends_bounds_nothing():
    assert sea_polygon([LineString([(0, -200), (0, 0)])], 100.0) == []
    assert sea_polygon([LineString([(300, -200), (300, 200)])], 100.0) == []
    assert sea_polygon([], 100.0) == []


def test_a_square_for_pedestrians_is_an_area():
    ring = LineString([(0, 0), (20, 0), (20, 20), (0, 20), (0, 0)])
    rows = [("way", 1, ring, {"highway": "pedestrian", "area": "yes"}), ("way", 2, ring, {"highway": "pedestrian"})]
    frame = feature_table(rows).set_crs("EPSG:32632", allow_override=True)
    areas = {patch.id: patch.footprint.area for patch in land_cover_patches(frame, 100.0)}
    assert areas["way/1"] == pytest.approx(400.0)
    assert areas["way/2"] < 400.0 + 80 * 2.6 - 225 + 50


def test_monaco_lies_by_the_sea(shared: Path):
    """The harbour's east is water, the palace's rock is not."""
    place = reader.read_map(shared / "tiles/monaco_montecarlo.osm.gz", center=(43.73911, 7.42349))
    water = shapely.union_all([patch.footprint for patch in place.land_cover if patch.id.startswith("sea")])
    assert water.contains(shapely.Point(350, -350))
    built = shapely.union_all([building.footprint for building in place.buildings])
    assert water.area > 10_000
    assert built.intersection(water).area < 0.02 * built.area
