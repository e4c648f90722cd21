"""A church between towers is no tower: guesses by type, storeys of the map, parts of a building, and their error."""

from pathlib import Path

import pytest
import shapely

from scenes.osm import reader
from scenes.osm.footprints import Outline
from scenes.osm.heights.building_types import building_type, height_by_type
from scenes.osm.heights.estimates import estimate_heights, height_notes, height_summary
from scenes.osm.heights.guesses import guess_heights, mean_error
from scenes.osm.heights.storeys import storey_of_map
from tests.helpers.osm_town import square, write_osm


def outline(x: float, side: float = 20.0, y: float = 0.0, /, **tags: str) -> Outline:
    tags = tags if "building:part" in tags else {"building": "yes"} | tags
    return Outline(id=f"way/{x:g}", shape=shapely.box(x, y, x + side, y + side), tags=tags)


TOWERS = [(outline(30.0 * k), 60.0) for k in range(12)]


@pytest.mark.parametrize(
    ("tags", "top"),
    [
        ({"building": "church"}, 18.0),
        ({"amenity": "place_of_worship"}, 18.0),
        ({"building": "garage"}, 3.0),
        ({"building": "house"}, 7.0),
        ({"building": "supermarket"}, 6.0),
        ({"building": "apartments"}, 60.0),
        ({"building": "school"}, 60.0),
        ({}, 60.0),
    ],
)
def test_between_towers(tags: dict[str, str], top: float):
    (guess,) = guess_heights(TOWERS, [outline(95.0, 20.0, 40.0, **tags)])
    assert guess.top == top
    assert guess.provenance == ("neighbours" if top == 60.0 else "prior")


def test_churches_of_the_map_tell_what_a_church_is():
    churches = [(outline(30.0 * k, 20.0, 100.0, building="chapel"), 11.0) for k in range(5)]
    (guess,) = guess_heights([*TOWERS, *churches], [outline(95.0, 20.0, 40.0, building="church")])
    assert guess == (11.0, "neighbours")


def test_each_of_the_pool_is_left_out_of_its_own_guess():
    odd = [(outline(0.0), 10.0)] * 11 + [(outline(0.0), 99.0)]
    assert [guess.top for guess in guess_heights(odd)] == [10.0] * 12
    assert mean_error(odd) == pytest.approx(89.0 / 12)
    assert mean_error(odd[:5]) is None


def test_types():
    assert building_type({"building": "yes", "power": "substation"}) == "substation"
    assert building_type({"building": "hotel", "amenity": "school"}) == "hotel"
    assert height_by_type({"building:part": "church"}) == 18.0


def pair(x: float, height: float, levels: int) -> Outline:
    return outline(x, height=f"{height:g}", **{"building:levels": str(levels)})


def test_a_storey_is_learned_given_or_usual():
    pairs = [pair(30.0 * k, 3.0 * levels, levels) for k, levels in enumerate((1, 2, 3, 4, 5))]
    assert storey_of_map(pairs) == (pytest.approx(3.0), "map", 5)
    assert storey_of_map(pairs[:4]) == (3.6, "default", 4)
    assert storey_of_map(pairs, given=4.0) == (4.0, "given", 5)
    assert storey_of_map([pair(30.0 * k, 30.0, 1) for k in range(9)]).source == "default"  # 30 m a level is a mistake
    levels = outline(300.0, **{"building:levels": "4", "building:min_level": "2"})
    *_, height = estimate_heights([*pairs, levels])
    assert (height.base, height.top) == (pytest.approx(6.0), pytest.approx(12.0))


def test_a_part_is_as_high_as_its_building():
    houses = [outline(30.0 * k, 10.0, 100.0, height="6") for k in range(12)]
    part = {"building:part": "yes"}
    tower, whole, low = (
        outline(0.0, 40.0, height="40"),
        outline(10.0, 10.0, 10.0, **part),
        outline(0.0, 10.0, **part, height="8"),
    )
    *_, first, second, third = estimate_heights([*houses, tower, whole, low])
    assert (first.top, second.top, third.top) == (40.0, 40.0, 8.0)
    assert second.provenance == "building"


def test_parts_of_a_building_without_a_height_are_guessed_as_one():
    houses = [outline(30.0 * k, 10.0, 100.0, height=f"{5 + k}") for k in range(12)]
    parts = [outline(x, 20.0, 0.0, **{"building:part": "yes"}) for x in (0.0, 20.0)]
    *_, whole, one, two = estimate_heights([*houses, outline(0.0, 40.0), *parts])
    assert whole.top == one.top == two.top
    assert one.provenance == whole.provenance == "neighbours"


def test_a_guess_is_no_higher_than_the_highest_part():
    towers = [outline(30.0 * k, 20.0, 100.0, height="60") for k in range(12)]
    part = outline(0.0, 10.0, **{"building:part": "yes"}, height="12")
    *_, whole, _ = estimate_heights([*towers, outline(0.0, 40.0), part])
    assert whole.top == 12.0


def test_the_share_of_guesses_and_their_error_are_told():
    known = [outline(30.0 * k, height=f"{10 + k % 2}") for k in range(12)]
    row = [*known, *(outline(30.0 * k, 20.0, 40.0) for k in range(4))]
    summary = height_summary(row, estimate_heights(row), storey_of_map(row))
    assert summary["guessed"] == 0.25
    assert 0 < summary["error"] <= 1.0
    (note,) = height_notes(summary)
    assert note.startswith("25 % of the heights are guessed, of a mean error of")
    few = height_summary(row[-4:], estimate_heights(row[-4:]), storey_of_map([]))
    assert "by the type of building alone" in height_notes(few)[0]
    assert height_notes(height_summary(known, estimate_heights(known), storey_of_map(known))) == []


def test_a_map_is_read_with_the_storey_that_the_user_gives(tmp_path: Path):
    file = write_osm(tmp_path / "town.osm", [(square(0, 0, 20), {"building": "yes", "building:levels": "5"})])
    tops = [
        reader.read_map(file, center=(48.0, 9.0), size=256.0, margin=0.0, storey_height=storey).buildings[0].top
        for storey in (None, 3.0)
    ]
    assert tops == [pytest.approx(18.0), pytest.approx(15.0)]
