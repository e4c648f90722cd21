"""Reports: levels by cell and number of the report, or on the map where their positions are known."""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.reports import Reports
from uel.plots.axes import axes_or_new, colour_bar, figure_of, value_range
from uel.plots.points import draw_levels
from uel.radio.sites import Site

MAX_CELL_ROWS = 40  # cells of a plot of levels: the ones that most reports hear


def plot_reports(
    reports: Reports,
    ax: Axes | None = None,
    position: Float[Tensor, "report 2"] | None = None,
    tile: Tile | None = None,
    sites: tuple[Site, ...] = (),
) -> Axes:
    """Draw the levels of each report, a column each; with positions the levels of the serving cell on the map.

    Args:
        reports: of axes (report, cell).
        ax: to draw on; None: those of a new figure.
        position: of the phones in m, where they are known.
        tile: below the positions.
        sites: drawn with the positions; none: those of the tile, if it has any.

    Raises:
        UelError: for no report, reports of more axes, as many positions as there are not reports, and a tile without
            positions.
    """
    if reports.rsrp_dbm.ndim != 2 or not len(reports):
        got = f"reports of shape {tuple(reports.rsrp_dbm.shape)}"
        do = "give reports of axes (report, cell), at least one: reports[0] is the first track of a survey's"
        raise UelError("these reports cannot be drawn", got=got, do=do)
    if position is None and tile is not None:
        do = "give position=…, in metres of the tile, or leave the tile out"
        raise UelError("reports are drawn on a tile where they were made", got="no positions", do=do)
    reports = Reports(**{name: values.cpu() for name, values in vars(reports).items()})
    if position is None:
        return _draw_columns(reports, axes_or_new(ax, 7.6, 4.2))
    if len(position) != len(reports):
        got = f"{len(position)} positions, {len(reports)} reports"
        raise UelError("each report needs a position", got=got, do="give one (x, y) in metres for each report")
    position, ax, heard = position.detach().cpu(), axes_or_new(ax), reports.heard.any(-1) & reports.received
    level = reports.at_serving(reports.rsrp_dbm)
    size = 2.2 * max(float(position.abs().max()), 10.0) if tile is None else tile.size
    own = sites or (tile.sites if tile is not None and tile.has_sites else ())
    draw_levels(ax, size, position, level, heard, title=f"{len(reports):,} reports", tile=tile, sites=own)
    return ax


def _draw_columns(reports: Reports, ax: Axes) -> Axes:
    """Levels as an image: a column for each report, a row for each of the cells that most reports hear."""
    counts = reports.heard.sum(0)
    cells = counts.argsort(descending=True, stable=True)[: min(MAX_CELL_ROWS, max(int((counts > 0).sum()), 1))]
    cells = cells.sort().values
    level, heard = reports.rsrp_dbm[:, cells].T.numpy(), reports.heard[:, cells].T.numpy()
    low, high = value_range(level[heard])
    shown = np.ma.array(level, mask=~heard)
    picture = ax.imshow(
        shown, cmap="viridis", vmin=low, vmax=high, aspect="auto", interpolation="nearest", origin="lower"
    )
    served = reports.heard.any(-1).nonzero()[:, 0]
    row = torch.searchsorted(cells, reports.serving[served]).clamp(max=len(cells) - 1)
    is_shown = cells[row] == reports.serving[served]
    ax.plot(served[is_shown].numpy(), row[is_shown].numpy(), "o", color="#D55E00", markersize=4, label="serving cell")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    ax.yaxis.set_major_formatter(lambda value, _: str(int(cells[int(value)])) if 0 <= value < len(cells) else "")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    left_out = "" if len(cells) == int((counts > 0).sum()) else f", the {len(cells)} cells that most of them hear"
    ax.set(xlabel="number of the report", ylabel="number of the cell", title=f"{len(reports):,} reports{left_out}")
    colour_bar(figure_of(ax), ax, picture, "RSRP in dBm (blank: not heard)")
    if len(served):
        ax.legend(loc="upper right", fontsize=8)
    return ax
