"""Map files that are wrong, row by row: a clear error, or a feature set aside by a named rule, never a wrong wall.

A row's file holds a sound house of 400 m² and 9 m as `way/1`, where it can hold anything, so that what is wrong with
another feature must not cost the sound one.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from scenes.osm import reader
from scenes.osm.map_features import MapExtract
from tests.helpers.osm_town import (
    bounds_line,
    feature,
    node_line,
    polygon,
    relation_line,
    square,
    tag_lines,
    way_line,
    write_geojson,
    write_osm,
)
from uel.errors import UelError

HOUSE = {"building": "yes", "height": "9"}
SOUND = (square(-60, -60, 20), HOUSE)
Writer = Callable[[Path], Path]


def read(path: Path) -> MapExtract:
    return reader.read_map(path, center=(48.0, 9.0), size=256.0, margin=0.0)


def content(name: str, data: str | bytes) -> Writer:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return folder / name

    return write


def xml(body: str, head: str = "") -> Writer:
    return lambda folder: write_osm(folder / "map.osm", [SOUND], body, head)


def building(tags: Mapping[str, str]) -> Writer:
    return lambda folder: write_osm(folder / "map.osm", [SOUND, (square(0, 0, 20), tags)])


def geojson(*items: Any, name: str = "map.geojson", **more: Any) -> Writer:
    sound = feature(HOUSE, polygon(square(-60, -60, 20)), id="way/1")
    return lambda folder: write_geojson(folder / name, sound, *items, **more)


def shape(*points: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [points]}


def lone(geometry: Any) -> str:
    """GeoJSON of one house."""
    return json.dumps(feature(HOUSE, geometry, id="way/5"))


def table(name: str, columns: Mapping[str, Any], shift: float = 0.0) -> Writer:
    def write(folder: Path) -> Path:
        outline = shapely.transform(shapely.from_geojson(json.dumps(polygon(square(0, 0, 20)))), lambda p: p + shift)
        frame = gpd.GeoDataFrame({key: [value] for key, value in columns.items()}, geometry=[outline], crs="EPSG:4326")
        frame.to_parquet(folder / name) if name.endswith("parquet") else frame.to_file(folder / name)
        (folder / name).with_suffix(".prj").unlink(missing_ok=True)
        return folder / name

    return write


OVERPASS_WAY = {"type": "way", "id": 1, "nodes": [1, 2, 3, 1], "tags": HOUSE}
NODE = {"type": "node", "id": 1, "lat": 48.0, "lon": 9.0}
HTML = "<!DOCTYPE html><html><body>429 Too Many Requests</body></html>"

REFUSED: dict[str, tuple[Writer, list[str]]] = {
    "empty": (content("a.osm", ""), ["the map file is empty"]),
    "cut XML": (content("a.osm", '<osm version="0.6"><node id="1" lat="48"'), ["damaged", "download it again"]),
    "cut gzip": (content("a.osm.gz", gzip.compress(b"<osm></osm>" * 99)[:40]), ["damaged", "download it again"]),
    "cut JSON": (content("a.geojson", '{"type": "FeatureCollection", "features": ['), ["damaged"]),
    "words": (content("a.osm", "hello world"), ["damaged", "neither OpenStreetMap's XML"]),
    "a web page": (content("a.osm", HTML), ["a web page", "not the page"]),
    "a web page as JSON": (content("a.geojson", HTML), ["a web page"]),
    "an edit list": (content("a.osm", "<osmChange/>"), ["OsmChange", "osmium apply-changes"]),
    "a GPX track": (content("a.osm", '<?xml version="1.0"?><gpx/>'), ["a GPX track"]),
    "other XML": (content("a.xml", "<?xml version='1.0'?><!-- x --><svg/>"), ["XML of another kind: <svg>"]),
    "a picture": (content("a.osm", b"\x89PNG\r\n\x1a\n"), ["a picture"]),
    "a PDF": (content("map.json", "%PDF-1.7"), ["a PDF"]),
    "zstd": (content("a.osm.pbf", b"\x28\xb5\x2f\xfdxxxx"), ["compressed with zstd", "unpack"]),
    "o5m": (content("a.osm", b"\xff\xe0\x04o5m2"), ["o5m", "osmium cat"]),
    "junk as PBF": (content("a.pbf", b"\0\0\0\x0e\n\tOSMHeader" + b"x" * 50), ["damaged"]),
    "an archive of texts": (content("a.zip", b"PK\x03\x04" + b"x" * 50), ["damaged"]),
    "Latin-1": (content("a.geojson", '{"type":"FeatureCollection","x":"Zürich"}'.encode("latin-1")), ["not in UTF-8"]),
    "nothing in XML": (content("a.osm", '<osm version="0.6"/>'), ["neither buildings nor roads"]),
    "nothing in GeoJSON": (content("a.geojson", '{"type":"FeatureCollection","features":[]}'), ["neither buildings"]),
    "numbers": (content("a.json", "[1, 2]"), ["not a FeatureCollection"]),
    "another object": (content("a.json", '{"name": "x"}'), ["not a FeatureCollection", "members name"]),
    "E7 in a node": (xml('<node id="900" lat="480000000" lon="90000000"/>'), ["no place in degrees", "node 900"]),
    "NaN in a node": (xml('<node id="900" lat="nan" lon="9"/>'), ["no place in degrees", "node 900"]),
    "a word in a node": (xml('<node id="900" lat="north" lon="9"/>'), ["lat of a node is no number", "'north'"]),
    "an id in words": (xml('<node id="x" lat="48" lon="9"/>'), ["no valid id"]),
    "a way without an id": (xml("<way><nd ref='1'/></way>"), ["no valid id"]),
    "ways alone": (
        content("a.osm", f"<osm>{way_line(1, [1, 2, 3, 1], HOUSE)}</osm>"),
        ["no nodes for its ways", "out geom"],
    ),
    "an answer that timed out": (xml("<remark>runtime error: Query timed out</remark>"), ["did not finish", "timeout"]),
    "JSON that timed out": (
        content("a.json", json.dumps({"elements": [NODE], "remark": "runtime error: out of memory"})),
        ["did not finish"],
    ),
    "JSON without places": (
        content("a.json", json.dumps({"elements": [OVERPASS_WAY]})),
        ["ways without coordinates", "out geom"],
    ),
    "JSON without an id": (
        content("a.json", json.dumps({"elements": [NODE, {"type": "way"}]})),
        ["cannot be read", "element 1"],
    ),
    "metres in GeoJSON": (
        content("a.geojson", lone(shape([5e5, 5e6], [5e5, 6e6], [6e5, 6e6], [5e5, 5e6]))),
        ["coordinates are not degrees", "500000"],
    ),
    "an unknown CRS": (
        geojson(crs={"type": "name", "properties": {"name": "LOCAL:1"}}),
        ["CRS is not known", "LOCAL:1"],
    ),
    "all without a geometry": (content("a.geojson", lone(None)), ["no building of the map file has a geometry"]),
    "a broken line": (content("a.geojsonl", '{"type":"Feature"}\n{"type":"Feat\n'), ["no JSON", "line 2"]),
    "parcels": (table("parcels.gpkg", {"owner": "x", "area": 400.0}), ["columns", "owner", "height", "num_floors"]),
    "parks in Parquet": (table("parks.parquet", {"kind": "park"}), ["columns kind"]),
    "a shapefile without a CRS in metres": (table("houses.shp", {"height": 9.0}, 5e6), ["not degrees", "no CRS"]),
    "a part of a shapefile": (content("a.shx.zip", b"PK\x05\x06" + b"\0" * 18), ["damaged"]),
    "another place": (xml("", bounds_line(5000, 5000, 6000, 6000)), ["next to nothing of the tile", "--center 48."]),
    "swapped": (
        content("a.geojson", lone(shape([48, 9], [48.001, 9], [48.001, 9.001], [48, 9]))),
        ["no building", "swapped", "9.0005 48.0005"],
    ),
    "an unknown kind": (content("a.dwg", "x"), ["unknown type of map file", ".gpkg"]),
}


@pytest.mark.parametrize("row", REFUSED)
def test_refused_in_words(tmp_path: Path, row: str):
    write, expected = REFUSED[row]
    with pytest.raises(UelError) as refusal:
        read(write(tmp_path))
    for words in (*expected, "do:"):
        assert words in str(refusal.value)


NODES = "".join(node_line(k, *corner) for k, corner in enumerate(square(0, 0, 20), start=101))
REFS = [101, 102, 103, 104, 101]

SET_ASIDE: dict[str, tuple[Writer, str]] = {
    "action=delete": (xml(NODES + way_line(2, REFS, HOUSE, action="delete")), "deleted: action"),
    "visible=false": (xml(NODES + way_line(2, REFS, HOUSE, visible="false")), "deleted: visible"),
    "a node missing": (
        xml(NODES + way_line(2, [*REFS[:2], 999, *REFS[2:]], HOUSE)),
        "nodes missing from the file: 1 of 6",
    ),
    "a node without a place": (
        xml(NODES + '<node id="999"/>' + way_line(2, [*REFS[:2], 999, *REFS[2:]], HOUSE)),
        "nodes missing",
    ),
    "an outline missing": (xml(relation_line(2, [(999, "outer")], HOUSE)), "members missing from the file: 1 of 1"),
    "a way of one node": (xml(NODES + way_line(2, [101], HOUSE)), "fewer than two nodes"),
    "an open outline": (xml(NODES + way_line(2, REFS[:3], HOUSE)), "no area"),
    "a point": (xml(node_line(999, 5, 5)[:-2] + f">{tag_lines(HOUSE)}</node>"), "no area"),
    "no surface": (xml(NODES + way_line(2, [101, 102, 101], HOUSE)), "no area"),
    "null": (geojson(feature(HOUSE, None)), "no geometry"),
    "no type": (geojson(feature(HOUSE, {"coordinates": []})), "unreadable geometry"),
    "no ring": (geojson(feature(HOUSE, shape([9, 48], [9, 49]))), "unreadable geometry"),
    "words for numbers": (
        geojson(feature(HOUSE, shape(["E", "N"], [9, 48], [9, 49], ["E", "N"]))),
        "unreadable geometry",
    ),
    "far out": (
        geojson(feature(HOUSE, shape([9, 480], [9, 481], [10, 481], [9, 480]))),
        "coordinates are no degrees",
    ),
    "tunnel": (building(HOUSE | {"tunnel": "yes"}), "underground: tunnel=yes"),
    "location": (building(HOUSE | {"location": "underground"}), "underground: location=underground"),
    "level": (building({"building": "yes", "level": "-1;-2"}), "underground: level=-1;-2"),
    "levels below": (
        building({"building": "yes", "building:levels": "0", "building:levels:underground": "2"}),
        "underground: building:levels=0",
    ),
    "negative levels": (building({"building": "yes", "building:levels": "-2"}), "underground: building:levels=-2"),
    "garage": (building({"building": "yes", "parking": "underground"}), "underground: parking=underground"),
    "layer": (building({"building": "yes", "layer": "-1"}), "underground: layer=-1"),
    "roof": (building({"building": "roof", "layer": "1"}), "building=roof: a roof without walls"),
    "carport": (building({"building": "carport"}), "building=carport: a roof without walls"),
    "no wall": (building(HOUSE | {"wall": "no"}), "wall=no: a roof without walls"),
    "proposed": (building({"building": "proposed"}), "building=proposed: it does not stand"),
    "no": (building({"building": "no"}), "building=no"),
    "upside down": (building(HOUSE | {"min_height": "12"}), "no walls: its tags put them from 12 m to 9 m"),
}


@pytest.mark.parametrize("row", SET_ASIDE)
def test_set_aside_by_a_named_rule(tmp_path: Path, row: str):
    write, expected = SET_ASIDE[row]
    place = read(write(tmp_path))
    assert [(building.id, building.top) for building in place.buildings] == [("way/1", 9.0)]
    assert [exclusion.reason.startswith(expected) for exclusion in place.exclusions] == [True]


HEIGHTS = ["-1", "0", "99999", "tall", "nan", "1e3", "12 km", "~12", "-12.5", "height", "10 - 12"]


@pytest.mark.parametrize("text", HEIGHTS)
def test_a_height_that_is_none_is_guessed_and_noted(tmp_path: Path, text: str):
    """Never the number itself: the type's 7 m, marked as a guess, and a note with the value."""
    place = read(building({"building": "house", "height": text})(tmp_path))
    house = {item.id: item for item in place.buildings}["way/2"]
    assert (house.top, house.provenance) == (7.0, "prior")
    assert any(f"do not count: '{text}'" in note for note in place.notes)
    assert any("50 % of the heights are guessed" in note for note in place.notes)
