"""GeoTIFF of radio maps and of a tile's rasters: one band a cell or a raster, named, with CRS and nodata."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio

from scenes.export.georeference import Georeference
from scenes.mesh.mesh_parts import Array
from uel.conversion.layers import CellLayer, cell_names, tile_rasters
from uel.core.grid import Grid
from uel.core.io import staged_named_file
from uel.geo.tile import Tile
from uel.radio.radio_map import RadioMap


def write_radio_geotiff(file: Path, tile: Tile, radio: RadioMap, layer: CellLayer) -> None:
    """Write a quantity of a radio map: a band of float32 for each cell, NaN where no ray met the pixel.

    Band descriptions are the cells' names. Raises `UelError` for a tile without a georeference.
    """
    tags = {"quantity": layer.description, "tile": tile.name, "fingerprint": tile.fingerprint}
    units = [layer.unit] * len(layer.values)
    _write(file, Georeference.of(tile), radio.grid, layer.values, cell_names(radio), units, tags)


def write_tile_geotiff(file: Path, tile: Tile) -> None:
    """Write a tile's rasters, a band of float32 each. Raises `UelError` for a tile without a georeference.

    Names of materials and land covers, which bands of indices refer to, are tags of the file.
    """
    rasters = tile_rasters(tile)
    tags = {f"material_{index}": name for index, name in enumerate(tile.materials)}
    tags |= {f"cover_{index}": name for index, name in enumerate(tile.covers)}
    tags |= {"tile": tile.name, "fingerprint": tile.fingerprint}
    values = np.stack([values.astype(np.float32) for _, values in rasters.values()])
    units = [unit for unit, _ in rasters.values()]
    _write(file, Georeference.of(tile), tile.raster_grid, values, list(rasters), units, tags)


def _write(
    file: Path,
    place: Georeference,
    grid: Grid,
    values: Array,
    names: Sequence[str],
    units: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    profile = {
        "driver": "GTiff",
        "height": grid.count,
        "width": grid.count,
        "count": len(values),
        "dtype": "float32",
        "crs": place.crs,
        "transform": place.transform(grid),
        "nodata": np.nan,
        "compress": "deflate",
        "interleave": "band",
    }
    with staged_named_file(file) as staged, rasterio.open(staged, "w", **profile) as raster:
        raster.write(values[:, ::-1].astype(np.float32))  # row 0 in the north
        raster.descriptions = tuple(names)
        raster.units = tuple("" if unit == "1" else unit for unit in units)
        raster.update_tags(**tags)
