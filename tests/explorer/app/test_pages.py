"""The pages without a browser: what they say and hold, for a small made-up run."""

import re

import pytest
import torch

from explorer.app.serve import APP_FILE, PATH_VARIABLE
from tests.helpers.bad_reports import BAD
from tests.helpers.explorer_pages import PAGE_SECONDS, page_script, said
from uel.inference.run_folder import Run
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator

pytest.importorskip("streamlit.testing.v1")
from streamlit.testing.v1 import AppTest

PAGES = ("overview", "map", "live", "metrics", "analysis")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_by_its_link(opened, name):
    test = opened(name)
    assert not test.exception, test.exception
    assert not test.error, said(test)


def test_pages_of_a_network_without_attention_open(opened, run):
    ours = (run / "locator.pt").read_bytes()
    Locator(LocatorConfig(encoder="unet", evidence="none", pixel_width=4), ObservationModel()).save(run)
    try:
        for name, words in {"overview": "U-Net of 2 levels", "live": "", "analysis": "importance"}.items():
            test = opened(name)
            assert not test.exception, test.exception
            assert words in said(test)
            assert "Attention" not in said(test)
    finally:
        (run / "locator.pt").write_bytes(ours)


@pytest.mark.parametrize("name", PAGES)
def test_pages_without_anything_say_which_command_makes_it(name, tmp_path, monkeypatch):
    import streamlit as st

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    monkeypatch.delenv("UEL_DATA", raising=False)
    st.cache_resource.clear()
    test = AppTest.from_string(page_script(name), default_timeout=PAGE_SECONDS).run()
    assert not test.exception
    assert re.search(r"uel (demo|build)", said(test))


def test_the_application_itself_starts(opened):
    opened("overview")
    test = AppTest.from_file(str(APP_FILE), default_timeout=PAGE_SECONDS).run()
    assert not test.exception
    assert "Locate a phone" in said(test)
    assert not APP_FILE.with_name("pages").exists(), "Streamlit runs files in `pages` without the application"


def test_a_layer_of_a_cell_is_shown(opened):
    test = opened("map", layer="error", cell="2", view="2-D")
    assert test.selectbox(key="layer").value == "error"
    assert test.selectbox(key="cell").value == "2"
    assert "Monte-Carlo error" in said(test)


@pytest.mark.parametrize("layer", ["none", "best", "sinr"])
def test_every_kind_of_layer_is_drawn(opened, layer):
    test = opened("map", {"layer": layer})
    assert not test.exception
    assert test.get("deck_gl_json_chart")
    assert ("strongest" in said(test)) == (layer == "best")


def test_links_choose_by_name_and_nonsense_in_them_is_dropped(opened):
    asked = {"layer": "error", "cell": "2", "camera": "close", "buildings": "height"}
    test = opened("map", asked | {"view": "2-D"})
    assert {key: test.selectbox(key=key).value for key in asked} == asked
    test.selectbox(key="layer").set_value("sight").run()
    assert test.query_params["layer"] in ("sight", ["sight"])
    assert test.query_params["cell"] in ("2", ["2"])
    test = opened("map", {"layer": "gold", "cell": "99"})
    assert (test.selectbox(key="layer").value, test.selectbox(key="cell").value) == ("rsrp", "strongest")
    assert not {"layer", "cell"} & set(test.query_params)
    test = opened("live", {"source": "phones", "density": "grid Bayes", "tier": "rsrp"})
    assert test.selectbox(key="source").value == "phones"
    assert "drawn from the map" in said(test)


def test_a_browser_that_has_no_webgl_gets_a_plan(opened):
    test = opened("map", no_webgl=True)
    assert not test.exception
    assert "no WebGL" in said(test)
    assert test.get("plotly_chart")
    assert not test.get("deck_gl_json_chart")


def test_a_missing_survey_is_named(opened):
    test = opened("live", source="survey")
    assert not test.exception
    assert "uel survey" in said(test)


def test_an_upload_is_located_and_bad_ones_are_explained(opened, run):
    from uel.measurement import report_io
    from uel.measurement.report_io import ReportSequence

    maps = Run.open(run).maps
    generator = torch.Generator().manual_seed(0)
    reports = ObservationModel().observe(
        maps.radio.pixel_truth(torch.tensor([[60.0, 20.0]])), maps.power_dbm, generator
    )
    good = report_io.to_json(ReportSequence(torch.zeros(1), reports))
    test = opened("live", source="upload")
    assert report_io.SCHEMA in said(test)
    test.get("file_uploader")[0].set_value(("report.json", good, "application/json")).run()
    assert not test.error, said(test)
    assert "uncertainty" in said(test)
    for name in ("a pickle", "too deep", "a cell twice", "not a number"):
        test.get("file_uploader")[0].set_value((f"{name}.json", BAD[name][0], "application/json")).run()
        assert not test.exception
        assert len(test.error) == 1, name


def test_metrics_are_filtered_and_counted(opened):
    everybody = opened("metrics", {"within": "200"})
    seen = int(re.search(r"(\d+) of 24 phones", said(opened("metrics", {"sight": "in sight"})))[1])  # type: ignore[index]
    hidden = int(re.search(r"(\d+) of 24 phones", said(opened("metrics", {"sight": "out of sight"})))[1])  # type: ignore[index]
    assert "24 of 24 phones" in said(everybody)
    assert "within 200 m" in said(everybody)
    assert seen + hidden == 24


def test_a_damaged_run_is_told_and_does_not_fall(opened, run, tmp_path, monkeypatch):
    import shutil

    broken = tmp_path / "runs" / "broken"
    shutil.copytree(run, broken)
    (broken / "locator.pt").write_bytes(b"\x80\x04N.")
    test = opened("overview")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, str(broken))
    test = AppTest.from_string(page_script("overview"), default_timeout=PAGE_SECONDS).run()
    assert not test.exception
    assert "a file of weights is damaged" in said(test)


def test_a_tile_taken_away_is_told_and_does_not_fall(opened, run):
    test = opened("map")
    tile = Run.open(run).tile.folder
    away = tile.rename(tile.with_name("away"))
    try:
        test.run()
    finally:
        away.rename(tile)
    assert not test.exception
    assert re.search(r"no tile here|cannot be read|uel build", said(test))
