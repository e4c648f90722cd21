"""The pages without a browser: what they say and hold, for a small made-up run."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.analysis import phone_trial, report_sources, single_fix
from explorer.app.serve import APP_FILE, PATH_VARIABLE
from tests.helpers.bad_reports import BAD
from tests.helpers.demo_run import make_run
from uel.cli import main
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.refinement import PatchSortedMap, refine_fix
from uel.inference.run_folder import Run
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.simulator import FreeSpace

pytest.importorskip("streamlit.testing.v1")
from streamlit.testing.v1 import AppTest

PAGES = ("overview", "map", "live", "metrics", "analysis")
SECONDS = 300  # cold pages on a busy machine


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose locator nobody trained: it answers like grid Bayes."""
    folder = make_run(tmp_path_factory.mktemp("app") / "runs" / "small", paths=False)
    torch.manual_seed(0)
    Locator(LocatorConfig(), ObservationModel()).save(folder)
    return folder


@pytest.fixture
def opened(run, monkeypatch):
    """A page as somebody sees it who has chosen something, or followed a link that chooses by name."""
    import streamlit as st

    monkeypatch.chdir(run.parent.parent)
    monkeypatch.setenv(PATH_VARIABLE, str(run))
    monkeypatch.setenv("UEL_DATA", str(run.parent.parent / "data"))
    monkeypatch.setattr(phone_trial, "PHONES_PER_TRIAL", 24)

    def page(name: str, link: Mapping[str, str] | None = None, **chosen: str) -> AppTest:
        st.cache_resource.clear()
        test = AppTest.from_string(_script(name), default_timeout=SECONDS)
        for key, value in chosen.items():
            test.session_state[key] = value
        for key, value in (link or {}).items():
            test.query_params[key] = value
        return test.run()

    return page


def _script(name: str) -> str:
    """One page within what `explorer/app/main.py` puts around it: AppTest does not follow `st.navigation`."""
    return (
        "from explorer.app import widgets\n"
        f"from explorer.app.views import {name}\n"
        f"with widgets.show_errors():\n    {name}.page()\n"
    )


def said(test: AppTest) -> str:
    """All words of a page."""
    parts = [*test.markdown, *test.caption, *test.subheader, *test.info, *test.error, *test.get("html")]
    return "\n".join(
        re.sub(r"<[^>]*>", " ", str(getattr(part, "value", "") or getattr(part.proto, "body", ""))) for part in parts
    )


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
    test = AppTest.from_string(_script(name), default_timeout=SECONDS).run()
    assert not test.exception
    assert re.search(r"uel (demo|build)", said(test))


def test_the_application_itself_starts(opened):
    opened("overview")
    test = AppTest.from_file(str(APP_FILE), default_timeout=SECONDS).run()
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
    assert "≤ 200 m" in said(everybody)
    assert seen + hidden == 24


def test_a_damaged_run_is_told_and_does_not_fall(opened, run, tmp_path, monkeypatch):
    import shutil

    broken = tmp_path / "runs" / "broken"
    shutil.copytree(run, broken)
    (broken / "locator.pt").write_bytes(b"\x80\x04N.")
    test = opened("overview")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, str(broken))
    test = AppTest.from_string(_script("overview"), default_timeout=SECONDS).run()
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


def test_each_place_has_its_own_squares_to_click(run, tmp_path):
    from explorer.app import cache
    from tests.helpers.toy_city import toy_tile

    for tile in (Run.open(run).tile, toy_tile(tmp_path / "toy")):
        squares = torch.from_numpy(cache.outdoor_squares(tile.folder, 8.0))
        assert len(squares) > 100
        assert tile.is_outdoor(squares).all()
        assert float(squares.abs().max()) == tile.size / 2 - 4.0


# ---- before and after ----------------------------------------------------------------------------------


def test_a_fix_is_shown_before_and_after_refinement(opened):
    test = opened("live", {"number": "2"})
    assert not test.error, said(test)
    assert test.selectbox(key="density").options == ["refined", "locator", "grid Bayes"]
    assert [row.split()[0] for row in fixes(test)] == ["locator", "refined", "grid"]
    assert "report to refined fix" in said(test)
    test.selectbox(key="refine").set_value("none").run()
    assert not test.exception
    assert test.selectbox(key="density").options == ["locator", "grid Bayes"]
    assert [row.split()[0] for row in fixes(test)] == ["locator", "grid"]


def fixes(test: AppTest) -> list[str]:
    """Rows of the table of fixes, as words."""
    table = next(e.proto.body for e in test.get("html") if "<th>fix</th>" in e.proto.body)
    return [re.sub(r"<[^>]*>", " ", row).strip() for row in re.findall(r"<tr><td>.*?</tr>", table)]


@pytest.mark.parametrize("refine", ["none", "map", "rt"])
def test_the_page_refines_as_the_verb_does(run, refine):
    """Against `uel.estimation.refinement` and `uel.estimation.ray_rescoring` asked directly; the locator's own fix
    stays what it was."""
    made = Run.open(run)
    maps, model = made.maps, made.locator.measurement
    report = phone_trial.draw_phones(made.deployment, model, 3, seed=5).reports[:1]
    fine, simulator = (
        PatchSortedMap.of(maps, made.locator.config.patches),
        FreeSpace(maps.radio.sites, size=made.tile.size),
    )
    asked = {"none": (), "map": (fine,), "rt": (fine, simulator)}[refine]
    found = single_fix.explain_report(made.locator, maps, report, model, *asked)
    with torch.no_grad():
        plain = expected = made.locator(report, maps)
        if refine != "none":
            expected = refine_fix(plain, report, fine, model, RefinementConfig(entropy=0.0)).fix
        if refine == "rt":
            expected = rescore_with_rays(expected, report, fine, maps, model, simulator, RayRescoringConfig())
    assert torch.equal(found.initial.fix.log_heatmap, plain.log_heatmap)
    torch.testing.assert_close(found.final.fix.log_heatmap, expected.log_heatmap)
    torch.testing.assert_close(found.final.position, expected.position[0].tolist())
    assert (found.refined is None) == (refine == "none")
    assert found.final.seconds > 0


def test_a_log_is_located_as_by_the_verb(run, tmp_path, capsys):
    """With two cells in a report at most, where the locator expects eight."""
    made = Run.open(run)
    rows = ["time,cell,rsrp", *(f"{report},{cell},{-80 - 7 * cell - report}" for report in range(3) for cell in (0, 1))]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    command = ["locate", str(run), str(tmp_path / "log.csv"), "--refine", "none"]
    assert main([*command, "--rejected", str(tmp_path / "rejected.csv")]) == 0
    expected = torch.tensor([json.loads(line)["covariance"] for line in capsys.readouterr().out.splitlines()])
    content = (tmp_path / "log.csv").read_bytes()
    source = report_sources.file_source(made.deployment, made.locator.measurement, "log.csv", content)
    assert source.model.cells_max == 2
    for report, covariance in zip(range(3), expected, strict=True):
        asked = source.timeline.reports[report : report + 1], source.model
        fix = single_fix.explain_report(made.locator, made.maps, *asked).final.fix
        torch.testing.assert_close(fix.covariance[0], covariance, rtol=1e-3, atol=0.01)


# ---- what stands behind the pages ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tried(run) -> phone_trial.PhoneTrial:
    cache = Run.open(run)
    phones = phone_trial.draw_phones(cache.deployment, cache.locator.measurement, 48, seed=3)
    return phone_trial.score_phones(cache.locator, cache.maps, phones, seed=3)


def test_an_untrained_locator_is_tried_like_grid_bayes(tried):
    assert len(tried.phones) == 48
    torch.testing.assert_close(tried.error, tried.limit_error, atol=6.0, rtol=0.2)
    assert (tried.heard >= 1).all()


def test_ranks_of_the_right_density_are_even(tried):
    """The limit's ranks are uniform: their mean has a standard deviation of 1/√(12·48)."""
    for rank in (tried.limit_rank, tried.rank):
        assert abs(float(rank.mean()) - 0.5) < 4 / (12 * 48) ** 0.5


def test_exchanged_features_keep_their_cell_and_cost_metres(tried, run):
    cache = Run.open(run)
    errors = phone_trial.permutation_importance(cache.locator, cache.maps, tried.phones, seed=0)
    assert errors.keys() == {"nothing", *phone_trial.PERMUTED_FEATURES}
    torch.testing.assert_close(errors["nothing"], tried.error, atol=1e-2, rtol=0)
    order = phone_trial._permutation_within(torch.tensor([0, 1, 0, 1, 2, 0]), torch.Generator().manual_seed(1))
    assert torch.equal(torch.tensor([0, 1, 0, 1, 2, 0])[order], torch.tensor([0, 1, 0, 1, 2, 0]))
    assert sorted(order.tolist()) == list(range(6))
    assert np.median(errors["azimuth"]) > np.median(errors["nothing"])


def test_attention_is_recomputed_as_torch_does_it():
    from explorer.analysis.attention import attention_weights
    from uel.models.equivariant_layers import Attention

    torch.manual_seed(0)
    layer, x, context = Attention(8, 1), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    share = attention_weights(layer, x, context)
    torch.testing.assert_close(share.sum(-1), torch.ones(2, 3))
    value = layer.key_value(context).chunk(2, -1)[1]
    torch.testing.assert_close(layer.out(share @ value), layer(x, context))
