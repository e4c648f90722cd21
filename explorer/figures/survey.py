"""Figures of a survey's sample: free space, arrivals, levels, line of sight, histograms of features, and a map."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from explorer.style import BLACK, BLUE, GREY, VERMILION, hex_colour
from uel.geo.tile import Tile
from uel.plots.axes import new_figure
from uel.plots.survey import draw_sample_levels
from uel.survey.checks import (
    FREE_SPACE_CHECK_DISTANCE,
    THROUGH_WALL_EXCESS,
    Excess,
    Links,
    los_fraction_by_distance,
    los_probability_3gpp,
)
from uel.survey.feature_schema import Feature
from uel.survey.sample import TileSample

MAX_POINTS = 20_000  # of a scatter plot
PANEL_COLUMNS = 5  # of small multiples
MIN_REPORTS_PER_BIN = 20  # of distance; bins with fewer are not drawn


def free_space_figure(links: Links) -> Figure:
    """Gain of direct paths, and of whole links in line of sight, over free space and antenna patterns."""
    figure = new_figure(12.6, 4.6)
    left, right = figure.subplots(1, 2)
    shown = links.has_direct_path & ~links.in_antenna_null
    _scatter(left, links.distance[shown], links.direct_excess_db[shown])
    left.set(xlabel="distance in m", ylabel="dB over free space", title="direct paths alone")
    near = links.in_sight & ~links.in_antenna_null & (links.distance < FREE_SPACE_CHECK_DISTANCE)
    _histogram(
        right,
        links.excess_gain_db[near],
        "dB over free space",
        f"whole links in line of sight within {FREE_SPACE_CHECK_DISTANCE:g} m",
    )
    return figure


def arrival_figure(links: Links, fit: Excess) -> Figure:
    """Excess of first arrivals over the straight line with and without line of sight, with the fitted exponential."""
    figure = new_figure(12.6, 4.6)
    left, right = figure.subplots(1, 2)
    _scatter(left, links.distance[links.in_sight], links.excess_range[links.in_sight])
    left.set(xlabel="distance in m", ylabel="c · arrival − distance in m", title="links in line of sight")
    excess = links.excess_range[links.blocked].clamp(min=0)
    _histogram(right, excess, "c · arrival − distance in m", "blocked links", log=True)
    if fit.scale > 0:
        low, high = right.get_ylim()
        axis = np.linspace(THROUGH_WALL_EXCESS, float(excess.max()), 200)
        width = np.diff(_bin_edges(excess.numpy()))[0]
        late = fit.count * (1 - fit.through)
        density = late * width / fit.scale * np.exp(-(axis - THROUGH_WALL_EXCESS) / fit.scale)
        right.plot(axis, density, color=hex_colour(VERMILION), label=f"exponential, scale {fit.scale:.1f} m")
        right.set_ylim(low, high)
        right.legend(fontsize=8)
    return figure


def levels_figure(panels: Mapping[str, Sequence[Tensor]], tiles: Sequence[str]) -> Figure:
    """One violin for each tile and panel, with medians and quartiles."""
    figure = new_figure(12.6, 1.6 + 0.55 * len(tiles) * -(-len(panels) // 2))
    axes = figure.subplots(-(-len(panels) // 2), 2, squeeze=False)
    for ax, (title, values) in zip(axes.flat, panels.items(), strict=False):
        filled = [k for k, tile_values in enumerate(values) if len(tile_values) > 1]
        if filled:
            violins = ax.violinplot(
                [values[k].numpy() for k in filled],
                [-k for k in filled],
                orientation="horizontal",
                showmedians=True,
                quantiles=[[0.25, 0.75]] * len(filled),
                showextrema=False,
                widths=0.85,
            )
            violins["cmedians"].set_color(hex_colour(VERMILION))
        ax.set_yticks([-k for k in range(len(tiles))], tiles, fontsize=8)
        ax.set_title(title, fontsize=10)
    for ax in list(axes.flat)[len(panels) :]:
        ax.axis("off")
    return figure


def sight_figure(samples: Sequence[TileSample]) -> Figure:
    """Fraction of links in line of sight by horizontal distance, for each tile and for all, beside curves of 3GPP."""
    figure = new_figure(7.4, 4.8)
    ax = figure.add_subplot()
    for sample in samples:
        _plot_fraction(ax, sample.ground_distance(), sample.truth.los, hex_colour(GREY), 0.8, None)
    level, los = (torch.cat([of(s).flatten() for s in samples]) for of in (TileSample.ground_distance, _los))
    _plot_fraction(ax, level, los, hex_colour(BLUE), 2.2, "all tiles (thin: each)")
    axis = torch.linspace(10, max(float(level.max()) if len(level) else 0.0, 100.0), 300)
    for scenario, style in (("UMi", "--"), ("UMa", ":")):
        curve = los_probability_3gpp(axis, scenario)
        ax.plot(axis, curve, style, color=BLACK, label=f"TR 38.901, table 7.4.2-1: {scenario}")
    ax.set(
        xlabel="horizontal distance in m", ylabel="fraction of links in line of sight", ylim=(0, 1.02), xlim=(0, None)
    )
    ax.legend(fontsize=8)
    return figure


def histogram_figure(
    values: Mapping[str, Tensor], features: Mapping[str, Feature], known_fraction: Mapping[str, float]
) -> Figure:
    """Histograms of all real-valued features; titles give the fraction of known values."""

    def draw(ax: Axes, name: str) -> None:
        _histogram(ax, values[name].flatten(), features[name].unit if features[name].unit != "1" else "", "", log=True)

    return _small_multiples(list(features), draw, lambda name: f"{name}\nknown {known_fraction[name]:.1%}")


def count_figure(
    values: Mapping[str, Tensor], features: Mapping[str, Feature], known_fraction: Mapping[str, float]
) -> Figure:
    """Bar charts of the values of all integer features."""

    def draw(ax: Axes, name: str) -> None:
        value, count = values[name].flatten().unique(return_counts=True)
        ax.bar(value.numpy(), (count / count.sum()).numpy(), width=0.9, color=hex_colour(BLUE))
        if len(value):
            ax.set_xlim(float(value.min()) - 1, float(value.max()) + 1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))

    return _small_multiples(list(features), draw, lambda name: f"{name}\nknown {known_fraction[name]:.1%}")


def map_figure(sample: TileSample, tile: Tile | None, size: float) -> Figure:
    """Reports on their tile, coloured by the RSRP of the serving cell; grey without one."""
    figure = new_figure(8.6, 7.4)
    draw_sample_levels(figure.add_subplot(), sample, tile, size)
    return figure


# ---- pieces --------------------------------------------------------------------------------------------


def _los(sample: TileSample) -> Tensor:
    return sample.truth.los


def _scatter(ax: Axes, x: Tensor, y: Tensor) -> None:
    step = max(1, len(x) // MAX_POINTS)
    ax.scatter(x[::step], y[::step], s=3, alpha=0.4, color=hex_colour(BLUE), linewidths=0)
    ax.axhline(0, color=hex_colour(VERMILION), linewidth=0.8)
    if not len(x):
        _mark_empty(ax)


def _histogram(ax: Axes, values: Tensor, label: str, title: str, log: bool = False) -> None:
    if len(values):
        ax.hist(values.numpy(), bins=_bin_edges(values.numpy()), color=hex_colour(BLUE))
        ax.set_yscale("log" if log else "linear")
        ax.axvline(float(values.median()), color=BLACK, linestyle=":", linewidth=1.2, label="median")
    else:
        _mark_empty(ax)
    ax.set(xlabel=label, title=title)


def _bin_edges(values: np.ndarray) -> list[float]:
    """Edges of 50 bins over all values."""
    low, high = float(values.min()), float(values.max())
    spare = (abs(low) / 2 or 0.5) if high - low <= 1e-6 * abs(low) else 0.0
    return np.linspace(low - spare, high + spare, 51).tolist()


def _mark_empty(ax: Axes) -> None:
    ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", va="center", color=hex_colour(GREY))


def _plot_fraction(ax: Axes, level: Tensor, los: Tensor, colour: str, width: float, label: str | None) -> None:
    middle, known_fraction, count = los_fraction_by_distance(level, los)
    enough = count >= MIN_REPORTS_PER_BIN
    ax.plot(middle[enough], known_fraction[enough], color=colour, linewidth=width, label=label)


def _small_multiples(names: Sequence[str], draw: Callable[[Axes, str], None], title: Callable[[str], str]) -> Figure:
    rows = max(1, -(-len(names) // PANEL_COLUMNS))
    figure = new_figure(15.0, 2.3 * rows)
    axes = figure.subplots(rows, PANEL_COLUMNS, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        draw(ax, name)
        ax.set_title(title(name), fontsize=8)
        ax.tick_params(labelsize=7)
        ax.xaxis.label.set_size(7)
    for ax in list(axes.flat)[len(names) :]:
        ax.axis("off")
    return figure
