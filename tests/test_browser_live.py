"""Live inference in a real browser: files uploaded, a phone that moves, fixes before and after refinement."""

import time

import numpy as np
import pytest

from tests.bad_reports import BAD
from tests.browsing import TIMES

pytestmark = pytest.mark.browser


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
    for _ in range(5):
        before = visit.page.locator(".cards").first.inner_text()
        slider.focus()
        start = time.perf_counter()
        with visit.page.expect_response(lambda answer: "/media/" in answer.url):  # the ground with its new density
            visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_function("before => document.querySelector('.cards').innerText !== before", arg=before)
        visit.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seconds.append(time.perf_counter() - start)
        visit.settle()
    TIMES["slider_move_s"] = round(float(np.median(seconds)), 2)
    assert "number=5" in visit.page.url
    visit.require_clean()
