"""Lists of cells that are wrong: the message names row and column, or the row is set aside by a rule."""

from pathlib import Path

import pytest
from pyproj import Transformer

from scenes.sites.site_files import CellListOptions, read_cell_list
from tests.helpers.village_tile import village, write
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Array, Cell

X = "x,y,height,"
D = "latitude,longitude,height\n"
# Name, content, the message (a pattern). LAT and LON are a place on the tile.
REFUSED = [
    ("E7 integers", D + "LATe7,LONe7,15\n", r"latitude in row 1 of a.csv is no degree[\s\S]*times 10⁷"),
    ("swapped", D + "LON,LAT,15\n", "latitude and longitude are swapped in row 1"),
    ("sign lost", D + "LAT,LON,15\nLAT,-LON,15\n", r"row 2 of a.csv is off the tile[\s\S]*sign of its longitude"),
    ("lost digit", D + "LAT,LON,15\nLAT,0.9,15\n", "row 2 of a.csv is off the tile"),
    ("another city", D + "52.52,13.405,15\n", "row 1 of a.csv is off the tile"),
    ("all around the tile", D + "LAT2,LON,15\nLAT2,LON,16\n", r"no row of a.csv is a cell[\s\S]*2 × off the tile"),
    ("null island alone", D + "0,0,15\n0.001,0.0,15\n", r"2 × no position \(0° N, 0° E\)"),
    ("latitude of 95", D + "95,LON,15\n", "latitude in row 1 of a.csv is no degree"),
    ("longitude of 200", D + "LAT,200,15\n", "longitude in row 1 of a.csv is no degree"),
    ("degrees, minutes", D + "48°12'30\",LON,15\n", "latitude in row 1 of a.csv is not a number"),
    ("hemisphere letter", D + "48.1N,LON,15\n", "without 'N'; degrees are decimal"),
    ("NaN latitude", D + "nan,LON,15\n", "latitude in row 1 of a.csv is not a number"),
    ("infinite longitude", D + "LAT,inf,15\n", "longitude in row 1 of a.csv is not a number"),
    ("no longitude", "latitude,height\nLAT,15\n", "row 1 of a.csv does not have one position"),
    ("blank longitude", D + "LAT,,15\n", "row 1 of a.csv does not have one position"),
    ("two positions", "latitude,longitude,x,y,height\nLAT,LON,1,1,9\n", "does not have one position"),
    ("metres off the tile", X + "name\n500,0,9,A\n", "row 1 of a.csv is off the tile"),
    ("height with unit", X + "name\n10,20,15 m,A\n", r"height in row 1 of a.csv has a unit[\s\S]*'15 m'"),
    ("height in words", X + "name\n10,20,tall,A\n", "height in row 1 of a.csv is not a number"),
    ("height of 1200 m", X + "name\n10,20,1200,A\n", r"height in row 1 of a.csv is not 0.5 to 400 m"),
    ("height below ground", X + "name\n10,20,-3,A\n", "height in row 1 of a.csv is not 0.5 to 400 m"),
    ("no height", "x,y\n10,20\n", r"row 1 of a.csv does not have one height[\s\S]*--height METRES"),
    ("two heights", "x,y,height,z\n10,20,9,9\n", "row 1 of a.csv does not have one height"),
    ("height twice", "x,y,height,height_ft\n10,20,9,30\n", r"two columns of a.csv mean height[\s\S]*--columns height="),
    ("inside a house", X + "name\n-25,-25,9,A\n", "row 1 of a.csv: a site inside a wall"),
    ("azimuth of 361", X + "azimuth\n10,20,9,361\n", "azimuth in row 1 of a.csv is not 0 to 360"),
    ("azimuth of -1", X + "azimuth\n10,20,9,-1\n", "leave it empty for an omnidirectional cell"),
    ("azimuth with sign", X + "azimuth\n10,20,9,120°\n", "azimuth in row 1 of a.csv has a unit"),
    ("azimuth in words", X + "azimuth\n10,20,9,NE\n", "azimuth in row 1 of a.csv is not a number"),
    ("tilt in tenths", X + "azimuth,tilt\n10,20,9,0,60\n", r"tilt in row 1 of a.csv is not -30 to 30[\s\S]*tenths"),
    ("electrical tilt of 45", X + "azimuth,etilt\n10,20,9,0,45\n", "etilt in row 1 of a.csv is not -30 to 30"),
    ("tilt without azimuth", X + "tilt\n10,20,9,4\n", "tilt in row 1 of a.csv is a tilt without an azimuth"),
    ("electrical tilt, no azimuth", X + "etilt\n10,20,9,4\n", "etilt in row 1 of a.csv is a tilt of an omni"),
    ("milliwatts as dBm", X + "power_dbm\n10,20,9,20000\n", r"power_dbm in row 1[\s\S]*power_mw"),
    ("dBm with unit", X + "power_dbm\n10,20,9,46dBm\n", "power_dbm in row 1 of a.csv has a unit beside the number"),
    ("watts or dBm", X + "power\n10,20,9,20\n-10,20,9,40\n", "power in row 1 of a.csv may be watts or dBm"),
    ("no watts", X + "power_w\n10,20,9,0\n", "power_w in row 1 of a.csv is no power"),
    ("power in volts", X + "power_khz\n10,20,9,43\n", "power_khz in row 1 of a.csv is in a unit that it cannot have"),
    ("EIRP of 120 dBm", X + "eirp\n10,20,9,120\n", "eirp in row 1 of a.csv is not -10 to 90 dBm"),
    ("two powers", X + "power_dbm,eirp\n10,20,9,43,60\n", "row 1 of a.csv: two powers are given"),
    ("PCI of 600 for LTE", X + "earfcn,pci\n10,20,9,1300,600\n", "pci in row 1 of a.csv is no whole[\\s\\S]*503"),
    ("PCI with a dot", X + "pci\n10,20,9,10.5\n", "pci in row 1 of a.csv is no whole number"),
    ("rounded identity", X + "cell_id\n10,20,9,2.6885E+07\n", r"cell_id in row 1[\s\S]*lost digits"),
    ("EARFCN of no band", X + "earfcn\n10,20,9,5000\n", "row 1 of a.csv: no downlink channel of lte"),
    ("uplink EARFCN", X + "earfcn\n10,20,9,19300\n", "which is an uplink number"),
    ("GSM of two bands", X + "arfcn,rat\n10,20,9,600,GSM\n", "row 1 of a.csv: this ARFCN belongs to two bands"),
    ("frequency and number", X + "earfcn,freq_mhz\n10,20,9,1300,2600\n", "freq_mhz in row 1 of a.csv is not that of"),
    ("frequency of 3.5 Hz", X + "frequency_hz\n10,20,9,3.5\n", r"frequency_hz in row 1[\s\S]*frequency_mhz"),
    ("bandwidth of 18 MHz", X + "earfcn,bw\n10,20,9,1300,18\n", "LTE has no channel of this bandwidth"),
    ("band of another carrier", X + "band\n10,20,9,B3\n", r"band in row 1 of a.csv is a band[\s\S]*3500 MHz"),
    ("number in a gNodeB", X + "gnb,ci\n10,20,9,77,1\n", r"ci in row 1 of a.csv is the number of a cell[\s\S]*NCI"),
    ("technology 6G", X + "rat\n10,20,9,6G\n", "rat in row 1 of a.csv is no technology"),
    ("UMTS alone", X + "rat\n10,20,9,UMTS\n", r"1 × other technology \(UMTS\)"),
    ("unknown pattern", X + "azimuth,pattern\n10,20,9,0,yagi\n", "pattern in row 1 of a.csv is no antenna pattern"),
    ("sector without azimuth", X + "pattern\n10,20,9,tr38901\n", "is a sector's, but the row has no azimuth"),
    ("omni with azimuth", X + "azimuth,pattern\n10,20,9,90,omni\n", "row 1 of a.csv gives azimuth, but the antenna is"),
    ("lists of two lengths", X + "azimuth,tilt\n10,20,9,0;120;240,4;6\n", "tilt in row 1 of a.csv does not have"),
    ("gap in a list", X + "azimuth\n10,20,9,0;;240\n", "azimuth in row 1 of a.csv is not a number"),
    ("one cell twice", X + "azimuth,pci\n10,20,9,0,1\n10,20,9,0,1\n", "rows 1 and 2 of a.csv have the same position"),
    ("one id twice", X + "azimuth,eci\n10,20,9,0,7\n20,20,9,0,7\n", "a.csv: two cells of the network have one cell_id"),
    ("negative id", X + "eci\n10,20,9,-7\n", "eci in row 1 of a.csv is no cell identity"),
    ("misspelt column", "lattitude,longitude,height\nLAT,LON,9\n", "perhaps you meant latitude"),
    ("column twice", "x,y,y,height\n1,2,3,9\n", "does not name each column once"),
    ("more fields", X + "name\n10,20,9,A,B\n", "row 1 does not have as many fields as the header: 5, not 4"),
    ("decimal commas", "latitude,longitude,height\n48,2,9,1,15\n", r"as many fields[\s\S]*separator is the comma"),
    ("header alone", D, "a list of cells is empty"),
    ("nothing", "", "a list of cells is empty"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return write(tmp_path_factory.mktemp("bad") / "village", village())


def filled(tile: Tile, text: str) -> str:
    east, north = tile.meta["origin"]
    to_degrees = Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(east + 12.5, north - 7.25)
    text = text.replace("LATe7", str(round(latitude * 1e7))).replace("LONe7", str(round(longitude * 1e7)))
    return (
        text.replace("LAT2", f"{latitude + 0.01:.7f}")
        .replace("LAT", f"{latitude:.7f}")
        .replace("LON", f"{longitude:.7f}")
    )


@pytest.mark.parametrize(("text", "named"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_lists_that_are_refused(tile: Tile, tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "a.csv").write_text(filled(tile, text))
    with pytest.raises(UelError, match=named) as error:
        read_cell_list(tile, tmp_path / "a.csv", Cell(array=Array(pattern="tr38901")))
    assert "do:" in str(error.value)
    assert "inf " not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"latitude": "Nord"}, "a.csv has no column of this name"),
        ({"breadth": "x"}, "--columns names something that a list of cells does not have"),
    ],
)
def test_columns_that_are_not_there(tile: Tile, tmp_path: Path, columns: dict[str, str], named: str) -> None:
    (tmp_path / "a.csv").write_text(filled(tile, D + "LAT,LON,15\n"))
    with pytest.raises(UelError, match=named):
        read_cell_list(tile, tmp_path / "a.csv", None, CellListOptions(columns=columns))


BAD_FILES = [
    ("JSON that ends early", "a.json", '[{"x": 1,', "cannot be read"),
    ("JSON of numbers", "a.json", "[1, 2]", "not a list of objects"),
    ("GeoJSON without a place", "a.geojson", '{"features": [{"geometry": null}]}', "feature 1 has no geometry"),
    ("KML of a line", "a.kml", "<kml><Placemark><LineString/></Placemark></kml>", "is no point"),
    ("KML with an entity", "a.kml", '<!DOCTYPE x [<!ENTITY a "b">]><kml/>', "document type"),
    ("KML that ends early", "a.kml", "<kml><Placemark>", "cannot be read"),
    (
        "GeoJSON without a geometry",
        "a.geojson",
        '{"features": [{"geometry": null, "properties": {}}]}',
        "cannot be read",
    ),
    ("a workbook", "a.xlsx", "PK", "unknown type of site file"),
]


@pytest.mark.parametrize(("name", "text", "named"), [row[1:] for row in BAD_FILES], ids=[row[0] for row in BAD_FILES])
def test_files_that_are_refused(tile: Tile, tmp_path: Path, name: str, text: str, named: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UelError, match=named):
        read_cell_list(tile, tmp_path / name)
