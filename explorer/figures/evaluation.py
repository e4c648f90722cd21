"""Pictures of an evaluation: error curves, ratios by condition, calibration, where errors lie, the worst fixes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure

from explorer.figures.axes import colour_bar, image_extent, map_axes, new_figure, scale_bar
from uel.results.evaluation import ConditionResult, position_errors

# Okabe and Ito's palette as in `explorer.figures.overview`; the limit black, locators vermilion, others in colours of
# their own.
STYLE: dict[str, tuple[str, str, str]] = {
    "limit": ("the limit", "#000000", "--"),
    "locator": ("locator", "#D55E00", "-"),
    "locator_refined": ("locator, refined on the map", "#882255", "-"),
    "locator_retraced": ("locator, maps traced anew", "#882255", "--"),
    "locator_ray_rescored": ("locator, re-scored by rays", "#117733", "-"),
    "locator-buildings": ("locator, shown no buildings", "#D55E00", ":"),
    "locator-radio": ("locator, shown no radio maps", "#D55E00", "-."),
    "grid_robust": ("robust grid Bayes", "#0072B2", "-"),
    "grid_bayes_corrected": ("grid Bayes, map put right", "#332288", "-"),
    "grid_bayes_retraced": ("grid Bayes, maps traced anew", "#332288", "--"),
    "grid_bayes": ("grid Bayes", "#0072B2", ":"),
    "particle_filter": ("particle filter", "#0072B2", "-"),
    "knn_map": ("kNN on the map", "#56B4E9", "-"),
    "knn_survey": ("kNN on a survey", "#009E73", "-"),
    "cell_id_ta": ("cell + timing advance", "#CC79A7", "-"),
    "cell_id": ("strongest cell", "#E69F00", "-"),
    "prior_median": ("tile centre", "#999999", ":"),
    "no_map": ("control: no map", "#CC79A7", ":"),
    "shuffled_map": ("control: shuffled map", "#E69F00", ":"),
}
OTHERS = ("#999933", "#44AA99", "#AA4499")  # rivals
RATIO_TICKS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0)  # on an axis of them
TableRows = Sequence[Mapping[str, str]]
CONDITION_WORDS: dict[str, Callable[[str], str]] = {
    "map": str,
    "sigma_db": "σ {} dB".format,
    "correlation": "correlated {}".format,
    "k": "K {}".format,
    "dropout": "dropout {}".format,
    "sites": "{} sites".format,
    "carrier": lambda value: f"{float(value) / 1e9:g} GHz",
    "track": str,
}


def label(method: str) -> str:
    """What people call a method; `…_last` knows the last report of a track alone."""
    plain = method.removesuffix("_last")
    name = STYLE[plain][0] if plain in STYLE else plain
    return name + (", last report alone" if plain != method else "")


def colour(method: str) -> str:
    plain = method.removesuffix("_last")
    return STYLE[plain][1] if plain in STYLE else OTHERS[sum(map(ord, plain)) % len(OTHERS)]


def all_errors(cells: Sequence[ConditionResult], method: str) -> np.ndarray:
    """Errors in metres of all deployments."""
    return np.concatenate([position_errors(cell, method).numpy() for cell in cells])


def cdf_figure(by_tier: Mapping[str, Sequence[ConditionResult]]) -> Figure:
    """Cumulative distribution of every method's errors, a panel for each tier."""
    figure = new_figure(4.6 * len(by_tier), 5.4 if len(by_tier) == 1 else 4.4)
    axes = np.atleast_1d(figure.subplots(1, len(by_tier), sharey=True))  # type: ignore[call-overload]
    for ax, (tier, cells) in zip(axes, by_tier.items(), strict=True):
        for method in cells[0].methods:
            error = np.sort(all_errors(cells, method))
            line = STYLE[method][2] if method in STYLE else "-"
            wide = 2.4 if method in ("limit", "locator") else 1.3
            share = np.arange(1, len(error) + 1) / len(error)
            ax.step(
                error, share, where="post", color=colour(method), linestyle=line, linewidth=wide, label=label(method)
            )
        ax.set(xscale="log", xlim=(1, 500), ylim=(0, 1), xlabel="error in m", title=tier)
        ax.grid(alpha=0.3, which="both", linewidth=0.5)
    axes[0].set_ylabel("share of phones")
    _legend_below(figure, axes)
    return figure


def _legend_below(figure: Figure, axes: np.ndarray) -> None:
    """One legend for panels that show the same, no wider than they are."""
    handles, ncols = axes[0].get_legend_handles_labels(), min(4, 2 * len(axes))
    figure.legend(*handles, loc="outside lower center", ncols=ncols, fontsize=8, frameon=False)


def ratio_figure(rows: TableRows, base: Mapping[str, Any], methods: Sequence[str]) -> Figure:
    """Median error over the limit's by condition, with the interval over deployments."""
    names = list(dict.fromkeys(condition_name(row, base) for row in rows if row["r50"]))
    figure = new_figure(8.2, 1.6 + 0.27 * len(names))
    ax = figure.add_subplot()
    for shift, method in enumerate(methods):
        mine = {condition_name(row, base): row for row in rows if row["method"] == method and row["r50"]}
        up = 0.7 * ((shift + 0.5) / len(methods) - 0.5)
        spots = [(names.index(name) + up, row) for name, row in mine.items()]
        y = [spot for spot, _ in spots]
        r, low, high = (np.array([float(row[c]) for _, row in spots]) for c in ("r50", "r50_low", "r50_high"))
        bars = np.stack([(r - low).clip(0), (high - r).clip(0)])
        ax.errorbar(r, y, xerr=bars, fmt="o", markersize=4.5, color=colour(method), elinewidth=1, label=label(method))
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
    """What sets a condition apart from the base, after its tier: "rsrp_ta_azimuth wrong_buildings", "rsrp_ta_azimuth
    K 3"."""
    usual = {**base, "track": "single", "carrier": f"{base['carrier']:g}"}
    odd = [words(row[name]) for name, words in CONDITION_WORDS.items() if row[name] != str(usual[name])]
    return " ".join([row["tier"], *odd])


def calibration_figure(by_tier: Mapping[str, Sequence[ConditionResult]]) -> Figure:
    """How many truths lie in regions of each claimed probability; the diagonal is honest."""
    figure = new_figure(4.2 * len(by_tier), 4.6)
    axes = np.atleast_1d(figure.subplots(1, len(by_tier), sharey=True))  # type: ignore[call-overload]
    claimed = np.linspace(0, 1, 101)
    for ax, (tier, cells) in zip(axes, by_tier.items(), strict=True):
        for method in (m for m, values in cells[0].methods.items() if "level" in values):
            level = np.concatenate([cell.methods[method]["level"] for cell in cells])
            line = STYLE[method][2] if method in STYLE else "-"
            held = (level[:, None] <= claimed).mean(0)
            ax.plot(claimed, held, color=colour(method), linestyle=line, linewidth=1.6, label=label(method))
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="claimed probability of the region", title=tier, aspect="equal")
        ax.grid(alpha=0.3, linewidth=0.5)
    axes[0].set_ylabel("share of truths inside")
    _legend_below(figure, axes)
    return figure


def error_map_figure(cell: ConditionResult, size: float, methods: Sequence[str]) -> Figure:
    """Every phone of a deployment where it truly is, coloured by the error of some methods."""
    figure = new_figure(6.0 * len(methods), 5.4)
    for ax, method in zip(np.atleast_1d(figure.subplots(1, len(methods))), methods, strict=True):  # type: ignore[call-overload]
        error = position_errors(cell, method).numpy().clip(1)
        x, y = cell.position.T
        order = np.argsort(error)  # the worst on top
        points = ax.scatter(
            x[order], y[order], c=error[order], s=13, cmap="cividis", norm=LogNorm(1, 300), linewidths=0
        )
        _sites(ax, cell)
        map_axes(ax, size, f"{label(method)}: median {np.median(error):.1f} m")
        scale_bar(ax, size)
        colour_bar(figure, ax, points, "error in m")
    return figure


def worst_figure(cell: ConditionResult, size: float) -> Figure:
    """The locator's worst fixes (above) and the limit's posterior of the same reports (below)."""
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
            map_axes(ax, size, f"{name}: {np.linalg.norm(truth - answer):.0f} m off")
            ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    figure.suptitle("star: truth · cross: answer · orange disc: serving site", fontsize=10)
    return figure


def _sites(ax: Axes, cell: ConditionResult, serving: int | None = None) -> None:
    if "sites" not in cell.worst:
        return
    x, y, _ = cell.worst["sites"].T
    face = ["#D55E00" if k == serving or serving is None else "#bdbdbd" for k in range(len(x))]
    ax.scatter(x, y, c=face, s=45, edgecolors="white", linewidths=1.1, zorder=6)
