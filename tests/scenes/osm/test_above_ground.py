"""What has walls on the ground: undergrounds, roofs, bridges."""

from pathlib import Path

import pytest

from scenes.osm import reader
from scenes.osm.above_ground import is_passage, reason_without_walls
from scenes.osm.map_features import MapExtract
from tests.helpers.osm_town import node_line, square, way_line, write_osm

YES = {"building": "yes"}
BLOCKS = [(square(-60, 10, 50), YES | {"height": "20"}), (square(-60, -60, 50), YES | {"height": "20"})]
STREET = node_line(900, -100, 0) + node_line(901, 100, 0) + way_line(90, [900, 901], {"highway": "residential"})
ACROSS = [(-40.0, -10.0), (-34.0, -10.0), (-34.0, 10.0), (-40.0, 10.0)]


def read(path: Path) -> MapExtract:
    return reader.read_map(path, center=(48.0, 9.0), size=256.0, margin=0.0)


@pytest.mark.parametrize(
    "tags",
    [
        {"layer": "-1", "building:levels": "4", "height": "15"},  # a house beside a flyover
        {"layer": "-1", "building:levels": "4"},
        {"parking": "underground", "building:levels": "5"},  # a house above its garage
        {"building:levels": "6", "building:levels:underground": "2", "layer": "1"},
        {"level": "-1;0;1"},
        {"level": "0-3"},
        {"location": "overground"},
        {"tunnel": "no"},
        {"covered": "yes"},
        {"wall": "yes"},
        {"layer": "east"},
    ],
)
def test_what_only_looks_so_stands(tags: dict[str, str]):
    assert reason_without_walls(YES | tags) is None


@pytest.mark.parametrize(
    ("tags", "base", "top"),
    [
        ({"building": "bridge", "layer": "1"}, 4.5, 8.1),
        ({"building": "bridge"}, 4.5, 8.1),
        ({"building": "yes", "bridge": "yes", "building:levels": "2"}, 4.5, 4.5 + 7.2),
        ({"building": "skyway", "layer": "3"}, 4.5 + 7.2, 4.5 + 10.8),
        ({"building": "yes", "man_made": "bridge", "height": "14"}, 10.4, 14.0),
        ({"building": "bridge", "height": "3"}, 4.5, 7.5),  # its own thickness
        ({"building": "bridge", "min_height": "9", "height": "12"}, 9.0, 12.0),
        ({"building:part": "yes", "building:min_level": "3", "building:levels": "4", "man_made": "bridge"}, 10.8, 14.4),
        ({"building": "yes", "layer": "1"}, 4.5, 8.1),  # by its layer over the street
        ({"building": "yes", "indoor": "corridor", "layer": "1"}, 4.5, 8.1),
    ],
)
def test_a_passage_leaves_the_street_open(tmp_path: Path, tags: dict[str, str], base: float, top: float):
    place = read(write_osm(tmp_path / "street.osm", [*BLOCKS, (ACROSS, tags)], STREET))
    bridge = {building.id: building for building in place.buildings}["way/3"]
    assert (bridge.base, bridge.top) == (pytest.approx(base), pytest.approx(top))


def test_a_house_on_a_layer_beside_the_street_stands_on_the_ground(tmp_path: Path):
    beside = (square(10, 10, 20), YES | {"layer": "1", "height": "6"})
    place = read(write_osm(tmp_path / "street.osm", [*BLOCKS, beside], STREET))
    assert {building.id: building.base for building in place.buildings}["way/3"] == 0.0


def test_words_of_bridges():
    assert is_passage({"building:part": "walkway"})
    assert not is_passage({"building": "yes", "bridge": "no"})
    assert not is_passage({"building": "yes", "highway": "footway"})
