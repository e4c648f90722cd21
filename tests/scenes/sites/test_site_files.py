"""Networks from lists of cells as operators and crowds write them: columns, units, formats, identities, north."""

import json
from pathlib import Path

import pytest
from pyproj import Geod, Transformer

from scenes.sites.cell_lists.column_names import meaning_of
from scenes.sites.site_files import CellListOptions, read_cell_list
from tests.helpers.village_tile import village, write
from uel import cli
from uel.core.units import bearing_deg
from uel.errors import UelError
from uel.geo.north import grid_convergence_deg
from uel.geo.tile import Tile
from uel.radio.config import Carrier
from uel.radio.sites import Array, Cell, cells_of

SECTOR = Cell(tilt_deg=2.0, array=Array(pattern="tr38901"))


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return write(tmp_path_factory.mktemp("lists") / "village", village())


def degrees(tile: Tile, x: float, y: float) -> tuple[float, float]:
    """Latitude and longitude of a point on the tile."""
    east, north = tile.meta["origin"]
    longitude, latitude = Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True).transform(
        east + x, north + y
    )
    return latitude, longitude


def read(tile: Tile, folder: Path, text: str, name: str = "cells.csv", encoding: str = "utf-8", **options):
    latitude, longitude = degrees(tile, 12.5, -7.25)
    filled = text.replace("LAT", f"{latitude:.7f}").replace("LON", f"{longitude:.7f}")
    (folder / name).write_bytes(filled.encode(encoding))
    return read_cell_list(tile, folder / name, SECTOR, CellListOptions(**options))


def cells(listed) -> list[Cell]:
    return [cell for _, cell in cells_of(listed.sites)]


# ---- columns and units ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Latitude", ("latitude", "")), ("LNG", ("longitude", "")), ("Site Lat", ("latitude", "")),
        ("Antenna Height (m)", ("height", "m")), ("height_ft", ("height", "ft")),
        ("HEIGHT AGL [feet]", ("height", "ft")),
        ("Azimut", ("azimuth_deg", "")), ("azimuth_deg", ("azimuth_deg", "deg")), ("M-Tilt", ("tilt_deg", "")),
        ("Electrical Tilt", ("electrical_tilt_deg", "")), ("etilt", ("electrical_tilt_deg", "")),
        ("Tx Power (dBm)", ("power_dbm", "dbm")), ("power_W", ("power_dbm", "w")), ("EIRP", ("eirp_dbm", "")),
        ("referenceSignalPower", ("reference_power_dbm", "")), ("Phys Cell ID", ("pci", "")), ("ECGI", ("cell_id", "")),
        ("DL EARFCN", ("channel_number", "")), ("nrarfcn", ("channel_number", "")), ("freq_MHz", ("frequency", "mhz")),
        ("BW [MHz]", ("bandwidth", "mhz")), ("RAT", ("technology", "")), ("z", ("z", "")), ("Höhe", ("height", "")),
        ("Längengrad", ("longitude", "")), ("comment", None), ("lac", None), ("vendor", None),
    ],
)  # fmt: skip
def test_usual_names_of_columns_are_known(name, meaning) -> None:
    assert meaning_of(name) == meaning


def test_an_operators_row_says_everything_of_a_cell(tile: Tile, tmp_path: Path) -> None:
    text = (
        "Site;Cell Name;Lat;Long;Antenna Height (ft);Azimuth;Mechanical Tilt;Electrical Tilt;TX Power (W);PCI;ECGI;"
        "DL EARFCN;Bandwidth (MHz);RAT;Vendor\n"
        "M1;M1-A;LAT;LON;49,2;90;1;4;20;101;262-01-26885121;1300;10;LTE;someone\n"
        "M1;M1-B;LAT;LON;49,2;210;0;6,5;40;102;262-01-26885122;1300;10;LTE;someone\n"
    )
    listed = read(tile, tmp_path, text, north="grid")
    ((site,), (first, second)) = listed.sites, cells(listed)
    assert site.position == pytest.approx((12.5, -7.25, 15.0), abs=0.01)
    carrier = Carrier.from_channel_number(1300, "lte", bandwidth=10e6)
    assert first == Cell(
        azimuth_deg=90.0, tilt_deg=1.0, power_dbm=43.0103, array=Array(pattern="tr38901", electrical_tilt_deg=4.0),
        carrier=carrier, cell_id="262-01-26885121", pci=101, name="M1-A",
    )  # fmt: skip
    assert (second.array.electrical_tilt_deg, second.power_dbm, second.tilt_deg) == (6.5, 46.0206, 0.0)
    assert listed.ignored_columns == ["Vendor"]


def test_sectors_of_one_row_differ(tile: Tile, tmp_path: Path) -> None:
    text = "name,x,y,height,azimuth_deg,tilt_deg,power_dbm,pci\nA,10,20,25,0;120;240,4;6;2,46;43;46,1;2;3\n"
    got = [(c.azimuth_deg, c.tilt_deg, c.power_dbm, c.pci) for c in cells(read(tile, tmp_path, text))]
    assert got == [(0, 4, 46, 1), (120, 6, 43, 2), (240, 2, 46, 3)]
    slashes = cells(read(tile, tmp_path, "x,y,height,azimuth\n10,20,25,0/120/240\n"))
    assert [c.azimuth_deg for c in slashes] == [0, 120, 240]


def test_rows_of_one_mast_are_one_site_and_heights_are_two(tile: Tile, tmp_path: Path) -> None:
    text = "x,y,height,azimuth_deg\n10,20,25,0\n10,20,25,120\n10,20,22,240\n-10,20,9,\n"
    listed = read(tile, tmp_path, text)
    assert [(s.position[2], len(s.cells)) for s in listed.sites] == [(25.0, 2), (22.0, 1), (9.0, 1)]
    assert [c.array.pattern for c in cells(listed)] == ["tr38901"] * 3 + ["iso"]
    assert any("1 cells without an azimuth are omnidirectional" in line for line in listed.summary())


@pytest.mark.parametrize("nothing", ["N/A", "-", "omni", "Omnidirectional"])
def test_no_azimuth_can_be_said_in_words(tile: Tile, tmp_path: Path, nothing: str) -> None:
    (cell,) = cells(read(tile, tmp_path, f"x,y,height,azimuth,tilt\n10,20,25,{nothing},n/a\n"))
    assert (cell.array.pattern, cell.azimuth_deg, cell.tilt_deg) == ("iso", 0.0, 0.0)


def test_a_list_of_uptilts_is_told(tile: Tile, tmp_path: Path) -> None:
    for tilts, is_told in (("-4;-6;-2", True), ("-4;6;2", False)):
        listed = read(tile, tmp_path, f"x,y,height,azimuth,tilt\n10,20,25,0;120;240,{tilts}\n")
        assert any("3 cells look upwards" in line for line in listed.summary()) is is_told


@pytest.mark.parametrize(
    ("columns", "values", "kind", "dbm"),
    [
        ("power_dbm", "43", "total", 43.0), ("power_mw", "20000", "total", 43.0103), ("power_dbw", "13", "total", 43.0),
        ("eirp_dbm", "61", "eirp", 61.0), ("EIRP (W)", "1000", "eirp", 60.0), ("rs_power", "15.2", "reference", 15.2),
        ("tx_power", "46", "total", 46.0),
    ],
)  # fmt: skip
def test_powers_say_what_they_are_of(tile: Tile, tmp_path: Path, columns, values, kind, dbm) -> None:
    (cell,) = cells(read(tile, tmp_path, f"x,y,height,{columns}\n10,20,9,{values}\n"))
    assert (cell.power_kind, cell.power_dbm) == (kind, pytest.approx(dbm))


@pytest.mark.parametrize(
    ("columns", "values", "carrier"),
    [
        ("earfcn", "6200", Carrier.from_channel_number(6200, "lte")),
        ("nrarfcn", "632628", Carrier.from_channel_number(632628, "nr")),
        ("arfcn,rat", "62,GSM", Carrier.from_channel_number(62, "gsm")),
        ("freq_mhz", "3600", Carrier(frequency=3.6e9)),
        ("frequency,tech,bandwidth", "1.815,4G,10", Carrier(
            frequency=1.815e9, bandwidth=10e6, subcarrier_spacing=15e3, technology="lte")),
        ("frequency,bw,scs", "2100,20,15", Carrier(frequency=2.1e9, bandwidth=20e6, subcarrier_spacing=15e3)),
        ("name", "A", Carrier()),
    ],
)  # fmt: skip
def test_carriers_of_rows(tile: Tile, tmp_path: Path, columns, values, carrier) -> None:
    (cell,) = cells(read(tile, tmp_path, f"x,y,height,{columns}\n10,20,9,{values}\n"))
    assert cell.carrier == carrier


def test_empty_columns_of_a_spreadsheet_are_no_columns(tile: Tile, tmp_path: Path) -> None:
    text = "x;y;height;pci;;\n10;20;9,5;7;;\n;;;;;\n-10;20;9;8;;\n"
    assert [cell.pci for cell in cells(read(tile, tmp_path, text))] == [7, 8]
    with pytest.raises(UelError, match="as many fields as the header"):
        read(tile, tmp_path, "x;y;height;;\n10;20;9;;surplus\n")


def test_the_number_of_a_cell_and_its_enodeb_are_one_identity(tile: Tile, tmp_path: Path) -> None:
    """TS 36.300, clause 8.2: the ECI is the eNodeB's identity and eight bits of the cell's."""
    head = "x,y,height,earfcn,eNB ID,Cell ID,MCC,MNC\n"
    listed = read(tile, tmp_path, head + "10,20,9,1300,105020,1,262,01\n-10,20,9,1300,105020,26885122,262,01\n")
    assert [cell.cell_id for cell in cells(listed)] == ["262-01-26885121", "262-01-26885122"]


def test_a_band_agrees_with_the_carrier_that_its_cells_get(tile: Tile, tmp_path: Path) -> None:
    (cell,) = cells(read(tile, tmp_path, "x,y,height,band\n10,20,9,n78\n"))
    assert cell.carrier == SECTOR.carrier
    (cell,) = cells(read(tile, tmp_path, "x,y,height,band,earfcn\n10,20,9,3,1300\n"))
    assert cell.carrier.frequency == 1815e6


def test_own_names_of_columns_are_named(tile: Tile, tmp_path: Path) -> None:
    text = "Hochwert;Rechtswert;Masthöhe [ft];Blick\nLAT;LON;49.2;90\n"
    columns = {"latitude": "Hochwert", "longitude": "Rechtswert", "height": "Masthöhe [ft]", "azimuth_deg": "Blick"}
    listed = read(tile, tmp_path, text, encoding="latin-1", columns=columns, north="grid")
    assert listed.sites[0].position[2] == pytest.approx(15.0, abs=0.01)
    assert cells(listed)[0].azimuth_deg == 90.0


# ---- formats -------------------------------------------------------------------------------------------

FORMATS = {
    "semicolons and decimal commas": ("a.csv", "latitude;longitude;height\nLATc;LONc;15,0\n"),
    "tabs": ("a.tsv", "latitude\tlongitude\theight\nLAT\tLON\t15\n"),
    "Excel's first line": ("a.csv", "sep=;\nlatitude;longitude;height\nLAT;LON;15\n"),
    "blank lines": ("a.csv", "latitude,longitude,height\n\nLAT,LON,15\n\n"),
    "JSON": ("a.json", '[{"lat": LAT, "lon": LON, "height": 15}]'),
    "JSON with a list inside": ("a.json", '{"count": 1, "cells": [{"lat": LAT, "lon": LON, "height": 15}]}'),
    "GeoJSON": ("a.geojson", '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": '
                '{"height": 15}, "geometry": {"type": "Point", "coordinates": [LON, LAT]}}]}'),
    "KML": ("a.kml", '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>A</name><ExtendedData>'
            '<Data name="height"><value>15</value></Data></ExtendedData><Point><coordinates>LON,LAT,0</coordinates>'
            "</Point></Placemark></Document></kml>"),
    "KML with a schema": ("a.kml", '<kml xmlns="http://www.opengis.net/kml/2.2"><Folder><Placemark><ExtendedData>'
                          '<SchemaData><SimpleData name="height">15</SimpleData></SchemaData></ExtendedData>'
                          "<Point><coordinates>LON,LAT</coordinates></Point></Placemark></Folder></kml>"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_formats(tile: Tile, tmp_path: Path, name: str) -> None:
    file, text = FORMATS[name]
    latitude, longitude = degrees(tile, 12.5, -7.25)
    text = text.replace("LATc", f"{latitude:.7f}".replace(".", ",")).replace(
        "LONc", f"{longitude:.7f}".replace(".", ",")
    )
    (site,) = read(tile, tmp_path, text, file).sites
    assert site.position == pytest.approx((12.5, -7.25, 15.0), abs=0.02)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tile: Tile, tmp_path: Path, encoding: str) -> None:
    text = "Standort;Breite;Länge;Höhe\nGroßer Fürstenplatz, Süd;LAT;LON;15\n"
    (site,) = read(tile, tmp_path, text, encoding=encoding).sites
    assert site.position[2] == 15.0


OPEN_CELL_ID = "radio,mcc,net,area,cell,unit,lon,lat,range,samples,changeable,created,updated,averageSignal\n"
OPEN_ROWS = (
    "LTE,262,1,51,26885121,0,LON,LAT,1000,7,1,1459692342,1488347104,0\n"
    "UMTS,262,1,51,55,0,LON,LAT,1000,7,1,1459692342,1488347104,0\n"
    + "".join(f"LTE,262,2,51,{n},0,{-3 - n / 100},40.4,1000,7,1,1459692342,1488347104,0\n" for n in range(1, 16))
)


@pytest.mark.parametrize("header", [OPEN_CELL_ID, ""])
def test_open_cell_id_with_and_without_a_header(tile: Tile, tmp_path: Path, header: str) -> None:
    """Rows of other places and technologies are counted; heights and the carrier are said."""
    latitude, longitude = degrees(tile, 12.5, -7.25)
    text = (header + OPEN_ROWS).replace("LAT", f"{latitude:.7f}").replace("LON", f"{longitude:.7f}")
    (tmp_path / "262.csv").write_text(text)
    template = Cell(carrier=Carrier.from_channel_number(1300, "lte"))
    listed = read_cell_list(tile, tmp_path / "262.csv", template, CellListOptions(height_above_roof=3.0))
    ((_, cell),) = cells_of(listed.sites)
    assert (cell.cell_id, cell.carrier) == ("262-01-26885121", template.carrier)
    assert any(line.startswith("15 rows are set aside, off the tile: row 3, 4, 5, …") for line in listed.summary())
    assert (2, "other technology (UMTS)") in listed.set_aside
    with pytest.raises(UelError, match=r"lte without a frequency"):
        read_cell_list(tile, tmp_path / "262.csv", Cell(), CellListOptions(height=20.0))


def test_measured_antennas_are_named_by_the_rows(tile: Tile, tmp_path: Path) -> None:
    folder = tmp_path / "antennas"
    folder.mkdir()
    for tilt in (2, 6):
        cut = "\n".join(f"{a} {min(12 * (min(a, 360 - a) / 65) ** 2, 25):.2f}" for a in range(360))
        (folder / f"K742-{tilt}.msi").write_text(
            f"NAME K742\nGAIN 17 dBi\nTILT {tilt}\nHORIZONTAL 360\n{cut}\nVERTICAL 360\n{cut}\n"
        )
    text = "x,y,height,azimuth,antenna,etilt\n10,20,25,0,K742,6\n10,20,25,120,k742-2.msi,3\n"
    first, second = cells(read(tile, tmp_path, text, antennas=folder))
    assert first.array.measured is not None
    assert second.array.measured is not None
    assert (first.array.measured.electrical_tilt_deg, first.array.electrical_tilt_deg) == (6.0, 0.0)
    assert (second.array.measured.electrical_tilt_deg, second.array.electrical_tilt_deg) == (2.0, 1.0)
    with pytest.raises(UelError, match=r"antenna in row 1 of cells.csv names 0 of the antennas(.|\n)*K742-2.msi"):
        read(tile, tmp_path, "x,y,height,azimuth,antenna\n10,20,25,0,X1\n", antennas=folder)


# ---- north ---------------------------------------------------------------------------------------------


def test_azimuths_count_from_true_north(tile: Tile, tmp_path: Path) -> None:
    """A place due true east of the mast lies in the direction of a cell of azimuth 90°, as the tile sees both."""
    import torch

    text = "latitude,longitude,height,azimuth_deg\nLAT,LON,15,90\n"
    listed = read(tile, tmp_path, text)
    latitude, longitude = degrees(tile, 12.5, -7.25)
    there = Geod(ellps="WGS84").fwd(longitude, latitude, 90.0, 200.0)
    east, north = Transformer.from_crs("EPSG:4326", tile.meta["crs"], always_xy=True).transform(*there[:2])
    target = torch.tensor([east - tile.meta["origin"][0], north - tile.meta["origin"][1]], dtype=torch.float64)
    seen = float(bearing_deg(torch.tensor(listed.sites[0].position[:2], dtype=torch.float64), target))
    assert cells(listed)[0].azimuth_deg == pytest.approx(seen, abs=0.02)
    convergence = grid_convergence_deg(tile, 12.5, -7.25)
    assert cells(listed)[0].azimuth_deg == pytest.approx(90 - convergence, abs=1e-3)
    assert cells(read(tile, tmp_path, text, north="grid"))[0].azimuth_deg == 90.0
    magnetic = cells(read(tile, tmp_path, text, north="magnetic", declination_deg=3.5))[0]
    assert magnetic.azimuth_deg == pytest.approx(93.5 - convergence, abs=1e-3)


def test_a_magnetic_azimuth_needs_a_declination() -> None:
    with pytest.raises(UelError, match="--north magnetic --declination-deg"):
        CellListOptions(north="magnetic")


# ---- the verb ------------------------------------------------------------------------------------------


def test_the_verb_says_what_it_read(tile: Tile, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    latitude, longitude = degrees(tile, 12.5, -7.25)
    rows = f"{latitude},{longitude},15,90,101\n0,0,15,90,102\n{latitude + 0.01},{longitude},15,90,103\n"
    (tmp_path / "cells.csv").write_text("lat,lon,height,azimuth,pci\n" + rows)
    code = cli.main(["place", str(tile.folder), "--kind", "custom", "--file", str(tmp_path / "cells.csv")])
    said = " ".join(capsys.readouterr().err.split())
    assert code == 0, said
    assert "1 rows are set aside, off the tile: row 3" in said
    assert "1 rows are set aside, no position (0° N, 0° E): row 2" in said
    stored = json.loads((tile.folder / "sites.json").read_text())
    assert stored["format"] == 2
    assert stored["sites"][0]["cells"][0]["pci"] == 101
    assert stored["sites"][0]["cells"][0]["array"]["pattern"] == "tr38901"
