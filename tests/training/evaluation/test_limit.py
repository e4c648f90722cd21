"""The limit against an independent, slow one: loops in plain Python for the posterior, a simplex for its median."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from tests.helpers.free_space import draw_pixels, rough_map
from tests.helpers.slow_grid_posterior import MODEL, slow_posterior
from training.evaluation.methods import EvaluationCase, single_report_methods
from uel.estimation.baselines import LocalizationProblem
from uel.geo.tile_maps import TileMaps
from uel.measurement.tiers import TIERS
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm


def expected_error(radio: RadioMap, weight: np.ndarray) -> Callable[[np.ndarray], float]:
    """Of an answer, where the phone is anywhere in a pixel of these weights: by 64 points in each."""
    step = ((np.arange(8) + 0.5) / 8 - 0.5) * radio.grid.pixel
    inside = np.stack(np.meshgrid(step, step), -1).reshape(-1, 2)
    points = (radio.grid.centres().reshape(-1, 1, 2).double().numpy() + inside).reshape(-1, 2)
    share = np.repeat(weight / len(inside), len(inside))
    return lambda p: float((share * np.hypot(*(points - p).T)).sum())


def least(cost: Callable[[np.ndarray], float], centres: np.ndarray, weight: np.ndarray) -> float:
    """The least expected error, from every likely pixel as a start."""
    starts = [weight @ centres, *centres[np.argsort(-weight)[:3]]]
    return min(optimize.minimize(cost, at, method="Nelder-Mead", options={"xatol": 1e-4}).fun for at in starts)


@pytest.mark.parametrize("tier", TIERS)
def test_the_limit_is_that_of_the_slow_twin_to_a_decimetre(tier: str) -> None:
    radio = rough_map(count=4, pixel=16.0)
    prior = torch.rand(radio.grid.shape, generator=torch.Generator().manual_seed(1))
    prior[prior < 0.2] = 0.0
    maps = TileMaps(radio, torch.zeros(8, *radio.grid.shape), prior)
    points = radio.grid.centres().reshape(-1, 2)
    position = points[draw_pixels(prior, 70, seed=2)]
    model = replace(MODEL, tier="rsrp_ta_azimuth")
    power = reference_power_dbm(radio.sites)
    reports = model.observe(radio.pixel_truth(position), power, torch.Generator().manual_seed(3)).with_tier(tier)
    # What methods are given is another map: the limit must not look at it.
    wrong = replace(radio, gain=radio.gain.flip(1), known=radio.known.flip(1))
    place = LocalizationProblem(wrong, prior, model, reports[5:], position[5:])
    case = EvaluationCase(
        place, replace(maps, radio=wrong), reports[:5], position[:5], maps, model, reports[:5], map_error=False
    )
    fast = single_report_methods(case, {}, controls=False)["limit"](case.true_reports).position
    centres = points.double().numpy()
    for number, answer in enumerate(fast.double().numpy()):
        weight = slow_posterior(reports[number], radio, prior).ravel()
        cost = expected_error(radio, weight)
        assert 0 <= cost(answer) - least(cost, centres, weight) + 1e-6 < 0.1  # m; pixels have 16 m
