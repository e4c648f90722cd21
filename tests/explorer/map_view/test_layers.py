"""What the explorer draws: pictures on the ground, layers and regions, against what is known of them."""

import math

import numpy as np
import pytest
import torch

from explorer import style
from explorer.analysis import charts
from explorer.map_view import ground_image
from explorer.map_view import marks as view
from explorer.style import LIGHT_THEME, THEMES
from tests.helpers.toy_city import toy_tile
from uel.core.grid import Grid
from uel.estimation.credible_regions import hpd_outlines, hpd_region, pixel_probability
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.plots.radio_layers import RADIO_LAYERS
from uel.radio.sites import Array, Cell, Site


@pytest.fixture(scope="module")
def tile(tmp_path_factory) -> Tile:
    return toy_tile(tmp_path_factory.mktemp("explorer") / "toy")


# ---- pictures ------------------------------------------------------------------------------------------


def test_a_layer_is_painted_where_it_is_known_and_nowhere_else():
    base = np.full((8, 8, 3), 100, dtype=np.uint8)
    known = np.zeros((4, 4), dtype=bool)
    known[1, 2] = True
    legend = ground_image.Legend(title="x", scale="viridis", low=0.0, high=1.0)
    ground = ground_image.Ground(base, ground_image.layer_overlay(np.ones((4, 4)), known, legend, opacity=1.0))
    image = ground.picture
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


def test_no_two_quantities_share_a_colour_map():
    assert len(set(style.QUANTITY_SCALES.values())) == len(style.QUANTITY_SCALES)
    assert {layer.scale for layer in RADIO_LAYERS.values()} <= set(style.QUANTITY_SCALES.values())


def test_cells_have_colours_that_nothing_else_has():
    methods = {tuple(int(m.colour[k : k + 2], 16) for k in (1, 3, 5)) for m in style.METHOD_STYLES.values()}
    others = {style.PHONE_COLOUR, style.LOCATOR_COLOUR, style.PICKED_COLOUR, style.LIMIT_COLOUR, style.GREY}
    others |= set(style.MATERIAL_COLOURS.values()) | methods
    assert not set(style.CELL_COLOURS) & others
    assert len(set(style.CELL_COLOURS)) == len(style.CELL_COLOURS)
    assert len({style.PHONE_COLOUR, style.LOCATOR_COLOUR, style.PICKED_COLOUR}) == 3


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
    assert marks.areas[0].colours == [style.cell_colour(0), style.cell_colour(1)]
    numbers = marks.labels[0]
    assert numbers.texts == ["0", "1"]
    assert numbers.position[0, 0] > 15 > numbers.position[1, 0]


def test_cells_at_one_position_have_one_label_and_the_serving_cell_is_larger(tile):
    site = Site(position=(10.0, 20.0, 30.0), cells=(Cell(), Cell()))
    marks = view.site_marks((site,), tile, serving=1)
    assert marks.labels[0].texts == ["0 1"]
    widths = [np.ptp(points[:, 0]) for points in marks.areas[0].points]
    assert widths[1] == pytest.approx(view.SERVING_SCALE * widths[0])
    assert marks.areas[0].texts[1].startswith("Cell 1, serving")


def test_candidates_are_as_large_as_they_are_likely_and_those_below_one_percent_are_left_out(tile):
    candidates = [([0.0, 0.0], 0.64, 5.0), ([20.0, 0.0], 0.16, 5.0), ([40.0, 0.0], 0.009, 5.0)]
    marks = view.fix_marks(tile, LIGHT_THEME, [3.0, 4.0], [0.0, 0.0], [1.0, 1.0], candidates, [2.0, 2.0])
    rings = next(dots for dots in marks.dots if dots.name == "candidates")
    assert len(rings.position) == 2
    assert (rings.radius[0] - rings.radius[1]) > 5
    line = next(lines for lines in marks.lines if lines.name == "error")
    np.testing.assert_allclose([p[:2] for p in line.points[0]], [[3.0, 4.0], [0.0, 0.0]])
    assert "5.0 m" in line.texts[0]
    unknown = view.fix_marks(tile, LIGHT_THEME, None, [0.0, 0.0], None, candidates[2:])
    assert [dots.name for dots in unknown.dots] == ["fix"]
    assert not unknown.lines


def test_hundred_thousand_phones_become_a_sample(tile):
    place = np.random.default_rng(0).uniform(-120, 120, (100_000, 2))
    dots, chosen, said = view.phone_dots(tile, place)
    assert len(dots.position) == view.MAX_DOTS == len(chosen)
    assert said == "2000 of 100000 phones, drawn at random"
    np.testing.assert_allclose(dots.position[:, :2], place[chosen], atol=1e-4)
    assert dots.texts[7].startswith(f"Phone {chosen[7]}\n")
    assert view.phone_dots(tile, place[:30])[2] == "30 phones"


def test_tracks_of_one_report_are_no_lines_and_many_are_sampled(tile):
    place = torch.rand(400, 3, 2, generator=torch.Generator().manual_seed(0)) * 100
    valid = torch.ones(400, 3, dtype=torch.bool)
    valid[0, 1:], valid[1, 2] = False, False
    lines, said = view.survey_lines(tile, place, valid)
    assert said == f"{view.MAX_TRACKS} of 399 tracks, drawn at random"
    assert len(lines.points) == view.MAX_TRACKS
    few, said = view.survey_lines(tile, place[:3], valid[:3])
    assert (said, few.texts) == ("2 tracks", ["Track 1", "Track 2"])
    assert [len(points) for points in few.points] == [2, 3]
    np.testing.assert_allclose(few.points[1][:, :2], place[2], atol=1e-4)


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
