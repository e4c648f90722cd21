"""A locator as a file of its own: it says what the locator says, for any number of reports."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.demo_run import make_run
from uel.cli import main
from uel.inference.run_folder import Run
from uel.inference.torch_export import INPUT_NAMES, OUTPUT_NAMES
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.locator import Locator

SMALL = LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose network does not answer like grid Bayes."""
    folder = make_run(tmp_path_factory.mktemp("export") / "run", paths=False)
    torch.manual_seed(0)
    locator = Locator(SMALL, ObservationModel())
    with torch.no_grad():
        for weight in locator.parameters():
            weight += 0.05 * torch.randn(weight.shape)
    locator.save(folder)
    return folder


def reports_at(run: Run, count: int) -> Reports:
    generator = torch.Generator().manual_seed(count)
    places = (torch.rand(count, 2, generator=generator) - 0.5) * run.maps.radio.grid.size * 0.9
    truth = run.maps.radio.pixel_truth(places)
    return ObservationModel(feature_dropout=0.3).observe(truth, run.maps.power_dbm, generator)


@pytest.mark.slow
def test_the_exported_locator_says_what_the_locator_says(run):
    # In a process of its own: tests' checks of types take a symbolic number of reports for a fixed one.
    command = [sys.executable, "-m", "uel.cli", "export", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == run / "locator.pt2"
    program, opened = torch.export.load(run / "locator.pt2").module(), Run.open(run)
    for count in (1, 2, 9):
        reports = reports_at(opened, count)
        with torch.no_grad():
            got = dict(zip(OUTPUT_NAMES, program(*(getattr(reports, name) for name in INPUT_NAMES)), strict=True))
            fix = opened.locator(reports, opened.maps)
        torch.testing.assert_close(got["log_heatmap"], fix.log_heatmap)
        torch.testing.assert_close(got["mean"], fix.mean)
        torch.testing.assert_close(got["covariance"], fix.component_covariance)
        torch.testing.assert_close(got["position"], fix.position, atol=0.01, rtol=0)


def test_folders_without_a_locator_or_a_tile_are_refused(run, tmp_path, capsys):
    assert main(["export", str(run), "--tile", str(tmp_path)]) == 2
    assert main(["export", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "no tile here" in message
    assert "no trained locator" in message
