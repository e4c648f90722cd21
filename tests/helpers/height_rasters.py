"""Rasters of heights as GeoTIFF files."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine

RASTER_WEST, RASTER_NORTH = 690_000.0, 5_335_400.0


def write_raster(file: Path, values: np.ndarray, pixel: float = 1.0, **profile: object) -> Path:
    """A GeoTIFF in UTM zone 32, first row in the north."""
    rows, columns = values.shape
    units = profile.pop("units", None)
    place = {
        "crs": "EPSG:32632",
        "transform": Affine(pixel, 0, RASTER_WEST, 0, -pixel, RASTER_NORTH),
        "nodata": -9999.0,
    }
    size = {"driver": "GTiff", "height": rows, "width": columns, "count": 1, "dtype": values.dtype.name}
    with rasterio.open(file, "w", **{**size, **place, **profile}) as raster:
        raster.write(values, 1)
        if units:
            raster.units = [units]
    return file
