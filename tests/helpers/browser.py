"""A browser that reaches the explorer on this machine and nothing else, and what goes wrong in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import ROOT

# Other switches for WebGL in software halve the frame rate.
SWITCHES = ["--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader"]
RUN = ROOT / "runs" / "quick"
FIGURES = ROOT / "runs" / "bench" / "explorer_tests.json"
TIMES: dict[str, Any] = {}  # s, measured by the tests, written to FIGURES
LOGS: dict[str, Path] = {}  # what each server said
PATIENCE = 300_000  # ms: a cold page on a busy machine
PROBE = "/_stcore/"  # Streamlit itself looks for its server above and below a deep link, and finds it at the second try


def made_demo() -> Path:
    """The quick demo, made where it is not there."""
    if not (RUN / "run.json").is_file():
        command = [sys.executable, "-m", "uel.cli", "demo", "--config", "demo/quick"]
        subprocess.run(command, cwd=ROOT, check=True, timeout=3600, capture_output=True)
    return RUN


def write_times() -> None:
    """What was measured now, beside what was measured before."""
    if not TIMES:
        return
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    old = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    TIMES["load"] = [round(value, 1) for value in os.getloadavg()]  # of the machine: on a crowded one all is slow
    FIGURES.write_text(json.dumps(old | TIMES, indent=1) + "\n")


@cache
def loud_phone() -> int:
    """The phone of the demo's survey that hears most cells, and the loudest of these."""
    from explorer.analysis.artefact_index import find_artefacts
    from uel.survey.dataset import Survey

    index = find_artefacts(RUN, ROOT / "data", ROOT / "runs")
    place = index.tile(index.first_tile)
    assert place is not None
    folder, name = place.surveys[0]
    survey = Survey.open(folder)[name]
    truth = survey.truth[survey.valid]
    loudest = truth.gain_db.where(truth.known, -300.0).amax(-1)
    return int((1000 * truth.known.sum(-1) + loudest).argmax())


def chromium_path() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    assert found, "no Chromium: make browser"
    return found


def make_crowd(demo: Path, folder: Path) -> None:
    """A survey of 100 000 phones in free space over the demo's test tile."""
    from sim_bridge.channel.config import FeatureConfig
    from sim_bridge.engines.units import LocalEngine, run_units
    from sim_bridge.survey.config import SurveyMakingConfig
    from sim_bridge.survey.worker import SurveyJob, TileWithSites
    from tests.helpers.surveys import free_space
    from uel.inference.run_folder import Run
    from uel.mobility.config import TrackConfig

    opened = Run.open(demo)
    tracks = TrackConfig(tracks=5000, reports=20)
    plan = SurveyMakingConfig(tracks=tracks, measure=FeatureConfig(layers=("rt",), paths=1), unit=5000)
    work = SurveyJob(folder, (TileWithSites(opened.tile, opened.maps.radio.sites),), plan, free_space)
    units = range(len(work.prepare().units))
    assert list(run_units(LocalEngine(work), units))


@contextmanager
def serving(*arguments: str, below: str = "", checkout: Path = ROOT) -> Iterator[str]:
    """`uel explore` of a checkout as a process of its own; where it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uel.cli", "explore", *arguments, "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    address = f"http://127.0.0.1:{port}{below}"
    with (
        tempfile.NamedTemporaryFile(prefix="uel-explore-") as log,
        subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=subprocess.STDOUT) as server,
    ):
        LOGS[address] = Path(log.name)
        try:
            _await(address, server)
            yield address
        finally:
            server.terminate()
            server.wait(60)


def _await(address: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        assert server.poll() is None, LOGS[address].read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the server never answered")


class Visit:
    """A page of a browser of its own, that notes what it asks outside and what goes wrong."""

    def __init__(
        self, browser: Any, server: str, theme: str = "light", size: tuple[int, int] = (1440, 900), **how: Any
    ):
        self.server = server
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme, accept_downloads=True, **how
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.context.route("**/*", self._guard)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("websocket", lambda socket: self._count(socket.url.replace("ws://", "http://")))

    def _guard(self, route: Any) -> None:
        if self._count(route.request.url):
            route.abort()
        else:
            route.continue_()

    def _count(self, url: str) -> bool:
        """Note an address that is not this server's."""
        if url.startswith((self.server, "data:", "blob:")):
            return False
        self.outside.append(url)
        return True

    def _note(self, message: Any) -> None:
        where = str(message.location.get("url", ""))
        if message.type == "error" and not (PROBE in where and "404" in message.text):
            self.errors.append(f"{message.text} {where}")

    def open(self, link: str, word: str) -> float:
        """Follow a link until a word is there and nothing runs any more; seconds until the word."""
        named = link.replace("PHONE", str(loud_phone())) if "PHONE" in link else link
        start = time.perf_counter()
        self.page.goto(f"{self.server}/{named}")
        fallen = self.page.locator("[data-testid=stException]")
        self.page.get_by_text(word).or_(fallen).first.wait_for()
        seconds = time.perf_counter() - start
        self.settle()
        assert not fallen.count(), LOGS[self.server].read_text()[-4000:]
        return seconds

    def settle(self) -> None:
        """Wait until the page is still for a second."""
        quiet, deadline = 0, time.monotonic() + PATIENCE / 1000
        while quiet < 5 and time.monotonic() < deadline:
            busy = self.page.locator("[data-testid=stStatusWidget], [data-testid=stSpinner]").count()
            quiet = 0 if busy else quiet + 1
            self.page.wait_for_timeout(200)

    def picture(self) -> np.ndarray:
        """The map's pixels."""
        chart = self.page.locator("[data-testid=stDeckGlJsonChart]")
        return np.asarray(Image.open(BytesIO(chart.screenshot())).convert("RGB")).astype(int)

    def painted(self) -> np.ndarray:
        """The map's pixels as soon as there are buildings: many colours."""
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            shown = self.picture()
            if colourful(shown):
                return shown
            self.page.wait_for_timeout(300)
        raise AssertionError("the map was never painted")

    def first_painted(self, link: str) -> float:
        """Seconds from following a link to the map's first picture, as a film has it: asking for one takes time."""
        film: list[tuple[float, str]] = []
        session = self.context.new_cdp_session(self.page)

        def frame(shot: Any) -> None:
            film.append((time.time(), shot["data"]))
            session.send("Page.screencastFrameAck", {"sessionId": shot["sessionId"]})

        session.on("Page.screencastFrame", frame)
        session.send("Page.startScreencast", {"format": "jpeg", "quality": 80, "maxWidth": 480, "maxHeight": 300})
        start = time.time()
        self.page.goto(f"{self.server}/{link}", wait_until="commit")
        box = self.page.locator("[data-testid=stDeckGlJsonChart]").bounding_box()
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(3000)
            for seconds, shot in film:
                shown = np.asarray(Image.open(BytesIO(b64decode(shot))).convert("RGB")).astype(int)
                scale = shown.shape[1] / self.page.viewport_size["width"]
                x, y, wide, high = (int(scale * box[side]) for side in ("x", "y", "width", "height"))
                if colourful(shown[y : y + high, x : x + wide]):
                    session.send("Page.stopScreencast")
                    return seconds - start
        raise AssertionError("the map was never painted")

    def require_colour(self, colour: tuple[int, int, int]) -> None:
        """Wait until a mark of a colour is on the map: words may be there before it."""
        deadline = time.monotonic() + PATIENCE / 1000
        while len(near(self.picture(), colour)) <= 20:
            assert time.monotonic() < deadline, f"nothing on the map has the colour {colour}"
            self.page.wait_for_timeout(300)

    def click(self, row: int, column: int) -> None:
        """The middle of a pixel of the map's picture, with a hand that comes there before it presses.

        What lies under a hand is looked up while it moves. For a hand out of nowhere that is done during the press, and
        takes, with WebGL in software and new layers, longer than the 250 ms in which deck.gl calls a press a click.
        """
        box = self.page.locator("[data-testid=stDeckGlJsonChart]").bounding_box()
        place = int(box["x"]) + int(column) + 0.5, int(box["y"]) + int(row) + 0.5
        self.page.mouse.move(*place)
        self.page.wait_for_timeout(600)
        self.page.mouse.click(*place)

    def awaited(self, label: str, before: str) -> str:
        """What an entry holds as soon as it is something else than before."""
        deadline = time.monotonic() + PATIENCE / 1000
        while (now := self.page.get_by_label(label).input_value()) == before and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
        return now

    def require_clean(self) -> None:
        """Nothing was asked outside, nothing went wrong."""
        assert not self.outside
        assert not self.errors
        assert not self.page.locator("[data-testid=stException]").count()

    def close(self) -> None:
        self.context.close()


def colourful(picture: np.ndarray) -> bool:
    """Whether there are buildings: many colours."""
    return len(np.unique(picture.reshape(-1, 3) // 8, axis=0)) > 60


def near(picture: np.ndarray, colour: tuple[int, int, int], most: int = 27) -> np.ndarray:
    """Rows and columns of pixels of a colour."""
    return np.argwhere((np.abs(picture - np.array(colour)) <= most).all(-1))


def middles(pixels: np.ndarray, reach: int = 2, least: int = 40) -> Iterator[np.ndarray]:
    """Middles of spots that nothing covers `reach` pixels around, each `least` pixels or more from the others."""
    chosen: list[np.ndarray] = []
    for pixel in pixels:
        whole = (np.abs(pixels - pixel).max(1) <= reach).sum() >= 0.8 * (2 * reach + 1) ** 2
        if whole and all(np.abs(pixel - other).max() > least for other in chosen):
            chosen.append(pixel)
            yield pixel
