"""What the explorer draws: pictures on the ground, layers and regions, against what is known of them."""

import json
import math

import numpy as np
import pytest
import torch

from explorer import style
from explorer.analysis import charts
from explorer.map_view import deck_gl, ground_image, plan_2d
from explorer.map_view import marks as view
from explorer.style import DARK_THEME, LIGHT_THEME, THEMES
from tests.helpers.toy_city import SITES, toy_tile
from uel.core.grid import Grid
from uel.estimation.credible_regions import hpd_outlines, hpd_region, pixel_probability
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.radio.sites import Array, Cell, Site

STAGE = deck_gl.MapScene(ground="/ground.glb", buildings="/buildings.glb", pole="/pole.glb")


@pytest.fixture(scope="module")
def tile(tmp_path_factory) -> Tile:
    return toy_tile(tmp_path_factory.mktemp("explorer") / "toy")


# ---- pictures ------------------------------------------------------------------------------------------


def test_a_layer_is_painted_where_it_is_known_and_nowhere_else():
    base = np.full((8, 8, 3), 100, dtype=np.uint8)
    known = np.zeros((4, 4), dtype=bool)
    known[1, 2] = True
    legend = ground_image.Legend(title="x", scale="viridis", low=0.0, high=1.0)
    image = ground_image.paint_layer(base, np.ones((4, 4)), known, legend, opacity=1.0)
    changed = (image != 100).any(-1)
    assert changed.sum() == 4
    assert changed[2:4, 4:6].all()
    np.testing.assert_array_equal(image[2, 4], style.apply_colour_map(np.ones(1), "viridis", 0.0, 1.0)[0])


def test_large_tiles_are_thinned(tile, monkeypatch):
    monkeypatch.setattr(ground_image, "MAX_PIXELS", 50)
    image = ground_image.basemap(tile, LIGHT_THEME)
    assert image.shape == (43, 43, 3)


def test_legends_say_unit_and_ends():
    text = ground_image.Legend(title="RSRP", unit="dBm", scale="viridis", low=-120.0, high=-60.4).html
    assert all(word in text for word in ("RSRP", "dBm", "−120", "−60.4"))
    names = ground_image.Legend(title="materials", names={"brick": (1, 2, 3)}).html
    assert "brick" in names
    assert "rgba(1,2,3,1)" in names


@pytest.mark.parametrize("theme", THEMES)
def test_ink_is_legible_on_paper(theme):
    """Contrast of at least 7:1 (WCAG 2.1, success criterion 1.4.6)."""

    def luminance(colour):
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ink = [int(theme.ink[k : k + 2], 16) for k in (1, 3, 5)]
    dark, bright = sorted((luminance(ink), luminance(theme.paper)))
    assert (bright + 0.05) / (dark + 0.05) >= 7


# ---- marks ---------------------------------------------------------------------------------------------


def test_sectors_point_where_they_radiate(tile):
    east = Site(
        position=(10.0, 20.0, 30.0),
        cells=tuple(Cell(azimuth_deg=a, array=Array(pattern="tr38901")) for a in (90.0, 180.0)),
    )
    marks = view.site_marks((east,), tile)
    to_east, to_south = (points.mean(0) - [10, 20, 30] for points in marks.areas[0].points)
    assert to_east[0] > 5
    assert abs(to_east[1]) < 1e-6
    assert to_south[1] < -5
    assert abs(to_south[0]) < 1e-6


def test_hundred_thousand_phones_become_a_sample(tile):
    place = np.random.default_rng(0).uniform(-120, 120, (100_000, 2))
    dots, chosen, said = view.phone_dots(tile, place)
    assert len(dots.position) == view.MAX_DOTS == len(chosen)
    assert said == "2000 of 100000 phones, drawn at random"
    np.testing.assert_allclose(dots.position[:, :2], place[chosen], atol=1e-4)
    assert dots.texts[7] == f"phone {chosen[7]}"
    assert view.phone_dots(tile, place[:30])[2] == "30 phones"


def test_tracks_of_one_report_are_no_lines_and_many_are_sampled(tile):
    place = torch.rand(400, 3, 2, generator=torch.Generator().manual_seed(0)) * 100
    valid = torch.ones(400, 3, dtype=torch.bool)
    valid[0, 1:], valid[1, 2] = False, False
    lines, said = view.survey_lines(tile, place, valid)
    assert said == f"{view.MAX_TRACKS} of 399 tracks, drawn at random"
    assert len(lines.points) == view.MAX_TRACKS
    few, said = view.survey_lines(tile, place[:3], valid[:3])
    assert (said, few.texts) == ("2 tracks", ["track 1", "track 2"])
    assert [len(points) for points in few.points] == [2, 3]
    np.testing.assert_allclose(few.points[1][:, :2], place[2], atol=1e-4)


# ---- the deck ------------------------------------------------------------------------------------------


def drawn(tile: Tile, turn: str = "") -> dict:
    dots, *_ = view.phone_dots(tile, np.array([[1.0, 2.0], [3.0, 4.0]]))
    marks = view.site_marks(SITES, tile) + view.MapMarks(dots=[dots, view.picked_dot(tile, [5.0, 6.0])])
    deck = deck_gl.build_deck(tile, STAGE, marks, LIGHT_THEME, "oblique", None, turn)
    deck.layers.append(deck_gl.clickable_squares(tile, np.array([[0.0, 0.0]]), 8.0, turn))
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


def on_screen(tile: Tile, state: dict) -> np.ndarray:
    """Pixels from the middle of 575 × 560 to the corners of a tile and of its roofs: deck.gl's orbit view, 50° high."""
    sides = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * tile.size
    corner = np.array([[*side, z] for side in sides for z in (0.0, 0.07 * tile.size)]) - state["target"]
    turn, above = np.radians([state["rotationOrbit"], state["rotationX"]])
    x = corner[:, 0] * np.cos(turn) - corner[:, 1] * np.sin(turn)
    y = corner[:, 0] * np.sin(turn) + corner[:, 1] * np.cos(turn)
    up, away = (y * f(above) + s * corner[:, 2] * g(above) for f, g, s in ((np.sin, np.cos, 1), (np.cos, np.sin, -1)))
    scale, distance = 2 ** state["zoom"], 560 / 2 / math.tan(math.radians(25))
    return np.array([x, up]) * scale * distance / (distance + away * scale)


@pytest.mark.parametrize("camera", deck_gl.CAMERA_VIEWS)
def test_cameras_look_at_the_tile(tile, camera):
    deck = deck_gl.build_deck(tile, STAGE, view.MapMarks(), LIGHT_THEME, camera, [50.0, -20.0])
    state = json.loads(deck.to_json())["initialViewState"]
    if camera == "close":
        assert state["target"][:2] == [50.0, -20.0]
    else:
        x, y = on_screen(tile, state)
        assert abs(x).max() < 575 / 2
        assert abs(y).max() < 560 / 2
        assert np.ptp(x) > 0.9 * 510  # and fills it
    assert 0 < state["rotationX"] <= 90
    assert "longitude" not in state or state["longitude"] is None


def test_the_plan_shows_the_same_marks(tile):
    dots = view.picked_dot(tile, [5.0, 6.0])
    region = view.region_lines(tile, [[[[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 0.0]]]], 0.5)
    marks = view.site_marks(SITES, tile) + view.MapMarks(dots=[dots], lines=[region])
    plan = plan_2d.plan_figure(tile, ground_image.basemap(tile, DARK_THEME), marks, DARK_THEME)
    names = {trace.name for trace in plan.data}
    assert names == {"cells", "picked position", "50% region"}
    picked = next(trace for trace in plan.data if trace.name == "picked position")
    assert (picked.x[0], picked.y[0]) == (5.0, 6.0)
    assert tuple(plan.layout.xaxis.range) == (-128.0, 128.0)


# ---- the timeline --------------------------------------------------------------------------------------


def test_the_line_at_a_moment_lies_on_its_time():
    time, silent = np.array([0.0, 2.0, 10.0]), np.full(3, np.nan)
    level, heard = np.full((3, 1), -80.0), np.ones((3, 1), dtype=bool)
    plot = charts.timeline_chart(time, level, heard, {"TA in steps": silent}, LIGHT_THEME)
    first, last = plot.layout.xaxis.range
    left, right = plot.layout.margin.l, plot.layout.margin.r
    for now in range(3):
        share = (time[now] - first) / (last - first)
        assert f"calc({left}px + {share:.4f} * (100% - {left + right}px))" in charts.now_line(time, now)
    assert "0.5000" in charts.now_line(np.array([7.0]), 0)  # a single report


# ---- densities and regions -----------------------------------------------------------------------------


def single(mean: tuple[float, float], std: tuple[float, float]) -> Fix:
    """One Gaussian."""
    covariance = torch.diag(torch.tensor(std) ** 2)[None, None]
    return Fix(torch.zeros(1, 1), torch.tensor(mean)[None, None], covariance)


def test_the_region_of_a_gaussian_is_its_ellipse():
    """The smallest region with share p is the ellipse of radius √(-2·ln(1-p)) standard deviations."""
    grid = Grid(size=256.0, pixel=2.0)
    std = (24.0, 12.0)
    pixels = pixel_probability(single((10.0, -20.0), std), grid)
    assert float(pixels.sum()) == pytest.approx(1.0, abs=1e-5)
    wide = [math.hypot(s, 1.0) for s in std]  # every component is widened by half a pixel
    for share in (0.5, 0.9):
        ellipse = -2 * math.log(1 - share) * math.pi * wide[0] * wide[1]
        held = hpd_region(pixels, share)
        assert float(held.sum()) * 4.0 == pytest.approx(ellipse, rel=0.02)
        ((ring, *holes),) = hpd_outlines(pixels, grid, share)
        assert not holes
        x, y = np.array(ring).T
        shoelace = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        assert shoelace == pytest.approx(ellipse, rel=0.02)
        assert ring[0] == ring[-1]
        radius = np.hypot((x - 10) / wide[0], (y + 20) / wide[1])
        np.testing.assert_allclose(radius, math.sqrt(-2 * math.log(1 - share)), atol=0.1)


def test_regions_have_holes_and_parts():
    pixels = torch.zeros(16, 16)
    pixels[2:7, 2:7] = 1.0
    pixels[4, 4] = 0.0
    pixels[12:14, 12:14] = 1.0
    polygons = hpd_outlines(pixels / pixels.sum(), Grid(size=16.0, pixel=1.0), 0.99)
    assert sorted(len(polygon) for polygon in polygons) == [1, 2]


def test_regions_that_reach_the_edge_are_closed():
    pixels = torch.zeros(8, 8)
    pixels[:, 0] = 1 / 8
    (polygon,) = hpd_outlines(pixels, Grid(size=8.0, pixel=1.0), 0.9)
    ring = np.array(polygon[0])
    assert ring[0].tolist() == ring[-1].tolist()
    assert np.abs(ring).max() <= 4.0
