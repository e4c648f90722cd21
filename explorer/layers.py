"""Maps in three dimensions: layers for deck.gl, in metres, with nothing fetched from elsewhere.

The orbit view has plain metres, z up: no basemap, so no map service is asked, and no place on Earth is needed.
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

from explorer.palette import RGB, Theme
from explorer.view import Areas, Dots, Lines, Marks, on_ground
from uel.tile import Tile

Camera = Literal["oblique", "from above", "from the south", "close"]
CAMERAS: dict[Camera, tuple[float, float, float, tuple[float, float]]] = {
    # degrees above the horizon, degrees of turn, doublings of scale, and what is in the middle, in sides of the tile:
    # perspective makes the near half larger. All but "close" show the whole tile on 575 × 560 pixels (a test counts).
    "oblique": (46.0, -22.0, -0.18, (-0.02, -0.21)),
    "from above": (90.0, 0.0, -0.02, (0.0, 0.0)),
    "from the south": (28.0, 0.0, -0.3, (0.0, -0.12)),
    "close": (32.0, -24.0, 1.6, (0.0, 0.0)),
}


ALWAYS = {"depthCompare": "always"}  # seen through walls


class Deck(pdk.Deck):
    """A deck whose JSON has no blanks: a third of the bytes on their way to the browser."""

    def to_json(self) -> str:
        return json.dumps(json.loads(super().to_json()), separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the browser finds the two meshes."""

    ground: str
    buildings: str
    opacity: float = 1.0
    """of buildings: less lets the ground behind them be seen"""


def deck(
    tile: Tile, stage: Stage, marks: Marks, theme: Theme, camera: Camera, at: Sequence[float] | None, turn: str = ""
) -> Deck:
    """Everything on one map. The camera looks at a place (m), or at the whole; `turn` sets pickable layers apart.

    A selection dims all other objects of its layer; under a new `turn` the layers are new and nothing is selected.
    """
    layers = [_mesh("ground", stage.ground)]
    if stage.opacity < 1:  # depth alone, first: what shines through is the ground, not every wall behind a wall
        layers.append(_mesh("shell", stage.buildings, 0.0))
    layers.append(_mesh("buildings", stage.buildings, stage.opacity))
    layers += [_areas(areas) for areas in marks.areas] + [_lines(lines) for lines in marks.lines]
    layers += [_dots(dots, theme, turn) for dots in marks.dots]
    return Deck(
        layers=layers,
        views=[pdk.View(type="OrbitView", controller=True, orbit_axis="Z", far=1e5)],
        initial_view_state=_look(tile, camera, at),
        map_provider=None,  # type: ignore[arg-type]  # pydeck says str, and means none by None
        tooltip={"text": "{told}"},  # type: ignore[arg-type]
        parameters={"clearColor": [c / 255 for c in theme.paper] + [1.0]},
    )


def clickable(tile: Tile, place: Float[np.ndarray, "n 2"], side: float, turn: str) -> pdk.Layer:
    """Squares that nobody sees and a click finds: the map itself does not tell where it was clicked.

    Alpha 1 of 255: what is wholly transparent is not picked.
    """
    where = on_ground(tile, place, 0.1)
    rows = [{"p": _rounded(p), "told": f"{p[0]:.0f} m east, {p[1]:.0f} m north"} for p in where]
    return pdk.Layer(
        "GridCellLayer", rows, id=f"anywhere{turn}", get_position="p", get_fill_color=[0, 0, 0, 1], cell_size=side,
        extruded=False, pickable=True,
    )  # fmt: skip


def _look(tile: Tile, camera: Camera, at: Sequence[float] | None) -> pdk.ViewState:
    above, turn, closer, (east, north) = CAMERAS[camera]
    middle = at if at is not None and camera == "close" else (east * tile.size, north * tile.size)
    centre = on_ground(tile, np.array([middle]), 0.0)[0]
    zoom = math.log2(510.0 / tile.size) + closer
    state = {"target": _rounded(centre), "rotation_x": above, "rotation_orbit": turn, "zoom": zoom}
    return pdk.ViewState(longitude=None, latitude=None, min_zoom=-3, max_zoom=8, **state)


def _mesh(name: str, url: str, opacity: float = 1.0) -> pdk.Layer:
    return pdk.Layer(
        "ScenegraphLayer", [{"p": [0, 0, 0]}], id=name, get_position="p", scenegraph=String(url),
        get_color=[255, 255, 255, 255], _lighting=String("flat"), size_scale=1, pickable=False,
        opacity=opacity,
    )  # fmt: skip


def _dots(dots: Dots, theme: Theme, turn: str) -> pdk.Layer:
    rows = [{"p": _rounded(p), "told": told} for p, told in zip(dots.place, dots.told, strict=True)]
    edge = [*_rgb(theme.ink)] if not dots.ring else [*dots.colour]
    return pdk.Layer(
        "ScatterplotLayer", rows, id=f"{dots.name}{turn if dots.pickable else ''}", get_position="p",
        get_fill_color=[*dots.colour, 255], get_line_color=edge, filled=not dots.ring, stroked=dots.radius > 4,
        get_radius=dots.radius, radius_units=String("pixels"), line_width_units=String("pixels"),
        get_line_width=3 if dots.ring else 1.5, billboard=True, pickable=True, auto_highlight=dots.pickable,
        parameters={} if dots.pickable else ALWAYS,
    )  # fmt: skip


def _lines(lines: Lines) -> pdk.Layer:
    parts = zip(lines.points, lines.colours, lines.told, strict=True)
    rows = [{"w": [_rounded(p) for p in points], "c": [*colour], "told": told} for points, colour, told in parts]
    return pdk.Layer(
        "PathLayer", rows, id=lines.name, get_path="w", get_color="c", get_width=lines.width,
        width_units=String("pixels"), cap_rounded=True, joint_rounded=True, billboard=True, pickable=False,
        parameters=ALWAYS if lines.over else {},
    )  # fmt: skip


def _areas(areas: Areas) -> pdk.Layer:
    parts = zip(areas.points, areas.colours, areas.told, strict=True)
    rows = [{"w": [_rounded(p) for p in points], "c": [*colour, 235], "told": told} for points, colour, told in parts]
    return pdk.Layer(
        "SolidPolygonLayer", rows, id=areas.name, get_polygon="w", get_fill_color="c", extruded=False, pickable=True
    )


def _rounded(point: Any) -> list[float]:
    return [round(float(v), 2) for v in point]


def _rgb(text: str) -> RGB:
    red, green, blue = (int(text[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue
