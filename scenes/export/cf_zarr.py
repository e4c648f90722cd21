"""Zarr of radio maps that follows the CF conventions (1.11), for xarray, rioxarray and GDAL.

The format is Zarr 2 with consolidated metadata, which older readers open, too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray

from scenes.export.georeference import Georeference
from scenes.export.layers import CellLayer, cell_names
from uel import __version__
from uel.core.files.own_folders import has_json_entry
from uel.core.io import staged_folder
from uel.geo.tile import Tile
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cells_of

CF_VERSION = "CF-1.11"
COMPRESSION_LEVEL = 5
is_exported_map = has_json_entry(".zattrs", "source", begins="uel ")


def write_cf_zarr(folder: Path, tile: Tile, radio: RadioMap, layers: Sequence[CellLayer]) -> None:
    """Write quantities of a radio map as variables of (cell, y, x), rows from the north.

    Coordinates are `x` and `y` in metres of the tile's projection, and `cell`; `spatial_ref` is the grid mapping.
    Values are NaN where no ray met the pixel. Raises `UelError` for a tile without a georeference, and for a folder
    that holds something else.
    """
    dataset = radio_dataset(tile, radio, layers)
    # zlib: every GDAL reads it.
    from numcodecs import Zlib

    encoding = {name: {"compressors": (Zlib(COMPRESSION_LEVEL),)} for name in dataset.data_vars}
    with staged_folder(folder, is_exported_map, "radio map of uel convert") as staged:
        dataset.to_zarr(staged, mode="w", zarr_format=2, consolidated=True, encoding=encoding)


def radio_dataset(tile: Tile, radio: RadioMap, layers: Sequence[CellLayer]) -> xarray.Dataset:
    """Quantities of a radio map as an `xarray.Dataset`, as `write_cf_zarr` writes it."""
    place = Georeference.of(tile)
    x, y = place.axes(radio.grid)
    cells = cells_of(radio.sites)
    coordinates: dict[str, Any] = {
        "x": ("x", x, _axis("projection_x_coordinate", "easting")),
        "y": ("y", y, _axis("projection_y_coordinate", "northing")),
        "cell": ("cell", np.arange(len(cells)), {"long_name": "number of the cell"}),
        "cell_name": ("cell", np.array(cell_names(radio)), {"long_name": "name of the cell"}),
        "cell_site": ("cell", np.array([radio.sites.index(site) for site, _ in cells]), {"long_name": "site"}),
        "cell_azimuth": ("cell", np.array([c.azimuth_deg for _, c in cells]), _degrees("azimuth of the boresight")),
        "cell_height": ("cell", np.array([site.position[2] for site, _ in cells]), _metres("z of the antenna")),
        "spatial_ref": ((), 0, _grid_mapping(place, radio)),
    }
    variables = {layer.name: (("cell", "y", "x"), layer.values[:, ::-1], _attributes(layer)) for layer in layers}
    attributes = {
        "Conventions": CF_VERSION,
        "title": f"radio map of {tile.name}",
        "source": f"uel {__version__}",
        "tile": tile.name,
        "fingerprint": tile.fingerprint,
    }
    return xarray.Dataset(variables, coordinates, attributes)


def _attributes(layer: CellLayer) -> dict[str, Any]:
    return {"long_name": layer.description, "units": layer.unit, "grid_mapping": "spatial_ref"}


def _axis(standard_name: str, long_name: str) -> Mapping[str, str]:
    return {"standard_name": standard_name, "long_name": long_name, "units": "m"}


def _degrees(long_name: str) -> Mapping[str, str]:
    return {"long_name": long_name, "units": "degree"}


def _metres(long_name: str) -> Mapping[str, str]:
    return {"long_name": long_name, "units": "m"}


def _grid_mapping(place: Georeference, radio: RadioMap) -> dict[str, Any]:
    """Attributes of the grid mapping: CF's, and `spatial_ref` and `GeoTransform`, which GDAL and rioxarray read."""
    crs = pyproj.CRS.from_user_input(place.crs)
    numbers = place.transform(radio.grid).to_gdal()
    transform = " ".join(repr(float(number)) for number in numbers)
    return {**crs.to_cf(), "spatial_ref": crs.to_wkt(), "GeoTransform": transform}
