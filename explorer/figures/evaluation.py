"""Figures of an evaluation: error distributions, ratios by condition, calibration, error maps, the worst fixes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure

from explorer.style import condition_label, method_label, method_style, tier_label
from uel.plots.axes import colour_bar, image_extent, map_axes, new_figure, scale_bar
from uel.results.evaluation import ConditionResult, position_errors

RATIO_TICKS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0)  # on an axis of them
TableRows = Sequence[Mapping[str, str]]
CONDITION_WORDS: dict[str, Callable[[str], str]] = {
    "map": condition_label,
    "sigma_db": "σ {} dB".format,
    "correlation": "correlated {}".format,
    "k": "K {}".format,
    "dropout": "dropout {}".format,
    "sites": "{} sites".format,
    "carrier": lambda value: f"{float(value) / 1e9:g} GHz",
    "track": str,
}


def all_errors(cells: Sequence[ConditionResult], method: str) -> np.ndarray:
    """Position errors of a method in m, all deployments in one array."""
    return np.concatenate([position_errors(cell, method).numpy() for cell in cells])


def cdf_figure(by_tier: Mapping[str, Sequence[ConditionResult]]) -> Figure:
    """Cumulative distribution of every method's errors, a panel for each tier."""
    figure = new_figure(4.6 * len(by_tier), 5.4 if len(by_tier) == 1 else 4.4)
    axes = np.atleast_1d(figure.subplots(1, len(by_tier), sharey=True))  # type: ignore[call-overload]
    for ax, (tier, cells) in zip(axes, by_tier.items(), strict=True):
        for method in cells[0].methods:
            error = np.sort(all_errors(cells, method))
            style = method_style(method)
            wide = 2.4 if method in ("limit", "locator") else 1.3
            fraction = np.arange(1, len(error) + 1) / len(error)
            ax.step(
                error,
                fraction,
                where="post",
                color=style.colour,
                linestyle=style.line,
                linewidth=wide,
                label=style.label,
            )
        ax.set(xscale="log", xlim=(1, 500), ylim=(0, 1), xlabel="error in m", title=tier_label(tier))
        ax.grid(alpha=0.3, which="both", linewidth=0.5)
    axes[0].set_ylabel("fraction of phones")
    _legend_below(figure, axes)
    return figure


def _legend_below(figure: Figure, axes: np.ndarray) -> None:
    """Draw one legend below panels that show the same methods."""
    handles, ncols = axes[0].get_legend_handles_labels(), min(4, 2 * len(axes))
    figure.legend(*handles, loc="outside lower center", ncols=ncols, fontsize=8, frameon=False)


def ratio_figure(rows: TableRows, base: Mapping[str, Any], methods: Sequence[str]) -> Figure:
    """Median error over the limit's by condition, with the interval over deployments."""
    names = list(dict.fromkeys(condition_name(row, base) for row in rows if row["r50"]))
    figure = new_figure(8.2, 1.6 + 0.27 * len(names))
    ax = figure.add_subplot()
    for shift, method in enumerate(methods):
        style = method_style(method)
        rows_by_condition = {condition_name(row, base): row for row in rows if row["method"] == method and row["r50"]}
        up = 0.7 * ((shift + 0.5) / len(methods) - 0.5)
        offsets = [(names.index(name) + up, row) for name, row in rows_by_condition.items()]
        y = [offset for offset, _ in offsets]
        r, low, high = (np.array([float(row[c]) for _, row in offsets]) for c in ("r50", "r50_low", "r50_high"))
        bars = np.stack([(r - low).clip(0), (high - r).clip(0)])
        ax.errorbar(r, y, xerr=bars, fmt="o", markersize=4.5, color=style.colour, elinewidth=1, label=style.label)
    ax.axvline(1.0, color="black", linestyle="--", linewidth=1)
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="median error over the limit's (r50)", xscale="log")
    low, high = ax.get_xlim()
    ticks = [tick for tick in RATIO_TICKS if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.tick_params(axis="both", which="both", labelsize=8)
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x", which="both", linewidth=0.5)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def condition_name(row: Mapping[str, str], base: Mapping[str, Any]) -> str:
    """The tier of a condition and what differs from the base: "RSRP + TA + azimuth, wrong buildings, K 3"."""
    usual = {**base, "track": "single", "carrier": f"{base['carrier']:g}"}
    differences = [written(row[name]) for name, written in CONDITION_WORDS.items() if row[name] != str(usual[name])]
    return ", ".join([tier_label(row["tier"]), *differences])


def calibration_figure(by_tier: Mapping[str, Sequence[ConditionResult]]) -> Figure:
    """Fraction of true positions inside regions of each claimed probability; a calibrated method lies on the
    diagonal."""
    figure = new_figure(4.2 * len(by_tier), 4.6)
    axes = np.atleast_1d(figure.subplots(1, len(by_tier), sharey=True))  # type: ignore[call-overload]
    claimed = np.linspace(0, 1, 101)
    for ax, (tier, cells) in zip(axes, by_tier.items(), strict=True):
        for method in (m for m, values in cells[0].methods.items() if "level" in values):
            level = np.concatenate([cell.methods[method]["level"] for cell in cells])
            style = method_style(method)
            held = (level[:, None] <= claimed).mean(0)
            ax.plot(claimed, held, color=style.colour, linestyle=style.line, linewidth=1.6, label=style.label)
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        ax.set(
            xlim=(0, 1), ylim=(0, 1), xlabel="claimed probability of the region", title=tier_label(tier), aspect="equal"
        )
        ax.grid(alpha=0.3, linewidth=0.5)
    axes[0].set_ylabel("fraction of true positions inside")
    _legend_below(figure, axes)
    return figure


def error_map_figure(cell: ConditionResult, size: float, methods: Sequence[str]) -> Figure:
    """True positions of a deployment's phones, coloured by the position error of each method."""
    figure = new_figure(6.0 * len(methods), 5.4)
    for ax, method in zip(np.atleast_1d(figure.subplots(1, len(methods))), methods, strict=True):  # type: ignore[call-overload]
        error = position_errors(cell, method).numpy().clip(1)
        x, y = cell.position.T
        order = np.argsort(error)  # the worst on top
        points = ax.scatter(
            x[order], y[order], c=error[order], s=13, cmap="cividis", norm=LogNorm(1, 300), linewidths=0
        )
        _sites(ax, cell)
        map_axes(ax, size, f"{method_label(method)}: median {np.median(error):.1f} m")
        scale_bar(ax, size)
        colour_bar(figure, ax, points, "error in m")
    return figure


def worst_figure(cell: ConditionResult, size: float) -> Figure:
    """The locator's heatmaps of its worst fixes (above), and the limit's posterior for the same reports (below)."""
    worst = cell.worst
    count = len(worst["truth"])
    figure = new_figure(3.5 * count, 7.4)
    for row, (kind, estimate, name) in enumerate(
        (("heatmap", "estimate", "locator"), ("limit", "limit_estimate", "the limit"))
    ):
        for index in range(count):
            ax = figure.add_subplot(2, count, row * count + index + 1)
            heat = worst[kind][index].astype(np.float32)
            norm = PowerNorm(0.5, vmin=0, vmax=max(float(np.quantile(heat, 0.999)), 1e-9))
            ax.imshow(heat, cmap="Blues", norm=norm, **image_extent(size))
            _sites(ax, cell, int(worst["serving"][index]))
            truth, answer = worst["truth"][index], worst[estimate][index]
            ax.plot(*truth, marker="*", markersize=14, color="#F0E442", markeredgecolor="black", linestyle="none")
            ax.plot(*answer, marker="X", markersize=9, color="#D55E00", markeredgecolor="white", linestyle="none")
            map_axes(ax, size, f"{name}: {np.linalg.norm(truth - answer):.0f} m error")
            ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    figure.suptitle("star: true position · cross: estimate · orange disc: serving site", fontsize=10)
    return figure


def _sites(ax: Axes, cell: ConditionResult, serving: int | None = None) -> None:
    if "sites" not in cell.worst:
        return
    x, y, _ = cell.worst["sites"].T
    face = ["#D55E00" if k == serving or serving is None else "#bdbdbd" for k in range(len(x))]
    ax.scatter(x, y, c=face, s=45, edgecolors="white", linewidths=1.1, zorder=6)
