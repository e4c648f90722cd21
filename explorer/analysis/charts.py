"""Charts for the explorer: pure functions from results to Plotly figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.style import (
    CATEGORY_COLOURS,
    GREEN,
    LOCATOR_COLOUR,
    RGB,
    SKY,
    Theme,
    cell_colour,
    css_colour,
)

TIMELINE_SIDES = (74, 16)  # px left and right of a timeline's axes
TIMELINE_ENDS = (34, 44)  # px above and below them
TIMELINE_HEIGHT = 430  # px
STREAMLIT_GAP = 16  # px that Streamlit leaves between elements


def timeline_chart(
    time: np.ndarray, level_dbm: np.ndarray, heard: np.ndarray, others: Mapping[str, np.ndarray], theme: Theme
) -> go.Figure:
    """RSRP of every cell heard and other measurements over time; NaN in `more` is a gap.

    The chart does not depend on the moment shown, because a browser takes a third of a second to draw it: `now_line`
    is drawn over it.
    """
    plot = make_subplots(
        rows=1 + len(others), cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[2.2, *([1] * len(others))]
    )
    for cell in np.flatnonzero(heard.any(0)):
        values_or_gaps = np.where(heard[:, cell], level_dbm[:, cell], None)  # type: ignore[call-overload]
        style = {"color": css_colour(cell_colour(int(cell)))}
        plot.add_scatter(x=time, y=values_or_gaps, mode="lines+markers", name=f"cell {cell}", line=style, row=1, col=1)
    for row, (name, values) in enumerate(others.items(), start=2):
        values_or_gaps = [None if np.isnan(v) else float(v) for v in values]
        plot.add_scatter(
            x=time, y=values_or_gaps, mode="markers+lines", name=name, line={"color": theme.ink, "width": 1},
            showlegend=False, row=row, col=1,
        )  # fmt: skip
        plot.update_yaxes(title=name.replace(" in ", "<br>in "), row=row, col=1, gridcolor=theme.grid)
    plot.update_yaxes(title="RSRP in dBm", row=1, col=1, gridcolor=theme.grid)
    plot.update_xaxes(range=list(_span(time)))
    plot.update_xaxes(title="time in s", row=1 + len(others), col=1)
    plot.update_yaxes(automargin=False)
    (left, right), (top, bottom) = TIMELINE_SIDES, TIMELINE_ENDS
    margin = {"l": left, "r": right, "t": top, "b": bottom}
    return with_layout(plot, TIMELINE_HEIGHT).update_layout(margin=margin)


def now_line(time: np.ndarray, now: int) -> str:
    """HTML of a vertical line at a moment, to be put right before a `timeline_chart`."""
    first, last = _span(time)
    fraction = (float(time[now]) - first) / (last - first)
    (left, right), (top, bottom) = TIMELINE_SIDES, TIMELINE_ENDS
    return (
        f"<div style='position:relative; height:0'><div style='position:absolute; z-index:5; pointer-events:none; "
        f"left:calc({left}px + {fraction:.4f} * (100% - {left + right}px)); top:{top + STREAMLIT_GAP}px; "
        f"height:{TIMELINE_HEIGHT - top - bottom}px; border-left:2px solid {css_colour(LOCATOR_COLOUR)}'></div></div>"
    )


def _span(time: np.ndarray) -> tuple[float, float]:
    """Start and end of the time axis in s, with a margin."""
    first, last = float(time.min()), float(time.max())
    margin = 0.03 * (last - first) or 1.0
    return first - margin, last + margin


def delay_profile(delay_ns: np.ndarray, gain_db: np.ndarray, cell: np.ndarray, theme: Theme) -> go.Figure:
    """A stem for each path at its delay in ns and gain in dB, coloured by cell."""
    plot = go.Figure()
    floor = float(gain_db.min() - 8) if len(gain_db) else -150.0
    for number in np.unique(cell):
        selected = cell == number
        x, y = delay_ns[selected].round(2), gain_db[selected].round(2)
        style = css_colour(cell_colour(int(number)))
        stems = [v for a, b in zip(x, y, strict=True) for v in ((a, floor), (a, b), (None, None))]
        plot.add_scatter(
            x=[v[0] for v in stems], y=[v[1] for v in stems], mode="lines", line={"color": style, "width": 1.2},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        plot.add_scatter(x=x, y=y, mode="markers", marker={"color": style, "size": 7}, name=f"cell {number}")
    plot.update_xaxes(title="delay in ns", gridcolor=theme.grid)
    plot.update_yaxes(title="path gain in dB", gridcolor=theme.grid)
    return with_layout(plot, 300)


def bar_chart(values: Mapping[str, float], unit: str, theme: Theme, tint: RGB = GREEN) -> go.Figure:
    """A horizontal bar for each name."""
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
    return with_layout(plot, 90 + 44 * max(len(names), 1))


def curve_chart(
    values_by_name: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str, theme: Theme, log: bool = False
) -> go.Figure:
    """Named (step, value) curves."""
    plot = go.Figure()
    for n, (name, (step, value)) in enumerate(values_by_name.items()):
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
    return with_layout(plot, 330)


def attention_map(weights: np.ndarray, theme: Theme) -> go.Figure:
    """Heatmap of attention weights: layers down, cells across."""
    layers, cells = weights.shape
    plot = go.Figure()
    plot.add_heatmap(
        z=weights.round(3), x=[f"cell {n}" for n in range(cells)], y=[f"layer {n + 1}" for n in range(layers)],
        colorscale="cividis", zmin=0, zmax=float(weights.max()), texttemplate="%{text}",
        text=[[f"{v:.0%}" for v in row] for row in weights], colorbar={"thickness": 12, "tickformat": ".0%"},
    )  # fmt: skip
    plot.update_yaxes(autorange="reversed")
    return with_layout(plot, 110 + 60 * layers)


def square_map(
    axes: tuple[np.ndarray, np.ndarray],
    values: np.ndarray,
    title: str,
    scale: str,
    limits: tuple[float, float],
    theme: Theme,
) -> go.Figure:
    """Values on squares of a district, `row column` with row 0 in the south; NaN stays empty. `axes`: metres.

    Streamlit puts a colour of its theme in the place of #000001 to #000016, with which some scales begin (magma).
    """
    x, y = axes
    plot = go.Figure()
    plot.add_heatmap(
        x=x, y=y, z=values, colorscale=scale, zmin=limits[0], zmax=limits[1], colorbar={"thickness": 10},
        hoverongaps=False, hovertemplate="%{x:.0f} m east, %{y:.0f} m north: %{z:.1f}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(gridcolor=theme.grid, constrain="domain", ticksuffix=" m")
    plot.update_yaxes(gridcolor=theme.grid, scaleanchor="x", ticksuffix=" m")
    return with_layout(plot, 380).update_layout(title={"text": title, "font": {"size": 13}})


def mark_places(plot: go.Figure, places: Mapping[str, list[float]]) -> None:
    """Add named places in metres to a map of squares."""
    for (name, (x, y)), symbol in zip(places.items(), ("x", "circle-open"), strict=False):
        marker = {"symbol": symbol, "size": 13, "color": css_colour(SKY), "line": {"width": 2}}
        plot.add_scatter(x=[x], y=[y], mode="markers", name=name, marker=marker)
    plot.update_layout(legend={"x": 1.0, "xanchor": "right"})  # the title stands on the left


def with_layout(plot: go.Figure, height: int) -> go.Figure:
    """The layout of all charts: a height in px, the legend above on the left."""
    legend: dict[str, Any] = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}
    return plot.update_layout(height=height, margin={"l": 10, "r": 16, "t": 34, "b": 10}, legend=legend)
