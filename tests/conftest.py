"""What every test starts from: two threads, known seeds, and data that may or may not be there."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports torch: the machines that run the tests have two cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")  # no window


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Libraries that draw from a global generator draw the same in every order of tests. Ours are passed one."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].set_warn_always(True)  # else the first test that warns fails, and the others pass


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit's tests put a page in the place of `__main__`, which every spawned process would import."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real tiles, terrain and measurements: UEL_SHARED, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("UEL_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no shared data: set UEL_SHARED to its folder")
    return folder


# ---- for tests marked `browser` --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def demo() -> Path:
    """The quick demo's run."""
    from tests.helpers.browser import made_demo

    return made_demo()


@pytest.fixture(scope="session")
def server(demo: Path) -> Iterator[str]:
    """Where `uel explore` listens."""
    from tests.helpers.browser import serving

    with serving(str(demo)) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; what was timed in it is written down at the end."""
    from playwright.sync_api import sync_playwright

    from tests.helpers.browser import SWITCHES, chromium_path, write_times

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium_path(), args=SWITCHES)
        yield browser
        browser.close()
    write_times()


@pytest.fixture
def visit(chromium: Any, server: str) -> Iterator[Any]:
    """A page of its own."""
    from tests.helpers.browser import Visit

    there = Visit(chromium, server)
    yield there
    there.close()
