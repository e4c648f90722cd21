"""Rasters of heights that are known on some squares only: filled by a rule, marked, and said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import scenes
from scenes.config import HeightRasterConfig
from scenes.height_rasters.buildings import read_height_raster
from scenes.height_rasters.reader import HeightGrid
from scenes.height_rasters.unknown_squares import fill_unknown
from tests.helpers.height_rasters import write_raster
from uel.errors import UelError
from uel.geo.tile import Tile

UNKNOWN = -1


def blocks(known: float) -> np.ndarray:
    """Heights of 64 × 64 squares of 5 m: houses of 30 m between streets of 20 m, known on a fraction of the squares."""
    built = (np.arange(64) % 10) < 6
    heights = np.where(built[:, None] & built, 15, 0)
    return np.where(np.random.default_rng(1).random(heights.shape) < known, heights, UNKNOWN).astype(np.int16)


def terrain(heights: np.ndarray) -> np.ndarray:
    """A plane at 500 m where heights are known."""
    return np.where(heights == UNKNOWN, UNKNOWN, 500).astype(np.int16)


def built(tmp_path: Path, known: float, **options: object) -> Tile:
    heights = blocks(known)
    file = write_raster(tmp_path / "heights.tif", heights, pixel=5.0, nodata=UNKNOWN)
    dem = write_raster(tmp_path / "terrain.tif", terrain(heights), pixel=5.0, nodata=UNKNOWN)
    return scenes.build(file, tmp_path / "tile", size=256.0, margin=0.0, dem=dem, pixel=4.0, **options)


def test_an_unknown_square_takes_the_nearest_height_as_a_slow_twin_does() -> None:
    rng = np.random.default_rng(0)
    heights = np.where(rng.random((20, 20)) < 0.1, rng.random((20, 20)), np.nan)
    grid, squares = fill_unknown(HeightGrid(heights, half=50.0, note=""), fill=15.0, margin=0.0)
    places = np.argwhere(np.isfinite(heights))
    for row, column in np.ndindex(heights.shape):
        distance = 5.0 * np.hypot(*(places - (row, column)).T)
        nearest = {heights[tuple(place)] for place in places[distance == distance.min()]}
        assert grid.heights[row, column] in (nearest if distance.min() <= 15.0 else {0.0})
    assert squares.known + squares.filled + squares.open == pytest.approx(1.0)
    assert squares.known == np.isfinite(heights).mean()


def test_a_tile_of_half_known_squares_is_that_of_all_known_ones_but_for_its_corners(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole, half = built(tmp_path / "whole", known=1.0), built(tmp_path, known=0.6)
    differs = (whole.rasters["height"] - half.rasters["height"]).abs() > 1.0
    known = half.rasters["known"] > 0
    assert differs[known].float().mean() < 0.04  # walls are simplified by a pixel
    assert differs.float().mean() < 0.12
    assert known.float().mean() == pytest.approx(0.6, abs=0.03)
    torch.testing.assert_close(half.rasters["ground"], torch.full_like(half.rasters["ground"], 500.0))
    report = json.loads((half.folder / "build_report.json").read_text())
    assert report["problems"] == []
    assert report["meshes"]["open"] == []
    assert report["known_squares"]["known"] == pytest.approx(0.6, abs=0.03)
    assert "heights are known on" in report["notes"][0]
    assert half.meta["terrain"]["known"] < 0.6  # an elevation needs four pixels around it


def test_a_tile_that_is_mostly_unknown_is_built_and_says_so(tmp_path: Path) -> None:
    report = json.loads((built(tmp_path, known=0.2).folder / "build_report.json").read_text())
    assert any("of the tile alone" in problem for problem in report["problems"])


def test_a_raster_without_a_height_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UelError, match="knows no height on the tile"):
        built(tmp_path, known=0.0)


def test_an_undeclared_value_is_unknown_where_the_user_names_it_or_nothing_else_is_negative(tmp_path: Path) -> None:
    square = {"size": 256.0, "margin": 0.0}
    fractions = []
    for nodata, config in ((-1, HeightRasterConfig()), (None, HeightRasterConfig())):
        file = write_raster(tmp_path / "heights.tif", blocks(0.6), pixel=5.0, nodata=nodata)
        fractions.append(read_height_raster(file, config, "town", **square).known_squares.report)
    values = np.where(blocks(0.6) == UNKNOWN, 99, blocks(0.6)).astype(np.int16)
    file = write_raster(tmp_path / "heights.tif", values, pixel=5.0, nodata=None)
    named = read_height_raster(file, HeightRasterConfig(unknown=99.0), "town", **square)
    assert fractions[0] == fractions[1] == named.known_squares.report


def test_a_raster_that_ends_within_the_tile_is_refused(tmp_path: Path) -> None:
    file = write_raster(tmp_path / "heights.tif", blocks(1.0), pixel=5.0, nodata=UNKNOWN)
    with pytest.raises(UelError, match="does not cover the tile"):
        read_height_raster(file, HeightRasterConfig(), "town", size=512.0, margin=0.0)
