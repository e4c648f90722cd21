"""Zarr of radio maps that follows the CF conventions (1.11), for xarray, rioxarray and GDAL.

The format is Zarr 2 with consolidated metadata, which older readers open, too.
"""

from collections.abc import Sequence
from pathlib import Path

from scenes.export.georeference import Georeference
from uel.conversion.datasets import radio_dataset
from uel.conversion.layers import CellLayer
from uel.core.files.own_folders import has_json_entry
from uel.core.io import staged_folder
from uel.geo.tile import Tile
from uel.radio.radio_map import RadioMap

COMPRESSION_LEVEL = 5
is_exported_map = has_json_entry(".zattrs", "source", begins="uel ")


def write_cf_zarr(folder: Path, tile: Tile, radio: RadioMap, layers: Sequence[CellLayer]) -> None:
    """Write quantities of a radio map as variables of (cell, y, x), rows from the north.

    Coordinates are `x` and `y` in metres of the tile's projection, and `cell`; `spatial_ref` is the grid mapping, with
    the `GeoTransform` that GDAL and rioxarray read. Values are NaN where no ray met the pixel. Raises `UelError` for a
    tile without a georeference, and for a folder that holds something else.
    """
    numbers = Georeference.of(tile).transform(radio.grid).to_gdal()
    dataset = radio_dataset(radio, tile, layers).isel(y=slice(None, None, -1))
    dataset["spatial_ref"].attrs["GeoTransform"] = " ".join(repr(float(number)) for number in numbers)
    # zlib: every GDAL reads it.
    from numcodecs import Zlib

    encoding = {name: {"compressors": (Zlib(COMPRESSION_LEVEL),)} for name in dataset.data_vars}
    with staged_folder(folder, is_exported_map, "radio map of uel convert") as staged:
        dataset.to_zarr(staged, mode="w", zarr_format=2, consolidated=True, encoding=encoding)
