"""Charts for the explorer: pure functions from results to Plotly figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.overview import STYLE
from explorer.style import CATEGORY_COLOURS, GREEN, LIMIT_COLOUR, LOCATOR_COLOUR, RGB, SKY, Theme, css_colour

RUN_DASHES = ("solid", "dash", "dot", "dashdot")  # of runs, side by side
TIMELINE_SIDES = (74, 16)  # px left and right of a timeline's axes
TIMELINE_ENDS = (34, 44)  # px above and below them
TIMELINE_HEIGHT = 430  # px
STREAMLIT_GAP = 16  # px that Streamlit leaves between what is below one another
TIER_NAMES = {
    "rsrp": "rsrp: levels",
    "rsrp_ta": "rsrp_ta: + timing advance",
    "rsrp_ta_azimuth": "rsrp_ta_azimuth: + serving azimuth",
}


def label(method: str) -> str:
    """A method's name for readers."""
    return STYLE[method][0] if method in STYLE else method


def colour(method: str, theme: Theme) -> str:
    """The limit in ink, the others in Okabe and Ito's colours."""
    return (
        theme.ink
        if method == "grid_bayes"
        else STYLE[method][1]
        if method in STYLE
        else css_colour(CATEGORY_COLOURS[-1])
    )


def error_cdf(errors: Mapping[tuple[str, str], np.ndarray], theme: Theme) -> go.Figure:
    """Distribution of errors in m, by (run, method); runs differ in dashes, the limit is dashed as everywhere."""
    plot = go.Figure()
    runs = list(dict.fromkeys(run for run, _ in errors))
    for (run, method), error in errors.items():
        share = np.linspace(0, 1, 201)
        dash = "dash" if method == "grid_bayes" else RUN_DASHES[runs.index(run) % len(RUN_DASHES)]
        width = 3 if method in ("locator", "grid_bayes") else 1.8
        name = label(method) if len(runs) == 1 else f"{label(method)}, {run}"
        plot.add_scatter(
            x=np.quantile(error, share).clip(0.5), y=share, mode="lines", name=name,
            line={"color": colour(method, theme), "dash": dash, "width": width},
            hovertemplate="%{y:.0%} within %{x:.1f} m<extra>" + name + "</extra>",
        )  # fmt: skip
    ticks = [1, 3, 10, 30, 100, 300]
    plot.update_xaxes(title="error in m", type="log", range=[0, np.log10(500)], tickvals=ticks, gridcolor=theme.grid)
    plot.update_yaxes(title="share of fixes within", tickformat=".0%", range=[0, 1.01], gridcolor=theme.grid)
    return _laid_out(plot, 560)


def ratio_bars(ratios: Mapping[str, float], theme: Theme, title: str) -> go.Figure:
    """Errors over those of the limit, by condition; 1 is the limit itself."""
    names, values = (
        ["<br>".join(name.rsplit(" ", 1 + ("n=" in name))) for name in ratios],
        [round(v, 3) for v in ratios.values()],
    )
    plot = go.Figure()
    plot.add_bar(
        x=names,
        y=values,
        marker_color=css_colour(LOCATOR_COLOUR),
        text=[f"{v:.2f}" for v in values],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
    )
    plot.add_hline(y=1.0, line={"color": theme.ink, "dash": "dash"}, annotation_text="the limit")
    plot.update_yaxes(title=title, range=[0, max([1.2, *values]) * 1.18], gridcolor=theme.grid)
    return _laid_out(plot, 340)


def calibration_chart(ranks: Mapping[str, np.ndarray], theme: Theme) -> go.Figure:
    """How often regions hold the truth, against the probability that they claim."""
    plot = go.Figure()
    claimed = np.linspace(0, 1, 41)
    plot.add_scatter(
        x=claimed, y=claimed, mode="lines", name="calibrated", line={"color": theme.ink, "dash": "dash", "width": 1.5}
    )
    for name, rank in ranks.items():
        held = (rank[:, None] <= claimed).mean(0)
        line = {"color": css_colour(LOCATOR_COLOUR if name == "locator" else SKY), "width": 3}
        plot.add_scatter(x=claimed, y=held, mode="lines", name=name, line=line)
    plot.update_xaxes(title="probability of the region", tickformat=".0%", range=[0, 1], gridcolor=theme.grid)
    plot.update_yaxes(title="regions that hold the truth", tickformat=".0%", range=[0, 1.01], gridcolor=theme.grid)
    return _laid_out(plot, 340)


def timeline_chart(
    time: np.ndarray, level_dbm: np.ndarray, heard: np.ndarray, more: Mapping[str, np.ndarray], theme: Theme
) -> go.Figure:
    """Levels of every cell heard, and other measurements, over time; NaN in `more` is a gap.

    It stays as it is while time goes on, for a browser takes a third of a second to draw it: `now_line` lies over it.
    """
    plot = make_subplots(
        rows=1 + len(more), cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[2.2, *([1] * len(more))]
    )
    for cell in np.flatnonzero(heard.any(0)):
        shown = np.where(heard[:, cell], level_dbm[:, cell], None)  # type: ignore[call-overload]
        style = {"color": css_colour(CATEGORY_COLOURS[cell % len(CATEGORY_COLOURS)])}
        plot.add_scatter(x=time, y=shown, mode="lines+markers", name=f"cell {cell}", line=style, row=1, col=1)
    for row, (name, values) in enumerate(more.items(), start=2):
        shown = [None if np.isnan(v) else float(v) for v in values]
        plot.add_scatter(
            x=time, y=shown, mode="markers+lines", name=name, line={"color": theme.ink, "width": 1}, showlegend=False,
            row=row, col=1,
        )  # fmt: skip
        plot.update_yaxes(title=name.replace(" in ", "<br>in "), row=row, col=1, gridcolor=theme.grid)
    plot.update_yaxes(title="RSRP in dBm", row=1, col=1, gridcolor=theme.grid)
    plot.update_xaxes(range=list(_span(time)))
    plot.update_xaxes(title="time in s", row=1 + len(more), col=1)
    plot.update_yaxes(automargin=False)
    (left, right), (above, below) = TIMELINE_SIDES, TIMELINE_ENDS
    margin = {"l": left, "r": right, "t": above, "b": below}
    return _laid_out(plot, TIMELINE_HEIGHT).update_layout(margin=margin)


def now_line(time: np.ndarray, now: int) -> str:
    """A line of HTML at a moment, to be put right before a `timeline_chart`."""
    first, last = _span(time)
    share = (float(time[now]) - first) / (last - first)
    (left, right), (above, below) = TIMELINE_SIDES, TIMELINE_ENDS
    return (
        f"<div style='position:relative; height:0'><div style='position:absolute; z-index:5; pointer-events:none; "
        f"left:calc({left}px + {share:.4f} * (100% - {left + right}px)); top:{above + STREAMLIT_GAP}px; "
        f"height:{TIMELINE_HEIGHT - above - below}px; border-left:2px solid {css_colour(LOCATOR_COLOUR)}'></div></div>"
    )


def _span(time: np.ndarray) -> tuple[float, float]:
    """s, with a margin, at the ends of a timeline."""
    first, last = float(time.min()), float(time.max())
    margin = 0.03 * (last - first) or 1.0
    return first - margin, last + margin


def delay_profile(delay_ns: np.ndarray, gain_db: np.ndarray, cell: np.ndarray, theme: Theme) -> go.Figure:
    """Every path as a stem: delay in ns, gain in dB, coloured by cell."""
    plot = go.Figure()
    floor = float(gain_db.min() - 8) if len(gain_db) else -150.0
    for which in np.unique(cell):
        own = cell == which
        x, y = delay_ns[own].round(2), gain_db[own].round(2)
        style = css_colour(CATEGORY_COLOURS[int(which) % len(CATEGORY_COLOURS)])
        stems = [v for a, b in zip(x, y, strict=True) for v in ((a, floor), (a, b), (None, None))]
        plot.add_scatter(
            x=[v[0] for v in stems], y=[v[1] for v in stems], mode="lines", line={"color": style, "width": 1.2},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        plot.add_scatter(x=x, y=y, mode="markers", marker={"color": style, "size": 7}, name=f"cell {which}")
    plot.update_xaxes(title="delay in ns", gridcolor=theme.grid)
    plot.update_yaxes(title="path gain in dB", gridcolor=theme.grid)
    return _laid_out(plot, 300)


def bar_chart(values: Mapping[str, float], unit: str, theme: Theme, tint: RGB = GREEN) -> go.Figure:
    """One bar a name, from left to right."""
    names, numbers = list(values), [round(float(v), 3) for v in values.values()]
    plot = go.Figure()
    plot.add_bar(
        y=names,
        x=numbers,
        orientation="h",
        marker_color=css_colour(tint),
        text=[f"{v:.3g}" for v in numbers],
        textposition="auto",
    )
    plot.update_xaxes(title=unit, gridcolor=theme.grid)
    plot.update_yaxes(autorange="reversed")
    return _laid_out(plot, 90 + 44 * max(len(names), 1))


def curve_chart(
    told: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str, theme: Theme, log: bool = False
) -> go.Figure:
    """Named (step, value) curves."""
    plot = go.Figure()
    for n, (name, (step, value)) in enumerate(told.items()):
        mode = "lines+markers" if len(step) < 12 else "lines"
        plot.add_scatter(
            x=step,
            y=value,
            mode=mode,
            name=name,
            line={"color": css_colour(CATEGORY_COLOURS[n % len(CATEGORY_COLOURS)]), "width": 2},
        )
    plot.update_xaxes(title="step", gridcolor=theme.grid)
    plot.update_yaxes(title=unit, type="log" if log else "linear", gridcolor=theme.grid)
    return _laid_out(plot, 330)


def attention_map(weights: np.ndarray, theme: Theme) -> go.Figure:
    """Shares of attention, layers down and cells across."""
    layers, cells = weights.shape
    plot = go.Figure()
    plot.add_heatmap(
        z=weights.round(3), x=[f"cell {n}" for n in range(cells)], y=[f"layer {n + 1}" for n in range(layers)],
        colorscale="cividis", zmin=0, zmax=float(weights.max()), texttemplate="%{text}",
        text=[[f"{v:.0%}" for v in row] for row in weights], colorbar={"thickness": 12, "tickformat": ".0%"},
    )  # fmt: skip
    plot.update_yaxes(autorange="reversed")
    return _laid_out(plot, 110 + 60 * layers)


def architecture_chart(patches: int, width: int, layers: tuple[int, int], parameters: int, theme: Theme) -> go.Figure:
    """What goes into a locator, what it does with it, and what comes out."""
    plot = go.Figure()
    boxes = [
        (0.0, 1.0, "reports<br><i>RSRP · TA · azimuth</i>", SKY),
        (0.0, 0.0, "maps of the city<br><i>radio map · buildings</i>", SKY),
        (1.0, 1.0, f"radio encoder<br><i>{layers[1]} layers over cells</i>", LOCATOR_COLOUR),
        (1.0, 0.0, f"map encoder<br><i>{layers[0]} layers, {patches}×{patches} patches</i>", LOCATOR_COLOUR),
        (1.0, 0.5, "evidence<br><i>log-likelihood of every pixel</i>", LIMIT_COLOUR),
        (2.0, 0.5, "two hypotheses<br><i>the map is right · is wrong here</i>", LOCATOR_COLOUR),
        (3.0, 0.5, "fix<br><i>heatmap · position · covariance</i>", GREEN),
    ]
    ways = [(0, 2), (1, 3), (0, 4), (1, 4), (2, 5), (3, 5), (4, 5), (5, 6), (2, 3)]
    for start, end in ways:
        _arrow(plot, boxes[start][:2], boxes[end][:2], theme)
    for x, y, text, tint in boxes:
        plot.add_shape(
            type="rect",
            x0=x - 0.4,
            x1=x + 0.4,
            y0=y - 0.17,
            y1=y + 0.17,
            fillcolor=css_colour(tint, 0.22),
            line={"color": css_colour(tint), "width": 2},
        )
        plot.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 13, "color": theme.ink})
    said = f"{parameters:,} parameters · width {width} · evidence skips straight to the heatmap".replace(",", "\u202f")
    plot.add_annotation(x=2.5, y=-0.12, text=said, showarrow=False, font={"size": 12, "color": theme.ink})
    plot.update_xaxes(visible=False, range=[-0.45, 3.45])
    plot.update_yaxes(visible=False, range=[-0.25, 1.25])
    return _laid_out(plot, 270).update_layout(margin={"t": 4})


def _arrow(plot: go.Figure, start: tuple[float, float], end: tuple[float, float], theme: Theme) -> None:
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:  # down, from edge to edge
        return
    plot.add_annotation(
        x=x1 - 0.41, y=y1, ax=x0 + 0.41, ay=y0, xref="x", yref="y", axref="x", ayref="y", showarrow=True, arrowhead=2,
        arrowwidth=1.4, arrowcolor=theme.ink, text="",
    )  # fmt: skip


def _laid_out(plot: go.Figure, height: int) -> go.Figure:
    legend: dict[str, Any] = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}
    return plot.update_layout(height=height, margin={"l": 10, "r": 16, "t": 34, "b": 10}, legend=legend)
