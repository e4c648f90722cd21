"""One fix with all its arrays, for a picture beside the limit."""

from typing import Any

import numpy as np
import torch

from training.evaluation.scenarios import EvaluationScenario
from uel.estimation.estimates import FixEstimate
from uel.estimation.fix import Fix
from uel.estimation.grid_posterior import geometric_median, grid_posterior
from uel.estimation.scoring import score_estimate
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator
from uel.results.condition import Condition

EXAMPLE_PHONES = 16  # phones of which the one with the median error is shown
CANDIDATE_COUNT = 5  # likeliest patches that are shown


def example_fix(locator: Locator, scenario: EvaluationScenario, condition: Condition) -> dict[str, Any]:
    """The fix of the median error among some phones of a scenario, with the limit's posterior of the same report."""
    deployment = scenario.deployment(condition)
    model = ObservationModel.from_parameters(scenario.config.nominal)
    generator = torch.Generator().manual_seed(scenario.seed + 1)
    reports, position = deployment.reports_from_map(EXAMPLE_PHONES, model, generator)
    reports, maps = reports.with_tier(condition.tier), deployment.maps
    with torch.no_grad():
        fix = locator(reports, maps)
    pick = int(score_estimate(FixEstimate(fix), position).error.argsort()[len(position) // 2])
    posterior = grid_posterior(reports, maps.radio, maps.prior, model, maps.power_dbm)[pick]
    points = maps.radio.grid.centres().reshape(1, -1, 2)
    return _fix_arrays(fix, pick, locator.config.patches) | {
        "truth": position[pick].numpy(),
        "posterior": posterior.numpy(),
        "limit_estimate": geometric_median(points, posterior.reshape(1, -1))[0].numpy(),
        "serving": int(reports.serving[pick]),
        "rsrp_dbm": reports.rsrp_dbm[pick].numpy(),
        "heard": reports.heard[pick].numpy(),
        "tier": condition.tier,
    }


def _fix_arrays(fix: Fix, pick: int, patches: int) -> dict[str, np.ndarray]:
    position, probability, index = fix.candidates(CANDIDATE_COUNT)
    variance = fix.component_covariance[pick, index[pick]].diagonal(dim1=-2, dim2=-1)
    return {
        "estimate": fix.position[pick].numpy(),
        "covariance": fix.covariance[pick].numpy(),
        "heatmap": fix.log_heatmap[pick].exp().reshape(patches, patches).numpy(),
        "candidates": position[pick].numpy(),
        "candidate_probability": probability[pick].numpy(),
        "candidate_std": variance.sqrt().numpy(),
    }
