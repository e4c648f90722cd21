"""Every page in a real browser, on windows of four widths and in both themes: nothing is cut, nothing goes wrong, and
nothing is asked of other machines, whatever names are in files. Pictures go to `runs/explorer/shots`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.helpers.browser import Visit, serving
from tests.helpers.demo_run import make_run, make_tile
from tests.helpers.network_tiles import network_tile

pytestmark = pytest.mark.browser

SHOTS = ROOT / "runs" / "explorer" / "shots"
WIDTHS = {1440: 900, 1280: 720, 900: 1100, 390: 844}  # px, with heights
PAGES = {
    "overview": ("", "Locate a phone"),
    "map": ("map", "Layer"),
    "live": ("live", "Evidence"),
    "metrics": ("metrics", "Can its uncertainty be trusted"),
    "analysis": ("analysis", "Permutation importance"),
}
HOSTILE_NAME = "<img src=x onerror=alert(1)> ![a](http:evil.example) $x^2$ :red[b] `c`"
HOSTILE_LOG = b"time,cell,<script src=http://evil.example/a.js>\n![a](http://evil.example/a.png),=1+1,-80\n"
# Elements whose own text, or value, is wider than they are; canvases and charts have no such elements.
CUT_TEXTS = """() => [...document.querySelectorAll("[data-testid=stApp] *")].filter(element => {
  const isEntry = element.tagName === "INPUT" && element.type === "text" && element.value;
  const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!(isEntry || hasText) || element.clientWidth <= 1) return false;
  if (element.closest("svg, [data-testid=stDataFrame]") || !element.checkVisibility()) return false;
  if (element.closest("[data-testid=stSidebar]")?.clientWidth < 100) return false;  // closed
  return element.scrollWidth > element.clientWidth + 1;
}).map(element => {
  const text = (element.value || element.innerText).slice(0, 80);
  return `${element.tagName} ${element.scrollWidth} > ${element.clientWidth}: ${text}`;
})"""
# Words of charts that stand out of their chart.
CUT_CHART_TEXTS = """() => [...document.querySelectorAll(".js-plotly-plot .main-svg text")].filter(text => {
  const own = text.getBoundingClientRect(), chart = text.closest(".js-plotly-plot").getBoundingClientRect();
  return own.width && (own.left < chart.left - 1 || own.right > chart.right + 1 || own.top < chart.top - 1);
}).map(text => text.textContent)"""
TOO_WIDE = """() => {
  const main = document.querySelector("[data-testid=stMain]");
  return main.scrollWidth - main.clientWidth;
}"""


def require_whole(visit: Visit, where: str) -> None:
    """Nothing on a page is cut, and the page does not scroll sideways."""
    assert visit.page.evaluate(CUT_TEXTS) == [], where
    assert visit.page.evaluate(CUT_CHART_TEXTS) == [], where
    assert visit.page.evaluate(TOO_WIDE) <= 0, where


def shoot(visit: Visit, name: str, size: tuple[int, int]) -> None:
    """Save a picture of the window, and of the whole page."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    visit.page.screenshot(path=str(SHOTS / f"{name}-{size[0]}.png"))
    high = visit.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    visit.page.set_viewport_size({"width": size[0], "height": min(high + 20, 6000)})
    visit.page.wait_for_timeout(1500)
    visit.page.screenshot(path=str(SHOTS / f"{name}-{size[0]}-whole.png"))


def look_at_every_width(visit: Visit, name: str) -> None:
    for width, height in WIDTHS.items():
        visit.page.set_viewport_size({"width": width, "height": height})
        visit.page.wait_for_timeout(1500)
        visit.settle()
        require_whole(visit, f"{name} at {width} px")
        shoot(visit, name, (width, height))
        require_whole(visit, f"all of {name} at {width} px")


@pytest.fixture(scope="module")
def district_server(tmp_path_factory) -> Iterator[str]:
    tile = network_tile(tmp_path_factory.mktemp("district"))
    with serving(str(tile.folder)) as address:
        yield address


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pages_are_whole_at_every_width(chromium, server, name, theme):
    there = Visit(chromium, server, theme)
    there.open(*PAGES[name])
    look_at_every_width(there, f"{name}-{theme}")
    there.require_clean()
    there.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_a_district_is_whole_at_every_width(chromium, district_server, theme):
    there = Visit(chromium, district_server, theme)
    there.open("district", "Levels of cell")
    look_at_every_width(there, f"district-{theme}")
    there.require_clean()
    there.close()


@pytest.mark.parametrize("name", ["overview", "metrics"])
def test_pages_are_whole_when_enlarged_and_on_a_large_screen(chromium, server, name):
    """150 % of 1440 pixels are 960 wide; 4K is 3840."""
    for size, scale in (((960, 600), 1.5), ((3840, 2160), 1.0)):
        there = Visit(chromium, server, size=size, device_scale_factor=scale)
        there.open(*PAGES[name])
        require_whole(there, f"{name} at {size[0]} px")
        there.require_clean()
        there.close()


def test_the_sidebar_is_closed_on_phones_and_open_elsewhere(chromium, server):
    for size, is_open in (((390, 844), False), ((1440, 900), True)):
        there = Visit(chromium, server, size=size)
        there.open("metrics", "Can its uncertainty be trusted")
        sidebar = there.page.locator("[data-testid=stSidebar]")
        assert (sidebar.get_attribute("aria-expanded") == "true") == is_open
        there.close()


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory) -> Iterator[str]:
    """A run and a tile whose names are Markdown, HTML and formulas."""
    run = make_run(tmp_path_factory.mktemp("hostile") / "runs" / HOSTILE_NAME)
    file = make_tile(run / "odd") / "tile.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"name": HOSTILE_NAME}))
    with serving(str(run)) as address:
        yield address


@pytest.mark.parametrize("name", PAGES)
def test_names_in_files_ask_nothing_of_other_machines(chromium, hostile_server, name):
    there = Visit(chromium, hostile_server)
    there.open(*PAGES[name])
    shown = there.page.locator("[data-testid=stMain]").inner_text().lower()
    assert ("onerror=alert(1)> ![a](http:evil.example) $x^2$" in shown) == (name in ("overview", "metrics", "analysis"))
    assert not there.page.locator("img[src=x], img[src*=evil], a[href*=evil]").count()
    there.require_clean()
    there.close()


def test_uploads_ask_nothing_of_other_machines(chromium, server, tmp_path):
    there = Visit(chromium, server)
    there.open("live?source=upload", "Upload")
    entry = there.page.locator("input[type=file]")
    entry.set_input_files({"name": f"{HOSTILE_NAME}.csv", "mimeType": "text/csv", "buffer": HOSTILE_LOG})
    there.page.locator("[data-testid=stAlert]:has-text('do:')").first.wait_for()
    there.settle()
    assert not there.page.locator("script[src*=evil], img[src*=evil]").count()
    there.require_clean()
    there.close()


def test_a_table_a_chart_and_a_map_are_saved(chromium, server, tmp_path: Path):
    there = Visit(chromium, server)
    there.open("analysis", "Permutation importance")
    saved: dict[str, Any] = {}
    for suffix, button in (
        ("csv", there.page.get_by_role("button", name="CSV").first),
        ("map.png", there.page.get_by_role("button", name="PNG").first),
        ("chart.png", there.page.locator("[data-title^='Download plot']").first),
    ):
        with there.page.expect_download() as got:
            button.scroll_into_view_if_needed()
            button.hover()
            button.click()
        got.value.save_as(tmp_path / suffix)
        saved[suffix] = (tmp_path / suffix).read_bytes()
    assert saved["csv"].splitlines()[0].startswith(b"phone,error m")
    from PIL import Image

    for name in ("map.png", "chart.png"):
        colours = Image.open(tmp_path / name).convert("RGB").getcolors(1 << 24)
        assert colours is not None
        assert len(colours) > 20, name
    there.require_clean()
    there.close()


def test_a_row_and_a_link_lead_to_the_phone(chromium, server):
    there = Visit(chromium, server)
    there.open("analysis?phone=5", "See phone 5 live")
    there.page.get_by_text("What moves this fix").first.wait_for()
    there.page.get_by_text("See phone 5 live").first.click()
    there.page.wait_for_url("**/live?**number=5*")
    there.page.get_by_text("Evidence").first.wait_for()
    there.require_clean()
    there.close()
