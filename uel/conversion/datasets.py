"""Tiles and radio maps as `xarray.Dataset`, with the coordinates that the CF conventions (1.11) name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray

from uel import __version__
from uel.conversion.layers import CellLayer, cell_names, layers_of, tile_rasters
from uel.core.grid import Grid
from uel.geo.tile import Tile
from uel.geo.tile_maps import require_map_of_tile
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cells_of

CF_VERSION = "CF-1.11"


def tile_dataset(tile: Tile) -> xarray.Dataset:
    """A tile's rasters and the heights above ground as variables of (y, x), rows from the south.

    `x` and `y` are in metres of the tile's projection, or east and north of its centre where it has none. Names of
    materials and land covers, which rasters of indices refer to, are attributes.
    """
    variables = {name: (("y", "x"), values, {"units": unit}) for name, (unit, values) in tile_rasters(tile).items()}
    names = {f"material_{index}": name for index, name in enumerate(tile.materials)}
    names |= {f"cover_{index}": name for index, name in enumerate(tile.covers)}
    return xarray.Dataset(variables, _coordinates(tile.raster_grid, tile), _attributes(tile, tile.name) | names)


def radio_dataset(
    radio: RadioMap, tile: Tile | None = None, layers: Sequence[CellLayer] | None = None
) -> xarray.Dataset:
    """Quantities of a radio map as variables of (cell, y, x), rows from the south; NaN where no ray met the pixel.

    Args:
        radio: the map.
        tile: whose projection `x` and `y` are in; None, or a tile without one: metres east and north of the centre.
        layers: the quantities; None: all that the map has.

    Raises:
        UelError: for a tile that the map was not made on.
    """
    if tile is not None:
        require_map_of_tile(radio.made_on, radio.grid, tile)
    cells = cells_of(radio.sites)
    coordinates = _coordinates(radio.grid, tile) | {
        "cell": ("cell", np.arange(len(cells)), {"long_name": "number of the cell"}),
        "cell_name": ("cell", np.array(cell_names(radio)), {"long_name": "name of the cell"}),
        "cell_site": ("cell", np.array([radio.sites.index(site) for site, _ in cells]), {"long_name": "site"}),
        "cell_azimuth": (
            "cell",
            np.array([cell.azimuth_deg for _, cell in cells]),
            {"long_name": "azimuth of the boresight", "units": "degree"},
        ),
        "cell_height": (
            "cell",
            np.array([site.position[2] for site, _ in cells]),
            {"long_name": "z of the antenna", "units": "m"},
        ),
    }
    described = {"grid_mapping": "spatial_ref"} if "spatial_ref" in coordinates else {}
    variables = {
        layer.name: (
            ("cell", "y", "x"),
            layer.values,
            {"long_name": layer.description, "units": layer.unit, **described},
        )
        for layer in (layers_of(radio, {}) if layers is None else layers)
    }
    name = tile.name if tile is not None else str(radio.made_on or "empty space")
    return xarray.Dataset(variables, coordinates, _attributes(tile, f"radio map of {name}"))


def _attributes(tile: Tile | None, title: str) -> dict[str, str]:
    origin = {} if tile is None else {"tile": tile.name, "fingerprint": tile.fingerprint}
    return {"Conventions": CF_VERSION, "title": title, "source": f"uel {__version__}", **origin}


def _coordinates(grid: Grid, tile: Tile | None) -> dict[str, Any]:
    """`x` and `y` of the pixels' centres, and with a projection its grid mapping as `spatial_ref`."""
    axis = (np.arange(grid.count) + 0.5) * grid.pixel - grid.size / 2
    crs = tile.meta.get("crs") if tile is not None else None
    if tile is None or not crs:
        return {
            "x": ("x", axis, {"long_name": "east of the tile's centre", "units": "m"}),
            "y": ("y", axis, {"long_name": "north of the tile's centre", "units": "m"}),
        }
    import pyproj

    east, north = tile.meta["origin"]
    projection = pyproj.CRS.from_user_input(crs)
    names = ("projection_x_coordinate", "easting"), ("projection_y_coordinate", "northing")
    x, y = ({"standard_name": standard, "long_name": long, "units": "m"} for standard, long in names)
    mapping = {**projection.to_cf(), "spatial_ref": projection.to_wkt()}
    return {"x": ("x", east + axis, x), "y": ("y", north + axis, y), "spatial_ref": ((), 0, mapping)}
