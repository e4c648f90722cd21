"""Maps in 3-D: layers for deck.gl in m; no file comes from another server.

The orbit view has plain metres, z up. It has no basemap, so that no map service is asked and no coordinate system on
Earth is needed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydeck as pdk
from jaxtyping import Float
from pydeck.types import String

from explorer.map_view.marks import AreaMarks, LabelMarks, LineMarks, MapMarks, PointMarks, SiteMasts, on_ground
from explorer.style import Theme, css_colour
from uel.geo.tile import Tile

Camera = Literal["oblique", "from above", "from the south", "close"]
CAMERA_VIEWS: dict[Camera, tuple[float, float, float, tuple[float, float], tuple[float, float]]] = {
    # degrees above the horizon, degrees of turn, doublings of scale, and what is in the middle, in sides of the tile,
    # with a panel over the right side and without. Perspective makes the near half larger. All but "close" show the
    # whole tile on 700 × 760 pixels left of the panel (a test counts).
    "oblique": (46.0, -22.0, 0.0, (0.34, -0.01), (-0.02, -0.11)),
    "from above": (90.0, 0.0, 0.36, (0.28, 0.0), (0.0, 0.0)),
    "from the south": (28.0, 0.0, 0.02, (0.28, -0.08), (0.0, -0.04)),
    "close": (38.0, -22.0, 0.0, (0.6, -0.1), (0.0, 0.0)),
}
FRAME_PIXELS = 300.0  # of what a close camera shows
MIN_FRAME = 60.0  # m
FRAME_STEP = 32.0  # m: a view that follows a phone moves in steps


AT_ORIGIN = ({"p": [0, 0, 0], "s": [1, 1, 1]},)  # position and scale of a mesh in tile coordinates
THROUGH_WALLS = {"depthCompare": "always"}  # seen through walls
ON_THE_GROUND = {"depthCompare": "always", "depthWriteEnabled": False}  # of what lies in the ground's own plane
# deck.gl puts texts in without their HTML; the first line of a card is its title.
HOVER_CARD = {"html": "<b>{title}</b><div>{more}</div>"}
CARD_STYLE = {"borderRadius": "0.5rem", "padding": "0.45rem 0.65rem", "fontSize": "0.82rem", "whiteSpace": "pre-line"}


class Deck(pdk.Deck):
    """A deck whose JSON has no blanks: the browser gets a third of the bytes."""

    def to_json(self) -> str:
        return json.dumps(json.loads(super().to_json()), separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class MapScene:
    """Addresses of the meshes for the browser."""

    ground: str
    layer: str | None = None
    """over the ground, with alpha"""
    is_layer_over: bool = False
    """the layer shines through buildings"""
    buildings: str
    pole: str
    """1 m long"""
    opacity: float = 1.0
    """of buildings; below 1 the ground behind them is visible"""


def build_deck(scene: MapScene, marks: MapMarks, theme: Theme, view: pdk.ViewState, turn: str = "") -> Deck:
    """A map with all its layers.

    A selection dims all other objects of its layer; with a new `turn` pickable layers are new and nothing is selected.
    """
    layers = [_mesh("ground", scene.ground), _mesh("buildings", scene.buildings, scene.opacity)]
    if scene.layer is not None:  # drawn before buildings, these hide it by their depth
        layers.insert(2 if scene.is_layer_over else 1, _mesh("layer", scene.layer, parameters=ON_THE_GROUND))
    layers += [_poles(f"masts{n}", poles, scene.pole) for n, poles in enumerate(marks.poles)]
    layers += [_areas(areas) for areas in marks.areas] + [_lines(lines) for lines in marks.lines]
    layers += [_pickable_dots(dots, turn) if dots.pickable else _dots(dots, theme) for dots in marks.dots]
    layers += [_labels(labels) for labels in marks.labels]
    card = CARD_STYLE | {"backgroundColor": css_colour(theme.paper, 0.94), "color": theme.ink}
    return Deck(
        layers=layers,
        views=[pdk.View(type="OrbitView", controller=True, orbit_axis="Z", far=1e5)],
        initial_view_state=view,
        map_provider=None,  # type: ignore[arg-type]  # pydeck says str, and means none by None
        tooltip=HOVER_CARD | {"style": card},  # type: ignore[arg-type]
        parameters={"clearColor": [c / 255 for c in theme.paper] + [1.0]},
    )


def square_rows(tile: Tile, centres: Float[np.ndarray, "n 2"], side: float, texts: Sequence[str]) -> bytes:
    """Rows of `clickable_squares` as JSON, for a file that the browser keeps; a text for each square."""
    corners = on_ground(tile, centres, 0.1)
    titles = [f"{x:.0f} m east, {y:.0f} m north" for x, y, _ in corners]
    cards = [f"{title}\n{text}" for title, text in zip(titles, texts, strict=True)]
    return json.dumps(_level_rows(corners, _corners(4) * side * math.sqrt(0.5), cards), separators=(",", ":")).encode()


def clickable_squares(address: str, turn: str) -> pdk.Layer:
    """Invisible squares to click on, whose rows are in a file: deck.gl does not report the position of a click on the
    map itself. Their alpha is 1 of 255, because wholly transparent objects cannot be picked.
    """
    return _level(f"anywhere{turn}", address, [0, 0, 0, 1])


def _level_rows(
    positions: Float[np.ndarray, "n 3"], outline: np.ndarray, texts: Sequence[str]
) -> list[dict[str, object]]:
    return [
        {"p": _rounded(p), "w": [_rounded(c) for c in p + outline], **_card(text)}
        for p, text in zip(positions, texts, strict=True)
    ]


def _level(name: str, rows: Any, colour: Sequence[int]) -> pdk.Layer:
    """A layer of pickable horizontal polygons of one outline.

    They are no instances of one mesh: WebGL in software draws instances one by one. It also compiles each kind of
    layer for half a second, so that few kinds make a map that appears soon.
    """
    return pdk.Layer(
        "SolidPolygonLayer", rows, id=name, get_polygon="w", get_fill_color=[*colour], extruded=False, pickable=True,
        auto_highlight=colour[3] > 1,
    )  # fmt: skip


def _card(text: str) -> dict[str, str]:
    """The hover card of an object: its first line is the title."""
    title, _, more = text.partition("\n")
    return {"title": title, "more": more}


def _corners(count: int) -> Float[np.ndarray, "count 3"]:
    """Corners of a horizontal regular polygon with radius 1 and sides to the east and north."""
    angle = 2 * math.pi * (np.arange(count) + 0.5) / count
    return np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)


def view_state(
    tile: Tile,
    camera: Camera,
    frame: Sequence[Sequence[float]] = (),
    zoom_step: float = 0.0,
    has_panel: bool = True,
) -> pdk.ViewState:
    """A view of the whole tile, or of the positions of `frame` (m) by a close camera; `zoom_step` doublings larger.

    `has_panel`: the right side of the map lies under a panel.
    """
    if camera == "close" and not frame:
        camera = "oblique"  # there is nothing to be close to
    elevation, turn, own_step, beside, alone = CAMERA_VIEWS[camera]
    (east, north), side, middle = beside if has_panel else alone, tile.size, np.zeros(2)
    zoom = math.log2(510.0 / tile.size) + own_step
    if camera == "close":
        points = np.asarray(frame, dtype=np.float64)
        low, high = points.min(0), points.max(0)
        middle = np.round(0.5 * (low + high) / FRAME_STEP) * FRAME_STEP
        zoom = round(2 * math.log2(FRAME_PIXELS / max(float((high - low).max()), MIN_FRAME))) / 2
        side = FRAME_PIXELS / 2**zoom
    focus = float(middle[0]) + east * side, float(middle[1]) + north * side
    centre = on_ground(tile, np.array([focus]), 0.0)[0]
    state = {"target": _rounded(centre), "rotation_x": elevation, "rotation_orbit": turn, "zoom": zoom + zoom_step}
    return pdk.ViewState(longitude=None, latitude=None, min_zoom=-3, max_zoom=8, **state)


def _mesh(
    name: str,
    url: str,
    opacity: float = 1.0,
    instances: Sequence[dict[str, Any]] = AT_ORIGIN,
    parameters: Mapping[str, Any] | None = None,
) -> pdk.Layer:
    return pdk.Layer(
        "ScenegraphLayer", [*instances], id=name, get_position="p", get_scale="s", scenegraph=String(url),
        get_color=[255, 255, 255, 255], _lighting=String("flat"), size_scale=1, pickable=False, opacity=opacity,
        parameters=parameters or {},
    )  # fmt: skip


def _poles(name: str, poles: SiteMasts, url: str) -> pdk.Layer:
    foot = poles.top - np.outer(poles.length, [0, 0, 1])
    instances = [
        {"p": _rounded(p), "s": _rounded([1, 1, length])} for p, length in zip(foot, poles.length, strict=True)
    ]
    return _mesh(name, url, instances=instances)


def _pickable_dots(dots: PointMarks, turn: str) -> pdk.Layer:
    rows = _level_rows(dots.position, _corners(6) * dots.radius, dots.texts)
    return _level(f"{dots.name}{turn}", rows, [*dots.colour, 255])


def _dots(dots: PointMarks, theme: Theme) -> pdk.Layer:
    radii = [dots.radius] * len(dots.position) if isinstance(dots.radius, int | float) else dots.radius
    parts = zip(dots.position, radii, dots.texts, strict=True)
    rows = [{"p": _rounded(p), "r": round(radius, 1), **_card(text)} for p, radius, text in parts]
    edge = [*dots.colour] if dots.ring else [*theme.ink_rgb]
    return pdk.Layer(
        "ScatterplotLayer", rows, id=dots.name, get_position="p",
        get_fill_color=[*dots.colour, 0 if dots.ring else 255], get_line_color=edge, filled=True, stroked=True,
        get_radius="r", radius_units=String("pixels"), line_width_units=String("pixels"),
        get_line_width=2.5 if dots.ring else 1.5, billboard=True, pickable=True, parameters=THROUGH_WALLS,
    )  # fmt: skip


def _labels(labels: LabelMarks) -> pdk.Layer:
    parts = zip(labels.position, labels.texts, labels.colours, strict=True)
    rows = [{"p": _rounded(p), "t": text, "c": [*colour, 235]} for p, text, colour in parts]
    return pdk.Layer(
        "TextLayer", rows, id=labels.name, get_position="p", get_text="t", get_size=15, get_color=[20, 20, 20, 255],
        background=True, get_background_color="c", background_padding=[4, 1, 4, 1], font_weight=700, billboard=True,
        font_family=String("Arial, sans-serif"), pickable=False, parameters=THROUGH_WALLS,
    )  # fmt: skip


def _lines(lines: LineMarks) -> pdk.Layer:
    parts = zip(lines.points, lines.colours, lines.texts, strict=True)
    rows = [{"w": [_rounded(p) for p in points], "c": [*colour], **_card(text)} for points, colour, text in parts]
    return pdk.Layer(
        "PathLayer", rows, id=lines.name, get_path="w", get_color="c", get_width=lines.width,
        width_units=String("pixels"), cap_rounded=True, joint_rounded=True, billboard=True, pickable=lines.pickable,
        parameters=THROUGH_WALLS if lines.over else {},
    )  # fmt: skip


def _areas(areas: AreaMarks) -> pdk.Layer:
    parts = zip(areas.points, areas.colours, areas.texts, strict=True)
    rows = [{"w": [_rounded(p) for p in points], "c": [*colour, 235], **_card(text)} for points, colour, text in parts]
    return pdk.Layer(
        "SolidPolygonLayer", rows, id=areas.name, get_polygon="w", get_fill_color="c", extruded=False, pickable=True
    )


def _rounded(point: Any) -> list[float]:
    return [round(float(v), 2) for v in point]
