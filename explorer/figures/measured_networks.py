"""Figures of an evaluation on measured networks: errors by labels and by place, levels, reliability."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from uel.plots.axes import colour_bar, new_figure
from uel.results.measured_evaluation import MEAN_NAME, Draws, MeasuredResult, Row, method_scores

POINTS_SHOWN = 20_000  # levels in the picture of measured against predicted ones
RELIABILITY_LEVELS = np.linspace(0.05, 0.95, 19)


def measured_figures(result: MeasuredResult, rows: Sequence[Row]) -> dict[str, Figure]:
    """All figures by name; a figure whose data no method has is left out."""
    figures = {"error_by_labels": error_by_labels(rows)}
    best = [row for row in rows if isinstance(row["cover_90"], float)]
    if best:
        chosen = min(best, key=lambda row: float(row["p50_m"]) if row["district"] == MEAN_NAME else np.inf)
        method, labels = str(chosen["method"]), int(chosen["labels"])
        figures["reliability"] = reliability(result)
        figures["levels"] = levels(result.draws, method, labels)
        figures |= {
            f"errors-{district}": error_map(draws, method, labels, district) for district, draws in result.draws.items()
        }
    return figures


def error_by_labels(rows: Sequence[Row]) -> Figure:
    """Median error of every method against the label budget, mean of the districts, with 90 % intervals."""
    figure = new_figure(7.5, 5.0)
    ax = figure.subplots()
    own = [row for row in rows if row["district"] == MEAN_NAME]
    for method in dict.fromkeys(row["method"] for row in own):
        points = sorted((r for r in own if r["method"] == method), key=lambda r: r["labels"])
        budget = [max(int(row["labels"]), 5) for row in points]  # 0 stands at the left end of the logarithmic axis
        low, high = ([float(row[name]) for row in points] for name in ("p50_low_m", "p50_high_m"))
        (line,) = ax.plot(budget, [float(row["p50_m"]) for row in points], marker="o", label=str(method))
        ax.fill_between(budget, low, high, color=line.get_color(), alpha=0.15)
    budgets = sorted({int(row["labels"]) for row in own})
    ax.set(xscale="log", yscale="log", xlabel="labels", ylabel="median error in m")
    ax.set_xticks([max(budget, 5) for budget in budgets], [str(budget) for budget in budgets])
    ax.set_yticks(ticks := [20, 30, 50, 75, 100, 150, 200], [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def reliability(result: MeasuredResult) -> Figure:
    """Fraction of truths inside credible regions against their probability, each method and label budget."""
    figure = new_figure(5.5, 5.0)
    ax = figure.subplots()
    levels_by_key: dict[tuple[str, int], list[np.ndarray]] = {}
    for draws in result.draws.values():
        for key, scores in method_scores(draws).items():
            if scores.hpd_level is not None:
                levels_by_key.setdefault(key, []).append(scores.hpd_level)
    for (method, budget), parts in levels_by_key.items():
        covered = (np.concatenate(parts)[:, None] <= RELIABILITY_LEVELS).mean(0)
        ax.plot(RELIABILITY_LEVELS, covered, marker=".", label=f"{method}, {budget} labels")
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel="probability of the region", ylabel="fraction of phones inside", xlim=(0, 1), ylim=(0, 1))
    ax.legend(fontsize=8)
    return figure


def levels(draws: Mapping[str, Draws], method: str, labels: int) -> Figure:
    """Measured against predicted levels at the judged squares."""
    figure = new_figure(5.5, 5.0)
    ax = figure.subplots()
    key = f"{method}/{labels}"
    have = [draw for own in draws.values() for draw in own if f"{key}/measured_dbm" in draw]
    measured, predicted = (
        np.concatenate([draw[f"{key}/{name}"] for draw in have] or [np.zeros(0)])
        for name in ("measured_dbm", "predicted_dbm")
    )
    step = max(1, len(measured) // POINTS_SHOWN)
    ax.scatter(predicted[::step], measured[::step], s=2, alpha=0.2, linewidths=0)
    ax.axline((-90, -90), slope=1, color="black", linewidth=0.8)
    deviation = float(np.median(np.abs(measured - predicted))) if len(measured) else float("nan")
    title = f"{method}, {labels} labels: median deviation {deviation:.1f} dB"
    ax.set(xlabel="predicted level in dBm", ylabel="measured level in dBm", title=title, aspect="equal")
    return figure


def error_map(draws: Draws, method: str, labels: int, district: str) -> Figure:
    """Where errors are large: every judged square, all draws together."""
    figure = new_figure(6.0, 5.0)
    ax = figure.subplots()
    key = f"{method}/{labels}/error"
    have = [draw for draw in draws if key in draw]
    if have:
        position, error = np.concatenate([d["position"] for d in have]), np.concatenate([d[key] for d in have])
        dots = ax.scatter(*position.T, c=np.clip(error, 5, 500), s=6, cmap="viridis", norm=LogNorm(5, 500))
        colour_bar(figure, ax, dots, "error in m")
    ax.set(aspect="equal", xlabel="east in m", ylabel="north in m", title=f"{district}: {method}, {labels} labels")
    return figure
