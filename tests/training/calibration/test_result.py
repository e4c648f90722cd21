"""What a calibration says of its own sureness."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from explorer.reports.calibration import far_from_prior_note, single_start_note
from tests.helpers.free_space import CORNERS, masts
from tests.helpers.toy_city import toy_tile
from training.calibration.config import PriorConfig
from training.calibration.optimizers import FitResult
from training.calibration.parameters import CalibrationParameters
from training.calibration.result import CalibrationResult

BRICK = {"relative_permittivity": 3.9, "conductivity": 0.03, "thickness": 0.1, "scattering_coefficient": 0.0}


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> CalibrationParameters:
    folder: Path = tmp_path_factory.mktemp("found")
    return CalibrationParameters.of(toy_tile(folder / "toy"), masts(CORNERS[0]), {"itu_brick": BRICK}, PriorConfig())


def test_starts_that_end_elsewhere_at_the_same_cost_widen_what_was_found(parameters: CalibrationParameters) -> None:
    """Half of the probability a deviation away: a variance of a half, seen from the best place."""
    here = torch.zeros(len(parameters), dtype=torch.float64)
    there = here.index_fill(0, torch.tensor([0]), 1.0)
    narrow, errors = 1e-4 * torch.eye(len(parameters), dtype=torch.float64), torch.ones(len(parameters))

    def result(*ends: tuple[torch.Tensor, float]) -> CalibrationResult:
        return CalibrationResult(
            parameters, {"itu_brick": BRICK}, [FitResult(at, cost, 1.0) for at, cost in ends], narrow, errors, 3.5e9
        )

    assert result((here, 5.0)).width[0] == pytest.approx(0.01)
    torn = result((here, 5.0), (there, 5.0))
    assert torn.width[0] == pytest.approx(math.sqrt(0.5), rel=1e-3)
    assert torn.width[1] == pytest.approx(0.01)
    assert torn.verdict(0) == "weak"
    assert torn.start_summary()["converged"] == 1  # for within its valley each is sure
    assert result((here, 5.0), (there, 19.9)).width[0] == pytest.approx(math.sqrt(0.5), rel=1e-3)  # as good as equal
    both = replace(result((here, 5.0)), fits=[FitResult(here, 5.0, 1.0, other_valleys=[(6.0, there.tolist())])])
    assert both.width[0] == pytest.approx(math.sqrt(0.5), rel=1e-3)  # a single start that looked into both
    again = result((here, 5.0), (here + 1e-3, 5.5), (here - 1e-3, 6.0), (there, 6.0))
    assert again.width[0] == pytest.approx(math.sqrt(0.5), rel=1e-3)  # a place found thrice is one place
    far_off = result((here, 5.0), (there, 45.0))
    assert far_off.width[0] == pytest.approx(0.01, rel=1e-3)  # a valley that is much less likely
    assert far_off.verdict(0) == "identified"


def test_a_fit_is_read_as_it_was_written() -> None:
    result = FitResult(
        torch.tensor([0.5, -1.0], dtype=torch.float64), 3.0, 1.0, "at rest", other_valleys=[(4.0, [1.0, 2.0])]
    )
    again = FitResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.to_dict() == result.to_dict()
    assert [(cost, theta.tolist()) for cost, theta in again.valleys] == [(3.0, [0.5, -1.0]), (4.0, [1.0, 2.0])]


def test_a_report_names_what_was_found_far_from_the_belief() -> None:
    row = {"parameter": "tilt_deg", "of": "cell 2"}
    assert "tilt_deg of cell 2" in far_from_prior_note([{**row, "away": 6.4}, {**row, "of": "cell 3", "away": 1.0}])
    assert (
        far_from_prior_note([{**row, "away": 2.9}, {"parameter": "reflection at 45°", "of": "brick", "away": None}])
        == ""
    )


def test_a_report_says_where_one_start_stands_alone() -> None:
    assert "of 3 starts" in single_start_note({"count": 3, "converged": 1})
    assert single_start_note({"count": 3, "converged": 2}) == ""
