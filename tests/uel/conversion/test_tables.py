"""Objects become tables with one row a fact, and points at their place on earth."""

import numpy as np
import pandas as pd
import pyproj
import pytest
import torch

from tests.helpers.free_space import rough_map, silent
from tests.helpers.measured_networks import toy_network
from tests.helpers.surveys import made
from tests.helpers.toy_city import toy_tile
from tests.helpers.village_tile import village, write
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.measurement.model import ObservationModel
from uel.radio.sites import reference_power_dbm


def fixes() -> Fix:
    """Two fixes of one patch each, with known covariances."""
    mean = torch.tensor([[[10.0, -20.0]], [[-5.0, 7.0]]])
    covariance = torch.tensor([[[[9.0, 6.0], [6.0, 16.0]]], [[[4.0, 0.0], [0.0, 4.0]]]])
    return Fix(torch.zeros(2, 1), mean, covariance)


def test_reports_have_a_row_for_each_cell_that_is_heard():
    radio = rough_map()
    position = (torch.rand(30, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 200
    generator = torch.Generator().manual_seed(1)
    reports = ObservationModel().observe(radio.pixel_truth(position), reference_power_dbm(radio.sites), generator)
    table = reports.to_dataframe()
    assert len(table) == int(reports.heard.sum())
    back = torch.zeros_like(reports.rsrp_dbm)
    back[table["report"].tolist(), table["cell"].tolist()] = torch.tensor(table["rsrp_dbm"].tolist())
    torch.testing.assert_close(back, torch.where(reports.heard, reports.rsrp_dbm, 0.0))
    served = table[table["serving"]]
    assert served["report"].is_unique
    assert served["timing_advance"].notna().sum() == int(reports.has_timing_advance.sum())
    assert table.loc[~table["serving"], "timing_advance"].isna().all()


def test_reports_of_tracks_keep_both_axes_and_silence_has_no_row():
    reports = silent(6, 3)
    assert len(reports.to_dataframe()) == 0
    tracks = silent(2, 3).stack([silent(2, 3), silent(2, 3)])
    assert list(tracks.to_dataframe().columns[:2]) == ["track", "report"]


def test_fixes_have_their_position_and_uncertainty():
    fix = fixes()
    table = fix.to_dataframe()
    np.testing.assert_allclose(table[["x", "y"]], [[10, -20], [-5, 7]], atol=1e-4)
    np.testing.assert_allclose(table.loc[0, ["std_m", "std_east_m", "std_north_m"]].astype(float), [5, 3, 4], rtol=1e-5)
    assert table["correlation"].tolist() == pytest.approx([0.5, 0.0], abs=1e-6)


def test_points_of_fixes_lie_at_their_place_on_earth(tmp_path):
    tile = write(tmp_path / "village", village())
    points = fixes().to_geodataframe(tile).to_crs("EPSG:4326")
    transform = pyproj.Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True)
    east, north = tile.meta["origin"]
    assert (points.geometry.x[0], points.geometry.y[0]) == pytest.approx(transform.transform(east + 10, north - 20))
    with pytest.raises(UelError, match="nowhere on earth"):
        fixes().to_geodataframe(toy_tile(tmp_path / "toy"))


def test_a_network_has_a_row_for_each_level_and_a_point_for_each_listed_cell():
    network = toy_network(12)
    levels = network.to_dataframe()
    assert len(levels) == int(network.is_reported.sum())
    one = levels.iloc[17]
    assert one["rsrp_dbm"] == float(network.level_dbm[one["square"], one["cell"]])
    assert [one["x"], one["y"]] == network.position[one["square"]].tolist()
    cells = network.to_geodataframe()
    assert cells.crs == pyproj.CRS(network.crs)
    assert cells["cell_id"].tolist() == list(network.cells.cell_id)
    expected = network.cells.position.double().numpy() + np.array(network.origin)
    np.testing.assert_allclose(np.stack([cells.geometry.x, cells.geometry.y], 1), expected)


def test_a_survey_gives_the_rows_of_its_parquet_file(tmp_path):
    from uel.survey.parquet import to_parquet

    survey = made(tmp_path / "survey")
    (file,) = to_parquet(survey)
    pd.testing.assert_frame_equal(survey.to_dataframe(), pd.read_parquet(file))
    assert survey.to_dataframe(tracks=3)["track"].max() == 2
