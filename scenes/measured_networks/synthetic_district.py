"""Synthetic districts in the format of measured networks: a list of cells, a table of reports, rasters."""

import gzip
from pathlib import Path

import numpy as np
import rasterio
from scipy import ndimage

CRS = "EPSG:32648"
CORNER = (400_000.0, 3_300_000.0)  # m, the south-west corner of the rasters
PIXEL = 5.0  # m
SENSITIVITY_DBM = -112.0
FADING_STD = 5.0  # dB, a field in space
FADING_LENGTH = 30.0  # m
NOISE_STD = 2.0  # dB, of each level
HEADER = (
    "cell_id,easting,northing,height_m,azimuth_deg,electrical_tilt_deg,mechanical_tilt_deg,frequency_mhz,rs_power_dbm,"
    "ground_m,roof_m"
)


def write_district(
    folder: Path, seed: int, *, side: float = 320.0, margin: float = 80.0, masts: int = 4, roads: bool = True
) -> Path:
    """Write a district of blocks of houses between streets, measured on all squares of the inner one with a signal.

    Levels follow a law of distance, a sector pattern and a loss indoors, with a fading field and noise.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    count = round((side + 2 * margin) / PIXEL)
    height = _houses(count, rng) if roads else np.zeros((count, count))
    cells = _cells(rng, masts, side, margin)
    inner = slice(round(margin / PIXEL), count - round(margin / PIXEL))
    levels = np.stack([_levels(cell, height, rng) for cell in cells])
    heard = (levels > SENSITIVITY_DBM)[:, inner, inner]
    known = np.zeros((count, count), bool)
    known[inner, inner] = heard.any(0)
    _write_raster(folder / "building_height.tif", np.where(known, height, -1), "int16", -1)
    _write_raster(folder / "terrain.tif", np.where(known, 500, -1), "int16", -1)
    _write_raster(folder / "clutter.tif", np.where(known, 5, 0), "uint8", 0)
    lines = [",".join(map(str, (1000 + n, *cell))) for n, cell in enumerate(cells)]
    (folder / "cells.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    rows = ["easting,northing,cell_id,rsrp_dbm"]
    for n, row, column in zip(*np.nonzero(heard), strict=True):
        place = CORNER[0] + margin + PIXEL * column, CORNER[1] + margin + PIXEL * row
        rows.append(f"{place[0]:.0f},{place[1]:.0f},{1000 + n},{levels[n, inner, inner][row, column]:.2f}")
    (folder / "reports.csv.gz").write_bytes(gzip.compress(("\n".join(rows) + "\n").encode(), mtime=0))
    return folder


def _houses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Houses of 30 m between streets of 20 m, each of its own height."""
    index = np.arange(count)
    built = (index % 10) < 6
    storeys = rng.integers(2, 9, (count // 10 + 1, count // 10 + 1)) * 3.0
    return np.where(built[:, None] & built, storeys[index // 10][:, index // 10], 0.0)


def _cells(rng: np.random.Generator, masts: int, side: float, margin: float) -> list[tuple[float, ...]]:
    """Three sectors on each mast; the numbers of a row of the list after the identity."""
    half = margin + side / 2
    cells = []
    for place in rng.uniform(-0.9 * side / 2, 0.9 * side / 2, (masts, 2)):
        east, north = (round(corner + half + offset) for corner, offset in zip(CORNER, place, strict=True))
        for azimuth in (rng.integers(0, 12) * 10 + np.array([0, 120, 240])) % 360:
            cells.append((east, north, 25.0, int(azimuth), 6.0, 3.0, 2585.0, 9.2, 500.0, 0.0))
    return cells


def _levels(cell: tuple[float, ...], height: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Levels in dBm of a cell on all squares, row 0 in the south."""
    east, north, mast, azimuth = cell[:4]
    axis = (np.arange(len(height)) + 0.5) * PIXEL
    dx, dy = axis[None, :] + CORNER[0] - east, axis[:, None] + CORNER[1] - north
    distance = np.sqrt(dx**2 + dy**2 + mast**2)
    off = (np.degrees(np.arctan2(dx, dy)) - azimuth + 180) % 360 - 180
    sector = -np.minimum(12 * (off / 65) ** 2, 25.0)
    white = ndimage.gaussian_filter(rng.standard_normal(height.shape), FADING_LENGTH / PIXEL / 2)
    fading = FADING_STD * white / white.std() + NOISE_STD * rng.standard_normal(height.shape)
    return 9.2 + 15 - 38 * np.log10(distance) - 20 + sector + fading - np.where(height > 0, 12.0, 0.0)


def _write_raster(file: Path, values: np.ndarray, dtype: str, nodata: float) -> None:
    north = CORNER[1] + PIXEL * len(values)
    transform = rasterio.Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, north)
    shape = {"height": len(values), "width": values.shape[1], "count": 1}
    with rasterio.open(
        file, "w", driver="GTiff", dtype=dtype, crs=CRS, transform=transform, nodata=nodata, **shape
    ) as raster:
        raster.write(values[::-1].astype(dtype), 1)
