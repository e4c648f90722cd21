"""Maps in 3-D: layers for deck.gl in m; no file comes from another server.

The orbit view has plain metres, z up. It has no basemap, so that no map service is asked and no coordinate system on
Earth is needed.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydeck as pdk
from jaxtyping import Float
from pydeck.types import String

from explorer.map_view.marks import AreaMarks, LineMarks, MapMarks, PointMarks, SiteMasts, on_ground
from explorer.style import RGB, Theme
from uel.geo.tile import Tile

Camera = Literal["oblique", "from above", "from the south", "close"]
CAMERA_VIEWS: dict[Camera, tuple[float, float, float, tuple[float, float]]] = {
    # degrees above the horizon, degrees of turn, doublings of scale, and what is in the middle, in sides of the tile:
    # perspective makes the near half larger. All but "close" show the whole tile on 575 × 560 pixels (a test counts).
    "oblique": (46.0, -22.0, -0.18, (-0.02, -0.21)),
    "from above": (90.0, 0.0, -0.02, (0.0, 0.0)),
    "from the south": (28.0, 0.0, -0.3, (0.0, -0.12)),
    "close": (32.0, -24.0, 1.6, (0.0, 0.0)),
}


AT_ORIGIN = ({"p": [0, 0, 0], "s": [1, 1, 1]},)  # position and scale of a mesh in tile coordinates
THROUGH_WALLS = {"depthCompare": "always"}  # seen through walls


class Deck(pdk.Deck):
    """A deck whose JSON has no blanks: the browser gets a third of the bytes."""

    def to_json(self) -> str:
        return json.dumps(json.loads(super().to_json()), separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class MapScene:
    """Addresses of the meshes for the browser."""

    ground: str
    buildings: str
    pole: str
    """1 m long"""
    opacity: float = 1.0
    """of buildings; below 1 the ground behind them is visible"""


def build_deck(
    tile: Tile,
    scene: MapScene,
    marks: MapMarks,
    theme: Theme,
    camera: Camera,
    at: Sequence[float] | None,
    turn: str = "",
) -> Deck:
    """A map with all its layers. The camera looks at `at` (m) if it is close, else at the whole tile.

    A selection dims all other objects of its layer; with a new `turn` pickable layers are new and nothing is selected.
    """
    layers = [_mesh("ground", scene.ground), _mesh("buildings", scene.buildings, scene.opacity)]
    layers += [_poles(f"masts{n}", poles, scene.pole) for n, poles in enumerate(marks.poles)]
    layers += [_areas(areas) for areas in marks.areas] + [_lines(lines) for lines in marks.lines]
    layers += [_pickable_dots(dots, turn) if dots.pickable else _dots(dots, theme) for dots in marks.dots]
    return Deck(
        layers=layers,
        views=[pdk.View(type="OrbitView", controller=True, orbit_axis="Z", far=1e5)],
        initial_view_state=_view_state(tile, camera, at),
        map_provider=None,  # type: ignore[arg-type]  # pydeck says str, and means none by None
        tooltip={"text": "{text}"},  # type: ignore[arg-type]
        parameters={"clearColor": [c / 255 for c in theme.paper] + [1.0]},
    )


def clickable_squares(tile: Tile, centres: Float[np.ndarray, "n 2"], side: float, turn: str) -> pdk.Layer:
    """Invisible squares to click on: deck.gl does not report the position of a click on the map itself.

    Their alpha is 1 of 255, because wholly transparent objects cannot be picked.
    """
    corners = on_ground(tile, centres, 0.1)
    texts = [f"{x:.0f} m east, {y:.0f} m north" for x, y, _ in corners]
    return _level(f"anywhere{turn}", corners, _corners(4) * side * math.sqrt(0.5), texts, [0, 0, 0, 1])


def _level(
    name: str, positions: Float[np.ndarray, "n 3"], outline: np.ndarray, texts: Sequence[str], colour: Sequence[int]
) -> pdk.Layer:
    """A layer of pickable horizontal polygons of one outline.

    They are no instances of one mesh: WebGL in software draws instances one by one. It also compiles each kind of
    layer for half a second, so that few kinds make a map that appears soon.
    """
    rows = [
        {"p": _rounded(p), "w": [_rounded(c) for c in p + outline], "text": text}
        for p, text in zip(positions, texts, strict=True)
    ]
    return pdk.Layer(
        "SolidPolygonLayer", rows, id=name, get_polygon="w", get_fill_color=[*colour], extruded=False, pickable=True,
        auto_highlight=colour[3] > 1,
    )  # fmt: skip


def _corners(count: int) -> Float[np.ndarray, "count 3"]:
    """Corners of a horizontal regular polygon with radius 1 and sides to the east and north."""
    angle = 2 * math.pi * (np.arange(count) + 0.5) / count
    return np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)


def _view_state(tile: Tile, camera: Camera, at: Sequence[float] | None) -> pdk.ViewState:
    elevation, turn, zoom_step, (east, north) = CAMERA_VIEWS[camera]
    focus = at if at is not None and camera == "close" else (east * tile.size, north * tile.size)
    centre = on_ground(tile, np.array([focus]), 0.0)[0]
    zoom = math.log2(510.0 / tile.size) + zoom_step
    state = {"target": _rounded(centre), "rotation_x": elevation, "rotation_orbit": turn, "zoom": zoom}
    return pdk.ViewState(longitude=None, latitude=None, min_zoom=-3, max_zoom=8, **state)


def _mesh(name: str, url: str, opacity: float = 1.0, instances: Sequence[dict[str, Any]] = AT_ORIGIN) -> pdk.Layer:
    return pdk.Layer(
        "ScenegraphLayer", [*instances], id=name, get_position="p", get_scale="s", scenegraph=String(url),
        get_color=[255, 255, 255, 255], _lighting=String("flat"), size_scale=1, pickable=False, opacity=opacity,
    )  # fmt: skip


def _poles(name: str, poles: SiteMasts, url: str) -> pdk.Layer:
    foot = poles.top - np.outer(poles.length, [0, 0, 1])
    instances = [
        {"p": _rounded(p), "s": _rounded([1, 1, length])} for p, length in zip(foot, poles.length, strict=True)
    ]
    return _mesh(name, url, instances=instances)


def _pickable_dots(dots: PointMarks, turn: str) -> pdk.Layer:
    return _level(f"{dots.name}{turn}", dots.position, _corners(6) * dots.radius, dots.texts, [*dots.colour, 255])


def _dots(dots: PointMarks, theme: Theme) -> pdk.Layer:
    rows = [{"p": _rounded(p), "text": text} for p, text in zip(dots.position, dots.texts, strict=True)]
    edge = [*_rgb(theme.ink)] if not dots.ring else [*dots.colour]
    return pdk.Layer(
        "ScatterplotLayer", rows, id=dots.name, get_position="p",
        get_fill_color=[*dots.colour, 255], get_line_color=edge, filled=not dots.ring, stroked=dots.radius > 4,
        get_radius=dots.radius, radius_units=String("pixels"), line_width_units=String("pixels"),
        get_line_width=3 if dots.ring else 1.5, billboard=True, pickable=True, parameters=THROUGH_WALLS,
    )  # fmt: skip


def _lines(lines: LineMarks) -> pdk.Layer:
    parts = zip(lines.points, lines.colours, lines.texts, strict=True)
    rows = [{"w": [_rounded(p) for p in points], "c": [*colour], "text": text} for points, colour, text in parts]
    return pdk.Layer(
        "PathLayer", rows, id=lines.name, get_path="w", get_color="c", get_width=lines.width,
        width_units=String("pixels"), cap_rounded=True, joint_rounded=True, billboard=True, pickable=False,
        parameters=THROUGH_WALLS if lines.over else {},
    )  # fmt: skip


def _areas(areas: AreaMarks) -> pdk.Layer:
    parts = zip(areas.points, areas.colours, areas.texts, strict=True)
    rows = [{"w": [_rounded(p) for p in points], "c": [*colour, 235], "text": text} for points, colour, text in parts]
    return pdk.Layer(
        "SolidPolygonLayer", rows, id=areas.name, get_polygon="w", get_fill_color="c", extruded=False, pickable=True
    )


def _rounded(point: Any) -> list[float]:
    return [round(float(v), 2) for v in point]


def _rgb(text: str) -> RGB:
    red, green, blue = (int(text[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue
