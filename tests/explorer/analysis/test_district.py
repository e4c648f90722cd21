"""What the District page shows: levels on squares, their errors, and posteriors of judged phones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.analysis.district import DistrictView
from tests.helpers.network_tiles import network_tile
from uel.geo.tile import Tile

SCRIPT = """
from explorer.app import widgets
from explorer.app.views import district
with widgets.show_errors():
    district.page()
"""


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return network_tile(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def view(tile: Tile) -> DistrictView:
    return DistrictView.of(tile)


def test_measured_levels_stand_where_they_were_measured(view: DistrictView) -> None:
    x, y = view.axes
    for cell in (0, 4):
        raster = view.measured(cell)
        for square in range(0, len(view.judged), 50):
            if view.judged.is_reported[square, cell]:
                east, north = view.judged.position[square].tolist()
                shown = raster[np.abs(y - north).argmin(), np.abs(x - east).argmin()]
                assert shown == pytest.approx(float(view.judged.level_dbm[square, cell]))


def test_level_errors_are_differences_on_judged_squares_alone(view: DistrictView) -> None:
    error = view.level_error(0)
    assert np.isfinite(error).sum() == int(view.judged.is_reported[:, 0].sum())
    known = np.isfinite(error)
    np.testing.assert_allclose(error[known], (view.predicted(0) - view.measured(0))[known])
    assert np.median(np.abs(error[known])) < 8.0  # the district's fading has 5 dB


def test_a_phone_has_a_posterior_over_the_squares_and_its_levels(view: DistrictView) -> None:
    estimate = view.estimate(3)
    posterior = view.posterior(estimate)
    assert np.nansum(posterior) == pytest.approx(1.0, abs=1e-5)
    rows = view.level_rows(3, estimate)
    assert len(rows) == int(view.judged.is_reported[3].sum())
    levels = [float(row["measured, dBm"]) for row in rows]
    assert levels == sorted(levels, reverse=True)


def test_labelled_and_judged_squares_share_no_block(view: DistrictView) -> None:
    one, other = (
        {tuple(index) for index in (n.position / 64).floor().long().tolist()} for n in (view.labels, view.judged)
    )
    assert not one & other
    assert float(view.errors.median()) < 60.0
    assert torch.isfinite(view.errors).all()


def test_a_page_of_a_measured_tile_opens(tile: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    import streamlit as st

    from explorer.app.serve import PATH_VARIABLE

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, str(tile.folder))
    monkeypatch.delenv("UEL_DATA", raising=False)
    st.cache_resource.clear()
    page = testing.AppTest.from_string(SCRIPT, default_timeout=300).run()
    assert not page.exception
    assert not page.error
    assert any("Levels of cell" in item.value for item in page.subheader)
