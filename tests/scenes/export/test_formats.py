"""What is written for other programs is read by them with the same values, at the same place on earth."""

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import torch
import xarray

import scenes
from scenes.export.cf_zarr import write_cf_zarr
from scenes.export.geotiff import write_radio_geotiff, write_tile_geotiff
from scenes.export.vector_layers import building_table, write_geopackage, write_kml
from scenes.tiles.writer import write_sites
from uel.cli import main
from uel.conversion.layers import cell_names, layers_of
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell, Site

CENTER = (48.0, 9.5)
SITES = (
    Site(position=(-30.0, 20.0, 25.0), cells=(Cell(azimuth_deg=0.0, pci=7), Cell(azimuth_deg=120.0, name="east"))),
    Site(position=(40.0, -50.0, 18.0)),
)


def house(x: float, y: float, side: float, height: float) -> dict:
    """A square house, centre in metres of the tile."""
    crs = pyproj.CRS.from_epsg(32632)
    local = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    east, north = local.transform(CENTER[1], CENTER[0])
    ring = np.array(shapely.box(x - side, y - side, x + side, y + side).exterior.coords)
    degrees = np.stack(local.transform(ring[:, 0] + east, ring[:, 1] + north, direction="INVERSE"), 1)
    return {
        "type": "Feature",
        "properties": {"building": "yes", "height": str(height)},
        "geometry": {"type": "Polygon", "coordinates": [degrees.tolist()]},
    }


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    """Two houses and two sites on a tile of 128 m."""
    folder = tmp_path_factory.mktemp("village")
    features = [house(0.0, 0.0, 8.0, 12.0), house(30.0, 30.0, 5.0, 6.0)]
    (folder / "village.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    built = scenes.build(folder / "village.geojson", folder / "tile", center=CENTER, size=128.0, margin=0.0)
    return write_sites(built, SITES)


@pytest.fixture(scope="module")
def radio(tile: Tile) -> RadioMap:
    """Free space with a corner that no ray met."""
    whole = FreeSpace(SITES, size=tile.size, made_on=tile.reference).radio_map(tile.grid(4.0))
    known = torch.ones_like(whole.known)
    known[0, :3, :5] = False
    return replace(whole, known=known, gain=whole.gain * known)


def test_a_geotiff_of_a_radio_map_has_its_values_at_their_place(tile: Tile, radio: RadioMap, tmp_path: Path) -> None:
    layer = layers_of(radio, {}, ("rsrp_dbm",))[0]
    write_radio_geotiff(tmp_path / "map.tif", tile, radio, layer)
    with rasterio.open(tmp_path / "map.tif") as raster:
        values = raster.read()
        assert raster.crs.to_epsg() == pyproj.CRS.from_user_input(tile.meta["crs"]).to_epsg() == 32632
        assert raster.descriptions == ("PCI 7", "east", "site 1 azimuth 0") == tuple(cell_names(radio))
        assert raster.units == ("dBm",) * 3
        assert np.isnan(raster.nodata)
        east, north = (tile.meta["origin"][k] + (10.0, -22.0)[k] for k in (0, 1))
        sampled = next(raster.sample([(east, north)]))
    assert np.array_equal(values[:, ::-1], layer.values, equal_nan=True)
    assert np.isnan(values[0, ::-1][:3, :5]).all()
    row, column = radio.grid.pixel_of(torch.tensor([10.0, -22.0]))
    assert np.array_equal(sampled, layer.values[:, row, column])


def test_a_geotiff_of_a_tile_has_its_rasters_by_name(tile: Tile, tmp_path: Path) -> None:
    write_tile_geotiff(tmp_path / "tile.tif", tile)
    with rasterio.open(tmp_path / "tile.tif") as raster:
        for name, values in tile.rasters.items():
            band = raster.read(raster.descriptions.index(name) + 1)
            assert np.array_equal(band[::-1], values.numpy()), name
        assert raster.tags()["material_0"] == tile.materials[0]
        corner = raster.bounds.left, raster.bounds.top
    east, north = tile.meta["origin"]
    np.testing.assert_allclose(corner, (east - 64.0, north + 64.0), atol=1e-6)


def test_a_zarr_of_a_radio_map_is_read_by_xarray_and_gdal(tile: Tile, radio: RadioMap, tmp_path: Path) -> None:
    layers = layers_of(radio, {})
    write_cf_zarr(tmp_path / "map.zarr", tile, radio, layers)
    write_cf_zarr(tmp_path / "map.zarr", tile, radio, layers)  # again: it is replaced
    assert (tmp_path / "map.zarr" / ".zmetadata").is_file()
    with xarray.open_zarr(tmp_path / "map.zarr", consolidated=True, decode_coords="all") as dataset:
        assert dataset.attrs["Conventions"].startswith("CF-")
        assert set(dataset.dims) == {"cell", "y", "x"}
        assert dataset["cell_name"].values.tolist() == cell_names(radio)
        for layer in layers:
            assert np.array_equal(dataset[layer.name].values[:, ::-1], layer.values, equal_nan=True), layer.name
            assert dataset[layer.name].attrs["units"] == layer.unit
        place = dataset.sel(x=tile.meta["origin"][0] + 10.0, y=tile.meta["origin"][1] - 22.0)
        row, column = radio.grid.pixel_of(torch.tensor([10.0, -22.0]))
        assert np.array_equal(place["gain"].values, radio.gain[:, row, column].numpy())
        crs = pyproj.CRS.from_cf(dataset["spatial_ref"].attrs)
        assert crs.to_epsg() == 32632
    with rasterio.open(f'ZARR:"{tmp_path / "map.zarr"}":/rsrp_dbm') as raster:
        assert raster.crs.to_epsg() == 32632
        assert raster.count == 3
        np.testing.assert_allclose(raster.bounds[::3], (tile.meta["origin"][0] - 64, tile.meta["origin"][1] + 64))
        assert np.array_equal(raster.read()[:, ::-1], layers_of(radio, {}, ("rsrp_dbm",))[0].values, equal_nan=True)


def test_a_geopackage_has_buildings_sites_and_cells(tile: Tile, tmp_path: Path) -> None:
    write_geopackage(tmp_path / "tile.gpkg", tile)
    layers = {n: gpd.read_file(tmp_path / "tile.gpkg", layer=n) for n in ("tile", "buildings", "sites", "cells")}
    assert {len(layers[name]) for name in ("buildings", "sites")} == {2}
    assert all(table.crs.to_epsg() == 32632 for table in layers.values())
    east, north = tile.meta["origin"]
    high = layers["buildings"].set_index("top").loc[12.0]
    expected = shapely.box(east - 8, north - 8, east + 8, north + 8)
    assert high.geometry.symmetric_difference(expected).area < 0.1
    cell = layers["cells"].iloc[1]
    assert (cell["name"], cell["azimuth_deg"], cell["z"]) == ("east", 120.0, 25.0)
    np.testing.assert_allclose((cell.geometry.x, cell.geometry.y), (east - 30, north + 20), atol=1e-9)
    assert layers["cells"]["pci"].tolist()[0] == 7
    assert layers["tile"].iloc[0]["fingerprint"] == tile.fingerprint


def test_buildings_of_meshes_come_from_the_footprint(tile: Tile) -> None:
    """A tile without a list of buildings: connected pieces of the raster, as large as their pixels."""
    meshes = Tile(tile.folder)
    meshes.__dict__["meta"] = {**tile.meta, "buildings": {}}
    table = building_table(meshes)
    assert sorted(table["top"].round(3)) == [6.0, 12.0]
    assert table.geometry.area.sum() == pytest.approx(float(tile.rasters["footprint"].sum()))


def test_a_kml_stands_on_the_ground(tile: Tile, tmp_path: Path) -> None:
    write_kml(tmp_path / "tile.kml", tile)
    text = (tmp_path / "tile.kml").read_text(encoding="utf-8")
    assert text.count("<Placemark") == 5
    assert text.count("<extrude>1</extrude>") == 5
    assert text.count("relativeToGround") == 5
    points = gpd.read_file(tmp_path / "tile.kml", layer="cells")
    longitude, latitude = points.geometry.iloc[0].x, points.geometry.iloc[0].y
    assert (abs(longitude - CENTER[1]) < 0.001, abs(latitude - CENTER[0]) < 0.001) == (True, True)


def test_the_command_finds_the_tile_of_a_map(
    tile: Tile, radio: RadioMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    radio_map_io.save(radio, tmp_path / "map")
    assert main(["convert", str(tmp_path / "map")]) == 2
    assert "the tile of this radio map is not found" in capsys.readouterr().err
    (tmp_path / "data" / "tiles").mkdir(parents=True)
    (tmp_path / "data" / "tiles" / "village").symlink_to(tile.folder)
    assert main(["convert", str(tmp_path / "map"), "--layer", "path_gain_db"]) == 0
    with rasterio.open(tmp_path / "map.tif") as raster:
        assert raster.units[0] == "dB"
    assert main(["convert", str(tmp_path / "map"), "--layer", "colour"]) == 2
    assert "choose from path_gain_db, rsrp_dbm" in capsys.readouterr().err
    assert main(["convert", str(tile.folder), "--to", "zarr"]) == 2
    assert main(["convert", str(tmp_path)]) == 2
    assert "neither a tile nor a radio map" in capsys.readouterr().err


def test_a_tile_that_is_nowhere_on_earth_is_not_exported(tile: Tile, tmp_path: Path) -> None:
    nowhere = Tile(tile.folder)
    nowhere.__dict__["meta"] = {**tile.meta, "crs": None}
    with pytest.raises(UelError, match="nowhere on earth"):
        write_geopackage(tmp_path / "tile.gpkg", nowhere)
    assert list(tmp_path.iterdir()) == []
