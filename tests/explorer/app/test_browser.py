"""The explorer in a real browser that reaches this machine alone, on the quick demo; pictures of every page.

Pictures go to `runs/explorer/shots`, times to `runs/bench/explorer_tests.json` (`python -m tests.bench explorer`
measures them alone).
"""

import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.helpers.browser import SWITCHES, TIMES, Visit, chromium_path, loud_phone, make_crowd, middles, near, serving
from tests.helpers.reverse_proxy import proxy

pytestmark = pytest.mark.browser

SHOTS = ROOT / "runs" / "explorer" / "shots"
PAGES = {
    "overview": ("", "Locate a phone"),
    "map": ("map?phone=PHONE&layer=rsrp", "search and tracing"),
    "live": ("live?number=6&walk=3", "candidates are hollow"),
    "metrics": ("metrics", "Calibration"),
    "analysis": ("analysis", "Permutation importance"),
}


# ---- every page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_every_page_from_a_cold_link(demo, chromium, name):
    link, word = PAGES[name]
    with serving(str(demo)) as address:
        cold = Visit(chromium, address)
        TIMES[f"cold_{name}_s"] = round(cold.open(link, word), 2)
        TIMES["outside_requests"] = TIMES.get("outside_requests", 0) + len(cold.outside)
        cold.require_clean()
        alerts = cold.page.locator("[data-testid=stAlert]").all_inner_texts()
        assert all("uel " in alert for alert in alerts), alerts  # nothing but which command makes what is missing
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


def test_phones_are_picked_one_after_the_other_and_their_rays_are_drawn(visit):
    visit.open("map?camera=from+above&layer=none&opacity=10", "Click the ground")
    dots = [*middles(near(visit.painted(), (0, 114, 178)))][:3]
    assert len(dots) == 3
    found = [""]
    for row, column in dots:
        visit.click(row, column)
        found.append(visit.awaited("or phone number", found[-1]))
        assert found[-1].isdigit()
        visit.page.wait_for_url(f"**phone={found[-1]}*")
        visit.page.get_by_text("search and tracing").first.wait_for()
        visit.require_colour((240, 228, 66))  # the picked place
    assert len(set(found)) == 4
    visit.require_clean()


def test_the_ground_is_picked_anywhere(visit):
    visit.open("map?camera=from+above&layer=none&phones=false", "Click the ground")
    visit.click(*next(middles(near(visit.painted(), (237, 235, 229), 3), reach=8)))  # ground that no building hides
    assert -256 < float(visit.awaited("East in m", "")) < 256
    visit.page.get_by_text("search and tracing").first.wait_for()
    assert "x=" in visit.page.url
    visit.require_clean()


def test_rays_are_drawn_from_a_deep_link(visit):
    visit.open("map?layer=none&camera=from+above", "Click the ground")
    before = visit.painted()
    visit.open("map?layer=none&camera=from+above&phone=PHONE", "search and tracing")
    after = visit.painted()
    assert visit.page.get_by_label("or phone number").input_value() == str(loud_phone())
    paths = int(visit.page.locator(".card:has-text('paths') .value").first.inner_text())
    changed = (np.abs(before - after) > 40).any(-1).sum()
    assert paths > 0
    assert changed > 300
    visit.require_clean()


def test_a_link_holds_layer_cell_camera_and_phone(visit):
    visit.open("map?layer=error&cell=2&camera=close&buildings=height&phone=PHONE", "Monte-Carlo error")
    visit.page.get_by_text("search and tracing").first.wait_for()
    shown = visit.page.eval_on_selector_all("[data-testid=stSidebar] input", "all => all.map(one => one.value)")
    for said in ("Monte-Carlo error", "cell 2", "close", "by height"):
        assert said in shown, said
    for part in ("layer=error", "cell=2", "camera=close", f"phone={loud_phone()}"):
        assert part in visit.page.url
    visit.require_clean()


def test_every_control_of_the_map_is_reached_by_the_keyboard(visit):
    visit.open("map", "Click the ground")
    reached = set()
    for _ in range(60):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("(e => e.getAttribute('aria-label') || e.innerText)(document.activeElement)"))
    said = "\n".join(sorted(reached))
    for control in ("Metrics", "Place", "Run", "3-D", "2-D", "Camera", "Buildings", "Layer", "Cell", "East in m",
                    "North in m", "or phone number", "Building opacity"):  # fmt: skip
        assert control in said, f"{control} not in:\n{said}"
    visit.require_clean()


def test_a_plan_by_choice_and_a_phone_picked_on_it(visit):
    visit.open("map?view=2-D&layer=none", "Click a phone")
    visit.page.locator(".js-plotly-plot").first.wait_for()
    assert visit.page.locator("[data-testid=stDeckGlJsonChart]").count() == 0
    assert visit.page.locator(".js-plotly-plot .layer-below image, .js-plotly-plot .imagelayer image").count() >= 1
    dot = visit.page.locator(".js-plotly-plot .scatterlayer .points path.point").last.bounding_box()
    visit.page.mouse.click(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    assert visit.awaited("or phone number", "").isdigit()
    visit.page.get_by_text("search and tracing").first.wait_for()
    visit.require_clean()


def test_a_browser_without_webgl_gets_a_plan_by_itself(chromium, server):
    """`--disable-3d-apis`: a browser that really has none."""
    blind = chromium.browser_type.launch(executable_path=chromium_path(), args=[*SWITCHES[:2], "--disable-3d-apis"])
    there = Visit(blind, server)
    there.open("map?phone=PHONE", "has no WebGL 2")
    there.page.locator(".js-plotly-plot .layer-below image, .js-plotly-plot .imagelayer image").first.wait_for(
        state="attached"
    )
    there.page.get_by_text("search and tracing").first.wait_for()
    assert there.page.locator("[data-testid=stDeckGlJsonChart]").count() == 0
    there.errors = [said for said in there.errors if "WebGL" not in said]  # what the 3-D view says before it goes
    there.require_clean()
    there.close()
    blind.close()


# ---- times ----------------------------------------------------------------------------------------------


def test_the_first_picture_when_warm(chromium, server):
    """Of a server, and of a browser, that have seen the page before; and of a browser that has not."""
    for name, (link, word) in PAGES.items():
        there = Visit(chromium, server)
        there.open(link, word)
        there.page.goto("about:blank")  # a page that is left open goes on drawing
        TIMES[f"warm_{name}_s"] = round(there.open(link, word), 2)
        there.close()
    there = Visit(chromium, server)
    for which in ("new_browser", "warm"):
        TIMES[f"first_map_picture_{which}_s"] = round(there.first_painted("map"), 2)
        there.require_clean()
        there.page.goto("about:blank")
    there.close()


def test_hundred_thousand_phones(chromium, demo, tmp_path):
    make_crowd(demo, tmp_path / "many")
    with serving(str(tmp_path / "many")) as address:
        there = Visit(chromium, address)
        TIMES["cold_100000_phones_s"] = round(there.open("map?layer=none", "2000 of 100000 phones"), 2)
        there.painted()
        start = time.perf_counter()
        there.page.goto(f"{address}/map?layer=none&camera=from+above")
        there.page.get_by_text("2000 of 100000 phones").first.wait_for()
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
    """A proxy of another name hands on what lies below its path, and knows nothing else."""
    with serving(str(demo), "--base-url-path", "radio/look", below="/radio/look") as address, proxy(address) as outside:
        there = Visit(chromium, outside)
        there.open("map", "Click the ground")
        there.painted()
        there.require_clean()
        away = urllib.request.Request(f"http://127.0.0.1:{urlsplit(outside).port}/map")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(away, timeout=30)
        there.close()
