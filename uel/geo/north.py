"""True north and grid north: azimuths from outside count from the former, a tile's y axis points to the latter."""

from uel.geo.tile import Tile


def grid_convergence_deg(tile: Tile, x: float, y: float) -> float:
    """Angle in degrees from true north to the tile's grid north at a place, clockwise; 0 without a georeference.

    A grid azimuth is the true azimuth minus the convergence (Snyder, Map Projections, USGS 1987, chapter 8).

    Args:
        tile: whose y axis is grid north of its CRS.
        x, y: metres east and north of the tile's centre.
    """
    if not tile.meta.get("crs"):
        return 0.0
    from pyproj import Proj, Transformer

    east, north = tile.meta["origin"]
    longitude, latitude = Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True).transform(
        x + east, y + north
    )
    return float(Proj(tile.meta["crs"]).get_factors(longitude, latitude).meridian_convergence)


def grid_azimuth_deg(tile: Tile, x: float, y: float, true_azimuth_deg: float) -> float:
    """Azimuth from grid north of an azimuth from true north at a place on the tile, in degrees in [0, 360)."""
    turned = true_azimuth_deg - grid_convergence_deg(tile, x, y)
    return round(turned % 360.0, 4) % 360.0
