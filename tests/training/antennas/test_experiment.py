"""`uel antennas` on a synthetic district: wrong antennas, fits from labels and from reports, table and report."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from explorer.reports.networks.antennas import write_antennas_report
from scenes.measured_networks.reader import read_measured_network
from scenes.measured_networks.synthetic_district import write_district
from training.antennas.config import AntennasConfig
from training.antennas.experiment import TABLE_COLUMNS, read_summary, run, wrong_antennas
from uel.adaptation.antennas_from_levels.config import AntennaFitConfig
from uel.core.units import wrap_deg
from uel.errors import UelError

FIT = AntennaFitConfig(
    max_squares=80,
    evidence_exponent=1.0,
    azimuth_step_deg=15.0,
    tilt_step_deg=6.0,
    field_length=150.0,
    threshold_dbm=-112.0,
    ceiling=0.99,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> AntennasConfig:
    folder = tmp_path_factory.mktemp("antennas")
    district = write_district(folder / "toy", seed=5, masts=2)
    return AntennasConfig(
        folders=(district,), out=folder / "out", wrong_azimuth_deg=30.0, wrong_tilt_deg=4.0, min_squares=100,
        unlabelled=150, phones=60, rounds=1, fit=FIT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(config: AntennasConfig) -> Path:
    return run(config)


def test_the_table_has_a_row_for_each_cell_and_source(result: Path, config: AntennasConfig) -> None:
    with (result / "antennas.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == TABLE_COLUMNS
    cells = read_measured_network(config.folders[0]).cells
    azimuth = dict(zip(cells.cell_id, cells.azimuth_deg.tolist(), strict=True))
    assert {row["source"] for row in rows} == {"labelled squares", "reports of unknown place"}
    assert all(float(row["list_azimuth_deg"]) == azimuth[row["cell_id"]] for row in rows)
    assert len({(row["cell_id"], row["source"]) for row in rows}) == len(rows)


def test_labelled_squares_of_a_law_with_sectors_find_azimuths_again(result: Path) -> None:
    found = read_summary(result)["labelled squares"]
    assert found["azimuth"]["error_deg"]["median"] < 0.6 * found["azimuth"]["believed_error_deg"]["median"]
    assert found["azimuth"]["error_deg"]["low"] <= found["azimuth"]["error_deg"]["median"]


def test_fixes_are_told_with_each_set_of_antennas(result: Path) -> None:
    (fixes,) = read_summary(result)["fixes"]
    assert fixes["reports"] == 150
    assert all(0 < fixes[f"p50_{name}_m"] < 500 for name in ("list", "believed", "fitted"))
    assert fixes["won_back_low"] <= fixes["won_back_high"]


def test_the_report_shows_all_of_it(result: Path) -> None:
    text = write_antennas_report(result).read_text()
    assert "| labelled squares |" in text
    assert "won back" in text
    assert (result / "antennas.png").read_bytes()[:4] == b"\x89PNG"


def test_errors_of_antennas_have_the_width_that_is_asked_for(config: AntennasConfig) -> None:
    cells = read_measured_network(config.folders[0]).cells
    many = cells.select(torch.zeros(2000, dtype=torch.long))
    wrong = wrong_antennas(many, config, seed=0)
    assert float(wrap_deg(wrong.azimuth_deg - many.azimuth_deg).std()) == pytest.approx(30.0, rel=0.06)
    assert float((wrong.tilt_deg - many.tilt_deg).std()) == pytest.approx(4.0, rel=0.06)
    same = wrong_antennas(many, replace(config, wrong_azimuth_deg=0.0, wrong_tilt_deg=0.0), seed=0)
    torch.testing.assert_close(same.azimuth_deg, many.azimuth_deg)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UelError, match="no measured network"):
        AntennasConfig(folders=())
    with pytest.raises(UelError, match="wrong-azimuth-deg"):
        AntennasConfig(folders=(Path("a"),), wrong_azimuth_deg=-1.0)
