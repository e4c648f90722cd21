"""Parts of plots: empty figures, axes in m, rasters, buildings, sites, colour bars, scale bars."""

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, Wedge
from matplotlib.patheffects import withStroke

from uel.geo.tile import Tile
from uel.radio.sites import Site, cells_of

TEXT_COLOUR, BUILDING_COLOUR, TEXT_HALO = "#202124", "#5f6368", [withStroke(linewidth=2.5, foreground="white")]

SILENT_COLOUR = "#999999"  # of places where nothing is heard
MAX_NUMBERED_CELLS = 40  # on one plot: the numbers of more would hide it


def new_figure(width: float, height: float) -> Figure:
    """A figure of inches that no session of pyplot keeps."""
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float = 6.6, height: float = 5.6) -> Axes:
    """The axes as they are, or those of a new figure of pyplot, which notebooks show."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """A figure as PNG; equal figures give equal bytes."""
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def map_axes(ax: Axes, size: float, title: str) -> None:
    half = size / 2
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xlabel="east in m", ylabel="north in m")
    ax.set_title(title, fontsize=11)


def image_extent(size: float) -> dict[str, Any]:
    half = size / 2
    return {"extent": (-half, half, -half, half), "origin": "lower", "interpolation": "nearest"}


def colour_bar(figure: Figure, ax: Axes, picture: object, label: str) -> None:
    figure.colorbar(picture, ax=ax, label=label, shrink=0.82, pad=0.02)  # type: ignore[arg-type]


def draw_values(
    ax: Axes,
    values: np.ndarray,
    known: np.ndarray,
    size: float,
    *,
    colours: str,
    label: str,
    least: float = -math.inf,
) -> None:
    """Draw a raster (row 0 in the south) with its colour bar; hatched where it is not known.

    Colours end at the 1st and 99th percentile of the known values, and not below `least`.
    """
    masked = np.ma.array(values, mask=~known)
    low, high = value_range(masked.compressed(), least)
    picture = ax.imshow(masked, cmap=colours, vmin=low, vmax=high, **image_extent(size))
    hatch_unknown(ax, ~known, size)
    colour_bar(figure_of(ax), ax, picture, label)


def scale_bar(ax: Axes, size: float) -> None:
    length = max(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= max(size / 4, 1))
    x, y = -0.46 * size, -0.46 * size
    ax.plot(
        [x, x + length], [y, y], color=TEXT_COLOUR, linewidth=3, solid_capstyle="butt", path_effects=TEXT_HALO, zorder=8
    )
    ax.text(
        x + length / 2,
        y + size / 80,
        f"{length} m",
        ha="center",
        va="bottom",
        fontsize=8,
        path_effects=TEXT_HALO,
        zorder=8,
    )


def draw_sites(
    ax: Axes, sites: tuple[Site, ...], size: float, only: int | None = None, strong: int | None = None
) -> None:
    """Draw sectors as wedges and omnidirectional cells as discs; highlight `only` or `strong`.

    Up to `MAX_NUMBERED_CELLS` have their numbers. Sites off the square are not drawn.
    """
    numbered = len(cells_of(sites)) <= MAX_NUMBERED_CELLS
    for number, (site, cell) in enumerate(cells_of(sites)):
        (x, y, _), radius = site.position, size / 26
        if max(abs(x), abs(y)) > size / 2:
            continue
        main = number in (only, strong) or (only is None and strong is None)
        face = "#D55E00" if main else "#bdbdbd"
        omni, middle = cell.omnidirectional, 90 - cell.azimuth_deg
        if omni:
            ax.plot(x, y, "o", markersize=9, color=face, markeredgecolor="white", markeredgewidth=1.2, zorder=6)
            label = (x, y + size / 45)
        else:
            wedge = Wedge((x, y), radius, middle - 32, middle + 32, facecolor=face, edgecolor="white", zorder=6)
            ax.add_patch(wedge)
            label = tuple(c + 1.35 * radius * f(math.radians(middle)) for c, f in ((x, math.cos), (y, math.sin)))
        if not numbered:
            continue
        vertical = "bottom" if omni else "center"
        ax.text(
            *label,
            str(number),  # type: ignore[call-arg]
            ha="center",
            va=vertical,
            fontsize=8,
            weight="bold",
            path_effects=TEXT_HALO,
            zorder=7,
        )


def draw_building_outlines(ax: Axes, tile: Tile) -> None:
    """Draw the outlines of buildings."""
    footprint = tile.rasters["footprint"].numpy()
    if footprint.min() < 0.5 <= footprint.max():
        axis = tile.raster_grid.centres()[0, :, 0].numpy()
        ax.contour(axis, axis, footprint, levels=[0.5], colors=BUILDING_COLOUR, linewidths=0.6, alpha=0.8)


def draw_buildings(ax: Axes, tile: Tile) -> None:
    """Draw buildings as a translucent grey layer."""
    footprint = tile.rasters["footprint"].numpy()
    ax.imshow(np.ma.masked_less(footprint, 0.5), cmap="gray", vmin=0, vmax=2, alpha=0.18, **image_extent(tile.size))


def hatch_unknown(ax: Axes, mask: np.ndarray, size: float) -> None:
    """Hatch the area where a map is not known."""
    if mask.any():
        back = Rectangle((-size / 2, -size / 2), size, size, facecolor="#dcdcdc", hatch="////", edgecolor="#b0b0b0")
        back.set(linewidth=0, zorder=-1)
        ax.add_patch(back)


def hillshade(height: np.ndarray, pixel: float) -> np.ndarray:
    """Brightness under light from the north-west at 45°: 0 dark, 1 as flat ground."""
    up, across = np.gradient(height, pixel)
    normal = 1 / np.sqrt(1 + across**2 + up**2)
    light = np.array([-0.5, 0.5, math.sqrt(0.5)])
    return np.clip((-across * light[0] - up * light[1] + light[2]) * normal / light[2], 0, 1)


def value_range(values: Sequence[float] | np.ndarray, least: float = -math.inf) -> tuple[float, float]:
    """The 1st and 99th percentile of the finite values, at least 1 apart and not below `least`."""
    values = np.asarray(values)[np.isfinite(values)]
    if len(values) == 0:
        return (0.0, 1.0) if math.isinf(least) else (least, least + 1.0)
    low, high = np.maximum(np.quantile(values, [0.01, 0.99]), least)
    return float(low), float(max(high, low + 1.0))


def top_value(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.99))
