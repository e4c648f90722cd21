"""A tile from above: heights of buildings in the light of the north-west, and the cells."""

import numpy as np
from matplotlib.axes import Axes

from uel.geo.tile import Tile
from uel.plots.axes import (
    axes_or_new,
    colour_bar,
    draw_building_outlines,
    draw_sites,
    figure_of,
    hillshade,
    image_extent,
    map_axes,
    scale_bar,
    top_value,
)
from uel.radio.sites import Site


def plot_tile(tile: Tile, ax: Axes | None = None, sites: tuple[Site, ...] | None = None) -> Axes:
    """Draw shaded heights above the ground, with cells and a scale bar.

    Args:
        tile: to draw.
        ax: to draw on; None: those of a new figure.
        sites: whose cells are drawn; None: those of the tile, if it has any.
    """
    ax, size = axes_or_new(ax), tile.size
    above = (tile.rasters["height"] - tile.rasters["ground"]).clamp(min=0).numpy()
    shade = hillshade(tile.rasters["height"].numpy(), tile.raster_grid.pixel)
    picture = ax.imshow(above, cmap="YlGnBu", vmin=0, vmax=max(top_value(above), 1.0), **image_extent(size))
    ax.imshow(np.zeros_like(shade), cmap="gray", vmin=0, vmax=1, alpha=0.55 * (1 - shade), **image_extent(size))
    draw_building_outlines(ax, tile)
    own = tile.sites if tile.has_sites else ()
    draw_sites(ax, own if sites is None else sites, size)
    scale_bar(ax, size)
    map_axes(ax, size, f"{tile.name}: heights{' and cells' if sites or own else ''}")
    colour_bar(figure_of(ax), ax, picture, "height above ground in m")
    return ax
