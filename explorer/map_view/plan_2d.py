"""Maps in 2-D, for browsers without WebGL and for print: the same marks over the same ground."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import UInt8

from explorer.map_view.marks import AreaMarks, LabelMarks, LineMarks, MapMarks, PointMarks
from explorer.map_view.picture_files import encode_png
from explorer.style import Theme, css_colour
from uel.geo.tile import Tile
from uel.plots.axes import hillshade


def plan_figure(tile: Tile, ground: UInt8[np.ndarray, "row column 3"], marks: MapMarks, theme: Theme) -> go.Figure:
    """A plan as Plotly figure; `ground` is its picture, row 0 south, with buildings in grey over it."""
    plan = go.Figure()
    half = tile.size / 2
    plan.add_layout_image(
        source=_data_uri(ground_with_buildings(tile, ground, theme)), xref="x", yref="y", x=-half, y=half,
        sizex=tile.size, sizey=tile.size, sizing="stretch", layer="below",
    )  # fmt: skip
    for areas in marks.areas:
        _add_areas(plan, areas)
    for lines in marks.lines:
        _add_lines(plan, lines)
    for dots in marks.dots:
        _add_dots(plan, dots, theme)
    for labels in marks.labels:
        _add_labels(plan, labels)
    axis = {"range": [-half, half], "showgrid": False, "zeroline": False, "constrain": "domain"}
    plan.update_layout(
        xaxis={**axis, "title": "east in m"},
        yaxis={**axis, "title": "north in m", "scaleanchor": "x"},
        height=640, margin={"l": 10, "r": 10, "t": 10, "b": 10}, dragmode="pan", clickmode="event+select",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.0},
    )  # fmt: skip
    return plan


def ground_with_buildings(
    tile: Tile, ground: UInt8[np.ndarray, "row column 3"], theme: Theme
) -> UInt8[np.ndarray, "row column 3"]:
    """The ground with buildings in grey over it."""
    rows = np.arange(len(ground)) * tile.raster_grid.count // len(ground)
    built = tile.rasters["footprint"].numpy()[rows][:, rows] > 0.5
    grey = np.array([theme.veil] * 3)
    return np.where(built[..., None], 0.45 * ground + 0.55 * grey, ground).astype(np.uint8)


def shaded_plan(
    tile: Tile, ground: UInt8[np.ndarray, "row column 3"], theme: Theme, side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """A small picture of the tile from above, `side` pixels wide, north up: roofs under light from the north-west, the
    higher the lighter."""
    picked = (np.arange(side) + 0.5) / side
    rows = (picked * len(ground)).astype(int)
    base = ground[rows][:, rows].astype(float)
    rasters = (picked * tile.raster_grid.count).astype(int)
    height, terrain, footprint = (
        tile.rasters[name].numpy()[rasters][:, rasters] for name in ("height", "ground", "footprint")
    )
    roof = height - terrain
    top = max(float(np.quantile(roof, 0.98)), 1.0)
    dark, light = theme.wall
    tint = dark + (light - dark) * np.clip(roof / top, 0, 1)
    shade = 0.55 + 0.45 * hillshade(np.where(footprint > 0.5, height, terrain), tile.size / side)
    picture = np.where(footprint[..., None] > 0.5, tint[..., None], base) * shade[..., None]
    return np.flipud(np.clip(picture, 0, 255)).astype(np.uint8)


def _data_uri(picture: UInt8[np.ndarray, "row column 3"]) -> str:
    import base64

    return "data:image/png;base64," + base64.b64encode(encode_png(np.flipud(picture))).decode()


def _add_dots(plan: go.Figure, dots: PointMarks, theme: Theme) -> None:
    x, y = (dots.position[:, axis].round(2) for axis in (0, 1))
    symbol = "circle-open" if dots.ring else "circle"
    edge = {"width": 2 if dots.ring else 1, "color": css_colour(dots.colour) if dots.ring else theme.ink}
    marker = {"size": 2 * np.asarray(dots.radius), "color": css_colour(dots.colour), "symbol": symbol, "line": edge}
    plan.add_scatter(
        x=x, y=y, mode="markers", marker=marker, name=dots.label, text=[_with_breaks(t) for t in dots.texts],
        hoverinfo="text", customdata=[[dots.name, text] for text in dots.texts],
    )  # fmt: skip


def _add_labels(plan: go.Figure, labels: LabelMarks) -> None:
    for (x, y, _), text, colour in zip(labels.position.round(2), labels.texts, labels.colours, strict=True):
        plan.add_annotation(
            x=x, y=y, text=text, showarrow=False, font={"size": 11, "color": "#141414"}, bgcolor=css_colour(colour, 0.9)
        )


def _add_lines(plan: go.Figure, lines: LineMarks) -> None:
    for n, (points, colour, text) in enumerate(zip(lines.points, lines.colours, lines.texts, strict=True)):
        plan.add_scatter(
            x=points[:, 0].round(2), y=points[:, 1].round(2), mode="lines", name=lines.label, text=_with_breaks(text),
            hoverinfo="text", line={"color": css_colour(colour), "width": lines.width}, legendgroup=lines.name,
            showlegend=n == 0,
        )  # fmt: skip


def _add_areas(plan: go.Figure, areas: AreaMarks) -> None:
    for n, (points, colour, text) in enumerate(zip(areas.points, areas.colours, areas.texts, strict=True)):
        plan.add_scatter(
            x=points[:, 0].round(2), y=points[:, 1].round(2), mode="lines", fill="toself", name=areas.label,
            text=_with_breaks(text), hoverinfo="text", line={"color": "white", "width": 1},
            fillcolor=css_colour(colour, 0.9), legendgroup=areas.name, showlegend=n == 0,
        )  # fmt: skip


def _with_breaks(text: str) -> str:
    return text.replace("\n", "<br>")
