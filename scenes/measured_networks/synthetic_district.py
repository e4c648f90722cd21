"""Synthetic districts in the format of measured networks: a list of cells, a table of reports, rasters."""

import gzip
from pathlib import Path

import numpy as np
import rasterio
from scipy import ndimage

from uel.core.io import replace_file, staged_named_file
from uel.errors import UelError

DISTRICT_CRS = "EPSG:32648"
DISTRICT_CORNER = (400_000.0, 3_300_000.0)  # m, the south-west corner of the rasters
PIXEL_SIDE = 5.0  # m
SENSITIVITY_DBM = -112.0
FADING_STD = 5.0  # dB, a field in space
FADING_LENGTH = 30.0  # m
NOISE_STD = 2.0  # dB, of each level
CELL_LIST_HEADER = (
    "cell_id,easting,northing,height_m,azimuth_deg,electrical_tilt_deg,mechanical_tilt_deg,frequency_mhz,rs_power_dbm,"
    "ground_m,roof_m"
)


def write_district(
    folder: Path, seed: int, *, side: float = 320.0, margin: float = 80.0, masts: int = 4, roads: bool = True
) -> Path:
    """Write a district to try methods on: houses between streets, measured on all squares with a signal.

    Levels follow a law of distance, a sector pattern and a loss indoors, with a fading field and noise: errors on it
    say nothing about a city.

    Args:
        folder: to write; it must not exist.
        seed: of houses, masts and levels.
        side: m, of the measured square.
        margin: m around it, where nothing is measured.
        masts: with three sectors each, inside the measured square.
        roads: houses between streets; False: open ground.

    Returns:
        The folder, as `scenes.measured_networks.reader.read_measured_network` reads it.

    Raises:
        UelError: for a folder that exists.

    Example:
        >>> import pathlib, tempfile
        >>> from scenes.measured_networks.reader import read_measured_network
        >>> folder = write_district(pathlib.Path(tempfile.mkdtemp()) / "toy", seed=0, side=40.0, margin=20.0, masts=1)
        >>> len(read_measured_network(folder).cells)
        3
    """
    if folder.exists():
        raise UelError("a district is not written over a folder", got=str(folder), do="choose another folder")
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    count = round((side + 2 * margin) / PIXEL_SIDE)
    height = _houses(count, rng) if roads else np.zeros((count, count))
    cells = _cells(rng, masts, side, margin)
    inner = slice(round(margin / PIXEL_SIDE), count - round(margin / PIXEL_SIDE))
    levels = np.stack([_levels(cell, height, rng) for cell in cells])
    heard = (levels > SENSITIVITY_DBM)[:, inner, inner]
    known = np.zeros((count, count), bool)
    known[inner, inner] = heard.any(0)
    _write_raster(folder / "building_height.tif", np.where(known, height, -1), "int16", -1)
    _write_raster(folder / "terrain.tif", np.where(known, 500, -1), "int16", -1)
    _write_raster(folder / "clutter.tif", np.where(known, 5, 0), "uint8", 0)
    lines = [",".join(map(str, (1000 + n, *cell))) for n, cell in enumerate(cells)]
    replace_file(folder / "cells.csv", ("\n".join([CELL_LIST_HEADER, *lines]) + "\n").encode())
    rows = ["easting,northing,cell_id,rsrp_dbm"]
    for n, row, column in zip(*np.nonzero(heard), strict=True):
        place = DISTRICT_CORNER[0] + margin + PIXEL_SIDE * column, DISTRICT_CORNER[1] + margin + PIXEL_SIDE * row
        rows.append(f"{place[0]:.0f},{place[1]:.0f},{1000 + n},{levels[n, inner, inner][row, column]:.2f}")
    replace_file(folder / "reports.csv.gz", gzip.compress(("\n".join(rows) + "\n").encode(), mtime=0))
    return folder


def _houses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Houses of 30 m between streets of 20 m, each of its own height."""
    index = np.arange(count)
    built = (index % 10) < 6
    storeys = rng.integers(2, 9, (count // 10 + 1, count // 10 + 1)) * 3.0
    return np.where(built[:, None] & built, storeys[index // 10][:, index // 10], 0.0)


def _cells(rng: np.random.Generator, masts: int, side: float, margin: float) -> list[tuple[float | int, ...]]:
    """Three sectors on each mast; the numbers of a row of the list after the identity."""
    half = margin + side / 2
    cells = []
    for place in rng.uniform(-0.9 * side / 2, 0.9 * side / 2, (masts, 2)):
        east, north = (round(corner + half + offset) for corner, offset in zip(DISTRICT_CORNER, place, strict=True))
        for azimuth in (rng.integers(0, 12) * 10 + np.array([0, 120, 240])) % 360:
            cells.append((east, north, 25.0, int(azimuth), 6.0, 3.0, 2585.0, 9.2, 500.0, 0.0))
    return cells


def _levels(cell: tuple[float | int, ...], height: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Levels in dBm of a cell on all squares, row 0 in the south."""
    east, north, mast, azimuth = cell[:4]
    axis = (np.arange(len(height)) + 0.5) * PIXEL_SIDE
    dx, dy = axis[None, :] + DISTRICT_CORNER[0] - east, axis[:, None] + DISTRICT_CORNER[1] - north
    distance = np.sqrt(dx**2 + dy**2 + mast**2)
    off = (np.degrees(np.arctan2(dx, dy)) - azimuth + 180) % 360 - 180
    sector = -np.minimum(12 * (off / 65) ** 2, 25.0)
    white = ndimage.gaussian_filter(rng.standard_normal(height.shape), FADING_LENGTH / PIXEL_SIDE / 2)
    fading = FADING_STD * white / white.std() + NOISE_STD * rng.standard_normal(height.shape)
    return 9.2 + 15 - 38 * np.log10(distance) - 20 + sector + fading - np.where(height > 0, 12.0, 0.0)


def _write_raster(file: Path, values: np.ndarray, dtype: str, nodata: int) -> None:
    north = DISTRICT_CORNER[1] + PIXEL_SIDE * len(values)
    transform = rasterio.Affine(PIXEL_SIDE, 0, DISTRICT_CORNER[0], 0, -PIXEL_SIDE, north)
    shape = {"height": len(values), "width": values.shape[1], "count": 1}
    profile = {
        "driver": "GTiff",
        "dtype": dtype,
        "crs": DISTRICT_CRS,
        "transform": transform,
        "nodata": nodata,
        **shape,
    }
    with staged_named_file(file) as staged, rasterio.open(staged, "w", **profile) as raster:
        raster.write(values[::-1].astype(dtype), 1)
