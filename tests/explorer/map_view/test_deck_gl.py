"""What deck.gl gets: layers in metres, hover cards, cameras; and the plan with the same marks."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from explorer.map_view import deck_gl, ground_image, plan_2d
from explorer.map_view import marks as view
from explorer.style import DARK_THEME, LIGHT_THEME
from tests.helpers.toy_city import SITES, toy_tile
from uel.geo.tile import Tile

STAGE = deck_gl.MapScene(ground="/ground.glb", buildings="/buildings.glb", pole="/pole.glb")


@pytest.fixture(scope="module")
def tile(tmp_path_factory) -> Tile:
    return toy_tile(tmp_path_factory.mktemp("explorer") / "toy")


def drawn(tile: Tile, turn: str = "") -> dict:
    dots, *_ = view.phone_dots(tile, np.array([[1.0, 2.0], [3.0, 4.0]]))
    marks = view.site_marks(SITES, tile) + view.MapMarks(dots=[dots, view.picked_dot(tile, [5.0, 6.0])])
    deck = deck_gl.build_deck(STAGE, marks, LIGHT_THEME, deck_gl.view_state(tile, "oblique"), turn)
    deck.layers.append(deck_gl.clickable_squares("/media/squares.json", turn))
    return json.loads(deck.to_json())


def test_the_deck_asks_nobody_outside(tile):
    spec = drawn(tile)
    text = json.dumps(spec)
    assert "http" not in text
    assert spec.get("mapProvider") is None  # no basemap is asked for
    assert spec["views"][0]["@@type"] == "OrbitView"


def test_pickable_layers_turn_and_hidden_squares_can_be_hit(tile):
    before, after = ({layer["id"]: layer for layer in drawn(tile, turn)["layers"]} for turn in ("-0", "-1"))
    assert before.keys() - after.keys() == {"phones-0", "anywhere-0"}
    assert all(layer["pickable"] for name, layer in before.items() if name.endswith("-0"))
    assert before["anywhere-0"]["getFillColor"] == [0, 0, 0, 1]  # alpha 0 would not be hit


def test_squares_to_click_are_a_file_with_a_hover_card_each(tile):
    rows = json.loads(deck_gl.square_rows(tile, np.array([[0.0, 8.0], [16.0, -8.0]]), 8.0, ["RSRP −80 dBm", ""]))
    assert rows[0]["p"][:2] == [0.0, 8.0]
    assert (rows[0]["title"], rows[0]["more"]) == ("0 m east, 8 m north", "RSRP −80 dBm")
    np.testing.assert_allclose(np.ptp(np.array(rows[1]["w"]), axis=0)[:2], 8.0, atol=0.02)
    layer = next(layer for layer in drawn(tile)["layers"] if layer["id"].startswith("anywhere"))
    assert layer["data"] == "/media/squares.json"


def test_every_hover_card_has_a_title(tile):
    for layer in drawn(tile)["layers"]:
        if layer.get("pickable") and isinstance(layer["data"], list):
            assert all(row["title"] for row in layer["data"]), layer["id"]


def test_a_layer_lies_between_ground_and_buildings(tile):
    stage = replace(STAGE, layer="/layer.glb")
    deck = deck_gl.build_deck(stage, view.MapMarks(), LIGHT_THEME, deck_gl.view_state(tile, "oblique"))
    assert [layer["id"] for layer in json.loads(deck.to_json())["layers"]] == ["ground", "layer", "buildings"]


def test_places_are_metres_in_the_deck(tile):
    phones = next(layer for layer in drawn(tile)["layers"] if layer["id"] == "phones")
    assert [row["p"] for row in phones["data"]] == [[1.0, 2.0, 1.5], [3.0, 4.0, 1.5]]


def test_masts_reach_from_the_ground_to_their_antennas(tile):
    poles = next(layer for layer in drawn(tile)["layers"] if layer["id"] == "masts0")
    for row, site in zip(poles["data"], SITES, strict=True):
        foot, (x, y, z) = np.array(row["p"]), site.position
        np.testing.assert_allclose(foot[:2], [x, y], atol=0.01)
        assert foot[2] + row["s"][2] == pytest.approx(z, abs=0.02)
        assert foot[2] == pytest.approx(float(tile.ground(torch.tensor([[x, y]]))), abs=0.01)


ROOM = (700, 760)  # pixels of a window of 1440 × 900, left of the panel
MAP = (1090, 780)  # of the map itself, whose middle is where the camera looks


def on_screen(tile: Tile, state: dict) -> np.ndarray:
    """Pixels from the middle of the map to the corners of a tile and of its roofs: deck.gl's orbit view, 50° high."""
    sides = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * tile.size
    corner = np.array([[*side, z] for side in sides for z in (0.0, 0.07 * tile.size)]) - state["target"]
    turn, above = np.radians([state["rotationOrbit"], state["rotationX"]])
    x = corner[:, 0] * np.cos(turn) - corner[:, 1] * np.sin(turn)
    y = corner[:, 0] * np.sin(turn) + corner[:, 1] * np.cos(turn)
    up, away = (y * f(above) + s * corner[:, 2] * g(above) for f, g, s in ((np.sin, np.cos, 1), (np.cos, np.sin, -1)))
    scale, distance = 2 ** state["zoom"], MAP[1] / 2 / math.tan(math.radians(25))
    return np.array([x, up]) * scale * distance / (distance + away * scale)


@pytest.mark.parametrize("camera", deck_gl.CAMERA_VIEWS)
def test_cameras_look_at_the_tile(tile, camera):
    state = json.loads(deck_gl.view_state(tile, camera).to_json())
    x, y = on_screen(tile, state)
    if camera != "close":
        assert x.min() > -MAP[0] / 2
        assert x.max() < -MAP[0] / 2 + ROOM[0]  # the panel lies over the rest
        assert abs(y).max() < ROOM[1] / 2
        assert np.ptp(x) > 0.8 * ROOM[0]  # and fills it
    alone = json.loads(deck_gl.view_state(tile, camera, has_panel=False).to_json())
    assert alone["target"][0] < state["target"][0]  # in the middle where no panel lies over the map
    assert 0 < state["rotationX"] <= 90
    assert "longitude" not in state or state["longitude"] is None


def test_a_close_camera_frames_positions_and_follows_them_in_steps(tile):
    near = deck_gl.view_state(tile, "close", [[50.0, -20.0], [80.0, 10.0]])
    again = deck_gl.view_state(tile, "close", [[51.0, -21.0], [81.0, 9.0]])
    assert near.to_json() == again.to_json()
    far = deck_gl.view_state(tile, "close", [[-100.0, -100.0], [100.0, 100.0]])
    assert far.zoom < near.zoom
    assert deck_gl.view_state(tile, "close", [[50.0, -20.0]], zoom_step=-0.5).zoom < near.zoom
    assert deck_gl.view_state(tile, "close").to_json() == deck_gl.view_state(tile, "oblique").to_json()


def test_the_plan_shows_the_same_marks(tile):
    dots = view.picked_dot(tile, [5.0, 6.0])
    region = view.region_lines(tile, [[[[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 0.0]]]], 0.5)
    marks = view.site_marks(SITES, tile) + view.MapMarks(dots=[dots], lines=[region])
    plan = plan_2d.plan_figure(tile, ground_image.basemap(tile, DARK_THEME), marks, DARK_THEME)
    names = {trace.name for trace in plan.data}
    assert names == {"cells", "picked position", "50% region"}
    assert [label.text for label in plan.layout.annotations] == [str(n) for n in range(len(plan.layout.annotations))]
    picked = next(trace for trace in plan.data if trace.name == "picked position")
    assert (picked.x[0], picked.y[0]) == (5.0, 6.0)
    assert tuple(plan.layout.xaxis.range) == (-128.0, 128.0)
