"""What a source text means, and Overpass from answers on disk."""

from pathlib import Path

import osmnx
import pytest
import requests

from scenes.osm import reader
from scenes.osm.files.feature_table import FEATURE_KEYS
from scenes.osm.geo_box import GeoBox, box_around
from scenes.osm.queries import parse_source, source_content
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
        ("map.dwg", "unknown type of map file"),
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
    _record(cache, monkeypatch, town, box_around((48.0008, 9.001), 128.0 + 16.0))
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
    _record(cache, monkeypatch, town, box_around((48.0008, 9.001), 144.0))
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
    _record(cache, monkeypatch, tmp_path / "sea.osm", box_around(box.center, 853 / 2 + 128))
    with pytest.raises(UelError, match=r"map has no features there(.|\n)*-30.0,40.0"):
        reader.read_map("-30.0,40.0,-29.99,40.005", cache=cache)
    with pytest.raises(UelError, match=r"does not answer(.|\n)*ConnectionError(.|\n)*use a map file"):
        reader.read_map("48,9", cache=cache)
    with pytest.raises(UelError, match="crosses the antimeridian"):
        reader.read_map("10,179.999", cache=cache)
    with pytest.raises(UelError, match="needs a box"):
        source_content("48,9", cache=cache)


def test_a_box_is_a_square_of_its_larger_side():
    box = GeoBox(9.0, 48.0, 9.01, 48.001)
    assert box.center == pytest.approx((48.0005, 9.005))
    assert box.side == pytest.approx(744.9, abs=0.5)
