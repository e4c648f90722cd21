"""Wrong twins: what is drawn, what is written down, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapely import box
from shapely.affinity import translate

from scenes.materials.osm_materials import classify_surfaces
from scenes.osm.map_features import Building, MapExtract
from scenes.perturbation import Perturbation, parse_perturbation
from scenes.variants.map_perturbation import perturb_map, perturb_sites, require_several_classes
from tests.helpers.free_space import CORNERS, masts
from tests.helpers.village_tile import village, write
from uel.errors import UelError
from uel.radio.sites import Cell, Site

EVERYTHING = "heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m"
MATERIALS = ("brick", "glass", "metal", "wood", "marble")


def town(count: int = 500) -> MapExtract:
    buildings = tuple(
        Building(
            id=f"way/{k}",
            footprint=box(20 * (k % 25), 20 * (k // 25), 20 * (k % 25) + 12, 20 * (k // 25) + 9),
            base=2.0 * (k % 2),
            top=10.0 + k % 9,
            tags={"building": "house", "building:material": MATERIALS[k % 5]},
        )
        for k in range(count)
    )
    return replace(village(), buildings=buildings)


def by_id(place: MapExtract) -> dict[str, Building]:
    return {building.id: building for building in place.buildings}


# ---- what is wrong -------------------------------------------------------------------------------------


def test_nothing_is_wrong_by_default():
    twin, record = perturb_map(town(), Perturbation(), 1)
    assert twin == town()
    assert record["buildings"] == {}
    sites = masts(*CORNERS)
    assert perturb_sites(sites, Perturbation(), 1)[0] == sites


def test_heights_are_uniform_and_keep_their_base():
    place = town()
    twin, record = perturb_map(place, parse_perturbation("heights=0.2"), 1)
    factor = np.array([b.top / a.top for a, b in zip(place.buildings, twin.buildings, strict=True)])
    assert 0.8 <= factor.min() < 0.81 < 1.19 < factor.max() <= 1.2
    np.testing.assert_allclose(np.quantile(factor, [0.25, 0.5, 0.75]), [0.9, 1.0, 1.1], atol=0.02)
    np.testing.assert_allclose([c["height_factor"] for c in record["buildings"].values()], factor)
    for before, after in zip(place.buildings, twin.buildings, strict=True):
        assert after.base / after.top == pytest.approx(before.base / before.top)
        assert after.footprint == before.footprint


def test_a_share_is_missing_and_excluded():
    twin, record = perturb_map(town(), parse_perturbation("missing=0.1"), 1)
    gone = {name for name, change in record["buildings"].items() if change == {"missing": True}}
    assert 0.06 < len(gone) / 500 < 0.14
    assert set(by_id(twin)) == set(by_id(town())) - gone
    assert {e.id for e in twin.exclusions if e.reason == "removed by the perturbation"} == gone
    assert perturb_map(town(), parse_perturbation("missing=1"), 1)[0].buildings == ()


def test_moves_are_gaussian_in_each_direction():
    place = town()
    twin, record = perturb_map(place, parse_perturbation("moved=2m"), 1)
    moved = np.array([change["moved"] for change in record["buildings"].values()])
    np.testing.assert_allclose(moved.std(axis=0), 2.0, rtol=0.1)
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=0.3)
    for before, after, by in zip(place.buildings, twin.buildings, moved, strict=True):
        assert after.footprint.equals_exact(translate(before.footprint, *by), 1e-9)


def test_swapped_materials_are_the_same_ones_elsewhere():
    place = town()
    twin, record = perturb_map(place, parse_perturbation("materials=swap"), 1)
    walls = [[classify_surfaces(b.tags).wall for b in p.buildings] for p in (place, twin)]
    assert sorted(walls[0]) == sorted(walls[1])
    assert 0.1 < np.mean([a == b for a, b in zip(*walls, strict=True)]) < 0.3  # one in five by chance
    for name, change in record["buildings"].items():
        donor = by_id(place)[change["materials_of"]]
        assert donor.id != name
        assert classify_surfaces(by_id(twin)[name].tags).wall == classify_surfaces(donor.tags).wall
        assert classify_surfaces(by_id(twin)[name].tags).roof == classify_surfaces(donor.tags).roof
        assert by_id(twin)[name].tags["building"] == "house"


# ---- by seed and id ------------------------------------------------------------------------------------


def test_a_swap_that_changes_nothing_is_refused(tmp_path: Path):
    place = town()
    require_several_classes(place)
    alike = replace(place, buildings=tuple(replace(b, tags={"building": "yes"}) for b in place.buildings))
    with pytest.raises(UelError, match=r"changes nothing(.|\n)*500 buildings of concrete under concrete(.|\n)*drawn"):
        require_several_classes(alike)


def test_the_same_seed_is_as_wrong():
    first, second, other = (perturb_map(town(), parse_perturbation(EVERYTHING), seed) for seed in (1, 1, 2))
    assert first == second
    assert first[1]["buildings"] != other[1]["buildings"]


def test_one_error_shifts_no_other():
    """Who is missing, moved or swapped does not depend on what else is wrong."""
    alone = [
        perturb_map(town(), parse_perturbation(part), 1)[1]["buildings"]
        for part in ("heights=0.2", "moved=2m", "materials=swap")
    ]
    for name, change in perturb_map(town(), parse_perturbation(EVERYTHING), 1)[1]["buildings"].items():
        assert change in ({"missing": True}, alone[0][name] | alone[1][name] | alone[2][name])


def test_a_building_is_as_wrong_in_a_smaller_place():
    spec = parse_perturbation("heights=0.2,missing=0.3,moved=2m")
    large, small = perturb_map(town(500), spec, 1)[1]["buildings"], perturb_map(town(20), spec, 1)[1]["buildings"]
    assert small == {name: large[name] for name in small}


def test_pieces_of_one_building_stay_together():
    pieces = tuple(Building(id=f"relation/5#{k}", footprint=box(10 * k, 0, 10 * k + 9, 9), top=9.0) for k in range(3))
    changes = perturb_map(replace(town(), buildings=pieces), parse_perturbation("heights=0.2,moved=2m"), 1)[1][
        "buildings"
    ]
    assert len({json.dumps(change) for change in changes.values()}) == 1


def test_the_record_is_json():
    record = perturb_map(town(), parse_perturbation(EVERYTHING), 1)[1]
    assert json.loads(json.dumps(record)) == record


# ---- masts ---------------------------------------------------------------------------------------------


def test_masts_are_off_by_the_given_deviations():
    cells = tuple(Cell(azimuth_deg=azimuth) for azimuth in (0.0, 120.0, 240.0))
    sites = tuple(Site(position=(0.0, 0.0, 30.0), cells=cells) for _ in range(400))
    wrong, record = perturb_sites(sites, parse_perturbation("antenna=10deg,3m"), 1)
    height = np.array([site.position[2] for site in wrong]) - 30
    turned = np.array([[c.azimuth_deg for c in site.cells] for site in wrong]) - [0, 120, 240]
    turned = (turned + 180) % 360 - 180
    assert height.std() == pytest.approx(3.0, rel=0.1)
    assert turned.std() == pytest.approx(10.0, rel=0.1)
    np.testing.assert_allclose([r["height"] for r in record], height, atol=1e-9)
    np.testing.assert_allclose([r["azimuth_deg"] for r in record], turned, atol=1e-9)


def test_fewer_masts_are_as_wrong():
    sites = masts(*CORNERS)
    spec = parse_perturbation(EVERYTHING)
    assert perturb_sites(sites[:3], spec, 1)[0] == perturb_sites(sites, spec, 1)[0][:3]


def test_no_mast_ends_in_a_wall(tmp_path: Path):
    """Masts 1 m above roofs of 12 m, off by 5 m: half of them would."""
    tile = write(tmp_path / "t", village())
    sites = tuple(Site(position=(-24.0, -24.0, 13.0)) for _ in range(40))
    wrong, record = perturb_sites(sites, parse_perturbation("antenna=5m"), 1, tile)
    tile.require_sites(wrong)
    raised = [r for r in record if r.get("raised_to") == 13.0]
    assert 10 < len(raised) < 30
    assert sum(site.position[2] == 13.0 for site in wrong) == len(raised)


# ---- the text ------------------------------------------------------------------------------------------


def test_the_whole_text():
    assert parse_perturbation(EVERYTHING) == Perturbation(
        heights=0.2, missing=0.1, moved=2.0, materials=True, azimuth_deg=10.0, antenna_height=3.0
    )


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("antenna=3m", Perturbation(antenna_height=3.0)),
        ("antenna=3 m, 10 deg", Perturbation(antenna_height=3.0, azimuth_deg=10.0)),
        (" moved = 0.5m , missing=0 ", Perturbation(moved=0.5)),
        ("antenna=1e1deg,heights=0.1", Perturbation(azimuth_deg=10.0, heights=0.1)),
    ],
)
def test_parts_of_the_text(text: str, spec: Perturbation):
    assert parse_perturbation(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list of key=value"),
        ("0.2", "list of key=value"),
        ("height=0.2", r"unknown key in the perturbation(.|\n)*perhaps you meant heights"),
        ("colour=red", r"unknown key in the perturbation(.|\n)*give heights=0.2"),
        ("heights=20%", r"heights has a wrong value or unit(.|\n)*20%(.|\n)*heights=0.2, a fraction"),
        ("heights=2m", "heights has a wrong value or unit"),
        ("heights=1.5", "is out of range"),
        ("missing=-0.1", "is out of range"),
        ("missing=nan", "is out of range"),
        ("moved=2", r"moved has a wrong value or unit(.|\n)*moved=2m"),
        ("moved=2km", "moved has a wrong value or unit"),
        ("moved=infm", "is out of range"),
        ("moved=2m,3m", "moved takes one value"),
        ("materials=mix", r"can only be swap(.|\n)*materials=swap"),
        ("antenna=10", "antenna takes one angle, one length or both"),
        ("antenna=10deg,3deg", "antenna takes one angle, one length or both"),
        ("antenna=10rad", "antenna takes one angle, one length or both"),
        ("antenna=", "antenna takes one angle, one length or both"),
        ("antenna=1.2.3m", "antenna has a wrong value or unit"),
        ("moved=1m,moved=2m", "twice"),
        ("moved=1m,", "moved takes one value"),
    ],
)
def test_texts_that_are_refused(text: str, message: str):
    with pytest.raises(UelError, match=message):
        parse_perturbation(text)
