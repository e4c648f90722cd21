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
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from explorer.figures.axes import (
    TEXT_HALO,
    colour_bar,
    draw_building_outlines,
    draw_buildings,
    draw_sites,
    hatch_unknown,
    hillshade,
    image_extent,
    map_axes,
    new_figure,
    scale_bar,
    top_value,
    value_range,
)
from explorer.style import LINE_COLOURS, RUN_METHOD_STYLES, tier_label
from uel.geo.tile import Tile
from uel.radio.radio_map import RadioMap
from uel.radio.sinr import weakest_level_dbm
from uel.radio.sites import Site, reference_power_dbm

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
    ax = figure.add_subplot()
    above = (tile.rasters["height"] - tile.rasters["ground"]).clamp(min=0).numpy()
    shade = hillshade(tile.rasters["height"].numpy(), tile.raster_grid.pixel)
    picture = ax.imshow(above, cmap="YlGnBu", vmin=0, vmax=max(top_value(above), 1.0), **image_extent(tile.size))
    ax.imshow(np.zeros_like(shade), cmap="gray", vmin=0, vmax=1, alpha=0.55 * (1 - shade), **image_extent(tile.size))
    draw_building_outlines(ax, tile)
    draw_sites(ax, sites, tile.size)
    scale_bar(ax, tile.size)
    map_axes(ax, tile.size, f"{tile.name}: heights and cells")
    colour_bar(figure, ax, picture, "height above ground in m")
    return figure


def radio_figure(tile: Tile, radio: RadioMap, cell: int) -> Figure:
    """RSRP of one cell in dBm beside its Monte-Carlo error in dB; pixels without a path are hatched."""
    figure = new_figure(12.6, 5.6)
    known = radio.known[cell].numpy()
    gain = np.where(known, radio.gain[cell].numpy(), 1.0)
    level = 10 * np.log10(gain) + float(reference_power_dbm(radio.sites)[cell])
    error = 10 * np.log10(1 + np.where(known, radio.relative_error[cell].numpy(), 0.0))
    left, right = figure.subplots(1, 2)
    low, high = value_range(level[known], weakest_level_dbm(radio.sites))
    panels = (
        (left, level, "viridis", low, high, "RSRP in dBm"),
        (right, error, "magma", 0.0, max(top_value(error), 0.1), "error in dB"),
    )
    for ax, values, colours, vmin, vmax, label in panels:
        picture = ax.imshow(
            np.ma.array(values, mask=~known), cmap=colours, vmin=vmin, vmax=vmax, **image_extent(radio.grid.size)
        )
        hatch_unknown(ax, ~known, radio.grid.size)
        draw_building_outlines(ax, tile)
        draw_sites(ax, radio.sites, tile.size, only=cell)
        colour_bar(figure, ax, picture, label)
    scale_bar(left, tile.size)
    map_axes(left, tile.size, f"cell {cell}: RSRP (hatched: no path found)")
    map_axes(right, tile.size, "standard error of the map (Monte Carlo)")
    return figure


def fix_figure(tile: Tile, sites: tuple[Site, ...], example: ExampleFix) -> Figure:
    """The locator's heatmap, candidates and estimate beside the exact posterior of the limit."""
    figure = new_figure(12.6, 5.9)
    left, right = figure.subplots(1, 2)
    for ax, probability in ((left, example.heatmap), (right, example.posterior)):
        density = probability / (tile.size / len(probability)) ** 2
        top = max(float(np.quantile(density, 0.9995)), 1e-12)
        norm = PowerNorm(0.5, vmin=0, vmax=top * 1e4)  # a root: lesser hypotheses stay visible beside a sharp peak
        picture = ax.imshow(density * 1e4, cmap="Blues", norm=norm, **image_extent(tile.size))
        draw_buildings(ax, tile)
        draw_building_outlines(ax, tile)
        draw_sites(ax, sites, tile.size, strong=example.serving)
        colour_bar(figure, ax, picture, "probability in % per 100 m²")
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
