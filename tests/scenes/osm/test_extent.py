"""Where a file's middle is, and how much of a tile the file covers."""

from pathlib import Path

import numpy as np
import pytest

from scenes.osm import reader
from scenes.osm.extent import middle_of_places, percent
from scenes.osm.map_features import MapExtract
from tests.helpers.osm_town import (
    bounds_line,
    degrees,
    feature,
    node_line,
    polygon,
    square,
    way_line,
    write_geojson,
    write_osm,
)
from uel.errors import UelError

HOUSE = {"building": "yes", "height": "9"}
SIX = [(square(30 * (k % 3) - 40, 30 * (k // 3) - 25, 20), HOUSE) for k in range(6)]


def read(path: Path, **more) -> MapExtract:
    return reader.read_map(path, **{"center": (48.0, 9.0), "size": 256.0, "margin": 0.0, **more})


def notes(path: Path, **more) -> list[str]:
    return [note for note in read(path, **more).notes if "cover" in note or "spans" in note]


def test_the_middle_of_one_box_is_the_middle(tmp_path: Path):
    place = read(write_osm(tmp_path / "town.osm", SIX, head=bounds_line(-300, -100, 100, 100)), center=None)
    assert place.center == pytest.approx(degrees(-100, 0)[::-1], abs=1e-6)


def test_without_bounds_the_buildings_count_and_not_a_railway(tmp_path: Path):
    rail = node_line(900, -50, 0) + node_line(901, 18_000, 0) + way_line(50, [900, 901], {"highway": "track"})
    place = read(write_osm(tmp_path / "town.osm", SIX, rail), center=None)
    assert place.center == pytest.approx(degrees(0, 0)[::-1], abs=1e-4)
    assert len(place.buildings) == 6


def test_of_several_boxes_the_buildings_count(tmp_path: Path):
    boxes = bounds_line(-128, -128, 0, 128) + bounds_line(0, -128, 128, 128) + bounds_line(2000, 2000, 2200, 2200)
    place = read(write_osm(tmp_path / "town.osm", SIX, head=boxes), center=None, size=128.0)
    assert len(place.buildings) == 6


def test_most_buildings_count_and_not_a_few_on_another_continent():
    town = np.array([degrees(x, y) for x in range(0, 200, 20) for y in range(0, 200, 20)])
    far = np.array([[-70.0, -33.0], [140.0, 35.0]])
    assert middle_of_places(np.concatenate([town, far]), 512.0) == pytest.approx(degrees(90, 90)[::-1], abs=1e-3)
    assert middle_of_places(town, 512.0) == pytest.approx(degrees(90, 90)[::-1], abs=1e-4)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((-128, -128, 128, 128), 0.0, []),
        ((-200, -200, 200, 200), 64.0, []),
        ((-128, -128, 61, 128), 0.0, ["the map covers 73 % of the tile"]),
        ((-129, -129, 1, 1), 0.0, ["the map covers 25 % of the tile"]),
        ((-129, -129, 129, 129), 64.0, ["covers all of the tile, and 45 % of the tile with its margin of 64 m"]),
    ],
)
def test_the_edge_of_an_extract_is_noted(tmp_path: Path, box: tuple, margin: float, expected: list[str]):
    found = notes(write_osm(tmp_path / "town.osm", SIX, head=bounds_line(*box)), margin=margin)
    assert [words in note for words, note in zip(expected, found, strict=True)] == [True] * len(expected)


def test_osmosis_writes_its_box_in_one_attribute(tmp_path: Path):
    (west, south), (east, north) = degrees(-128, -128), degrees(61, 128)
    head = f'<bound box="{south},{west},{north},{east}" origin="osmosis"/>'
    assert notes(write_osm(tmp_path / "town.osm", SIX, head=head)) == [
        "the map covers 73 % of the tile: beyond its edge no building is known"
    ]


def test_two_boxes_cover_together(tmp_path: Path):
    halves = bounds_line(-129, -129, 1, 129) + bounds_line(-1, -129, 129, 129)
    place = read(write_osm(tmp_path / "town.osm", SIX, head=halves))
    assert place.provenance["coverage"] == {
        "tile": pytest.approx(1.0),
        "with_margin": pytest.approx(1.0),
        "by": "bounds",
    }


def test_a_map_of_another_place_is_refused_with_its_own(tmp_path: Path):
    file = write_osm(tmp_path / "town.osm", SIX, head=bounds_line(-300, -128, -120, 128))
    with pytest.raises(UelError, match=r"covers next to nothing of the tile(.|\n)*3 % of a square(.|\n)*--center 48.0"):
        read(file)


def test_a_map_without_bounds_says_what_it_spans(tmp_path: Path):
    file = write_geojson(tmp_path / "town.geojson", feature(HOUSE, polygon(square(0, 0, 128))))
    assert notes(file) == ["the map does not say which area it covers; what it holds spans 24 % of the tile"]
    wide = write_geojson(tmp_path / "wide.geojson", feature(HOUSE, polygon(square(-130, -130, 260))))
    assert notes(wide) == []


def test_what_is_not_full_is_not_called_full():
    assert (percent(0.996), percent(0.7499), percent(1.0)) == ("99 %", "74 %", "100 %")
