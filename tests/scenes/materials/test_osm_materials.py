"""Materials: tags to ITU classes, ITU values against Sionna's, and what is drawn around them."""

import math
import re
from collections.abc import Iterable
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import box

from scenes.materials.itu_p2040 import ITU_CLASSES, RadioMaterial, frequency_bands, itu_properties
from scenes.materials.osm_materials import (
    CLASS_BY_LAND_COVER,
    CLASS_BY_VALUE,
    CLASSES_BY_TYPE,
    SurfaceMaterials,
    classify_surfaces,
)
from scenes.materials.random_materials import MaterialSpread, RandomMaterials, draw_materials
from scenes.osm.map_features import Building, LandCoverPatch
from uel.errors import UelError


def house(index: int, x: float = 0.0, y: float = 0.0) -> Building:
    return Building(id=f"way/{index}", footprint=box(x, y, x + 10, y + 8), top=12.0)


def street(count: int, step: float = 20.0) -> list[Building]:
    return [house(index, x=step * index) for index in range(count)]


def drawn(buildings: Iterable[Building], wall: str = "brick", seed: int = 0, **spread: float) -> RandomMaterials:
    buildings = list(buildings)
    classes = {building.id: SurfaceMaterials(wall=wall, roof="concrete") for building in buildings}
    return draw_materials(buildings, classes, seed, spread=MaterialSpread(**spread))


def walls(draws: RandomMaterials, name: str) -> np.ndarray:
    return np.array([getattr(draws.materials[surfaces.wall], name) for surfaces in draws.surfaces.values()])


# ---- tags ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "wall", "roof"),
    [
        ({"building": "yes"}, "concrete", "concrete"),
        ({"building": "yes", "building:material": "brick"}, "brick", "concrete"),
        ({"building": "yes", "building:material": "brick", "building:facade:material": "glass"}, "glass", "concrete"),
        ({"building": "house"}, "brick", "brick"),
        ({"building": "house", "roof:material": "metal"}, "brick", "metal"),
        ({"building": "warehouse"}, "metal", "metal"),
        ({"building": "greenhouse"}, "glass", "glass"),
        ({"building": "church", "building:material": "plaster"}, "concrete", "marble"),
        ({"building": "yes", "building:part": "hangar"}, "metal", "metal"),
        ({"building:material": "Timber framing; glass"}, "wood", "concrete"),
        ({"building:material": "40;sandstone"}, "marble", "concrete"),
        ({"roof:material": "roof_tiles"}, "concrete", "brick"),
        ({}, "concrete", "concrete"),
    ],
)
def test_tags_decide_before_the_kind_of_building(tags: dict[str, str], wall: str, roof: str):
    found = classify_surfaces(tags)
    assert (found.wall, found.roof) == (wall, roof)


def test_it_says_how_each_surface_is_known():
    found = classify_surfaces({"building": "house", "roof:material": "copper"})
    assert (found.wall_origin, found.roof_origin) == ("type", "tag")
    assert classify_surfaces({"building": "yes", "building:material": "unobtainium"}).wall_origin == "prior"


@given(st.dictionaries(st.sampled_from(["building", "building:material", "roof:material"]), st.text()))
def test_any_tag_gives_a_known_class(tags: dict[str, str]):
    found = classify_surfaces(tags)
    assert {found.wall, found.roof} <= set(ITU_CLASSES)


def test_every_word_means_a_class():
    assert set(CLASS_BY_VALUE.values()) <= set(ITU_CLASSES)
    assert {name for pair in CLASSES_BY_TYPE.values() for name in pair} <= set(ITU_CLASSES)
    assert set(CLASS_BY_LAND_COVER.values()) <= set(ITU_CLASSES)
    assert set(CLASS_BY_LAND_COVER) > set(get_args(get_type_hints(LandCoverPatch)["kind"]))


def test_materials_of_real_tiles_are_understood(shared):
    """Of the material tags in twenty real tiles, all but nonsense (a `40`) name a class."""
    import gzip

    pattern = re.compile(r'k="(?:building|roof):material" v="([^"]*)"')
    values = []
    for file in sorted((shared / "tiles").glob("*.osm.gz")):
        values += pattern.findall(gzip.decompress(file.read_bytes()).decode())
    unknown = [value for value in values if value not in CLASS_BY_VALUE]
    assert len(values) > 1000
    assert len(unknown) / len(values) < 0.005, set(unknown)


# ---- ITU-R P.2040 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITU_CLASSES)
def test_values_are_sionnas(name: str):
    """The twin: Sionna's own table, in every band and between them, and its refusals."""
    from sim_bridge.backend import runtime

    try:
        runtime.load_sionna()
    except UelError as error:
        pytest.skip(str(error))
    import mitsuba as mi
    from sionna.rt.radio_materials.itu import itu_material

    for frequency in (5e8, 3.5e9, 28e9, 73e9, 105e9, 230e9, *(1.01 * low for low, _ in frequency_bands(name))):
        try:
            expected = [float(value[0]) for value in itu_material(name, mi.Float(frequency))]
        except ValueError:
            with pytest.raises(UelError, match="does not define"):
                itu_properties(name, frequency)
        else:
            assert itu_properties(name, frequency) == pytest.approx(expected, rel=1e-4)


def test_concrete_by_hand():
    """5.24 and 0.0462·3.5^0.7822 S/m."""
    assert itu_properties("concrete", 3.5e9) == pytest.approx((5.24, 0.0462 * math.exp(0.7822 * math.log(3.5))))


def test_ground_ends_at_ten_gigahertz():
    with pytest.raises(UelError, match=r"medium_dry_ground(.|\n)*28 GHz(.|\n)*choose a frequency in 1-10 GHz"):
        itu_properties("medium_dry_ground", 28e9)


def test_unknown_class():
    with pytest.raises(UelError, match="perhaps you meant concrete"):
        itu_properties("concrte", 3.5e9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"relative_permittivity": 0.9},
        {"relative_permittivity": math.nan},
        {"conductivity": -1.0},
        {"thickness": 0.0},
        {"scattering_coefficient": 1.1},
        {"xpd": -0.1},
    ],
)
def test_impossible_materials(wrong: dict[str, float]):
    with pytest.raises(UelError, match="out of range"):
        RadioMaterial(**{"relative_permittivity": 5.0, "conductivity": 0.1, "thickness": 0.2, **wrong})


# ---- draws ---------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), wall=st.sampled_from(sorted(set(ITU_CLASSES) - {"metal", "floorboard"})))
def test_drawn_values_stay_in_their_ranges(seed: int, wall: str):
    for within in ("class", "any"):
        for material in drawn(street(5), wall, seed, within=within).materials.values():
            assert 2 <= material.relative_permittivity <= 15
            assert 1e-3 * 0.999 <= material.conductivity <= 10 * 1.001
            assert 0 <= material.scattering_coefficient <= 0.6
            assert 0 < material.thickness < 0.5


def test_metal_stays_metal():
    draws = drawn(street(50), "metal", within="any")
    assert set(walls(draws, "conductivity")) == {1e7}
    assert set(walls(draws, "relative_permittivity")) == {1.0}
    assert len(set(walls(draws, "thickness"))) == 50


def test_a_draw_depends_on_neither_number_nor_order():
    all_of_them = drawn(street(30)).materials
    some = drawn(street(30)[20:5:-3]).materials
    assert some == {name: all_of_them[name] for name in some}
    assert drawn(street(30), seed=1).materials != all_of_them


def test_draws_follow_their_law():
    """Own shares only: uniform around brick's 3.91, log-uniform over two decades around its 0.029 S/m."""
    draws = drawn(street(4000), shared=0.0)
    permittivity, conductivity = walls(draws, "relative_permittivity"), walls(draws, "conductivity")
    nominal = itu_properties("brick", 3.5e9)
    quartiles = np.quantile(permittivity / nominal[0], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [0.8, 1.0, 1.2], atol=0.02)
    decades = np.quantile(np.log10(conductivity / nominal[1]), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(decades, [-0.5, 0.0, 0.5], atol=0.06)


def _correlation(distance: float, shared: float) -> float:
    """Between walls a distance apart: 25 pairs, 5 km from each other, in each of 40 fields (seeds)."""
    houses = [house(2 * pair + k, x=5000.0 * pair + k * distance) for pair in range(25) for k in (0, 1)]
    fields = [walls(drawn(houses, seed=seed, shared=shared), "relative_permittivity") for seed in range(40)]
    return float(np.corrcoef(np.concatenate(fields).reshape(-1, 2).T)[0, 1])


def test_neighbours_are_alike():
    """Gaussian covariance of 100 m, half of the variance: ½·exp(-½) at 100 m, ½ nearby, none far away.

    The uniform numbers that come of it correlate by 6/π·asin(r/2), 0.03 below r at most.
    """
    for distance, expected in ((1.0, 0.5), (100.0, 0.5 * math.exp(-0.5)), (1000.0, 0.0)):
        assert _correlation(distance, 0.5) == pytest.approx(
            6 / math.pi * math.asin(expected / 2), abs=0.06
        )  # 3 standard errors
    assert _correlation(1.0, 1.0) > 0.99


def test_a_donors_draws_are_its_own():
    """A building with a donor has exactly what the donor has, wherever the two stand."""
    houses = street(3)
    classes = {house.id: SurfaceMaterials(wall="brick", roof="concrete") for house in houses}
    own = draw_materials(houses, classes, 1).materials
    swapped = draw_materials(houses, classes, 1, donors={houses[0].id: houses[2]}).materials
    assert swapped["way-0-wall-brick"] == own["way-2-wall-brick"] != own["way-0-wall-brick"]
    assert {**swapped, "way-0-wall-brick": 0, "way-0-roof-concrete": 0} == {
        **own,
        "way-0-wall-brick": 0,
        "way-0-roof-concrete": 0,
    }


def test_pieces_of_one_building_are_alike():
    pieces = [Building(id=f"relation/7#{k}", footprint=box(0, 0, 9, 9), top=9.0) for k in (1, 2)]
    first, second = walls(drawn(pieces), "conductivity")
    assert first == second


def test_draws_need_a_frequency_of_the_class():
    classes = {"way/1": SurfaceMaterials(wall="brick", roof="concrete")}
    assert itu_properties("brick", 28e9)[0] == 3.91
    assert draw_materials([house(1)], classes, 0, frequency=28e9).bands == {"drawn materials": [(14e9, 56e9)]}
    with pytest.raises(UelError, match="does not define brick"):
        draw_materials([house(1)], classes, 0, frequency=60e9)


@pytest.mark.parametrize("wrong", [{"shared": 1.5}, {"length": 0.0}, {"thickness": 1.0}, {"conductivity": -1.0}])
def test_impossible_spreads(wrong: dict[str, float]):
    with pytest.raises(UelError, match="out of range"):
        MaterialSpread(**wrong)
