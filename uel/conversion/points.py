"""Fixes and cells of measured networks as points of geopandas."""

import geopandas

from uel.conversion.tables import fix_rows
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.measurement.measured_network import MeasuredNetwork


def fix_points(fix: Fix, tile: Tile) -> geopandas.GeoDataFrame:
    """`fix_rows` with a point for each fix, in the tile's projection. Raises `UelError` for a tile without one."""
    crs = tile.meta.get("crs")
    if not crs:
        do = "use to_dataframe(), whose positions are in metres on the tile"
        raise UelError("this tile is nowhere on earth", got=f"{tile.folder}: no CRS in tile.json", do=do)
    table, (east, north) = fix_rows(fix), tile.meta["origin"]
    return geopandas.GeoDataFrame(
        table, geometry=geopandas.points_from_xy(table["x"] + east, table["y"] + north), crs=crs
    )


def cell_points(network: MeasuredNetwork) -> geopandas.GeoDataFrame:
    """A point for each listed cell with its antenna, in the network's projection."""
    listed = network.cells.is_listed.nonzero()[:, 0]
    cells = network.cells.select(listed)
    numbers = ("height", "azimuth_deg", "electrical_tilt_deg", "mechanical_tilt_deg", "frequency", "power_dbm")
    columns = {"cell": listed.numpy(), "cell_id": list(cells.cell_id)}
    columns |= {name: getattr(cells, name).numpy() for name in numbers}
    (east, north), place = network.origin, cells.position.double().numpy()
    points = geopandas.points_from_xy(place[:, 0] + east, place[:, 1] + north)
    return geopandas.GeoDataFrame(columns, geometry=points, crs=network.crs)
