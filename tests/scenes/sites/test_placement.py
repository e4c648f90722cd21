"""Masts by plan and from tables: where they stand, and every table that is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pyproj import Transformer

import scenes
from scenes.config import PlaceConfig
from scenes.sites.site_files import read_sites
from tests.helpers.toy_city import toy_tile
from tests.helpers.village_tile import SIZE, village, write
from uel import cli
from uel.config import load
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Array, Cell, Site

SECTOR = Cell(array=Array(pattern="tr38901"))


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    """Four houses, the first of 12 m, on flat ground in the zone of 9° east."""
    return write(tmp_path / "village", village())


def table(tile: Tile, text: str, name: str = "sites.csv") -> Path:
    file = tile.folder.parent / name
    file.write_text(text)
    return file


def degrees(tile: Tile, x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of a point on the tile."""
    origin = tile.meta["origin"]
    return Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True).transform(origin[0] + x, origin[1] + y)


# ---- by plan -------------------------------------------------------------------------------------------


def _closest(sites: tuple[Site, ...]) -> float:
    return float(torch.pdist(torch.tensor([site.position[:2] for site in sites])).min())


def test_farthest_sites_are_farther_apart_than_drawn_ones(tmp_path: Path):
    tile = toy_tile(tmp_path / "toy")
    for seed in range(3):
        sites = scenes.place(tile, 5, seed, kind="farthest")
        assert _closest(sites) > _closest(scenes.place(tile, 5, seed, spacing=0.0))
        assert {site.position[2] for site in sites} == {18.0}


def test_each_farthest_site_is_the_farthest(tmp_path: Path):
    """By brute force: no roof of the tile is farther from the sites so far than the next site is."""
    tile = toy_tile(tmp_path / "toy")
    sites = torch.tensor([site.position[:2] for site in scenes.place(tile, 4, 1, kind="farthest")])
    roofs = tile.raster_grid.centres()[tile.rasters["footprint"] > 0.5]
    for count in range(1, 4):
        reach = torch.cdist(roofs, sites[:count]).min(dim=1).values.max()
        assert torch.cdist(sites[count : count + 1], sites[:count]).min() == pytest.approx(float(reach), abs=1e-3)


def test_the_verb_writes_sites_into_the_tile(tile: Tile, capsys: pytest.CaptureFixture):
    arguments = ["--count", "2", "--sectors", "3", "--kind", "grid", "--rows", "8", "--tilt-deg", "4", "--seed", "5"]
    assert cli.main(["place", str(tile.folder), *arguments]) == 0
    placed = Tile.open(tile.folder)
    assert placed.verify() == []
    assert [len(site.cells) for site in placed.sites] == [3, 3]
    assert {(cell.tilt_deg, cell.array.rows, cell.array.pattern) for site in placed.sites for cell in site.cells} == {
        (4.0, 8, "tr38901")
    }
    assert capsys.readouterr().out.count("3 cells") == 2


def test_the_verb_does_as_the_function(tile: Tile):
    """The same sites as `scenes.place` without a template: defaults are given twice and must agree."""
    for sectors in (1, 3):
        assert cli.main(["place", str(tile.folder), "--count", "2", "--sectors", str(sectors)]) == 0
        assert Tile.open(tile.folder).sites == scenes.place(tile, 2, sectors=sectors)


def test_the_verb_reads_tables(tile: Tile):
    file = table(tile, "x,y,height,azimuth_deg\n10,20,25,90\n")
    command = ["place", str(tile.folder), "--kind", "custom", "--file", str(file), "--pattern", "dipole"]
    assert cli.main(command) == 0
    (site,) = Tile.open(tile.folder).sites
    assert (site.position, site.cells[0].azimuth_deg, site.cells[0].array.pattern) == ((10.0, 20.0, 25.0), 90, "dipole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "count is out of range"),
        (["--columns", "4"], "--array-columns 4"),
        (["--height", "9"], "--height applies to a file only"),
        (["--kind", "custom"], "--kind custom needs --file"),
        (["--file", "a.csv"], "--kind custom needs --file"),
        (["--kind", "grid", "--spacing", "20"], "--spacing does not apply"),
        (["--kind", "rooftops"], "rooftop"),
        (["--carrier.frequency", "3.5"], "out of range"),
        (["--sectors", "0"], "sectors is out of range"),
    ],
)
def test_plans_that_cannot_be(tile: Tile, arguments: list[str], message: str, capsys: pytest.CaptureFixture):
    assert cli.main(["place", str(tile.folder), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tile.folder / "sites.json").exists()


def test_a_place_without_a_tile(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["place", str(tmp_path)]) == 2
    assert "no tile here" in capsys.readouterr().err


def test_every_default_is_a_plan():
    assert load(PlaceConfig, "place", ["somewhere"]) == PlaceConfig(tile=Path("somewhere"))


# ---- from tables ---------------------------------------------------------------------------------------


def test_a_table_in_metres(tile: Tile):
    """Height above the ground, above a roof of 12 m, and absolute; sectors, tilt and power."""
    text = """name, x, y, height, height_above_roof, z, azimuth_deg, tilt_deg, power_dbm
        pole, 10, 20, 9.5,,,,,
        roof, -25, -25,, 3,, 0; 120; 240, 7, 43
        tower, 20, -5,,, 40, 15,,
        """
    pole, roof, tower = read_sites(tile, table(tile, text.replace("        ", "").strip()), SECTOR)
    assert [site.position for site in (pole, roof, tower)] == [(10, 20, 9.5), (-25, -25, 15), (20, -5, 40)]
    assert [cell.azimuth_deg for cell in roof.cells] == [0, 120, 240]
    assert {(cell.tilt_deg, cell.power_dbm) for cell in roof.cells} == {(7.0, 43.0)}
    assert (pole.cells[0].array.pattern, tower.cells) == ("iso", (replace(SECTOR, azimuth_deg=15.0),))


@pytest.mark.parametrize("kind", ["csv", "json", "geojson", "geojson as json"])
def test_degrees_become_metres(tile: Tile, kind: str):
    longitude, latitude = degrees(tile, 12.5, -7.25)
    row = {"latitude": latitude, "longitude": longitude, "height": 20}
    point = {"type": "Point", "coordinates": [longitude, latitude, 0]}
    features = [{"type": "Feature", "geometry": point, "properties": {"height": 20, "name": None}}]
    collection = json.dumps({"type": "FeatureCollection", "features": features})
    name, text = {
        "csv": ("s.csv", f"latitude,longitude,height\n{latitude!r},{longitude!r},20\n"),
        "json": ("s.json", json.dumps([row])),
        "geojson": ("s.geojson", collection),
        "geojson as json": ("s.json", collection),
    }[kind]
    (site,) = read_sites(tile, table(tile, text, name))
    assert site.position == pytest.approx((12.5, -7.25, 20.0), abs=1e-4)
    assert site.cells == (Cell(),)


def test_the_tiles_corners_in_degrees_are_its_corners(tile: Tile):
    """By the bounding box in tile.json: half the way to its edges is half the size."""
    west, south, east, north = tile.meta["bbox"]
    middle = (south + north) / 2, (west + east) / 2
    (site,) = read_sites(tile, table(tile, f"latitude,longitude,z\n{middle[0]},{(west + 3 * east) / 4},50\n"))
    assert site.position[:2] == pytest.approx((SIZE / 4, 0.0), abs=0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,heigth\n0,0,9\n", r"unknown column in row 1 of sites.csv(.|\n)*heigth(.|\n)*perhaps you meant height"),
        ("x,height\n0,9\n", "row 1 of sites.csv does not have one position"),
        ("x,y,latitude,longitude,height\n0,0,1,1,9\n", "row 1 of sites.csv does not have one position"),
        ("x,y\n0,0\n", r"does not have one height(.|\n)*none(.|\n)*--height METRES"),
        ("x,y,z,height\n0,0,9,9\n", r"does not have one height(.|\n)*height, z"),
        ("x,y,height\n10,0,9\n0,north,9\n", r"y in row 2 of sites.csv is not a number(.|\n)*north"),
        ("x,y,height\n0,nan,9\n", "is not a number"),
        ("x,y,height\n0,0,9,9\n", "as many fields"),
        ("x,y,height\n0,0\n", "as many fields"),
        ("x,y,height,azimuth_deg\n0,0,20,0;;90\n", "azimuth_deg in row 1 of sites.csv is not a number"),
        ("x,y,height\n10,0,9\n0,33,9\n", r"site in row 2 of sites.csv is off the tile(.|\n)*±32 m"),
        ("x,y,height\n-25,-25,9\n", r"inside a wall(.|\n)*raise it to at least 13 m"),
        ("x,y,height\n10,0,-9\n", "height in row 1 of sites.csv is not 0.5 to 400 m"),
        ("x,y,z\n10,0,-9\n", "in the ground"),
        (
            "x,y,height\n10,0,9\n12,0,9\n10.01,0,9\n",
            r"rows 1 and 3 of sites.csv have the same position(.|\n)*azimuth_deg",
        ),
        ("x,y,height\n", "0 rows"),
        ("", "0 rows"),
    ],
)
def test_tables_that_are_refused(tile: Tile, text: str, message: str):
    with pytest.raises(UelError, match=message):
        read_sites(tile, table(tile, text), SECTOR)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", "{", "cannot be read"),
        ("s.json", '{"x": 1}', "not a list of objects"),
        ("s.json", "[1]", "not a list of objects"),
        ("s.json", '[{"x": 0, "y": true, "height": 9}]', "y in row 1 of s.json is not a number"),
        ("s.geojson", '{"type": "Feature"}', "cannot be read"),
        ("s.geojson", "[]", "cannot be read"),
        ("s.geojson", '{"features": [{"geometry": {"type": "LineString"}}]}', "not a LineString"),
        ("s.geojson", '{"features": [{"geometry": null}]}', "cannot be read"),
        ("s.xlsx", "", r"\.csv, \.tsv, \.json, \.geojson or \.kml"),
    ],
)
def test_files_that_are_no_tables(tile: Tile, name: str, text: str, message: str):
    with pytest.raises(UelError, match=message):
        read_sites(tile, table(tile, text, name))


def test_a_file_that_is_not_there(tile: Tile):
    with pytest.raises(UelError, match="cannot be read"):
        read_sites(tile, tile.folder / "nowhere.csv")


def test_degrees_need_a_georeference(tmp_path: Path):
    toy = toy_tile(tmp_path / "toy")
    with pytest.raises(UelError, match="tile toy has no georeference"):
        read_sites(toy, table(toy, "latitude,longitude,height\n48,9,30\n"))


def test_an_isotropic_antenna_has_no_azimuth(tile: Tile):
    with pytest.raises(UelError, match=r"isotropic(.|\n)*--pattern tr38901"):
        read_sites(tile, table(tile, "x,y,height,azimuth_deg\n10,20,9,90\n"))
    column = Cell(array=Array(columns=4))
    assert read_sites(tile, table(tile, "x,y,height,azimuth_deg\n10,20,9,90\n"), column)[0].cells[0].azimuth_deg == 90


def test_no_table_puts_a_mast_into_a_wall(tile: Tile):
    """Above the roof everywhere, whatever the seed of the place."""
    generator = torch.Generator().manual_seed(0)
    for x, y in ((torch.rand(50, 2, generator=generator) - 0.5) * SIZE).tolist():
        (site,) = read_sites(tile, table(tile, f"x,y,height_above_roof\n{x},{y},2\n"))
        row, column = tile.pixel_of(torch.tensor([x, y]))
        assert math.isclose(site.position[2], float(tile.rasters["height"][row, column]) + 2)
