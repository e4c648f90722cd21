"""Live inference in a real browser: files uploaded, a phone that moves, fixes before and after refinement."""

import json
import re
import time

import numpy as np
import pytest

from tests.helpers.bad_reports import BAD
from tests.helpers.browser import PATIENCE, TIMES

pytestmark = pytest.mark.browser


def test_good_and_bad_uploads(visit, demo, tmp_path):
    visit.open("live?walk=1", "candidates are hollow")
    with visit.page.expect_download() as got:
        visit.page.get_by_text("These reports as JSON").click()
    got.value.save_as(tmp_path / "reports.json")
    visit.open("live?source=upload", "Any log that")
    entry = visit.page.locator("input[type=file]")
    by_streamlit, other_logs = ("too large", "empty"), ("a list", "without a schema")
    names = [name for name in BAD if name not in by_streamlit + other_logs][:20]
    for name in names:
        entry.set_input_files({"name": "bad.json", "mimeType": "application/json", "buffer": BAD[name][0]})
        alert = visit.page.locator("[data-testid=stAlert]:has-text('do:')")
        alert.first.wait_for()
        assert alert.count() == 1, name
        visit.page.locator("[data-testid=stFileUploaderDeleteBtn] button, [aria-label^=Remove]").first.click()
        alert.first.wait_for(state="hidden")  # the next one's is not the last one's
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


@pytest.mark.parametrize("refine", ["map", "rt"])
def test_a_fix_before_and_after_refinement(visit, refine, tmp_path):
    visit.open(f"live?number=6&walk=3&refine={refine}&camera=from+above", "candidates are hollow")
    rows = [
        row.split("\t") for row in visit.page.locator("table:has-text('grid Bayes')").first.inner_text().split("\n")
    ]
    assert [row[0] for row in rows] == ["fix", "locator", "refined", "grid Bayes, the limit"]
    for row in rows[1:3]:
        assert float(row[1]) >= 0  # m
        assert float(row[4]) > 0  # ms
    visit.require_colour((213, 94, 0))  # the fix
    assert (f"refine={refine}" in visit.page.url) == (refine != "map")  # as without a word
    with visit.page.expect_download() as got:
        visit.page.get_by_text("This fix as JSON, in metres").click()
    got.value.save_as(tmp_path / "fix.json")
    told = [one["properties"] for one in json.loads((tmp_path / "fix.json").read_text())["features"]]
    assert [one["kind"] for one in told] == ["position", *["candidate"] * 5, "region", "region"]
    visit.require_clean()


def test_a_track_of_the_survey_is_followed(visit):
    visit.open("live?source=survey&track=2", "track 2 of the survey, ray-traced")
    visit.painted()
    visit.require_clean()


def test_play_moves_the_phone_until_it_is_stopped(visit):
    from playwright.sync_api import expect

    visit.open("live?walk=3", "candidates are hollow")
    slider = visit.page.get_by_role("slider", name="Report")
    label = visit.page.get_by_text("Play", exact=True)
    label.click()
    expect(slider).to_have_value(re.compile("[2-9]"), timeout=PATIENCE)
    label.click()
    visit.settle()
    stopped = slider.input_value()
    visit.page.wait_for_timeout(4000)
    assert slider.input_value() == stopped
    visit.require_clean()
