"""The limit against an independent, slow one: loops in plain Python for the posterior, a simplex for its median."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from tests.small import draw_pixels, rough_map
from tests.test_posterior import MODEL, slow_posterior
from training.rivals import Case, methods_of
from uel.baselines import Place
from uel.maps import Maps
from uel.metrics import position_error
from uel.reports import TIERS
from uel.sites import reference_power_dbm


def slow_median(centres: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Where the expected distance is least, from every likely pixel as a start."""
    cost = lambda p: float((weight * np.hypot(centres[:, 0] - p[0], centres[:, 1] - p[1])).sum())  # noqa: E731
    starts = [weight @ centres, *centres[np.argsort(-weight)[:3]]]
    found = [optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-4}) for start in starts]
    return min(found, key=lambda f: f.fun).x


@pytest.mark.parametrize("tier", TIERS)
def test_the_limit_is_that_of_the_slow_twin_to_a_decimetre(tier: str) -> None:
    radio = rough_map(count=4, pixel=16.0)
    prior = torch.rand(radio.grid.shape, generator=torch.Generator().manual_seed(1))
    prior[prior < 0.2] = 0.0
    maps = Maps(radio, torch.zeros(8, *radio.grid.shape), prior)
    points = radio.grid.centres().reshape(-1, 2)
    position = points[draw_pixels(prior, 70, seed=2)]
    model = replace(MODEL, tier="T2")
    power = reference_power_dbm(radio.sites)
    reports = model.observe(radio.truth(position), power, torch.Generator().manual_seed(3)).tier(tier)
    # What methods are given is another map: the limit must not look at it.
    wrong = replace(radio, gain=radio.gain.flip(1), known=radio.known.flip(1))
    place = Place(wrong, prior, model, reports[5:], position[5:])
    case = Case(place, replace(maps, radio=wrong), reports[:5], position[:5], maps, model, reports[:5], map_error=False)
    fast = methods_of(case, {}, controls=False)["limit"](case.true_reports).position
    centres = points.double().numpy()
    slow = [slow_median(centres, slow_posterior(reports[i], radio, prior).ravel()) for i in range(5)]
    off = position_error(fast, torch.tensor(np.array(slow), dtype=torch.float32))
    assert float(off.max()) < 0.1
