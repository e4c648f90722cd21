"""A fix on the square: its density, the regions of 50 and 90 %, the answer, and the truth where it is known."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from uel.core.grid import Grid
from uel.errors import UelError
from uel.estimation.credible_regions import hpd_outlines, pixel_probability
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.plots.axes import (
    axes_or_new,
    colour_bar,
    draw_building_outlines,
    draw_buildings,
    draw_sites,
    figure_of,
    image_extent,
    map_axes,
    scale_bar,
)

PIXELS_PER_SIDE = 128  # of a drawn density
REGION_LINES = {0.5: "-", 0.9: "--"}  # by the probability that a region holds
ANSWER_COLOUR, TRUTH_COLOUR, REGION_COLOUR = "#D55E00", "#F0E442", "#009E73"


def plot_fix(
    fix: Fix,
    ax: Axes | None = None,
    number: int = 0,
    tile: Tile | None = None,
    truth: Sequence[float] | None = None,
) -> Axes:
    """Draw one fix of a batch.

    Args:
        fix: a batch.
        ax: to draw on; None: those of a new figure.
        number: of the fix in the batch.
        tile: below the density, with its buildings and sites; None: a square around all patches.
        truth: the true position (x, y) in metres, where it is known.

    Raises:
        UelError: for a number that the batch does not have.
    """
    if not 0 <= number < len(fix.log_heatmap):
        got, do = f"{number} of {len(fix.log_heatmap)} fixes", "choose a number from 0"
        raise UelError("there is no such fix in the batch", got=got, do=do)
    parts = (fix.log_heatmap, fix.mean, fix.component_covariance)
    one, ax = Fix(*(values[number : number + 1].detach().cpu() for values in parts)), axes_or_new(ax)
    size = _square_of(one) if tile is None else tile.size
    grid = Grid(size=size, pixel=size / PIXELS_PER_SIDE)
    pixels = pixel_probability(one, grid)
    draw_density(ax, pixels.numpy(), size)
    if tile is not None:
        draw_buildings(ax, tile)
        draw_building_outlines(ax, tile)
        draw_sites(ax, tile.sites if tile.has_sites else (), size)
    for level, line in REGION_LINES.items():
        rings = [ring for polygon in hpd_outlines(pixels, grid, level) for ring in polygon]
        for n, ring in enumerate(rings):
            label = f"region of {level:.0%}" if n == 0 else None
            ax.plot(*np.array(ring).T, line, color=REGION_COLOUR, linewidth=1.2, label=label, zorder=7)
    answer, error = one.position[0].tolist(), ""
    ax.plot(*answer, "X", markersize=10, color=ANSWER_COLOUR, markeredgecolor="white", label="fix", zorder=10)
    if truth is not None:
        ax.plot(*truth, "*", markersize=14, color=TRUTH_COLOUR, markeredgecolor="black", label="truth", zorder=9)
        error = f", {float(np.hypot(*np.subtract(answer, truth))):.0f} m from the truth"
    scale_bar(ax, size)
    map_axes(ax, size, f"fix: ({answer[0]:.0f}, {answer[1]:.0f}) m ± {float(one.std[0]):.0f} m{error}")
    ax.legend(loc="upper right", fontsize=8)
    return ax


def draw_density(ax: Axes, probability: Float[np.ndarray, "row column"], size: float) -> None:
    """Draw probabilities of pixels as a density, with a root: lesser hypotheses stay visible beside a sharp peak."""
    density = probability / (size / len(probability)) ** 2
    top = max(float(np.quantile(density, 0.9995)), 1e-12)
    norm = PowerNorm(0.5, vmin=0, vmax=top * 1e4)
    picture = ax.imshow(density * 1e4, cmap="Blues", norm=norm, **image_extent(size))
    colour_bar(figure_of(ax), ax, picture, "probability in % per 100 m²")


def _square_of(fix: Fix) -> float:
    """Side in metres of a square around the origin that holds the means of all patches, and their deviations."""
    spread = fix.component_covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    return 2.0 * float((fix.mean.abs() + 2 * spread).max())
