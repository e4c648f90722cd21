"""Formats that agree, elements that are deleted or missing, and files that are not what their names say."""

import bz2
import gzip
import json
from pathlib import Path

import osmium
import pytest

from scenes.osm import reader
from scenes.osm.files.feature_table import MapContent
from scenes.osm.files.formats import map_suffix
from scenes.osm.files.map_file import read_map_file
from scenes.osm.map_features import MapExtract
from tests.helpers.osm_town import (
    as_pbf,
    bounds_line,
    degrees,
    feature,
    node_line,
    polygon,
    relation_line,
    square,
    way_line,
    write_geojson,
    write_osm,
)
from uel.errors import UelError

HOUSE = {"building": "yes", "height": "9"}
RING = {"building": "apartments", "height": "18"}


def read(path: Path, **more) -> MapExtract:
    return reader.read_map(path, **{"center": (48.0, 9.0), "size": 256.0, "margin": 0.0, **more})


def areas(place: MapExtract) -> dict[str, int]:
    return {building.id: round(building.footprint.area) for building in place.buildings}


def reasons(place: MapExtract) -> dict[str, str]:
    return {exclusion.id: exclusion.reason for exclusion in place.exclusions}


def content_of(content: MapContent) -> dict[str, tuple]:
    """Geometry type and area in square degrees by id, and why buildings were lost."""
    found = {f"{a}/{b}": (g.geom_type, round(g.area * 1e9, 3)) for (a, b), g in content.frame.geometry.items()}
    return found | {item.id: (item.reason,) for item in content.lost}


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """Two ring buildings of four ways, a road, a building that misses a node, a relation that misses its outline."""
    ways = [(square(-90, 0, 40), {}), (square(-80, 10, 20), {}), (square(0, 0, 40), {}), (square(10, 10, 20), {})]
    extra = node_line(90, 60, 0, version="1") + node_line(91, 80, 0) + node_line(92, 80, 20)
    extra += way_line(20, [90, 91, 92], {"highway": "residential"})
    extra += way_line(21, [90, 91, 99, 92, 90], HOUSE) + way_line(22, [90, 91, 92, 90], HOUSE)
    extra += relation_line(1, [(1, "outer"), (2, "inner")], RING) + relation_line(2, [(3, ""), (4, "")], RING)
    extra += relation_line(3, [(77, "outer")], RING)
    extra += relation_line(4, [(1, "outline")], {"building": "yes", "type": "building"}).replace(
        'v="multipolygon"', 'v="x"'
    )
    return write_osm(tmp_path / "town.osm", ways, extra, bounds_line(-128, -128, 128, 128))


def test_formats_agree(town: Path):
    """XML, its compressions, PBF, Overpass JSON: one town, the lost buildings among it."""
    expected = content_of(read_map_file(town))
    assert expected["way/21"] == ("nodes missing from the file: 1 of 5",)
    assert expected["relation/3"] == ("members missing from the file: 1 of 1",)
    assert expected["way/20"] == ("LineString", 0.0)
    assert "relation/4" not in expected
    (town.parent / "town.osm.gz").write_bytes(gzip.compress(town.read_bytes()))
    (town.parent / "town.osm.bz2").write_bytes(bz2.compress(town.read_bytes()))
    (town.parent / "utf16.osm").write_bytes(town.read_text().encode("utf-16"))
    (town.parent / "town.json").write_text(json.dumps(overpass_json(town)))
    for file in ("town.osm.gz", "town.osm.bz2", "utf16.osm", "town.json"):
        assert content_of(read_map_file(town.with_name(file))) == expected, file
    assert content_of(read_map_file(as_pbf(town))) == expected
    assert areas(read(town)) == areas(read(as_pbf(town))) == {"relation/1": 1200, "relation/2": 1200, "way/22": 200}


def overpass_json(file: Path) -> dict:
    """The elements of an XML file as Overpass answers them."""
    elements = []
    for item in osmium.FileProcessor(str(file)):
        entry: dict = {"type": {"n": "node", "w": "way", "r": "relation"}[item.type_str()], "id": item.id}
        entry |= {"tags": {tag.k: tag.v for tag in item.tags}} if len(item.tags) else {}
        if item.type_str() == "n":
            entry |= {"lat": item.lat, "lon": item.lon}
        elif item.type_str() == "w":
            entry["nodes"] = [node.ref for node in item.nodes]
        else:
            entry["members"] = [{"type": "way", "ref": member.ref, "role": member.role} for member in item.members]
        elements.append(entry)
    return {"version": 0.6, "elements": elements}


def test_the_order_of_a_pbf_does_not_matter(town: Path):
    expected = content_of(read_map_file(town))
    backwards = as_pbf(town, (osmium.osm.RELATION, osmium.osm.WAY, osmium.osm.NODE))
    assert content_of(read_map_file(backwards)) == expected


def test_negative_ids_are_ids(tmp_path: Path):
    """As JOSM gives them; a relation may have the number of a way."""
    nodes = "".join(
        node_line(-k, *corner) for k, corner in enumerate([*square(0, 0, 40), *square(10, 10, 20)], start=1)
    )
    ways = way_line(-1, [-1, -2, -3, -4, -1], {}) + way_line(-2, [-5, -6, -7, -8, -5], {})
    (tmp_path / "new.osm").write_text(
        f'<osm version="0.6">{nodes}{ways}{relation_line(-1, [(-1, "outer"), (-2, "inner")], RING)}</osm>'
    )
    assert areas(read(tmp_path / "new.osm")) == areas(read(as_pbf(tmp_path / "new.osm"))) == {"relation/-1": 1200}


def test_deleted_elements_are_not_built(tmp_path: Path):
    ring = square(0, 0, 10)
    nodes = "".join(node_line(k, *corner) for k, corner in enumerate(ring, start=1))
    refs = [1, 2, 3, 4, 1]
    lines = way_line(1, refs, HOUSE, action="delete") + way_line(2, refs, HOUSE, visible="false")
    lines += way_line(3, refs, HOUSE, action="modify", visible="true")
    lines += way_line(4, refs, HOUSE, version="1") + way_line(
        4, [], {}, version="2", visible="false"
    )  # a file with history
    lines += way_line(5, refs, HOUSE, version="1") + way_line(5, refs, HOUSE | {"height": "5"}, version="2")
    (tmp_path / "edited.osm").write_text(f'<osm version="0.6">{nodes}{lines}</osm>')
    place = read(tmp_path / "edited.osm")
    assert max(building.top for building in place.buildings) == 9.0
    assert {k: v for k, v in reasons(place).items() if "deleted" in v} == {
        "way/1": 'deleted: action="delete"', "way/2": 'deleted: visible="false"', "way/4": 'deleted: visible="false"',
    }  # fmt: skip


def test_a_building_without_a_deleted_node_is_named(tmp_path: Path):
    lines = "".join(node_line(k, *corner) for k, corner in enumerate(square(0, 0, 10), start=1))
    lines += node_line(5, 5, 20, action="delete") + node_line(6, 30, 0) + node_line(7, 40, 0) + node_line(8, 40, 9)
    lines += way_line(1, [1, 2, 3, 5, 4, 1], HOUSE) + way_line(2, [6, 7, 8, 6], HOUSE)
    (tmp_path / "edited.osm").write_text(f'<osm version="0.6">{lines}</osm>')
    assert reasons(read(tmp_path / "edited.osm")) == {"way/1": "nodes missing from the file: 1 of 6"}


ROLES = [("outer", "inner"), ("", ""), ("outer", "outer"), ("Outer", "enclave"), ("inner", "outer"), ("inner", "inner")]


@pytest.mark.parametrize("roles", ROLES)
def test_roles_are_hints(tmp_path: Path, roles: tuple[str, str]):
    """A ring inside a ring is a courtyard, whatever the roles say, and in whatever order the members come."""
    ways = [(square(0, 0, 40), {}), (square(10, 10, 20), {})]
    for number, order in enumerate(((0, 1), (1, 0))):
        relation = relation_line(1, [(k + 1, roles[k]) for k in order], RING)
        assert areas(read(write_osm(tmp_path / f"{number}.osm", ways, relation))) == {"relation/1": 1200}


def test_a_missing_courtyard_is_noted_and_a_missing_outline_is_an_exclusion(tmp_path: Path):
    ways = [(square(0, 0, 40), {}), (square(10, 10, 20), {}), (square(60, 0, 10), HOUSE)]
    inner = relation_line(1, [(1, "outer"), (99, "inner")], RING)
    outer = relation_line(2, [(99, "outer"), (2, "inner")], RING)
    untold = relation_line(3, [(99, ""), (2, "")], RING)
    place = read(write_osm(tmp_path / "cut.osm", ways, inner + outer + untold))
    assert areas(place) == {"relation/1": 1600, "way/3": 100}
    assert [note for note in place.notes if "relation/1 (members missing from the file: 1 of 2)" in note]
    assert reasons(place) == dict.fromkeys(("relation/2", "relation/3"), "members missing from the file: 1 of 2")


def test_an_outline_in_pieces_that_do_not_meet_is_no_building(tmp_path: Path):
    lines = "".join(node_line(k, *corner) for k, corner in enumerate(square(0, 0, 30), start=1))
    lines += way_line(1, [1, 2, 3], {}) + way_line(2, [3, 4], {}) + relation_line(1, [(1, "outer"), (2, "outer")], RING)
    whole = lines.replace(
        '<way id="2"><nd ref="3"/><nd ref="4"/>', '<way id="2"><nd ref="3"/><nd ref="4"/><nd ref="1"/>'
    )
    house = node_line(10, 60, 0) + node_line(11, 70, 0) + node_line(12, 70, 9) + way_line(9, [10, 11, 12, 10], HOUSE)
    for text, expected in ((lines, {"relation/1": "rings are not closed"}), (whole, {})):
        (tmp_path / "open.osm").write_text(f'<osm version="0.6">{text}{house}</osm>')
        assert reasons(read(tmp_path / "open.osm")) == expected


def test_tags_on_the_outline_alone_keep_the_courtyard(tmp_path: Path):
    """As multipolygons were drawn before 2014."""
    ways = [(square(0, 0, 40), RING), (square(10, 10, 20), {})]
    place = read(write_osm(tmp_path / "old.osm", ways, relation_line(1, [(1, "outer"), (2, "inner")], {})))
    assert areas(place) == {"way/1": 1200}


def test_roads_keep_the_pieces_between_missing_nodes(tmp_path: Path):
    lines = "".join(node_line(k, 20.0 * k, 0) for k in (11, 12, 14, 15))
    lines += way_line(9, [11, 12, 13, 14, 15], {"highway": "service"})
    file = write_osm(tmp_path / "road.osm", [(square(0, 0, 9), {})], lines)
    content = read_map_file(file)
    assert content.frame.geometry.iloc[0].geom_type == "MultiLineString"
    assert "lines with gaps" in content.notes[0]


def test_both_sides_of_the_antimeridian_are_one_town(tmp_path: Path):
    """Houses, and a ring building whose outline crosses it, from XML and from GeoJSON."""
    step = 0.0001

    def ring(west: float, east: float, tall: float) -> list[tuple[float, float]]:
        return [(x - 360 if x > 180 else x, y) for x, y in ((west, 0), (east, 0), (east, tall), (west, tall))]

    shapes = [
        ring(179.999, 179.999 + step, step),
        ring(180.001, 180.001 + step, step),
        ring(179.9998, 180.0002, 4 * step),
    ]
    shapes.append(ring(179.9999, 180.0001, 2 * step))
    nodes = [
        (lon, lat - 16.82 + (k // 4 == 3) * step) for k, (lon, lat) in enumerate(corner for s in shapes for corner in s)
    ]
    text = "".join(f'<node id="{k + 1}" lat="{lat:.7f}" lon="{lon:.7f}"/>' for k, (lon, lat) in enumerate(nodes))
    for k in range(4):
        refs = [4 * k + 1, 4 * k + 2, 4 * k + 3, 4 * k + 4, 4 * k + 1]
        text += way_line(k + 1, refs, HOUSE if k < 2 else {})
    text += relation_line(1, [(3, "outer"), (4, "inner")], RING)
    (tmp_path / "fiji.osm").write_text(f'<osm version="0.6">{text}</osm>')
    place = read(tmp_path / "fiji.osm", center=None)
    assert abs(place.center[1]) == pytest.approx(180.0, abs=2e-4)
    assert place.center[0] == pytest.approx(-16.82, abs=3e-4)
    found = {building.id: building.footprint for building in place.buildings}
    assert found["way/2"].centroid.x - found["way/1"].centroid.x == pytest.approx(213, abs=1)
    assert len(found["relation/1"].interiors) == 1
    houses = [
        feature(
            HOUSE, {"type": "Polygon", "coordinates": [[[x, y - 16.82] for x, y in [*shape, shape[0]]]]}, id=f"way/{k}"
        )
        for k, shape in enumerate(shapes[:3], start=1)
    ]
    again = read(write_geojson(tmp_path / "fiji.geojson", *houses), center=None)
    assert {b.id: round(b.footprint.area) for b in again.buildings}["way/1"] == round(found["way/1"].area)
    assert len(again.buildings) == 3


def test_overpass_answers_with_places_inside(tmp_path: Path):
    """`out geom` in JSON and in XML; null is a node outside the query's box."""
    places = [{"lat": lat, "lon": lon} for lon, lat in (degrees(*corner) for corner in square(0, 0, 20))]
    ring = [*places, places[0]]
    members = [{"type": "way", "ref": 7, "role": "outer", "geometry": ring}]
    relation = {"type": "relation", "id": 5, "members": members, "tags": {"type": "multipolygon", **RING}}
    cut = {"type": "way", "id": 8, "geometry": [*places, None, places[0]], "tags": HOUSE}
    (tmp_path / "geom.json").write_text(json.dumps({"elements": [relation, cut]}))
    place = read(tmp_path / "geom.json")
    assert areas(place) == {"relation/5": 400}
    assert reasons(place) == {"way/8": "nodes missing from the file: 1 of 6"}
    inside = "".join(f'<nd lat="{p["lat"]}" lon="{p["lon"]}"/>' for p in ring)
    tags = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in HOUSE.items())
    (tmp_path / "geom.osm").write_text(f'<osm version="0.6"><way id="3"><bounds minlat="1"/>{inside}{tags}</way></osm>')
    assert areas(read(tmp_path / "geom.osm")) == {"way/3": 400}


def test_the_content_says_what_a_file_is(town: Path):
    """Overpass's JSON named .osm, XML named .json, a PBF named .osm, gzip without saying so."""
    expected = content_of(read_map_file(town))
    renamed = {
        "a.osm": json.dumps(overpass_json(town)).encode(), "b.json": town.read_bytes(),
        "c.osm": as_pbf(town).read_bytes(), "d.osm": gzip.compress(town.read_bytes()), "e.xml": town.read_bytes(),
    }  # fmt: skip
    for name, content in renamed.items():
        (town.parent / name).write_bytes(content)
        assert content_of(read_map_file(town.parent / name)) == expected, name


def test_suffixes():
    assert map_suffix(Path("a.OSM.GZ")) == ".osm.gz"
    assert map_suffix(Path("Berlin.csv.gz")) == ".csv.gz"
    assert map_suffix(Path("a.tif")) is None


def test_a_node_off_the_earth_is_refused(tmp_path: Path):
    (tmp_path / "e7.osm").write_text('<osm><node id="1" lat="480000000" lon="90000000"/></osm>')
    with pytest.raises(UelError, match=r"no place in degrees(.|\n)*480000000|4.8e\+08"):
        read_map_file(tmp_path / "e7.osm")


def test_polygons_are_read_whole_where_no_box_finds_any(tmp_path: Path):
    file = write_geojson(tmp_path / "town.geojson", feature(HOUSE, polygon(square(0, 0, 20))))
    with pytest.raises(UelError, match=r"the square has no building(.|\n)*--center 48.0001 9.0001"):
        read(file, center=(48.1, 9.0))
