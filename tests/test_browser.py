"""The explorer in a real browser that reaches this machine alone, on the quick demo; pictures of every page.

Pictures go to `runs/explorer/shots`, times to `runs/bench/explorer.json`.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bad_reports import BAD
from tests.browsing import RUN, SWITCHES, Visit, loud_phone, near, serving
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

SHOTS = ROOT / "runs" / "explorer" / "shots"
FIGURES = ROOT / "runs" / "bench" / "explorer.json"
PAGES = {
    "overview": ("", "Find a phone"),
    "map": ("map?phone=PHONE&layer=rsrp", "traced in"),
    "live": ("live?number=6&walk=3", "candidates are hollow"),
    "metrics": ("metrics", "Calibration"),
    "analysis": ("analysis", "Permutation importance"),
}
TIMES: dict[str, Any] = {}


# ---- a server, a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def demo() -> Path:
    """The quick demo, made where it is not there."""
    if not (RUN / "artefacts.json").is_file():
        command = [sys.executable, "-m", "uel.cli", "demo", "--config", "demo/quick"]
        subprocess.run(command, cwd=ROOT, check=True, timeout=3600, capture_output=True)
    return RUN


@pytest.fixture(scope="session")
def server(demo) -> Iterator[str]:
    with serving(str(demo)) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    assert found, "no Chromium: make browser"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=SWITCHES)
        yield browser
        browser.close()
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    if TIMES:
        old = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
        FIGURES.write_text(json.dumps(old | TIMES, indent=1) + "\n")


@pytest.fixture
def visit(chromium, server) -> Iterator[Visit]:
    there = Visit(chromium, server)
    yield there
    there.close()


# ---- every page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_every_page_from_a_cold_link(demo, chromium, name):
    link, word = PAGES[name]
    with serving(str(demo)) as address:
        cold = Visit(chromium, address)
        TIMES[f"cold_{name}_s"] = round(cold.open(link, word), 2)
        cold.require_clean()
        assert not cold.page.locator("[data-testid=stAlert]").count()
        cold.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (1280, 720)])
@pytest.mark.parametrize("name", PAGES)
def test_pictures_of_every_page(chromium, server, name, size, theme):
    there = Visit(chromium, server, theme, size)
    there.open(*PAGES[name])
    if name in ("map", "live", "analysis"):
        there.painted()
    SHOTS.mkdir(parents=True, exist_ok=True)
    there.page.screenshot(path=str(SHOTS / f"{name}-{theme}-{size[0]}.png"))
    paper = there.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert (sum(int(v) for v in paper.strip("rgb()").split(",")) > 384) == (theme == "light")
    wide = there.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    room = there.page.evaluate("document.querySelector('[data-testid=stMain]').clientWidth")
    assert wide <= room  # nothing stands out at the side
    high = there.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    there.page.set_viewport_size({"width": size[0], "height": min(high + 20, 3000)})
    there.page.wait_for_timeout(2500)
    there.page.screenshot(path=str(SHOTS / f"{name}-{theme}-{size[0]}-whole.png"))
    there.require_clean()
    there.close()


# ---- the map --------------------------------------------------------------------------------------------


def test_a_phone_is_picked_and_its_rays_are_drawn(visit):
    visit.open("map?camera=from+above&layer=none&opacity=10", "Click the ground")
    picture = visit.painted()
    box = visit.page.locator("[data-testid=stDeckGlJsonChart]").bounding_box()
    blue = near(picture, (0, 114, 178))
    middles = [p for p in blue if (np.abs(blue - p).max(1) <= 2).sum() >= 16]  # inside of a dot, not at its edge
    entry = visit.page.get_by_label("or phone number")
    for row, column in middles[::40] or middles:
        visit.page.mouse.click(box["x"] + int(column), box["y"] + int(row))
        visit.page.wait_for_timeout(2000)
        visit.settle()
        if entry.input_value():
            break
    assert entry.input_value().isdigit()
    visit.page.get_by_text("traced in").first.wait_for()
    assert "phone=" in visit.page.url
    assert len(near(visit.painted(), (240, 228, 66))) > 20  # the picked place
    visit.require_clean()


def test_the_ground_is_picked_anywhere(visit):
    visit.open("map?camera=from+above&layer=none&phones=false&opacity=10", "Click the ground")
    visit.painted()
    box = visit.page.locator("[data-testid=stDeckGlJsonChart]").bounding_box()
    for off in range(0, 200, 16):  # until it is outdoors
        visit.page.mouse.click(box["x"] + box["width"] / 2 + off, box["y"] + box["height"] / 2)
        visit.page.wait_for_timeout(1500)
        visit.settle()
        if visit.page.get_by_label("East in m").input_value():
            break
    east = float(visit.page.get_by_label("East in m").input_value())
    assert -256 < east < 256
    visit.page.get_by_text("traced in").first.wait_for()
    visit.require_clean()


def test_rays_are_drawn_from_a_deep_link(visit):
    visit.open("map?layer=none&camera=from+above", "Click the ground")
    before = visit.painted()
    visit.open("map?layer=none&camera=from+above&phone=PHONE", "traced in")
    after = visit.painted()
    assert visit.page.get_by_label("or phone number").input_value() == str(loud_phone())
    paths = int(visit.page.locator(".card:has-text('paths') .value").first.inner_text())
    changed = (np.abs(before - after) > 40).any(-1).sum()
    assert paths > 0
    assert changed > 300
    visit.require_clean()


def test_without_webgl_there_is_a_plan(chromium, server):
    there = Visit(chromium, server)
    there.page.add_init_script("HTMLCanvasElement.prototype.getContext = function () { return null; }")
    there.open("map?view=2-D&phone=PHONE", "traced in")
    there.page.locator(".js-plotly-plot").first.wait_for()
    assert there.page.locator("[data-testid=stDeckGlJsonChart]").count() == 0
    assert there.page.locator(".js-plotly-plot .imagelayer image, .js-plotly-plot .layer-below image").count() >= 1
    there.require_clean()
    there.close()


# ---- inference ------------------------------------------------------------------------------------------


def test_good_and_bad_uploads(visit, demo, tmp_path):
    visit.open("live?walk=1", "candidates are hollow")
    with visit.page.expect_download() as got:
        visit.page.get_by_text("These reports as JSON").click()
    got.value.save_as(tmp_path / "reports.json")
    visit.open("live?source=upload", "Reports as JSON")
    entry = visit.page.locator("input[type=file]")
    names = [name for name in BAD if name not in ("too large", "empty")][:20]  # those Streamlit refuses by itself
    for name in names:
        entry.set_input_files({"name": "bad.json", "mimeType": "application/json", "buffer": BAD[name][0]})
        visit.settle()
        alert = visit.page.locator("[data-testid=stAlert]").first
        alert.wait_for()
        assert "do:" in alert.inner_text(), name
        visit.page.locator("[data-testid=stFileUploaderDeleteBtn] button, [aria-label^=Remove]").first.click()
        visit.settle()
    entry.set_input_files(str(tmp_path / "reports.json"))
    visit.page.get_by_text("candidates are hollow").first.wait_for()
    assert len(names) == 20
    visit.require_clean()


def test_the_slider_moves_the_phone(visit):
    visit.open("live?walk=3", "candidates are hollow")
    visit.painted()
    seconds = []
    slider = visit.page.get_by_role("slider", name="Report")
    for _ in range(4):
        before = visit.page.locator(".card:has-text('position') .value").first.inner_text()
        slider.focus()
        start = time.perf_counter()
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_function(
            "before => [...document.querySelectorAll('.card')].some(c => c.innerText.startsWith('position') && "
            "!c.innerText.includes(before))",
            arg=before,
        )
        seconds.append(time.perf_counter() - start)
        visit.settle()
    TIMES["slider_move_s"] = round(float(np.median(seconds)), 2)
    visit.require_clean()


# ---- times ----------------------------------------------------------------------------------------------


def test_the_first_picture_when_warm(chromium, server):
    for name, (link, word) in PAGES.items():
        Visit(chromium, server).open(link, word)
        warm = Visit(chromium, server)
        TIMES[f"warm_{name}_s"] = round(warm.open(link, word), 2)
        warm.close()
    first = Visit(chromium, server)
    start = time.perf_counter()
    first.page.goto(f"{server}/map")
    first.painted()
    TIMES["first_map_picture_warm_s"] = round(time.perf_counter() - start, 2)
    first.require_clean()
    first.close()


def test_hundred_thousand_phones(chromium, demo, tmp_path):
    from sim_bridge.engines import Local, run
    from sim_bridge.measure import MeasurePlan
    from sim_bridge.survey import Place, SurveyPlan, Work
    from tests.surveys import free_space
    from uel.runs import Run
    from uel.tracks import TrackPlan

    opened = Run.open(demo)
    tracks = TrackPlan(tracks=5000, reports=20)
    plan = SurveyPlan(tracks=tracks, measure=MeasurePlan(layers=("rt",), paths=1), unit=5000)
    work = Work(tmp_path / "many", (Place(opened.tile, opened.maps.radio.sites),), plan, free_space)
    units = range(len(work.prepare().units))
    assert list(run(Local(work), units))
    with serving(str(tmp_path / "many")) as address:
        there = Visit(chromium, address)
        TIMES["cold_100000_phones_s"] = round(there.open("map?layer=none", "5000 of 100000 phones"), 2)
        there.painted()
        start = time.perf_counter()
        there.page.goto(f"{address}/map?layer=none&camera=from+above")
        there.page.get_by_text("5000 of 100000 phones").first.wait_for()
        there.painted()
        TIMES["warm_100000_phones_s"] = round(time.perf_counter() - start, 2)
        box = there.page.locator("[data-testid=stDeckGlJsonChart]").bounding_box()
        start = time.perf_counter()
        there.page.mouse.move(box["x"] + 300, box["y"] + 300)
        there.page.mouse.down()
        there.page.mouse.move(box["x"] + 360, box["y"] + 320, steps=6)
        there.page.mouse.up()
        there.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        TIMES["drag_100000_phones_s"] = round(time.perf_counter() - start, 2)
        there.require_clean()
        there.close()


def test_behind_the_path_of_a_proxy(chromium, demo):
    with serving(str(demo), "--base-url-path", "radio/look", below="/radio/look") as address:
        there = Visit(chromium, address)
        there.open("map", "Click the ground")
        there.painted()
        there.require_clean()
        there.close()
