"""Places on the square, coloured by a level: reports, tracks of a survey, measured squares."""

from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from torch import Tensor

from uel.geo.tile import Tile
from uel.plots.axes import (
    SILENT_COLOUR,
    colour_bar,
    draw_building_outlines,
    draw_buildings,
    draw_sites,
    figure_of,
    map_axes,
    scale_bar,
    value_range,
)
from uel.radio.sites import Site

LEVEL_LABEL = "RSRP of the serving cell in dBm"


def draw_levels(
    ax: Axes,
    size: float,
    position: Float[Tensor, "n 2"],
    level_dbm: Float[Tensor, " n"],
    heard: Bool[Tensor, " n"],
    *,
    title: str,
    tile: Tile | None = None,
    sites: tuple[Site, ...] = (),
    label: str = LEVEL_LABEL,
) -> None:
    """Draw positions (m) coloured by their levels, over the buildings of a tile; grey where nothing is heard."""
    if tile is not None:
        draw_buildings(ax, tile)
        draw_building_outlines(ax, tile)
    x, y = position[~heard].T.numpy()
    ax.scatter(x, y, s=6, color=SILENT_COLOUR, linewidths=0)
    x, y = position[heard].T.numpy()
    values = level_dbm[heard].numpy()
    low, high = value_range(values)
    dots = ax.scatter(x, y, s=9, c=values, cmap="viridis", vmin=low, vmax=high, linewidths=0, zorder=4)
    draw_sites(ax, sites, size)
    scale_bar(ax, size)
    colour_bar(figure_of(ax), ax, dots, label)
    map_axes(ax, size, title)
