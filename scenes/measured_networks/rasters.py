"""Rasters of a district: building heights, ground and clutter, on one square grid with row 0 in the south."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rasterio.io import DatasetReader
from torch import Tensor

from scenes.height_rasters.reader import GREATEST_HEIGHT, open_raster
from scenes.mesh.dem import PLAUSIBLE_ELEVATIONS
from uel.core.grid import Grid
from uel.errors import UelError
from uel.measurement.measured_network import DistrictRasters

RASTER_FILES = {"building_height": "building_height.tif", "terrain": "terrain.tif", "clutter": "clutter.tif"}
MIN_BUILDING_HEIGHT = 0.0  # m: smaller values of a raster of heights say that the height is not known


@dataclass(frozen=True)
class RasterFrame:
    """Where a district's grid lies."""

    crs: str
    """empty where it is not known"""
    origin: tuple[float, float]
    """m east and north in `crs` of the grid's centre"""
    grid: Grid


def read_district_rasters(folder: Path) -> tuple[RasterFrame | None, DistrictRasters | None]:
    """The rasters of a folder on one grid, and where that lies; None and None where the folder has no raster.

    A raster that is missing is unknown everywhere. A raster that is no square is extended by unknown pixels in the
    north or the east. Raises `UelError` for rasters of different grids, for pixels that are no squares of an axis-
    parallel grid in metres, and for heights and elevations that cannot be.
    """
    values, frames = dict[str, Tensor](), dict[str, RasterFrame]()
    for name, file_name in RASTER_FILES.items():
        file = folder / file_name
        if file.is_file():
            with open_raster(file) as raster:
                frames[name], values[name] = _frame(raster, file), _values(raster)
    if not frames:
        return None, None
    if len(set(frames.values())) > 1:
        got = "; ".join(f"{name}: {frame}" for name, frame in frames.items())
        raise UelError(f"the rasters of {folder} have different grids", got=got, do="resample them onto one grid")
    frame = next(iter(frames.values()))
    unknown = torch.full(frame.grid.shape, torch.nan)
    height, terrain, clutter = (values.get(name, unknown) for name in RASTER_FILES)
    height_known = height >= MIN_BUILDING_HEIGHT
    terrain_known = terrain.isfinite() & (terrain != -1) if "terrain" in values else terrain.isfinite()
    _require_range(height[height_known], (0.0, GREATEST_HEIGHT), folder / RASTER_FILES["building_height"])
    _require_range(terrain[terrain_known], PLAUSIBLE_ELEVATIONS, folder / RASTER_FILES["terrain"])
    return frame, DistrictRasters(
        building_height=torch.where(height_known, height, 0.0),
        building_known=height_known,
        terrain=torch.where(terrain_known, terrain, 0.0),
        terrain_known=terrain_known,
        clutter=clutter.nan_to_num(nan=0.0).long(),
    )


def _frame(raster: DatasetReader, file: Path) -> RasterFrame:
    transform, crs = raster.transform, raster.crs
    assert crs is not None, "open_raster refuses a raster without a CRS"
    if not crs.is_projected or crs.linear_units.lower() not in ("metre", "meter", "m"):
        raise UelError("the raster is not in metres", got=f"{file}: {crs}", do="project it: gdalwarp -t_srs EPSG:…")
    if transform.b or transform.d or transform.a <= 0 or abs(transform.a + transform.e) > 1e-6:
        do = "resample it to squares with north up (gdalwarp)"
        raise UelError("the raster's pixels are no squares with north up", got=f"{file}: {transform}", do=do)
    pixel = float(transform.a)
    count = max(raster.width, raster.height)
    size = count * pixel
    west, south = transform.c, transform.f + raster.height * transform.e
    return RasterFrame(crs.to_string(), (west + size / 2, south + size / 2), Grid(size=size, pixel=pixel))


def _values(raster: DatasetReader) -> Tensor:
    """The first band with row 0 in the south, NaN where it has no data, extended to a square in the north and east."""
    band = raster.read(1, masked=True).astype(np.float32).filled(np.nan)[::-1]
    count = max(band.shape)
    square = np.full((count, count), np.nan, np.float32)
    square[: band.shape[0], : band.shape[1]] = band
    return torch.from_numpy(square)


def _require_range(values: Tensor, limits: tuple[float, float], file: Path) -> None:
    if len(values) and not (float(values.min()) >= limits[0] and float(values.max()) <= limits[1]):
        got = f"{float(values.min()):g} to {float(values.max()):g} m"
        raise UelError(f"the values of {file} cannot be", got=got, do=f"give {limits[0]:g} to {limits[1]:g} m")
