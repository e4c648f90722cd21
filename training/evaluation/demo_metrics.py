"""Every method on the same reports, beside the limit of the same data (shared protocol: two truths, three tiers)."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from training.data.deployment import Deployment
from training.evaluation.config import DemoEvaluationConfig
from uel.estimation.baselines import BASELINE_METHODS, LocalizationProblem
from uel.estimation.fix import Fix
from uel.estimation.grid_posterior import geometric_median, grid_posterior
from uel.estimation.metrics import error_summary, position_error
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.tiers import TIERS
from uel.models.locator import Locator

PHONES_PER_CALL = 64  # phones whose likelihood maps are held at once: bounds memory to a few hundred megabytes


MethodErrors = dict[str, Float[Tensor, " n"]]


def method_errors(
    locator: Locator, world: Deployment, model: ObservationModel, plan: DemoEvaluationConfig, seed: int
) -> MethodErrors:
    """Position errors in metres of every method, keyed "truth/tier/method"; truths `map` and `paths`."""
    errors: MethodErrors = {}
    for truth in ("map", "paths"):
        reports, position, place = _test_reports(truth, world, model, plan, seed)
        for tier in TIERS:
            for name, estimate in _estimates(
                locator, world, reports.with_tier(tier), _tier_of(place, tier), truth
            ).items():
                errors[f"{truth}/{tier}/{name}"] = position_error(estimate, position)
    return errors


def _test_reports(
    truth: str, world: Deployment, model: ObservationModel, plan: DemoEvaluationConfig, seed: int
) -> tuple[Reports, Tensor, LocalizationProblem]:
    """Test reports with their positions, and what the methods may know; fingerprints are other phones."""
    generator = torch.Generator().manual_seed(seed)
    if truth == "map":
        known, known_at = world.reports_from_map(plan.fingerprints, model, generator)
        reports, position = world.reports_from_map(plan.phones, model, generator)
    else:
        everyone, everywhere = world.reports_from_survey(model, generator)
        share = min(plan.fingerprints, len(everyone) // 2)  # tracks are in order: the halves share one at most
        known, known_at = everyone[:share], everywhere[:share]
        reports, position = everyone[share:], everywhere[share:]
    return reports, position, LocalizationProblem(world.maps.radio, world.maps.prior, model, known, known_at)


def _tier_of(place: LocalizationProblem, tier: str) -> LocalizationProblem:
    return LocalizationProblem(
        place.radio, place.prior, place.model, place.fingerprints.with_tier(tier), place.fingerprint_position
    )


def _estimates(
    locator: Locator, world: Deployment, reports: Reports, place: LocalizationProblem, truth: str
) -> dict[str, Float[Tensor, "n 2"]]:
    methods = dict(BASELINE_METHODS) | {"locator": lambda r, _: locator(r, world.maps).position}
    answers: dict[str, list[Tensor]] = {name: [] for name in methods}
    starts = range(0, len(reports), PHONES_PER_CALL)
    with torch.no_grad():
        for start in track(starts, f"evaluating {len(reports)} phones, truth {truth}", transient=True):
            part = reports[start : start + PHONES_PER_CALL]
            for name, method in methods.items():
                answers[name].append(method(part, place))
    return {name: torch.cat(parts) for name, parts in answers.items()}


def metric_tables(errors: MethodErrors, tile: str) -> dict[str, Any]:
    """`test`, `test_paths`, `r50`, `r95` of metrics.json; the ratios belong to truth `map`, whose limit is exact."""
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
    locator: Locator, world: Deployment, model: ObservationModel, seed: int, tier: str = "rsrp_ta_azimuth"
) -> dict[str, Any]:
    """One fix in full, for the report's picture: of sixteen phones, the one with the median error."""
    generator = torch.Generator().manual_seed(seed + 1)
    reports, position = world.reports_from_map(16, model, generator)
    reports = reports.with_tier(tier)
    with torch.no_grad():
        fix = locator(reports, world.maps)
    pick = int(position_error(fix.position, position).argsort()[len(position) // 2])
    limit = grid_posterior(reports, world.maps.radio, world.maps.prior, model, world.maps.power_dbm)[pick]
    points = world.maps.radio.grid.centres().reshape(1, -1, 2)
    return _fix_arrays(fix, pick, locator.config.patches) | {
        "truth": position[pick].numpy(),
        "posterior": limit.numpy(),
        "limit_estimate": geometric_median(points, limit.reshape(1, -1))[0].numpy(),
        "serving": int(reports.serving[pick]),
        "rsrp_dbm": reports.rsrp_dbm[pick].numpy(),
        "heard": reports.heard[pick].numpy(),
        "tier": tier,
    }


def _fix_arrays(fix: Fix, pick: int, patches: int) -> dict[str, np.ndarray]:
    """What a picture of one fix needs."""
    where, probability, index = fix.candidates(5)
    variance = fix.component_covariance[pick, index[pick]].diagonal(dim1=-2, dim2=-1)
    return {
        "estimate": fix.position[pick].numpy(),
        "covariance": fix.covariance[pick].numpy(),
        "heatmap": fix.log_heatmap[pick].exp().reshape(patches, patches).numpy(),
        "candidates": where[pick].numpy(),
        "candidate_probability": probability[pick].numpy(),
        "candidate_std": variance.sqrt().numpy(),
    }
