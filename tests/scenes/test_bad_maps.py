"""Bad input to `uel build` and `uel place`, line by line: each a clear error, and no half-written tile left.

The details of each error are tested beside the module that raises it: in `osm`, `mesh` and `sites`.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import osmium
import osmnx
import pytest
import rasterio
import requests
from rasterio import Affine

from scenes.osm.reader import read_map
from tests.helpers.village_map import map_file
from uel.cli import main
from uel.geo.tile import Tile

SQUARE = ["--size", "128", "--margin", "0", "--center", "48.0", "9.0", "--sites", "0", "--no-render"]
EMPTY = '<osm version="0.6"><bounds minlat="48" minlon="9" maxlat="48.01" maxlon="9.01"/></osm>'


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of its own, handlers of the root logger as they are, and a map server that knows nothing."""

    def nothing(*_, **__):
        response = requests.Response()
        response.status_code, response._content, response.url = 200, b'{"elements": []}', "https://map.invalid"
        return response

    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("uel.cli._log", lambda verbose: None)
    monkeypatch.setattr(requests.sessions.Session, "request", nothing)
    monkeypatch.setattr(osmnx.settings, "overpass_rate_limit", False)
    monkeypatch.setattr(osmnx._http, "_resolve_host_via_doh", lambda host: host)


def refused(command: list[str], expected: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--out", str(out)]) == 2
    printed = "".join(capsys.readouterr())
    for words in expected:
        assert words in printed
    assert "do:" in printed
    assert "Traceback" not in printed
    assert not out.exists() or all(path.suffix == ".lock" for path in out.iterdir())


# ---- maps ------------------------------------------------------------------------------------------------


def cut_gzip(folder: Path) -> Path:
    whole = gzip.compress(map_file(folder).read_bytes())
    (folder / "cut.osm.gz").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.osm.gz"


def unsorted_pbf(folder: Path) -> Path:
    source, target = map_file(folder), folder / "unsorted.osm.pbf"
    with osmium.SimpleWriter(str(target)) as writer:
        for kind in (osmium.osm.WAY, osmium.osm.NODE):
            for item in osmium.FileProcessor(str(source), kind):
                writer.add(item)
    return target


def shuffled_pbf(folder: Path) -> Path:
    """Nodes before ways, but neither by their ids."""
    source, target = map_file(folder), folder / "shuffled.osm.pbf"
    with osmium.SimpleWriter(str(target)) as writer:
        for kind in (osmium.osm.NODE, osmium.osm.WAY):
            for number in sorted((item.id for item in osmium.FileProcessor(str(source), kind)), reverse=True):
                for item in osmium.FileProcessor(str(source), kind):
                    if item.id == number:
                        writer.add(item)
    return target


def text(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return write


def features(name: str, *items: dict, **more: object) -> Callable[[Path], Path]:
    return text(name, json.dumps({"type": "FeatureCollection", "features": items, **more}))


def house(
    height: object = "12 m", x: float = 9.0, y: float = 48.0, side: float = 2e-4, bend: float = 0.0, **more: object
) -> dict:
    """A house at a place in degrees; its coordinates have a third dimension."""
    corners = [(x, y), (x + side, y), (x + side + bend, y + side), (x, y + side), (x, y)]
    ring = [[*corner, 400.0 + k] for k, corner in enumerate(corners)]
    shape = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"building": "yes", "height": height}, "geometry": shape, **more}


UTM = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (cut_gzip, ["this file is damaged", "cut.osm.gz", "give a whole, readable file"]),
        (text("empty.osm", EMPTY), ["neither buildings nor roads", "larger extract"]),
        (text("zero.osm.gz", ""), ["the map file is empty", "download it again"]),
        (features("none.geojson"), ["neither buildings nor roads"]),
        (features("metres.geojson", house(x=5e5, y=5.3e6, side=20)), ["coordinates are not degrees", "WGS84"]),
        (features("named.geojson", house(), crs=UTM), ["the square has no building", "around --center 0.0004 4.5113"]),
        (
            features("nan.geojson", house(bend=float("nan"))),
            ["no building of the map file has a geometry", "a coordinate is no number"],
        ),
        (features("huge.geojson", house(bend=1e300)), ["coordinates are not degrees"]),
        (features("far.geojson", house(x=20.0)), ["the square has no building", "move its centre"]),
    ],
)
def test_maps(
    tmp_path: Path, write: Callable[[Path], Path], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["build", str(write(tmp_path)), *SQUARE], expected, tmp_path / "tiles", capsys)


@pytest.mark.parametrize("write", [unsorted_pbf, shuffled_pbf])
def test_the_order_of_a_pbf_does_not_matter(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    ordered, other = (read_map(f, center=(48.0, 9.0), size=256.0) for f in (map_file(tmp_path), write(tmp_path)))
    for one, same in zip(ordered.buildings, other.buildings, strict=True):
        assert (one.id, one.top) == (same.id, same.top)
        assert one.footprint.symmetric_difference(same.footprint).area < 2.0  # PBF has steps of 1 cm


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-30,40,-29.99,40.005", ["the map has no features there", "check the name or the coordinates"]),
        ("179.99,50,-179.99,50.01", ["crosses the antimeridian", "one side of"]),
        ("50,179.9999", ["crosses the antimeridian", "move its centre"]),
        ("9,48,10.35,48.9", ["larger than 20 km", "several smaller tiles"]),
        ("100,9", ["outside the range of UTM"]),
    ],
)
def test_boxes_and_points(tmp_path: Path, source: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(["build", source, "--no-render"], expected, tmp_path / "tiles", capsys)


def test_what_looks_odd_but_is_sound(tmp_path: Path) -> None:
    """Three dimensions, heights in words, ids that are no file names."""
    ids = ["way/7", "../../x", "a\\b", "nul\0", "feature/5", "5-1", "x" * 300, "/etc/passwd"]
    houses = [house(f"{k + 3} m", x=8.9995 + 3e-4 * k, side=1e-4, id=name) for k, name in enumerate(ids)]
    file = features("odd.geojson", *houses)(tmp_path)
    assert main(["build", str(file), *SQUARE, "--out", str(tmp_path / "tiles"), "--margin", "64"]) == 0
    tile = Tile.open(tmp_path / "tiles" / "odd")
    assert tile.verify() == []
    assert [building["top"] for building in tile.meta["buildings"].values()] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert {"way/7", "feature/_x", "feature/5", "feature/5_1"} < tile.meta["buildings"].keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.geojson", "tiles"]


# ---- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../x", "/tmp/x", "..", "a/b", "a\\b", "C:\\x", "x\0", "", ".x", "CON", "nul.txt", "com1", "x.", "x" * 200],
)
def test_names(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(
        ["build", str(map_file(tmp_path)), *SQUARE, f"--name={name}"],
        ["not fit for a folder"],
        tmp_path / "tiles",
        capsys,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["village.osm"]


def test_a_file_called_like_a_device_gets_another_name(tmp_path: Path) -> None:
    file = map_file(tmp_path).rename(tmp_path / "con.osm")
    assert main(["build", str(file), *SQUARE, "--out", str(tmp_path / "tiles")]) == 0
    assert Tile.open(tmp_path / "tiles" / "file con").name == "file con"


# ---- terrain ---------------------------------------------------------------------------------------------


def dem(
    file: Path, hole: float | None = None, east: float = 0.0, crs: str | None = "EPSG:32632", unit: str = "m"
) -> Path:
    """400 m around 48° N, 9° E, which is (500 000, 5 316 300) m in UTM."""
    values = np.full((40, 40), 7.0, np.float32)
    if hole is not None:
        values[20, 20] = hole
    corner = Affine(10, 0, 499_800 + east, 0, -10, 5_316_500)
    profile = {"transform": corner, "crs": crs, "dtype": "float32", "nodata": -32768.0}
    with rasterio.open(file, "w", driver="GTiff", width=40, height=40, count=1, **profile) as raster:
        raster.write(values, 1)
        raster.units = (unit,)
    return file


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"east": 300.0}, ["does not cover the square", "in the west", "larger raster"]),
        ({"hole": float("nan")}, ["has holes in the square", "fill them"]),
        ({"hole": -32768.0}, ["has holes in the square", "fill them"]),
        ({"crs": None}, ["has no CRS", "gdal_edit"]),
        ({"unit": "US survey foot"}, ["is not in metres", "US survey foot"]),
    ],
)
def test_elevations(tmp_path: Path, wrong: dict, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    file = dem(tmp_path / "dem.tif", **wrong)
    command = ["build", str(map_file(tmp_path)), *SQUARE, "--dem", str(file)]
    refused(command, expected, tmp_path / "tiles", capsys)


def test_an_elevation_raster_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "poem.tif").write_text("no raster")
    command = ["build", str(map_file(tmp_path)), *SQUARE, "--dem"]
    refused([*command, str(tmp_path / "poem.tif")], ["cannot be read", "GeoTIFF"], tmp_path / "tiles", capsys)
    refused([*command, str(tmp_path / "none.tif")], ["the file does not exist", "none.tif"], tmp_path / "tiles", capsys)


# ---- masts -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("village")
    assert main(["build", str(map_file(folder)), *SQUARE, "--out", str(folder)]) == 0
    return folder / "village"


def point(x: float, y: float) -> dict:
    return {
        "type": "Feature",
        "properties": {"height": 40.0},
        "geometry": {"type": "Point", "coordinates": [x, y, 9.0]},
    }


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (features("utm.geojson", point(5e5, 5.3163e6)), ["latitude in row 1", "metres of a projection"]),
        (features("named.geojson", point(5e5, 5.3163e6), crs=UTM), ["not degrees of WGS 84", "32632"]),
        (text("swapped.csv", "latitude,longitude,height\n151.2,-33.8,9\n"), ["perhaps the two are swapped"]),
        (
            text("far.csv", "latitude,longitude,height\n48.1,9.0,9\n"),
            ["no row of far.csv is a cell on tile village", "11 km from the centre"],
        ),
        (text("nothing.csv", "x,y,heit\n0,0,60\n"), ["height"]),
    ],
)
def test_masts(
    village: Path,
    tmp_path: Path,
    write: Callable[[Path], Path],
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["place", str(village), "--kind", "custom", "--file", str(write(tmp_path))]) == 2
    printed = capsys.readouterr().err
    for words in (*expected, "do:"):
        assert words in printed
    assert Tile.open(village).verify() == []
    assert not (village / "sites.json").exists()


def test_masts_in_three_dimensions(village: Path, tmp_path: Path) -> None:
    """A third coordinate says nothing: the height is a property."""
    before = Tile.open(village).meta
    file = features("masts.geojson", point(9.0, 48.0))(tmp_path)
    assert main(["place", str(village), "--kind", "custom", "--file", str(file)]) == 0
    (site,) = Tile.open(village).sites
    assert site.position == pytest.approx((0.0, 0.0, 40.0), abs=1e-6)
    (village / "sites.json").unlink()
    (village / "tile.json").write_text(json.dumps(before))
