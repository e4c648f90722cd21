"""The maps of the Map and Live pages without a browser: squares to click, buildings, and what is said of a fix."""

import json
import re

import torch
from streamlit.testing.v1 import AppTest

from explorer.analysis import single_fix
from tests.helpers.explorer_pages import said
from uel.inference.run_folder import Run


def test_each_place_has_its_own_squares_to_click(run, tmp_path):
    from explorer.app import map_files
    from tests.helpers.toy_city import toy_tile

    for tile in (Run.open(run).tile, toy_tile(tmp_path / "toy")):
        rows = json.loads(map_files.click_squares(tile.folder, None, map_files.NO_LAYER, None))
        squares = torch.tensor([row["p"][:2] for row in rows])
        assert len(squares) > 100
        assert tile.is_outdoor(squares).all()
        assert float(squares.abs().max()) == tile.size / 2 - 4.0


def test_a_square_tells_the_level_of_its_cell(run):
    from explorer.app import map_files

    made = Run.open(run)
    folder = made.deployment_folders[1]
    rows = json.loads(map_files.click_squares(made.tile.folder, folder, "rsrp", 2))
    radio = made.maps.radio
    row = next(row for row in rows if "dBm" in row["more"])
    level = radio.pixel_truth(torch.tensor([row["p"][:2]])).gain_db[0, 2] + made.maps.power_dbm[2]
    assert row["more"] == f"RSRP {float(level):.3g} dBm, cell 2"
    assert any("no ray met it" in row["more"] for row in rows)  # the made-up map has a hole


def test_a_map_covered_by_a_layer_has_translucent_buildings(opened):
    assert opened("map", {"layer": "rsrp"}).slider(key="opacity").value < 50
    test = opened("map", {"layer": "none"})
    assert test.slider(key="opacity").value == 100
    test.selectbox(key="layer").set_value("rsrp").run()
    assert test.slider(key="opacity").value < 50
    test.slider(key="opacity").set_value(80).run()
    test.selectbox(key="layer").set_value("none").run()
    assert test.slider(key="opacity").value == 80  # chosen, and kept


def test_features_that_are_not_reported_are_said(opened):
    test = opened("live", {"tier": "rsrp"})
    assert not test.exception
    text = said(test)
    assert text.count("not reported") == 2  # a range and an angle
    assert "not reported" not in said(opened("live", {"tier": "rsrp_ta_azimuth"}))


def test_grid_bayes_is_the_limit_of_phones_drawn_from_the_map_and_a_reference_else(opened):
    assert "grid Bayes, the limit" in said(opened("live"))
    text = said(opened("live", {"source": "upload"}, sample=True))
    assert "grid Bayes, a reference" in text
    assert "the limit" not in text


def test_a_fix_that_refinement_moved_away_is_said(opened, monkeypatch):
    monkeypatch.setattr(single_fix.ExplainedFix, "moved", property(lambda _: 215.7))
    for is_outside, words in ((True, "216 m, outside the locator's 90 % region"), (False, "moved the fix by 216 m.")):
        monkeypatch.setattr(single_fix.ExplainedFix, "is_outside", property(lambda _, value=is_outside: value))
        assert words in said(opened("live"))


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
    table = next(e.proto.body for e in test.get("html") if "error m" in e.proto.body)
    return [re.sub(r"<[^>]*>", " ", row).strip() for row in re.findall(r"<tr><td.*?</tr>", table)]
