"""Figures of a run: tile, radio map, one fix, errors, training. Pure functions that return a Matplotlib `Figure`.

They keep no pyplot state: each figure has its own Agg canvas and belongs to the caller. Positions are in m, x east,
y north.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from explorer.style import LINE_COLOURS, RUN_METHOD_STYLES, tier_label
from uel.geo.tile import Tile
from uel.plots.axes import (
    TEXT_HALO,
    draw_building_outlines,
    draw_buildings,
    draw_sites,
    map_axes,
    new_figure,
    scale_bar,
)
from uel.plots.fix import draw_density
from uel.plots.radio_map import plot_radio_map
from uel.plots.tile import plot_tile
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site

LABEL_GAP = 30.0  # m between candidates that both have room for a label


@dataclass(frozen=True, kw_only=True)
class ExampleFix:
    """One fix beside the limit, as `example.npz` holds it (metres)."""

    truth: np.ndarray
    estimate: np.ndarray
    covariance: np.ndarray
    heatmap: np.ndarray
    candidates: np.ndarray
    candidate_probability: np.ndarray
    candidate_std: np.ndarray
    posterior: np.ndarray
    limit_estimate: np.ndarray
    serving: int
    rsrp_dbm: np.ndarray
    heard: np.ndarray
    tier: str


# ---- the five figures ---------------------------------------------------------------------------------


def tile_figure(tile: Tile, sites: tuple[Site, ...]) -> Figure:
    """Shaded building heights of a tile, with its cells and a scale bar."""
    figure = new_figure(7.4, 6.4)
    plot_tile(tile, figure.add_subplot(), sites)
    return figure


def radio_figure(tile: Tile, radio: RadioMap, cell: int) -> Figure:
    """RSRP of one cell in dBm beside its Monte-Carlo error in dB; pixels without a path are hatched."""
    figure = new_figure(12.6, 5.6)
    for ax, channel in zip(figure.subplots(1, 2), ("rsrp", "error"), strict=True):
        plot_radio_map(radio, ax, cell, channel, tile)
    return figure


def fix_figure(tile: Tile, sites: tuple[Site, ...], example: ExampleFix) -> Figure:
    """The locator's heatmap, candidates and estimate beside the exact posterior of the limit."""
    figure = new_figure(12.6, 5.9)
    left, right = figure.subplots(1, 2)
    for ax, probability in ((left, example.heatmap), (right, example.posterior)):
        draw_density(ax, probability, tile.size)
        draw_buildings(ax, tile)
        draw_building_outlines(ax, tile)
        draw_sites(ax, sites, tile.size, strong=example.serving)
        _points(ax, example)
    _candidates(left, example)
    off, limit_off = (math.dist(p, example.truth) for p in (example.estimate, example.limit_estimate))
    map_axes(left, tile.size, f"locator: {off:.0f} m error ({tier_label(example.tier)}, {_cells_heard(example)})")
    map_axes(right, tile.size, f"grid Bayes, the limit: {limit_off:.0f} m error")
    scale_bar(left, tile.size)
    figure.legend(handles=_fix_legend(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def error_figure(errors: Mapping[str, np.ndarray], truth: str = "map") -> Figure:
    """Cumulative distributions of position errors, a panel for each tier; the limit is dashed in black.

    `errors` maps `truth/tier/method` to errors in m, one entry per phone.
    """
    tiers = sorted({key.split("/")[1] for key in errors if key.startswith(f"{truth}/")})
    figure = new_figure(4.3 * max(len(tiers), 1) + 0.4, 4.5)
    panels = np.atleast_1d(figure.subplots(1, max(len(tiers), 1), sharey=True))
    for ax, tier in zip(panels, tiers, strict=False):
        for method in (m for m in RUN_METHOD_STYLES if f"{truth}/{tier}/{m}" in errors):
            _curve(ax, errors[f"{truth}/{tier}/{method}"], method)
        ax.set(xscale="log", xlim=(1, 500), ylim=(0, 1), xlabel="error in m", title=tier_label(tier))
        ax.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
        ax.axhline(0.5, color="#c0c0c0", linewidth=0.8, zorder=0)
        ax.grid(alpha=0.25)
    panels[0].set_ylabel("fraction of fixes below")
    labels = {method: style.label for method, style in RUN_METHOD_STYLES.items()}
    if truth != "map":
        labels["grid_bayes"] = "grid Bayes (no bound on ray-traced reports)"
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.line, linewidth=2, label=labels[method])
        for method, style in RUN_METHOD_STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Position error, reports drawn from the {'map' if truth == 'map' else 'ray-traced paths'}")
    return figure


def training_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Training losses and validation errors over steps; `curves` maps a name to (step, value)."""
    figure = new_figure(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    losses = [name for name in curves if not name.startswith("val_")]
    for name, colour in zip(losses, LINE_COLOURS[1:], strict=False):
        _trace(left, *curves[name], name, colour)
    for name, colour in zip((n for n in curves if n.startswith("val_")), LINE_COLOURS[1:], strict=False):
        right.plot(*curves[name], color=colour, marker="o", markersize=4, label=name)
    left.set(xlabel="step", ylabel="loss (faint: each step, line: running mean)", title="Training losses")
    right.set(xlabel="step", ylabel="m", title="Validation error", ylim=(0, None))
    for ax in (left, right):
        ax.grid(alpha=0.25)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False)
    return figure


# ---- parts of one figure -------------------------------------------------------------------


def _points(ax: Axes, example: ExampleFix) -> None:
    ax.plot(*example.truth, "*", markersize=14, color="#F0E442", markeredgecolor="black", zorder=9)
    ax.plot(
        *example.limit_estimate,
        "s",
        markersize=8,
        color="none",
        markeredgecolor="black",
        markeredgewidth=2,
        zorder=9,
    )
    ax.plot(*example.estimate, "X", markersize=10, color="#D55E00", markeredgecolor="white", zorder=10)


def _cells_heard(example: ExampleFix) -> str:
    count = int(example.heard.sum())
    return f"{count} cell heard" if count == 1 else f"{count} cells heard"


def _candidates(ax: Axes, example: ExampleFix) -> None:
    """Draw 1 σ ellipses of candidates of at least 1 %, with their probabilities where labels do not overlap."""
    labelled: list[np.ndarray] = []
    for position, std, p in zip(example.candidates, example.candidate_std, example.candidate_probability, strict=True):
        if p >= 0.01:
            ax.add_patch(
                Ellipse(
                    tuple(position),
                    *(2 * std),
                    facecolor="none",
                    edgecolor="#009E73",
                    linewidth=0.8 + 2 * p,
                    zorder=8,
                )
            )
            if any(abs(position - other).max() < LABEL_GAP for other in labelled):
                continue
            labelled.append(position)
            ax.text(
                *(position + std),
                f"{100 * p:.0f} %",  # type: ignore[call-arg]
                fontsize=8,
                color="#00664d",
                path_effects=TEXT_HALO,
                zorder=9,
                clip_on=True,
            )


def _fix_legend() -> list[Line2D]:
    kind: dict[str, Any] = {"linestyle": "none", "color": "none"}
    return [
        Line2D(
            [],
            [],
            marker="*",
            markersize=14,
            markerfacecolor="#F0E442",
            markeredgecolor="black",
            label="truth",
            **kind,
        ),
        Line2D(
            [],
            [],
            marker="X",
            markersize=9,
            markerfacecolor="#D55E00",
            markeredgecolor="white",
            label="locator",
            **kind,
        ),
        Line2D(
            [],
            [],
            marker="s",
            markersize=8,
            markeredgecolor="black",
            markeredgewidth=2,
            label="limit",
            **kind,
        ),
        Line2D([], [], marker="o", markersize=12, markeredgecolor="#009E73", label="candidate, 1 σ", **kind),
        Line2D(
            [],
            [],
            marker="o",
            markersize=9,
            markerfacecolor="#D55E00",
            markeredgecolor="white",
            label="serving cell",
            **kind,
        ),
    ]


def _curve(ax: Axes, error: np.ndarray, method: str) -> None:
    style = RUN_METHOD_STYLES[method]
    fraction = np.arange(1, len(error) + 1) / len(error)
    wide = 2.2 if method in ("locator", "grid_bayes") else 1.4
    ax.step(
        np.sort(error),
        fraction,
        where="post",
        color=style.colour,
        linestyle=style.line,
        linewidth=wide,
        zorder=3 + wide,
    )


def _trace(ax: Axes, step: np.ndarray, value: np.ndarray, name: str, colour: str) -> None:
    ax.plot(step, value, color=colour, alpha=0.25, linewidth=0.8)
    width = max(1, len(value) // 20)
    mean = np.convolve(value, np.ones(width) / width, mode="valid")
    ax.plot(step[width - 1 :], mean, color=colour, linewidth=1.8, label=name)
