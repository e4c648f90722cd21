"""Rasters of heights become buildings: outlines, heights, units, and the ground that is taken away."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

import scenes
from scenes.config import HeightRasterConfig
from scenes.height_rasters.buildings import read_height_raster
from tests.helpers.height_rasters import RASTER_NORTH, RASTER_WEST, write_raster


def town() -> np.ndarray:
    """A hall of 40 × 60 m and 12 m, with a tower of 20 × 20 m and 21 m at its corner; noise on the ground."""
    values = np.random.default_rng(0).normal(0, 0.1, (300, 300)).astype(np.float32)
    values[130:170, 120:180] = 12.0
    values[150:170, 120:140] = 21.0
    return values


def test_a_hall_and_its_tower_are_two_buildings_that_share_no_area(tmp_path: Path) -> None:
    file = write_raster(tmp_path / "ndsm.tif", town())
    extract = read_height_raster(file, HeightRasterConfig(), "town", size=128.0, margin=64.0)
    hall, tower = sorted(extract.buildings, key=lambda building: building.top)
    assert (hall.top, tower.top) == (12.0, 21.0)
    assert hall.footprint.area == pytest.approx(40 * 60 - 20 * 20, rel=0.02)
    assert tower.footprint.area == pytest.approx(20 * 20, rel=0.02)
    assert hall.footprint.intersection(tower.footprint).area < 0.01
    # The raster's middle is column and row 150: the hall lies from -30 to 30 m and from -20 to 20 m.
    expected = shapely.box(-30, -20, 30, 20)
    assert hall.footprint.union(tower.footprint).symmetric_difference(expected).area < 0.02 * expected.area
    assert extract.crs == "EPSG:32632"
    np.testing.assert_allclose(extract.origin, (RASTER_WEST + 150, RASTER_NORTH - 150), atol=0.01)


def test_a_surface_without_its_ground_has_the_same_buildings(tmp_path: Path) -> None:
    """On a slope of 5 %: DSM and DTM, of another pixel."""
    slope = np.linspace(500, 515, 300, dtype=np.float32)[None].repeat(300, 0)
    dsm = write_raster(tmp_path / "dsm.tif", town() + slope)
    dtm = write_raster(tmp_path / "dtm.tif", slope[::3, 1::3].copy(), pixel=3.0)
    config = HeightRasterConfig(content="dsm")
    extract = read_height_raster(dsm, config, "town", size=128.0, margin=0.0, dem=dtm)
    tops = sorted(building.top for building in extract.buildings)
    assert tops == pytest.approx([12.0, 21.0], abs=0.15)


@pytest.mark.parametrize(
    ("units", "config"),
    [("ft", HeightRasterConfig()), ("US survey foot", HeightRasterConfig()), (None, HeightRasterConfig(unit="ft"))],
)
def test_feet_are_converted(units: str | None, config: HeightRasterConfig, tmp_path: Path) -> None:
    file = write_raster(tmp_path / "ndsm.tif", (town() / 0.3048).astype(np.float32), units=units)
    extract = read_height_raster(file, config, "town", size=128.0, margin=0.0)
    assert sorted(building.top for building in extract.buildings) == pytest.approx([12.0, 21.0], abs=0.01)


def test_integers_with_a_scale_are_converted(tmp_path: Path) -> None:
    file = write_raster(tmp_path / "ndsm.tif", (town() * 100).round().clip(0).astype(np.int16))
    with rasterio.open(file, "r+") as raster:
        raster.scales = (0.01,)
    extract = read_height_raster(file, HeightRasterConfig(), "town", size=128.0, margin=0.0)
    assert sorted(building.top for building in extract.buildings) == pytest.approx([12.0, 21.0])


def test_sheds_masts_and_wires_are_no_buildings(tmp_path: Path) -> None:
    values = town()
    values[60:63, 60:63] = 9.0  # 9 m²
    values[:, 250] = 15.0  # a wire
    values[230, 60] = 40.0  # a mast
    extract = read_height_raster(
        write_raster(tmp_path / "n.tif", values), HeightRasterConfig(), "town", size=280.0, margin=0.0
    )
    assert sorted(building.top for building in extract.buildings) == [12.0, 21.0]


def test_a_raster_becomes_a_tile(tmp_path: Path) -> None:
    file = write_raster(tmp_path / "ndsm.tif", town())
    tile = scenes.build(file, tmp_path / "tile", size=128.0, margin=0.0)
    assert tile.verify() == []
    height = tile.rasters["height"].numpy()
    expected = np.where(town()[86:214, 86:214] > 5, town()[86:214, 86:214], 0.0)[::-1]
    assert np.abs(height - expected).max(initial=0, where=np.abs(height - expected) < 8) < 0.01
    assert (np.abs(height - expected) > 8).mean() < 0.01
    assert {building["provenance"] for building in tile.meta["buildings"].values()} == {"raster"}
