"""A measured network from above: buildings, cells, and the level on each measured square."""

import numpy as np
import torch
from matplotlib.axes import Axes

from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork
from uel.plots.axes import axes_or_new, image_extent
from uel.plots.points import draw_levels
from uel.radio.antennas.array import Array
from uel.radio.sites import Cell

SECTOR_CELL = Cell(array=Array(pattern="tr38901"))  # drawn as a wedge


def plot_network(network: MeasuredNetwork, ax: Axes | None = None, cell: int | None = None) -> Axes:
    """Draw the district's buildings, the listed cells, and levels on the measured squares.

    Args:
        network: to draw.
        ax: to draw on; None: those of a new figure.
        cell: whose levels are drawn; None: the strongest level of each square.

    Raises:
        UelError: for a cell that the network does not have.
    """
    if cell is not None and not 0 <= cell < len(network.cells):
        got, do = f"{cell} of {len(network.cells)} cells", "choose a number from 0, or None for the strongest"
        raise UelError("the network has no such cell", got=got, do=do)
    ax, size = axes_or_new(ax), network.grid.size
    rasters = network.rasters
    built = np.ma.masked_less((~rasters.outdoors).numpy().astype(float), 0.5)
    ax.imshow(built, cmap="gray", vmin=0, vmax=2, alpha=0.25, **image_extent(size))
    shown = network if cell is None else network.with_cells(torch.tensor([cell], device="cpu"))
    level = shown.level_dbm.masked_fill(~shown.is_reported, -torch.inf).amax(1)
    whose = "strongest cell" if cell is None else f"cell {network.cells.cell_id[cell]}"
    draw_levels(
        ax,
        size,
        network.position,
        level,
        shown.is_reported.any(1),
        title=f"{network.name}: {len(network):,} measured squares",
        sites=shown.cells.sites(rasters.datum, SECTOR_CELL),
        label=f"RSRP of the {whose} in dBm",
    )
    return ax
