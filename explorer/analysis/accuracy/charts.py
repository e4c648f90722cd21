"""Charts of accuracy: distributions of errors, success rates, errors by scenario, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.analysis.accuracy.comparison import (
    YARDSTICK_METHOD,
    ErrorsByMethod,
    estimated,
    statistic_of,
)
from explorer.analysis.accuracy.scenarios import Scenario
from explorer.analysis.charts import with_layout
from explorer.style import (
    GREY,
    LOCATOR_COLOUR,
    RUN_METHOD_STYLES,
    Theme,
    css_colour,
    hex_colour,
    method_style,
    run_method_label,
)

RUN_DASHES = ("solid", "dash", "dot", "dashdot")  # of runs side by side
GUIDE_LABELS = {0.5: "half of the fixes", 0.95: "19 of 20"}
ERROR_TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000)  # m
MIN_ERROR = 0.5  # m, where the logarithmic axis begins
BOX_PERCENTS = (5, 25, 50, 75, 95)  # ends of whiskers and box, and the line in it


def error_cdf(errors: ErrorsByMethod, truth: str, theme: Theme) -> go.Figure:
    """Cumulative distributions of errors by (run, method), with guides at p50 and p95; runs differ in dashes, grid
    Bayes is dashed."""
    plot = go.Figure()
    for (run, method), of_method in errors.items():
        error, fraction = of_method.error.numpy(), np.linspace(0, 1, 201)
        name = method_name(errors, run, method, truth)
        plot.add_scatter(
            x=np.quantile(error, fraction).clip(MIN_ERROR), y=fraction, mode="lines", name=name,
            line={
                "color": _method_colour(method, theme), "dash": _dash(errors, run, method),
                "width": 3 if method in ("locator", YARDSTICK_METHOD) else 1.8,
            },
            hovertemplate="%{y:.0%} within %{x:.1f} m<extra>" + name + "</extra>",
        )  # fmt: skip
    for fraction, label in GUIDE_LABELS.items():
        plot.add_hline(
            y=fraction, line={"color": theme.ink, "dash": "dot", "width": 1}, annotation_text=label,
            annotation_position="top left", annotation_font_size=12,
        )  # fmt: skip
    most = max([500.0, *(float(of_method.error.max()) for of_method in errors.values())])
    plot.update_xaxes(title="error in m", range=[0, np.log10(most)], gridcolor=theme.grid, **_log_axis())
    plot.update_yaxes(title="fraction of fixes within", tickformat=".0%", range=[0, 1.01], gridcolor=theme.grid)
    return with_layout(plot, 520)


def _log_axis() -> dict[str, Any]:
    return {"type": "log", "tickvals": list(ERROR_TICKS), "ticktext": [f"{tick}" for tick in ERROR_TICKS]}


def _method_colour(method: str, theme: Theme) -> str:
    """A method's colour; that of grid Bayes is the colour of the page's text."""
    return theme.ink if method == YARDSTICK_METHOD else method_style(method, RUN_METHOD_STYLES).colour


def _dash(errors: ErrorsByMethod, run: str, method: str) -> str:
    runs = list(dict.fromkeys(name for name, _ in errors))
    return "dash" if method == YARDSTICK_METHOD else RUN_DASHES[runs.index(run) % len(RUN_DASHES)]


def method_name(errors: ErrorsByMethod, run: str, method: str, truth: str) -> str:
    """A method's name for readers, with its run where there are several."""
    label = run_method_label(method, truth)
    return label if len({name for name, _ in errors}) == 1 else f"{label}, {run}"


def success_chart(errors: ErrorsByMethod, truth: str, radius: float, theme: Theme) -> go.Figure:
    """Bars of the fraction of fixes within `radius` m with 90 % intervals, the best method on top."""
    within = statistic_of("within", radius)
    found = {key: estimated(of_method, within) for key, of_method in errors.items()}
    order = sorted(found, key=lambda key: found[key].value)
    low, high = (
        [0.0 if (end := getattr(found[key], side)) is None else abs(found[key].value - end) for key in order]
        for side in ("low", "high")
    )
    plot = go.Figure()
    plot.add_bar(
        y=[method_name(errors, *key, truth) for key in order],
        x=[found[key].value for key in order],
        orientation="h",
        marker_color=[_method_colour(method, theme) for _, method in order],
        error_x={"array": high, "arrayminus": low, "color": theme.ink, "thickness": 1.2, "width": 3},
        text=[f"{found[key].value:.0%}" for key in order],
        textposition="inside",
        insidetextanchor="start",
        hovertemplate="%{y}: %{x:.0%}<extra></extra>",
    )
    plot.update_xaxes(title=f"fixes within {radius:g} m", tickformat=".0%", range=[0, 1], gridcolor=theme.grid)
    return with_layout(plot, 90 + 36 * len(order)).update_layout(showlegend=False)


def scenario_chart(found: Sequence[Scenario], theme: Theme) -> go.Figure:
    """Bars of the locator's errors by scenario, from p25 to p75 with whiskers from p5 to p95 and a line at the median;
    the median of grid Bayes is a diamond.

    They are bars of errors, because Plotly draws boxes of given quartiles wrongly on an axis of two levels.
    """
    groups = [scenario.group for scenario in found]
    labels = [f"{scenario.label} (n={len(scenario.error)})" for scenario in found]
    low, lower, median, upper, high = (
        [max(float(np.quantile(scenario.error, p / 100)), MIN_ERROR) for scenario in found] for p in BOX_PERCENTS
    )
    plot = go.Figure()
    whiskers = {
        "array": np.subtract(high, median),
        "arrayminus": np.subtract(median, low),
        "thickness": 1.5,
        "width": 5,
    }
    box = {"array": np.subtract(upper, median), "arrayminus": np.subtract(median, lower), "thickness": 9, "width": 0}
    colour = css_colour(LOCATOR_COLOUR)
    for name, bars, size in (("p5 to p95", whiskers, 0), ("locator, p25 to p75", box, 13)):
        plot.add_scatter(
            y=[groups, labels], x=median, mode="markers", name=name, error_x={**bars, "color": colour},
            marker={"symbol": "line-ns", "size": size, "line": {"color": theme.ink, "width": 3}},
            hovertemplate="median %{x:.1f} m<extra></extra>", showlegend=size > 0,
        )  # fmt: skip
    plot.add_scatter(
        y=[groups, labels], x=[max(float(np.median(scenario.yardstick)), MIN_ERROR) for scenario in found],
        mode="markers", name="grid Bayes, median", marker={"symbol": "diamond", "size": 9, "color": theme.ink},
        hovertemplate="grid Bayes: median %{x:.1f} m<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title="error in m", gridcolor=theme.grid, **_log_axis())
    plot.update_yaxes(autorange="reversed")
    return with_layout(plot, 110 + 34 * len(found))


def calibration_chart(ranks: Mapping[str, np.ndarray], theme: Theme) -> go.Figure:
    """Fraction of credible regions that hold the true position, against the probability that they claim."""
    plot = go.Figure()
    claimed = np.linspace(0, 1, 41)
    plot.add_scatter(
        x=claimed,
        y=claimed,
        mode="lines",
        name="calibrated",
        line={"color": hex_colour(GREY), "dash": "dot", "width": 2},
    )
    for name, rank in ranks.items():
        coverage = (rank[:, None] <= claimed).mean(0)
        colour = css_colour(LOCATOR_COLOUR) if name == "locator" else theme.ink
        line = {"color": colour, "dash": "solid" if name == "locator" else "dash", "width": 3}
        plot.add_scatter(x=claimed, y=coverage, mode="lines", name=name, line=line)
    plot.update_xaxes(title="probability of the region", tickformat=".0%", range=[0, 1], gridcolor=theme.grid)
    plot.update_yaxes(title="regions with the true position", tickformat=".0%", range=[0, 1.01], gridcolor=theme.grid)
    return with_layout(plot, 340)


def importance_chart(increase: Mapping[str, np.ndarray], theme: Theme) -> go.Figure:
    """Bars of the mean increase of the error in m by feature, with a dot for each swap."""
    names = list(increase)
    means = [float(np.mean(values)) if len(values) else 0.0 for values in increase.values()]
    plot = go.Figure()
    plot.add_bar(
        y=names, x=means, orientation="h", marker_color=css_colour(LOCATOR_COLOUR, 0.75), name="mean",
        hovertemplate="%{y}: mean %{x:+.1f} m<extra></extra>",
    )  # fmt: skip
    for name, values in increase.items():
        plot.add_scatter(
            y=[name] * len(values), x=values.round(2), mode="markers", showlegend=False,
            marker={"color": theme.ink, "size": 5, "opacity": 0.6}, hovertemplate="%{x:+.1f} m<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title="change of this phone's error in m", gridcolor=theme.grid)
    plot.update_yaxes(autorange="reversed")
    return with_layout(plot, 100 + 44 * len(names)).update_layout(showlegend=False)
