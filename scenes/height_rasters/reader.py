"""Reads a raster of heights onto a square around a tile's centre, in metres above the ground."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from jaxtyping import Float
from rasterio import Affine, warp
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from scenes.config import HeightRasterConfig
from scenes.mesh.dem import METRE_UNITS, PLAUSIBLE_ELEVATIONS, sample_dem
from scenes.mesh.mesh_parts import Array
from scenes.mesh.raster_files import open_geotiff, require_readable_size
from uel.errors import UelError

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".img", ".asc")
FOOT_UNITS = {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us survey foot": 1200 / 3937, "us-ft": 1200 / 3937}
FOOT_UNITS |= {"ftus": 1200 / 3937, "us foot": 1200 / 3937}
PIXEL_SIDES = (0.5, 5.0)  # m: finer rasters are averaged over nothing, coarser ones show no buildings
MIN_COVERED = 0.95  # of the square, by the raster's extent
COVER_POINTS = 100  # on each side of the square, at which the extent is looked up
UNDECLARED_UNKNOWN = -1.0  # of rasters of integers that declare no value for squares without a height
GREATEST_HEIGHT = 1000.0  # m
GROUND_OFFSET = 5.0  # m by which the lower half of the heights may differ from 0
MAX_BELOW_GROUND = 0.01  # of the pixels, that are more than `GROUND_OFFSET` below the ground


@dataclass(frozen=True, eq=False)
class HeightGrid:
    """Heights above the ground on a square grid around a tile's centre."""

    heights: Float[Array, "row column"]
    """m, row 0 in the south; NaN where the raster has none"""
    half: float
    """half the side of the grid in metres"""
    note: str
    """unit and kind of the raster's values, for the tile's metadata"""

    @property
    def pixel(self) -> float:
        """Side of a pixel in metres."""
        return 2 * self.half / len(self.heights)


def is_height_raster(source: str | Path) -> bool:
    """Whether a source is named as a raster file."""
    return Path(source).suffix.lower() in RASTER_SUFFIXES and not str(source).lower().startswith(("http:", "https:"))


@contextmanager
def open_raster(file: Path) -> Iterator[DatasetReader]:
    """Open a raster of heights. Raises `UelError` for a file that is none: no raster, no CRS, an image of colours."""
    with open_geotiff(file, "raster of heights") as raster:
        if raster.crs is None:
            do = "set one: gdal_edit.py -a_srs EPSG:… FILE"
            raise UelError("the raster of heights has no CRS", got=str(file), do=do)
        if raster.count >= 3 and raster.dtypes[0] == "uint8":
            got, do = f"{file}: {raster.count} bands of uint8", "give heights in metres, in one band"
            raise UelError("the raster is an image, not heights", got=got, do=do)
        require_readable_size(raster, file)
        yield raster


def raster_center(file: Path) -> tuple[float, float]:
    """Latitude and longitude in degrees of a raster's middle. Raises `UelError` as `open_raster`."""
    with open_raster(file) as raster:
        column, row = raster.width / 2, raster.height / 2
        x, y = raster.transform @ (column, row)
        (longitude,), (latitude,) = warp.transform(raster.crs, "EPSG:4326", [x], [y])[:2]
    return float(latitude), float(longitude)


def read_heights(
    file: Path,
    crs: str,
    origin: tuple[float, float],
    size: float,
    margin: float,
    config: HeightRasterConfig,
    dem: Path | None,
) -> HeightGrid:
    """Heights above the ground in the square of side `size` with its margin around `origin` (metres in `crs`).

    Pixels are taken as they are (nearest neighbour): an average over a wall is no height. Values without data stay
    without: those that the file declares or `config.unknown` names, and -1 in a raster of integers that declares none
    and has no other negative value.

    Raises `UelError` for a raster that does not cover the square or knows no height in it, whose unit is unknown or
    implausible, whose values are elevations where heights were announced or the reverse, and as `open_raster` and
    `sample_dem` do.
    """
    half = size / 2 + margin
    with open_raster(file) as raster:
        factor, unit = _metres(raster, file, config)
        count = max(round(2 * half / _pixel(raster, crs)), 1)
        _require_cover(raster, crs, origin, size, file)
        values = _on_square(raster, crs, origin, half, count, config) * factor
    if config.content == "dsm":
        if dem is None:
            do = "add the elevation of the ground: --dem DTM.tif"
            raise UelError(
                "elevations of the surface need those of the ground", got=f"{file}: --raster.content dsm", do=do
            )
        node_half = half * (1 - 1 / count)  # nodes at the pixels' centres
        values = values - sample_dem(dem, crs, origin, node_half, count)
    margin_pixels = round(margin / (2 * half / count))
    inner = values[margin_pixels : count - margin_pixels, margin_pixels : count - margin_pixels]
    _require_heights(inner, file, config)
    return HeightGrid(values, half, f"{config.content} in {unit}")


def _metres(raster: DatasetReader, file: Path, config: HeightRasterConfig) -> tuple[float, str]:
    """Length of the raster's vertical unit in metres, and its name.

    Raises `UelError` for an unknown unit, and for none in a file whose horizontal unit is the foot.
    """
    if config.unit != "file":
        return {"m": 1.0, "ft": 0.3048}[config.unit], config.unit
    named = (raster.units[0] or "").strip().lower() or _vertical_unit(raster)
    if named in FOOT_UNITS:
        return FOOT_UNITS[named], named
    if named not in METRE_UNITS:
        do = "say it: --raster.unit m or --raster.unit ft"
        raise UelError("the unit of the raster's heights is unknown", got=f"{file}: {named}", do=do)
    horizontal = raster.crs.linear_units.lower() if raster.crs.is_projected else "metre"
    if not named and horizontal not in METRE_UNITS:
        got, do = f"{file}: its CRS is in {raster.crs.linear_units}", "say it: --raster.unit m or --raster.unit ft"
        raise UelError("the raster names no unit of its heights, and may be in feet", got=got, do=do)
    return 1.0, named or "metres (not named)"


def _vertical_unit(raster: DatasetReader) -> str:
    """The unit of a compound CRS' vertical axis; empty without one."""
    axes: Any = pyproj.CRS.from_wkt(raster.crs.to_wkt()).axis_info
    return next((axis.unit_name.lower() for axis in axes if axis.direction == "up"), "")


def _pixel(raster: DatasetReader, crs: str) -> float:
    """Side of the raster's pixels in metres, within `PIXEL_SIDES`. Raises `UelError` for pixels that are coarser."""
    transform, _, _ = warp.calculate_default_transform(raster.crs, crs, raster.width, raster.height, *raster.bounds)
    assert transform is not None, "a raster has pixels"
    side = (abs(transform.a) * abs(transform.e)) ** 0.5
    if side > PIXEL_SIDES[1]:
        got, do = f"{side:.1f} m", f"give a raster of {PIXEL_SIDES[1]:g} m or finer"
        raise UelError("the raster's pixels are too coarse for buildings", got=got, do=do)
    return max(side, PIXEL_SIDES[0])


def _on_square(
    raster: DatasetReader, crs: str, origin: tuple[float, float], half: float, count: int, config: HeightRasterConfig
) -> Float[Array, "row column"]:
    """The first band's values on `count`² pixels of the square, NaN without data; row 0 in the south."""
    pixel = 2 * half / count
    target = Affine(pixel, 0, origin[0] - half, 0, pixel, origin[1] - half)
    values = np.full((count, count), np.nan)
    band = raster.read(1, masked=True).astype(np.float64).filled(np.nan)
    band[band == _unknown_value(raster, band, config)] = np.nan
    band = band * raster.scales[0] + raster.offsets[0]
    limits = [limit / min(FOOT_UNITS.values()) for limit in PLAUSIBLE_ELEVATIONS]  # in feet at most
    band = np.where((band > limits[0]) & (band < limits[1]), band, np.nan)  # holes that the file does not declare
    warp.reproject(
        band,
        values,
        src_transform=raster.transform,
        src_crs=raster.crs,
        src_nodata=np.nan,
        dst_transform=target,
        dst_crs=crs,
        dst_nodata=np.nan,
        resampling=Resampling.nearest,
    )
    return values


def _unknown_value(
    raster: DatasetReader, band: Float[Array, "line sample"], config: HeightRasterConfig
) -> float | None:
    """The value of squares without a height that the file does not declare; None: there is no such value."""
    if config.unknown is not None:
        return config.unknown
    is_undeclared = raster.nodata is None and raster.dtypes[0].startswith("int")
    lowest = np.nanmin(band, initial=0.0, where=np.isfinite(band))
    return UNDECLARED_UNKNOWN if is_undeclared and lowest == UNDECLARED_UNKNOWN else None


def _require_cover(raster: DatasetReader, crs: str, origin: tuple[float, float], size: float, file: Path) -> None:
    """Raise `UelError` where the raster's extent holds less than `MIN_COVERED` of a square around `origin`."""
    axis = (np.arange(COVER_POINTS) + 0.5) / COVER_POINTS * size - size / 2
    x, y = np.meshgrid(axis + origin[0], axis + origin[1])
    column, line = ~raster.transform @ np.array(warp.transform(crs, raster.crs, x.ravel(), y.ravel())[:2])
    covered = float(((column >= 0) & (column <= raster.width) & (line >= 0) & (line <= raster.height)).mean())
    if covered < MIN_COVERED:
        got = f"{file} covers {covered:.0%} of the tile"
        do = "make the tile smaller (--size) or move its centre (--center LAT LON)"
        raise UelError("the raster does not cover the tile", got=got, do=do)


def _require_heights(heights: Float[Array, "row column"], file: Path, config: HeightRasterConfig) -> None:
    """Raise `UelError` for values that are no heights above the ground."""
    known = heights[np.isfinite(heights)]
    if not len(known):
        do = "move the tile's centre (--center LAT LON) to where the raster has heights"
        raise UelError("the raster knows no height on the tile", got=str(file), do=do)
    low, high, below = np.quantile(known, 0.1), known.max(), float((known < -GROUND_OFFSET).mean())
    got = f"{file}: a tenth of the values is below {low:.1f} m, the highest is {high:.1f} m"
    if abs(low) > GROUND_OFFSET or below > MAX_BELOW_GROUND:
        do = {
            "ndsm": "give heights above the ground, or say --raster.content dsm --dem DTM.tif for elevations",
            "dsm": "give DSM and DTM above the same datum and in the same unit, or say --raster.content ndsm",
        }
        raise UelError("the raster's values are no heights above the ground", got=got, do=do[config.content])
    if high > GREATEST_HEIGHT:
        do = "say the unit: --raster.unit ft, or give another raster"
        raise UelError("the raster has heights that no building has", got=got, do=do)
    if high < config.min_height:
        do = "give heights in metres above the ground, or lower --raster.min-height"
        raise UelError("nothing in the raster is as high as a building", got=got, do=do)
