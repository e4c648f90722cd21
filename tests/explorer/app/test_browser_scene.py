"""Maps in a real browser: they fill the window, say what lies under the pointer, and are found again as they were."""

import re

import numpy as np
import pytest

from tests.helpers.browser import Visit, middles, near

pytestmark = pytest.mark.browser

CHART = "[data-testid=stDeckGlJsonChart]"


def box(visit: Visit, selector: str) -> dict[str, float]:
    return visit.page.locator(selector).first.bounding_box()


@pytest.mark.parametrize(("link", "least"), [("map?layer=rsrp", 0.85), ("live?walk=3", 0.6)])
def test_the_map_fills_the_window_with_its_legend_in_it(visit: Visit, link: str, least: float) -> None:
    visit.open(link, "candidates are hollow" if link.startswith("live") else "Click the ground")
    visit.painted()
    window, chart = visit.page.viewport_size, box(visit, CHART)
    assert chart["height"] > least * window["height"]
    assert chart["width"] > 0.7 * window["width"]  # beside the sidebar
    for part in ("[class*=st-key-legend]", "[class*=st-key-panel]"):
        inner = box(visit, part)
        assert chart["x"] <= inner["x"]
        assert inner["x"] + inner["width"] <= chart["x"] + chart["width"] + 1
        assert chart["y"] <= inner["y"]
        assert inner["y"] + inner["height"] <= chart["y"] + chart["height"] + 1
    visit.require_clean()


def test_the_pointer_is_told_the_level_of_the_ground(visit: Visit) -> None:
    visit.open("map?camera=from+above&layer=rsrp&phones=false&opacity=10", "Click the ground")
    picture, chart = visit.painted(), box(visit, CHART)
    card = visit.page.locator(".deck-tooltip")
    spots = [(int(row), int(column)) for row in range(150, 500, 50) for column in range(250, 650, 50)]
    assert picture.shape[0] > 500
    for row, column in spots:
        visit.page.mouse.move(chart["x"] + column, chart["y"] + row, steps=3)
        visit.page.wait_for_timeout(400)
        if "RSRP" in (text := card.inner_text()):
            assert re.search(r"m east, .* m north\s+RSRP -?\d+ dBm, cell \d", text)
            break
    else:
        raise AssertionError("no hover card names a level")
    visit.require_clean()


def test_a_place_and_a_view_survive_other_pages_and_back(visit: Visit) -> None:
    visit.open("map?layer=sinr&camera=from+above", "Click the ground")
    before = visit.page.url
    assert "place=" in before
    assert "run=" in before
    visit.page.get_by_role("link", name="Metrics", exact=True).first.click()
    visit.page.get_by_text("Position error").first.wait_for()
    visit.settle()
    assert "place=" in visit.page.url
    visit.page.get_by_role("link", name="Map", exact=True).first.click()
    visit.page.get_by_text("SINR at full load").first.wait_for()
    visit.settle()
    assert visit.page.url == before
    visit.page.go_back()
    visit.page.get_by_text("Position error").first.wait_for()
    visit.settle()
    visit.page.go_back()
    visit.page.get_by_text("SINR at full load").first.wait_for()
    visit.settle()
    assert visit.page.url == before
    visit.require_clean()


def test_back_returns_to_the_layer_before(visit: Visit) -> None:
    visit.open("map?layer=none&camera=from+above", "Click the ground")
    before = visit.page.url
    choice = visit.page.get_by_label("Layer", exact=True)
    choice.click()
    visit.page.get_by_role("option", name="SINR at full load").click()
    visit.page.wait_for_url("**layer=sinr*")
    visit.settle()
    visit.page.go_back()
    visit.page.wait_for_url(before)
    visit.settle()
    assert choice.input_value() == "none"
    visit.require_clean()


def test_what_an_address_names_and_the_page_lacks_is_said(visit: Visit) -> None:
    visit.open("map?place=atlantis&layer=gold", "atlantis")
    assert "gold" in visit.page.locator("[data-testid=stAlert]").first.inner_text()
    assert "atlantis" not in visit.page.url
    visit.require_clean()


def test_truth_and_fix_are_framed_with_the_density_between_them(visit: Visit) -> None:
    visit.open("live?number=6&walk=3", "candidates are hollow")
    visit.painted()
    visit.require_colour((213, 94, 0))
    visit.require_colour((0, 114, 178))
    chart, bar = box(visit, CHART), box(visit, ".st-key-timebar")
    assert bar["y"] >= chart["y"] + chart["height"] - 1  # the time bar lies under the map
    assert bar["y"] + bar["height"] <= visit.page.viewport_size["height"]
    picture = visit.picture()
    middle = np.mean(np.concatenate([near(picture, (213, 94, 0)), near(picture, (0, 114, 178))]), axis=0)
    assert 0.15 * chart["height"] < middle[0] < 0.85 * chart["height"]
    assert 0.1 * chart["width"] < middle[1] < 0.75 * chart["width"]
    visit.require_clean()


def test_a_sample_log_is_located_beside_the_upload(visit: Visit) -> None:
    visit.open("live?source=upload", "Any log that")
    visit.page.get_by_text("Locate the sample").click()
    visit.page.get_by_text("candidates are hollow").first.wait_for()
    visit.painted()
    visit.require_clean()


def test_on_a_telephone_the_panel_stands_below_the_map(chromium: object, server: str) -> None:
    there = Visit(chromium, server, size=(390, 844))
    there.open("map?layer=rsrp", "Click the ground")
    there.painted()
    chart, panel = box(there, CHART), box(there, "[class*=st-key-panel]")
    assert panel["y"] >= chart["y"] + chart["height"] - 1
    assert chart["width"] > 340
    wide = there.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= 390
    there.require_clean()
    there.close()


def test_dots_of_phones_have_the_colour_of_true_positions_and_of_nothing_else(visit: Visit) -> None:
    visit.open("map?camera=from+above&layer=none&opacity=10", "Click the ground")
    assert len([*middles(near(visit.painted(), (0, 114, 178)))]) > 3
    visit.open("map?camera=from+above&layer=none&opacity=10&phones=false", "Click the ground")
    assert len(near(visit.painted(), (0, 114, 178))) < 20
    visit.require_clean()
