"""Evaluation of the demo: every method on the same reports, beside the limit on the same data (two truths, three
tiers).
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from training.evaluation.config import DemoEvaluationConfig
from uel.estimation.baselines import BASELINE_METHODS, LocalizationProblem
from uel.estimation.fix import Fix
from uel.estimation.grid_posterior import geometric_median, grid_posterior
from uel.estimation.metrics import error_summary, position_error
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.tiers import TIERS
from uel.models.locator import Locator

PHONES_PER_CALL = 64  # phones whose likelihood maps are in memory at once: a few hundred megabytes


MethodErrors = dict[str, Float[Tensor, " n"]]


def method_errors(
    locator: Locator, deployment: Deployment, model: ObservationModel, config: DemoEvaluationConfig, seed: int
) -> MethodErrors:
    """Position errors in metres of every method, keyed "truth/tier/method"; truths `map` and `paths`."""
    errors: MethodErrors = {}
    for truth in ("map", "paths"):
        reports, position, problem = _test_reports(truth, deployment, model, config, seed)
        for tier in TIERS:
            for name, estimate in _estimates(
                locator, deployment, reports.with_tier(tier), _problem_of_tier(problem, tier), truth
            ).items():
                errors[f"{truth}/{tier}/{name}"] = position_error(estimate, position)
    return errors


def _test_reports(
    truth: str, deployment: Deployment, model: ObservationModel, config: DemoEvaluationConfig, seed: int
) -> tuple[Reports, Tensor, LocalizationProblem]:
    """Test reports with their positions, and the localisation problem; fingerprints are other phones."""
    generator = torch.Generator().manual_seed(seed)
    if truth == "map":
        fingerprints, fingerprint_position = deployment.reports_from_map(config.fingerprints, model, generator)
        reports, position = deployment.reports_from_map(config.phones, model, generator)
    else:
        survey_reports, survey_position = deployment.reports_from_survey(model, generator)
        count = min(config.fingerprints, len(survey_reports) // 2)  # tracks are in order: the halves share at most one
        fingerprints, fingerprint_position = survey_reports[:count], survey_position[:count]
        reports, position = survey_reports[count:], survey_position[count:]
    return (
        reports,
        position,
        LocalizationProblem(deployment.maps.radio, deployment.maps.prior, model, fingerprints, fingerprint_position),
    )


def _problem_of_tier(problem: LocalizationProblem, tier: str) -> LocalizationProblem:
    return LocalizationProblem(
        problem.radio, problem.prior, problem.model, problem.fingerprints.with_tier(tier), problem.fingerprint_position
    )


def _estimates(
    locator: Locator, deployment: Deployment, reports: Reports, problem: LocalizationProblem, truth: str
) -> dict[str, Float[Tensor, "n 2"]]:
    methods = dict(BASELINE_METHODS) | {"locator": lambda r, _: locator(r, deployment.maps).position}
    estimates: dict[str, list[Tensor]] = {name: [] for name in methods}
    starts = range(0, len(reports), PHONES_PER_CALL)
    with torch.no_grad():
        for start in track(starts, f"evaluating {len(reports)} phones, truth {truth}", transient=True):
            part = reports[start : start + PHONES_PER_CALL]
            for name, method in methods.items():
                estimates[name].append(method(part, problem))
    return {name: torch.cat(parts) for name, parts in estimates.items()}


def metric_tables(errors: MethodErrors, tile: str) -> dict[str, Any]:
    """`test`, `test_paths`, `r50`, `r95` of metrics.json; the ratios are for truth `map`, whose limit is exact."""
    stats: dict[str, dict[str, dict[str, Any]]] = {"map": {}, "paths": {}}
    for key, error in errors.items():
        truth, tier, method = key.split("/")
        stats[truth].setdefault(tier, {})[method] = error_summary(error)
    ratio = {
        f"r{p}": {t: stats["map"][t]["locator"][f"p{p}_m"] / stats["map"][t]["grid_bayes"][f"p{p}_m"] for t in TIERS}
        for p in (50, 95)
    }
    return {
        "test": {"tile": tile, "truth": "map", "tier": stats["map"]},
        "test_paths": {"tile": tile, "truth": "paths", "tier": stats["paths"]},
        **ratio,
    }


def example_fix(
    locator: Locator, deployment: Deployment, model: ObservationModel, seed: int, tier: str = "rsrp_ta_azimuth"
) -> dict[str, Any]:
    """One fix with all its arrays, for a picture: of sixteen phones, the one with the median error."""
    generator = torch.Generator().manual_seed(seed + 1)
    reports, position = deployment.reports_from_map(16, model, generator)
    reports = reports.with_tier(tier)
    with torch.no_grad():
        fix = locator(reports, deployment.maps)
    pick = int(position_error(fix.position, position).argsort()[len(position) // 2])
    posterior = grid_posterior(reports, deployment.maps.radio, deployment.maps.prior, model, deployment.maps.power_dbm)[
        pick
    ]
    points = deployment.maps.radio.grid.centres().reshape(1, -1, 2)
    return _fix_arrays(fix, pick, locator.config.patches) | {
        "truth": position[pick].numpy(),
        "posterior": posterior.numpy(),
        "limit_estimate": geometric_median(points, posterior.reshape(1, -1))[0].numpy(),
        "serving": int(reports.serving[pick]),
        "rsrp_dbm": reports.rsrp_dbm[pick].numpy(),
        "heard": reports.heard[pick].numpy(),
        "tier": tier,
    }


def _fix_arrays(fix: Fix, pick: int, patches: int) -> dict[str, np.ndarray]:
    """Arrays for a picture of one fix."""
    position, probability, index = fix.candidates(5)
    variance = fix.component_covariance[pick, index[pick]].diagonal(dim1=-2, dim2=-1)
    return {
        "estimate": fix.position[pick].numpy(),
        "covariance": fix.covariance[pick].numpy(),
        "heatmap": fix.log_heatmap[pick].exp().reshape(patches, patches).numpy(),
        "candidates": position[pick].numpy(),
        "candidate_probability": probability[pick].numpy(),
        "candidate_std": variance.sqrt().numpy(),
    }
