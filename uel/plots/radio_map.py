"""One quantity of a radio map over the square: of one cell, or of the strongest cell of each pixel."""

from matplotlib.axes import Axes

from uel.geo.tile import Tile
from uel.geo.tile_maps import require_map_of_tile
from uel.plots.axes import axes_or_new, draw_building_outlines, draw_sites, draw_values, map_axes, scale_bar
from uel.plots.radio_layers import ServiceRasters, layer_values, require_layer
from uel.radio.radio_map import RadioMap


def plot_radio_map(
    radio: RadioMap,
    ax: Axes | None = None,
    cell: int | None = None,
    channel: str = "rsrp",
    tile: Tile | None = None,
    service: ServiceRasters | None = None,
) -> Axes:
    """Draw a layer of a radio map; pixels that no path reaches are hatched.

    Args:
        radio: to draw.
        ax: to draw on; None: those of a new figure.
        cell: number of the cell; None: the strongest cell of each pixel.
        channel: one of `RADIO_LAYERS`.
        tile: whose buildings are outlined; None: no buildings.
        service: rasters of `uel map` beside the map's own, for the channel `throughput`.

    Raises:
        UelError: for a channel or a cell that the map does not have, and for a tile that it was not made on.
    """
    service = service or {}
    layer = require_layer(radio, service, channel, cell)
    values, known = layer_values(channel, radio, service, cell)
    ax, size = axes_or_new(ax), radio.grid.size
    unit = f"{layer.title} in {layer.unit}"
    draw_values(ax, values, known, size, colours=layer.scale, label=unit, least=layer.least(radio))
    if tile is not None:
        require_map_of_tile(radio.made_on, radio.grid, tile)
        draw_building_outlines(ax, tile)
    draw_sites(ax, radio.sites, size, only=cell)
    scale_bar(ax, size)
    whose = "strongest cell" if cell is None else f"cell {cell}"
    map_axes(ax, size, f"{whose}: {layer.title}{'' if known.all() else ' (hatched: no path)'}")
    return ax
