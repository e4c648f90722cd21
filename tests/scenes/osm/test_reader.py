"""From a map to a place: real tiles against osmnx, made-up towns against arithmetic, and every refusal."""

import gzip
import hashlib
import json
import math
from pathlib import Path
from typing import Literal

import numpy as np
import osmnx
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.osm import reader
from scenes.osm.files.feature_table import FEATURE_KEYS
from scenes.osm.map_features import MapExtract
from scenes.osm.queries import MapQuery, parse_source
from tests.helpers.osm_town import square, write_osm
from tests.helpers.shared_volume import shared_volume
from uel.core.files.folder_names import is_folder_name
from uel.errors import UelError

HARD = ["geneva_paquis", "geneva_servette", "geneva_petit_saconnex", "monaco_condamine", "monaco_montecarlo"]
HARD += ["stmoritz_dorf", "krems_altstadt", "nyc_midtown_esb"]
REASONS = ("building", "underground", "a sliver", "no area", "no walls", "drawn twice", "its parts", "others")
REASONS += ("rings are not closed", "nodes missing", "members missing")


def _tile(shared: Path, name: str) -> tuple[Path, dict]:
    known = {tile["name"]: tile for tile in json.loads((shared / "tiles/manifest.json").read_text())["tiles"]}
    return shared / "tiles" / known[name]["file"], known[name]


def _read(path: Path, **more) -> MapExtract:
    return reader.read_map(path, **{"center": (48.0, 9.0), "size": 256.0, "margin": 0.0, **more})


# Real tiles


@pytest.mark.parametrize("name", HARD)
def test_real_tiles_lose_nothing(name: str, shared: Path):
    """Every building of osmnx becomes a building or an exclusion with a reason, and none twice."""
    file, tile = _tile(shared, name)
    place = reader.read_map(file, center=(tile["center_lat"], tile["center_lon"]), margin=0.0)
    built = {building.id.split("#")[0] for building in place.buildings}
    excluded = {exclusion.id: exclusion.reason for exclusion in place.exclusions}
    assert not built & excluded.keys()
    assert all(reason.startswith(REASONS) for reason in excluded.values())

    theirs = osmnx.features_from_xml(file, tags={"building": True, "building:part": True}).to_crs(place.crs)
    window = shapely.box(*(np.array([-256, -256, 256, 256]) + np.tile(place.origin, 2)))
    theirs = theirs[theirs.intersects(window)]
    assert {f"{element}/{id}" for element, id in theirs.index} == built | excluded.keys()
    assert int(theirs["building"].fillna("no").ne("no").sum()) == tile["n_buildings"]
    assert place.crs == f"EPSG:{tile['utm_epsg']}"


@pytest.mark.parametrize("name", HARD)
def test_real_tiles_are_sound(name: str, shared: Path):
    file, tile = _tile(shared, name)
    place = reader.read_map(file, center=(tile["center_lat"], tile["center_lon"]))
    plans = [building.footprint for building in place.buildings]
    assert len({building.id for building in place.buildings}) == len(plans)
    assert shapely.is_valid(plans).all()
    assert shapely.area(plans).min() >= 1.0
    assert all(0 <= building.base < building.top for building in place.buildings)
    # What is left lies between lines of a millimetre: less than the volume of one small garage in a whole city.
    assert shared_volume(place.buildings) < 1.0
    assert {patch.kind for patch in place.land_cover} >= {"road", "path", "green"}
    assert (
        shapely.box(-384, -384, 384, 384)
        .buffer(1e-3)
        .contains(shapely.union_all([p.footprint for p in place.land_cover]))
    )
    assert place.provenance["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_parts_leave_no_hole_in_the_city(shared: Path):
    """What the outlines of Manhattan cover, the buildings cover too; nothing hovers more than three storeys up."""
    file, tile = _tile(shared, "nyc_midtown_esb")
    place = reader.read_map(file, center=(tile["center_lat"], tile["center_lon"]))
    plans = np.array([building.footprint for building in place.buildings], dtype=object)
    grounded = np.array([building.base == 0 for building in place.buildings])
    hovering = np.array([building.base > 11.0 for building in place.buildings]) & ~grounded
    air = shapely.difference(shapely.union_all(plans[hovering]), shapely.union_all(plans[~hovering]))
    assert hovering.sum() > 30
    assert air.area < 0.001 * shapely.union_all(plans).area
    assert max(building.top for building in place.buildings) == pytest.approx(443.2)


def test_the_middle_of_a_file_is_that_of_its_bounds(shared: Path):
    file, tile = _tile(shared, "geneva_servette")
    place = reader.read_map(file)
    assert place.center == pytest.approx((tile["center_lat"], tile["center_lon"]), abs=2e-5)
    assert place.name == "geneva_servette"


# Made-up towns


def test_metres_are_true(tmp_path: Path):
    place = _read(write_osm(tmp_path / "town.osm", [(square(10, -40, 20), {"building": "yes", "height": "12 m"})]))
    (building,) = place.buildings
    assert building.footprint.bounds == pytest.approx((10, -40, 30, -20), abs=0.02)
    assert (building.id, building.base, building.top, building.provenance) == ("way/1", 0.0, 12.0, "tag")


def test_exclusions_say_why(tmp_path: Path):
    cases = {
        "building=roof": {"building": "roof"},
        "building=no": {"building": "no"},
        "location=underground": {"building": "yes", "location": "underground"},
        "layer=-1": {"building": "yes", "layer": "-1"},
        "building:part=roof": {"building:part": "roof"},
        "no walls: its tags put them from 20 m to 15 m": {"building": "yes", "height": "15", "min_height": "20"},
    }
    ways = [(square(12 * n - 40, 0, 9), tags) for n, tags in enumerate(cases.values())]
    ways += [(square(60, 60, 0.5), {"building": "yes"}), ([(70, 70), (80, 70), (90, 70)], {"building": "yes"})]
    ways += [(square(-90, -90, 20), {"building": "yes"})]
    place = _read(write_osm(tmp_path / "town.osm", ways))
    reasons = [exclusion.reason for exclusion in sorted(place.exclusions, key=lambda e: int(e.id.split("/")[1]))]
    assert [building.id for building in place.buildings] == ["way/9"]
    assert all(text in reason for text, reason in zip([*cases, "sliver", "no area"], reasons, strict=True))


def test_courtyards_and_pieces_of_a_multipolygon(tmp_path: Path):
    """Two outer rings, one with a courtyard that holds a building of its own, and the way drawn twice."""
    relation = (
        '<relation id="7"><member type="way" ref="1" role="outer"/><member type="way" ref="2" role="inner"/>'
        '<member type="way" ref="3" role="outer"/><tag k="type" v="multipolygon"/><tag k="building" v="yes"/>'
        '<tag k="height" v="10"/></relation>'
    )
    ways = [(square(0, 0, 40), {}), (square(10, 10, 20), {}), (square(60, 0, 10), {})]
    ways += [(square(15, 15, 5), {"building": "shed", "height": "3"})]
    place = _read(write_osm(tmp_path / "town.osm", ways, relation))
    areas = {building.id: round(building.footprint.area) for building in place.buildings}
    assert areas == {"relation/7#1": 1200, "relation/7#2": 100, "way/4": 25}

    ways[0] = (square(0, 0, 40), {"building": "yes"})
    assert _read(write_osm(tmp_path / "old.osm", ways, relation)).buildings == place.buildings

    single = relation.replace('<member type="way" ref="3" role="outer"/>', "")
    place = _read(write_osm(tmp_path / "twice.osm", ways, single))
    assert {b.id: round(b.footprint.area) for b in place.buildings} == {"relation/7": 1200, "way/4": 25}
    assert [exclusion.reason for exclusion in place.exclusions] == ["drawn twice: relation/7 has its courtyards"]


def test_parts_stand_in_their_outline(tmp_path: Path):
    """A tower on a podium, a hovering top over the outline, an arcade that stays open, an outline that is covered."""
    part = {"building:part": "yes"}
    ways = [
        (square(0, 0, 20), {"building": "yes", "height": "30"}),
        (square(0, 0, 10), {**part, "height": "60"}),
        (square(10, 10, 10), {**part, "height": "50", "min_height": "20"}),
        (square(10, 0, 5), {**part, "height": "30", "min_height": "5"}),
        (square(50, 0, 10), {"building": "yes", "height": "9"}),
        (square(50, 0, 10), {**part, "height": "8"}),
        (square(50, 0, 10), {**part, "height": "12", "min_height": "8"}),
    ]
    place = _read(write_osm(tmp_path / "town.osm", ways))
    found = sorted((b.id.split("#")[0], round(b.footprint.area), b.base, b.top) for b in place.buildings)
    assert found == [
        ("way/1", 75, 0.0, 30.0),
        ("way/1", 100, 0.0, 20.0),
        ("way/1", 100, 0.0, 30.0),
        ("way/2", 100, 0.0, 60.0),
        ("way/3", 100, 20.0, 50.0),
        ("way/4", 25, 5.0, 30.0),
        ("way/6", 100, 0.0, 8.0),
        ("way/7", 100, 8.0, 12.0),
    ]
    assert [(e.id, e.reason) for e in place.exclusions] == [("way/5", "its parts stand in its place: way/7, way/6")]
    wholes = {b.id.split("#")[0]: b.outline and b.outline.bounds for b in place.buildings}
    first, second = (pytest.approx((x, 0, x + side, side), abs=0.01) for x, side in ((0, 20), (50, 10)))
    assert wholes == {f"way/{k}": first for k in (1, 2, 3, 4)} | {"way/6": second, "way/7": second}
    assert shared_volume(place.buildings) < 0.1


def test_the_lower_gives_way_and_twins_vanish(tmp_path: Path):
    ways = [
        (square(0, 0, 20), {"building": "yes", "height": "10"}),
        (square(10, 0, 20), {"building": "yes", "height": "15"}),
        (square(0, 0, 20), {"building": "yes", "height": "10"}),
    ]
    place = _read(write_osm(tmp_path / "town.osm", ways))
    assert {b.id: round(b.footprint.area) for b in place.buildings} == {"way/1": 200, "way/2": 400}
    assert [(e.id, e.reason) for e in place.exclusions] == [("way/3", "others stand in its place: way/2, way/1")]


def test_ground_is_as_wide_as_it_says(tmp_path: Path):
    """Roads by width, lanes and class; a tunnel, a proposed road and a bench are no ground."""

    def way(number: int, y: float, **tags: str) -> str:
        lat = 48.0 + y / 0.9996 / 111_200.0
        ends = "".join(
            f'<node id="{1000 + 2 * number + k}" lat="{lat:.9f}" lon="{lon}"/>' for k, lon in enumerate((8.99, 9.01))
        )
        refs = "".join(f'<nd ref="{1000 + 2 * number + k}"/>' for k in range(2))
        written = "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
        return f'{ends}<way id="{100 + number}">{refs}{written}</way>'

    roads = way(0, -100, highway="residential", width="8 m") + way(1, -60, highway="primary", lanes="2")
    roads += way(2, -20, highway="service") + way(3, 20, highway="footway") + way(4, 60, waterway="river", width="30")
    roads += way(5, 90, highway="primary", tunnel="yes") + way(6, 95, highway="proposed")
    ways = [(square(0, 0, 10), {"building": "yes"}), (square(-50, 80, 20), {"leisure": "park"})]
    place = _read(write_osm(tmp_path / "town.osm", ways, roads))
    found = [(patch.kind, patch.id, patch.footprint.area / 256) for patch in place.land_cover]
    wide = {id: width for _, id, width in found}
    assert [kind for kind, *_ in found] == ["green", "water", "path", "road", "road", "road"]
    expected = {"way/104": 30.0, "way/103": 2.0, "way/100": 8.0, "way/101": 6.5, "way/102": 4.0, "way/2": 400 / 256}
    assert wide == pytest.approx(expected, rel=5e-3)


def test_the_same_place_twice(tmp_path: Path):
    ways = [(square(20 * n, 0, 15), {"building": "yes", "building:levels": str(n + 1)}) for n in range(5)]
    file = write_osm(tmp_path / "town.osm", ways)
    assert _read(file) == _read(file)
    drawn, again, other = (_read(file, seed=seed) for seed in (1, 1, 2))
    assert drawn == again != other
    assert [b.footprint for b in drawn.buildings] == [b.footprint for b in _read(file).buildings]


@pytest.mark.slow  # 26 s beside other work
def test_ten_thousand_buildings(tmp_path: Path):
    """A town of overlapping houses: a hundred rows of a hundred."""
    random = np.random.default_rng(0)
    items = []
    for k in range(10_000):
        x, y, side = 24 * (k % 100), 24 * (k // 100), float(random.uniform(15, 30))
        ring = np.array([*square(x, y, side), (x, y)]) / [74_629.0, 111_200.0] + [9.0, 48.0]
        properties = {"building": "yes"} | ({"height": float(random.integers(5, 40))} if k % 2 else {})
        items.append(
            {
                "type": "Feature",
                "properties": properties,
                "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
            }
        )
    file = tmp_path / "town.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    place = reader.read_map(file, size=2600.0)
    assert len({b.id.split("#")[0] for b in place.buildings} | {e.id for e in place.exclusions}) == 10_000
    assert {b.provenance for b in place.buildings} == {"tag", "neighbours"}
    assert shared_volume(place.buildings) < 10.0


# Refusals


def test_squares_that_cannot_be(tmp_path: Path):
    file = write_osm(tmp_path / "town.osm", [(square(0, 0, 10), {"building": "yes"})])
    for wrong in ({"size": 0.0}, {"size": -1.0}, {"size": math.nan}, {"margin": -1.0}, {"size": math.inf}):
        with pytest.raises(UelError, match="out of range"):
            _read(file, **wrong)
    with pytest.raises(UelError, match=r"larger than 20 km(.|\n)*several smaller"):
        _read(file, size=100_000.0)
    with pytest.raises(UelError, match="outside the range of UTM"):
        _read(file, center=(95.0, 9.0))
    with pytest.raises(UelError, match=r"the square has no building(.|\n)*latitude 0.00000"):
        _read(file, center=(0.0, 0.0))


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "..", "a/b", "a\\b", "", "nul\0", "x" * 200, ".hidden", "a."]
)
def test_names_are_file_names(name: str, tmp_path: Path):
    file = write_osm(tmp_path / "town.osm", [(square(0, 0, 10), {"building": "yes"})])
    with pytest.raises(UelError, match="not fit for a folder"):
        _read(file, name=name)


@given(st.text(min_size=1, max_size=120), st.sampled_from(["name", "point", "bbox", "file"]))
@settings(deadline=None)
def test_a_name_made_from_a_source_is_a_name(text: str, kind: Literal["name", "point", "bbox", "file"]):
    assert is_folder_name(reader.tile_name(MapQuery(kind, text)))


def test_places_west_and_east_of_greenwich_differ():
    assert reader.tile_name(parse_source("48,-9")) != reader.tile_name(parse_source("48,9"))
    assert reader.tile_name(parse_source("-33.8,151.2")) == "point -33.8,151.2"


def test_a_building_in_the_margin_alone_is_no_city(tmp_path: Path):
    file = write_osm(tmp_path / "town.osm", [(square(150, 0, 10), {"building": "yes"})])
    with pytest.raises(UelError, match="the square has no building"):
        _read(file, margin=128.0)


def test_truncated_and_odd_files(tmp_path: Path):
    file = write_osm(tmp_path / "town.osm", [(square(0, 0, 10), {"building": "yes"})])
    whole = gzip.compress(file.read_bytes())
    cases = {
        "cut.osm.gz": (whole[: len(whole) // 2], "damaged"),
        "fake.osm.gz": (b"not gzip at all", "damaged"),
        "cut.osm": (file.read_bytes()[:-20], "damaged"),
        "cut.osm.bz2": (b"BZh9", "damaged"),
        "junk.osm.pbf": (b"hello world" * 99, "damaged"),
        "cut.geojson": (b'{"type": "FeatureCollection", "features": [', "damaged"),
        "list.geojson": (b"[1, 2]", "not a FeatureCollection"),
        "none.geojson": (b'{"type": "FeatureCollection", "features": []}', "neither buildings nor roads"),
        "empty.osm": (b'<osm version="0.6"></osm>', "neither buildings nor roads"),
        "zero.osm": (b"", "map file is empty"),
        "map.dwg": (b"x", "unknown type of map file"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UelError, match=message):
            reader.read_map(tmp_path / name)
    with pytest.raises(UelError, match="map file does not exist"):
        reader.read_map(tmp_path / "nowhere.osm")
    assert set(FEATURE_KEYS) >= {"building", "highway"}
