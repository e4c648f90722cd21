"""Times of the explorer's pages in a browser that draws WebGL in software, as a visitor waits for them.

`EXPLORER_CHECKOUT=FOLDER python -m tests.bench explorer` serves the pages of another checkout, for instance of before a
change. The run is `runs/demo`, else the quick one.
"""

import os
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.conftest import ROOT
from tests.helpers.browser import SWITCHES, Visit, chromium_path, made_demo, serving

CHECKOUT = "EXPLORER_CHECKOUT"  # environment variable
MOVES, SWITCHES_OF_PAGES = 5, 4
CHART = ".js-plotly-plot .main-svg"
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def run() -> dict[str, float]:
    demo = ROOT / "runs" / "demo"
    shown = demo if (demo / "run.json").is_file() else made_demo()
    checkout = Path(os.environ.get(CHECKOUT, ROOT))
    with sync_playwright() as playwright, serving(str(shown), checkout=checkout) as address:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=SWITCHES)
        _seen_once(browser, address)
        visit = Visit(browser, address)
        figures = {
            "first_chart_s": _first_chart(visit),
            "first_map_s": _first_map(browser, address),
            "slider_s": _slider(visit),
            "page_switch_s": _page_switch(visit),
        }
        visit.close()
    return figures


def _seen_once(browser: Any, address: str) -> None:
    """Every page once: the server has opened what it shows, the browser has loaded the application."""
    visit = Visit(browser, address)
    for link in ("metrics", "map", "live?walk=3"):
        visit.page.goto(f"{address}/{link}")
        visit.settle()
    visit.close()


def _first_chart(visit: Visit) -> float:
    """Seconds from the link of Metrics to its first chart."""
    start = time.perf_counter()
    visit.page.goto(f"{visit.server}/metrics")
    visit.page.locator(CHART).first.wait_for()
    seconds = time.perf_counter() - start
    visit.settle()
    return seconds


def _first_map(browser: Any, address: str) -> float:
    """Seconds from a link to the first picture of the map; the lesser of two, as the first pays for a new browser."""
    seconds = []
    visit = Visit(browser, address)
    for _ in range(2):
        seconds.append(visit.first_painted("map"))
        visit.page.goto("about:blank")
    visit.close()
    return min(seconds)


def _slider(visit: Visit) -> float:
    """Median seconds from a key on the slider to new figures and a drawn frame."""
    visit.page.goto(f"{visit.server}/live?walk=3")
    visit.painted()
    visit.settle()
    slider, seconds = visit.page.get_by_role("slider").last, []
    for _ in range(MOVES):
        before = visit.page.locator(".cards").first.inner_text()
        slider.focus()
        start = time.perf_counter()
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_function("before => document.querySelector('.cards').innerText !== before", arg=before)
        visit.page.evaluate(FRAMES)
        seconds.append(time.perf_counter() - start)
        visit.settle()
    return statistics.median(seconds)


def _page_switch(visit: Visit) -> float:
    """Median seconds from a click on a page's link to its first card or chart, between Overview and Metrics."""
    seconds = []
    for name, sign in (("Overview", "text=Locate a phone"), ("Metrics", "text=Position error")) * SWITCHES_OF_PAGES:
        start = time.perf_counter()
        visit.page.get_by_role("link", name=name, exact=True).first.click()
        visit.page.locator(sign).first.wait_for()
        seconds.append(time.perf_counter() - start)
        visit.settle()
    return statistics.median(seconds)
