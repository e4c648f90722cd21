"""A tile without its buildings: `uel.FreeSpace` above the tile's ground, with the patterns of the cells' antennas."""

from uel.geo.tile import Tile
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig


def open_tile(tile: Tile, sites: tuple[Site, ...], tracing: TracingConfig) -> FreeSpace:
    """Free space on a tile: each link is its line of sight, whatever stands in between.

    Positions (x, y) are `tracing.ue_height` above the tile's ground, as in the ray tracer, and the sites are those that
    it would accept. Raises `UelError` for no site, one inside a wall or off the tile, and for several carriers.
    """
    tile.require_sites(sites)
    return FreeSpace(
        sites,
        size=tile.size,
        ue_height=tracing.ue_height,
        ground=tile.ground,
        patterns=True,
        made_on=tile.reference,
    )
