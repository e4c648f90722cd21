"""What a source text means, four file formats that agree, and Overpass from answers on disk."""

import bz2
import gzip
import json
from pathlib import Path

import osmium
import osmnx
import pytest
import requests
import shapely
from shapely import Polygon

from scenes.osm import reader
from scenes.osm.map_files import FEATURE_KEYS, header_bounds
from scenes.osm.queries import GeoBox, parse_source, source_center, source_features
from uel.errors import UelError

TOWN = """<osm version="0.6"><bounds minlat="48" minlon="9" maxlat="48.002" maxlon="9.004"/>
<node id="1" lat="48.0005" lon="9.0005"/><node id="2" lat="48.0005" lon="9.0015"/>
<node id="3" lat="48.0010" lon="9.0015"/><node id="4" lat="48.0010" lon="9.0005"/>
<node id="5" lat="48.0006" lon="9.0007"/><node id="6" lat="48.0006" lon="9.0009"/>
<node id="7" lat="48.0008" lon="9.0009"/>
<node id="8" lat="48.0009" lon="9.0040"><tag k="building" v="entrance"/></node>
<way id="1"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="4"/><nd ref="1"/></way>
<way id="2"><nd ref="5"/><nd ref="6"/><nd ref="7"/><nd ref="5"/></way>
<way id="3"><nd ref="1"/><nd ref="3"/><tag k="highway" v="residential"/></way>
<way id="4"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="1"/><tag k="highway" v="service"/></way>
<way id="5"><nd ref="1"/><nd ref="99"/><nd ref="3"/><nd ref="1"/><tag k="building" v="lost"/></way>
<way id="6"><nd ref="1"/><nd ref="3"/><nd ref="2"/><nd ref="4"/><nd ref="1"/><tag k="building" v="crossed"/></way>
<relation id="1"><member type="way" ref="1" role="outer"/><member type="way" ref="2" role="inner"/>
<tag k="type" v="multipolygon"/><tag k="building" v="yes"/><tag k="building:levels" v="3"/></relation>
<relation id="2"><member type="way" ref="77" role="outer"/>
<tag k="type" v="multipolygon"/><tag k="building" v="lost"/></relation>
<relation id="3"><member type="way" ref="1" role="outline"/><tag k="type" v="building"/><tag k="building" v="yes"/>
</relation></osm>"""


@pytest.fixture
def town(tmp_path: Path) -> Path:
    (tmp_path / "town.osm").write_text(TOWN)
    return tmp_path / "town.osm"


def _as_pbf(source: Path, order: tuple = (osmium.osm.NODE, osmium.osm.WAY, osmium.osm.RELATION)) -> Path:
    target = source.with_suffix(".osm.pbf")
    with osmium.SimpleWriter(str(target), overwrite=True) as writer:
        for kind in order:
            for item in osmium.FileProcessor(str(source), kind):
                writer.add(item)
    return target


def _content(frame) -> dict[str, tuple]:
    """What matters of a table: building tags and area in square degrees by id."""
    found = {}
    for index, row in frame.iterrows():
        tags = {key: row[key] for key in FEATURE_KEYS if isinstance(row.get(key), str)}
        found["/".join(map(str, index))] = (tags, row.geometry.geom_type, round(row.geometry.area * 1e9, 3))
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("48.87,2.33", "point"),
        (" -33.8 , 151.2 ", "point"),
        ("2.32,48.86,2.34,48.88", "bbox"),
        ("Monaco", "name"),
        ("Biel/Bienne, Switzerland", "name"),
        ("St. Moritz", "name"),
        ("nan,nan", "name"),  # words, never a point
        ("Place de l'Étoile, Paris", "name"),
    ],
)
def test_texts_are_understood(text: str, kind: str):
    assert parse_source(text).kind == kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "neither a point nor a box"),
        ("1,2,3,4,5", "neither a point nor a box"),
        ("95,9", "outside the range of UTM"),
        ("151.2,-33.8", "perhaps the two are swapped"),
        ("9,181", "outside the range of UTM"),
        ("170,-10,-170,10", "antimeridian"),
        ("9,48,9,48.1", "empty, or its corners are swapped"),
        ("9.1,48,9,48.1", "empty, or its corners are swapped"),
        ("9,48.1,9.1,48", "empty, or its corners are swapped"),
        ("9,48,10,49", r"larger than 20 km(.|\n)*111 km"),
        ("", "neither a file, numbers nor a name"),
        ("!!", "neither a file, numbers nor a name"),
        ("map.shp", "unknown type of map file"),
        ("nowhere.osm", "map file does not exist"),
        ("../../etc/passwd", "unknown type of map file"),
        ("~/nowhere.osm.pbf", "map file does not exist"),
        ("x" * 300, "neither a file, numbers nor a name"),
        ("/" + "x" * 300 + ".osm", "map file does not exist"),
    ],
)
def test_texts_that_mean_nothing(text: str, message: str):
    with pytest.raises(UelError, match=message):
        parse_source(text)


def test_formats_agree(town: Path):
    """XML, its compressions and PBF of one town: the same features, the lost ones among them."""
    (town.parent / "town.osm.gz").write_bytes(gzip.compress(town.read_bytes()))
    (town.parent / "town.osm.bz2").write_bytes(bz2.compress(town.read_bytes()))
    expected = _content(source_features(town))
    assert expected["relation/1"][:2] == ({"building": "yes"}, "Polygon")
    assert expected["way/3"][1:] == ("LineString", 0.0)
    assert expected["way/4"][1:] == ("LineString", 0.0)
    assert [expected[lost][1:] for lost in ("way/5", "relation/2")] == [("Polygon", 0.0)] * 2
    assert "relation/3" not in expected
    for suffix in (".osm.gz", ".osm.bz2"):
        assert _content(source_features(town.with_name("town" + suffix))) == expected
    pbf = _content(source_features(_as_pbf(town)))
    crossed = expected.pop("way/6"), pbf.pop("way/6")
    assert pbf == expected
    assert [tags for tags, *_ in crossed] == [{"building": "crossed"}] * 2  # osmnx has repaired it already


def test_lost_buildings_are_excluded_by_name(town: Path):
    for file in (town, _as_pbf(town)):
        place = reader.read_map(file, center=(48.001, 9.001), margin=0.0)
        excluded = {exclusion.id: exclusion.reason for exclusion in place.exclusions}
        assert excluded.keys() >= {"way/5", "relation/2", "node/8"}
        assert "members missing" in excluded["relation/2"]
        assert {building.id.split("#")[0] for building in place.buildings} >= {"relation/1"}


def test_header_bounds(town: Path):
    assert header_bounds(town) == (9.0, 48.0, 9.004, 48.002)
    assert source_center(parse_source(town)) == pytest.approx((48.001, 9.002))
    assert source_center(parse_source(_as_pbf(town))) is None


def test_unsorted_pbf_is_refused(town: Path):
    backwards = _as_pbf(town, (osmium.osm.RELATION, osmium.osm.WAY, osmium.osm.NODE))
    with pytest.raises(UelError, match=r"not sorted(.|\n)*osmium sort"):
        source_features(backwards)
    ways_alone = _as_pbf(town, (osmium.osm.WAY,))
    with pytest.raises(UelError, match="has no nodes"):
        source_features(ways_alone)


def test_geojson(tmp_path: Path):
    """Heights in coordinates are dropped; footprints from aerial images are buildings without saying so."""
    ring = [[9.0, 48.0, 400.0], [9.001, 48.0, 400.0], [9.001, 48.001, 400.0], [9.0, 48.0, 400.0]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    items = [
        {"type": "Feature", "id": "way/12", "properties": {"building": "yes", "height": "12.5"}, "geometry": shape},
        {"type": "Feature", "properties": {"height": 7.25, "confidence": -1.0}, "geometry": shape},
        {
            "type": "Feature",
            "properties": {"@id": "way/9", "highway": "path", "lit": True, "x": None},
            "geometry": {"type": "LineString", "coordinates": ring},
        },
        {"type": "Feature", "properties": {"shop": "yes"}, "geometry": shape},
        {"type": "Feature", "properties": None, "geometry": shape},
    ]
    file = tmp_path / "town.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    frame = source_features(file)
    assert list(frame.index) == [("way", "12"), ("feature", "1"), ("way", "9")]
    assert list(frame["height"].fillna("")) == ["12.5", "7.25", ""]
    assert not shapely.has_z(frame.geometry).any()

    twins = [{"type": "Feature", "id": 5, "properties": {"building": yes}, "geometry": shape} for yes in (True, False)]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": twins}))
    frame = source_features(file)
    assert list(frame.index) == [("feature", "5"), ("feature", "5~1")]
    assert list(frame["building"]) == ["yes", "no"]

    for shape, message in (
        ({"type": "Point", "coordinates": [500_000.0, 5_300_000.0]}, "not degrees"),
        (None, "readable geometry"),
        ({"type": "Blob", "coordinates": []}, "readable geometry"),
        ({"type": "Polygon", "coordinates": "here"}, "readable geometry"),
    ):
        item = {"type": "Feature", "properties": {"building": "yes"}, "geometry": shape}
        file.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
        with pytest.raises(UelError, match=message):
            source_features(file)


# Online: osmnx reads answers from its cache folder before it asks anybody.


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch):
    """No way out: whoever asks a server fails at once, as on a machine without a network."""

    def refuse(*_, **__):
        raise requests.ConnectionError("no network in tests")

    monkeypatch.setattr(requests.sessions.Session, "request", refuse)
    monkeypatch.setattr(osmnx.settings, "overpass_rate_limit", False)


def _record(cache: Path, monkeypatch: pytest.MonkeyPatch, file: Path, box: GeoBox) -> None:
    """The answer Overpass would give, made from a file and put where osmnx looks for it."""
    elements = osmnx._osm_xml._overpass_json_from_xml(file, "utf-8")["elements"]
    polygon = osmnx.utils_geo.bbox_to_poly(tuple(box))
    (outline,) = osmnx._overpass._make_overpass_polygon_coord_strs(polygon)
    query = osmnx._overpass._create_overpass_features_query(outline, dict.fromkeys(FEATURE_KEYS, True))
    url = osmnx.settings.overpass_url.rstrip("/") + "/interpreter"
    key = str(requests.Request("GET", url, params={"data": query}).prepare().url)
    monkeypatch.setattr(osmnx.settings, "cache_folder", cache)
    osmnx._http._save_to_cache(key, {"elements": elements}, ok=True)


@pytest.mark.usefixtures("offline")
def test_a_point_online_is_what_the_file_says(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The square around a point through osmnx, from a recorded answer, against the same square from the file."""
    cache = tmp_path / "cache"
    _record(cache, monkeypatch, town, reader._box_around((48.0008, 9.001), 128.0 + 16.0))
    before = osmnx.settings.cache_folder
    online = reader.read_map("48.0008,9.001", size=256.0, margin=16.0, cache=cache)
    assert osmnx.settings.cache_folder == before
    offline = reader.read_map(town, center=(48.0008, 9.001), size=256.0, margin=16.0)
    assert online.buildings == offline.buildings
    assert online.land_cover == offline.land_cover
    assert online.provenance["query"] == "48.0008,9.001"
    assert online.name == "48.0008,9.001"


@pytest.mark.usefixtures("offline")
def test_a_name_online(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A name goes through Nominatim first; here its answer is recorded, too."""
    cache = tmp_path / "data" / "osm"
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    _record(cache, monkeypatch, town, reader._box_around((48.0008, 9.001), 144.0))
    asked = {"format": "json", "limit": 1, "dedupe": 0, "q": "Nowhere, Swabia"}
    url = osmnx.settings.nominatim_url.rstrip("/") + "/search"
    key = str(requests.Request("GET", url, params=asked).prepare().url)
    osmnx._http._save_to_cache(key, [{"lat": "48.0008", "lon": "9.001"}], ok=True)
    place = reader.read_map("Nowhere, Swabia", size=256.0, margin=16.0)
    assert place.name == "Nowhere, Swabia"
    assert place.center == (48.0008, 9.001)
    assert place.provenance["source"] == "name"


@pytest.mark.usefixtures("offline")
def test_a_box_in_the_sea_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sea.osm").write_text('<osm version="0.6"></osm>')
    box = GeoBox(-30.0, 40.0, -29.99, 40.005)
    cache = tmp_path / "cache"
    _record(cache, monkeypatch, tmp_path / "sea.osm", reader._box_around(box.center, 853 / 2 + 128))
    with pytest.raises(UelError, match=r"map has no features there(.|\n)*-30.0,40.0"):
        reader.read_map("-30.0,40.0,-29.99,40.005", cache=cache)
    with pytest.raises(UelError, match=r"does not answer(.|\n)*ConnectionError(.|\n)*use a map file"):
        reader.read_map("48,9", cache=cache)
    with pytest.raises(UelError, match="crosses the antimeridian"):
        reader.read_map("10,179.999", cache=cache)
    with pytest.raises(UelError, match="needs a box"):
        source_features("48,9", cache=cache)


def test_a_box_is_a_square_of_its_larger_side(town: Path):
    box = GeoBox(9.0, 48.0, 9.01, 48.001)
    assert box.center == pytest.approx((48.0005, 9.005))
    assert box.side == pytest.approx(744.9, abs=0.5)
    assert len(source_features(town, GeoBox(9.003, 48.0, 9.005, 48.002))) == 1 + 2  # the node, and what is nowhere
    assert isinstance(source_features(town).geometry.iloc[-1], Polygon)
