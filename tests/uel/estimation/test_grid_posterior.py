"""Bayes on a grid against a loop in plain Python, and the point that answers it against scipy."""

import numpy as np
import pytest
import torch
from scipy import optimize

from tests.helpers.free_space import CORNERS, draw_pixels, masts, radio_map, rough_map
from tests.helpers.slow_grid_posterior import MODEL, slow_posterior
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.grid_posterior import DOUBT_EXPONENTS, geometric_median, grid_posterior, log_posterior
from uel.estimation.scoring import position_error
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.tiers import TIERS
from uel.radio.sites import reference_power_dbm
from uel.results.methods import BASELINE_METHODS


@pytest.mark.parametrize("tier", TIERS)
def test_grid_posterior_is_the_double_loop(tier: str) -> None:
    radio = rough_map(count=4, pixel=16.0)
    prior = torch.rand(radio.grid.shape, generator=torch.Generator().manual_seed(1))
    prior[prior < 0.2] = 0.0
    power, pixel = reference_power_dbm(radio.sites), draw_pixels(prior, 4, seed=2)
    truth = radio.pixel_truth(radio.grid.centres().reshape(-1, 2)[pixel])
    reports = MODEL.observe(truth, power, torch.Generator().manual_seed(3)).with_tier(tier)
    got = grid_posterior(reports, radio, prior, MODEL, power)
    torch.testing.assert_close(got.sum((1, 2)), torch.ones(4))
    assert (got[:, prior == 0] == 0).all()
    for i in range(4):
        assert got[i].numpy() == pytest.approx(slow_posterior(reports[i], radio, prior), abs=3e-5, rel=2e-3)


# ---- the point estimate ------------------------------------------------------------------------------


def test_a_posterior_in_doubt_is_mixed_with_one_of_powers() -> None:
    evidence = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 4
    prior = torch.rand(4, 5, generator=torch.Generator().manual_seed(1))

    def whole(*powers):
        return torch.stack(
            [prior * torch.stack([e[k] * p for k, p in enumerate(powers)]).sum(0).exp() for e in evidence]
        )

    def share(weight):
        return weight / weight.sum((-2, -1), keepdim=True)

    want = 0.7 * share(whole(1.0, 1.0, 1.0)) + 0.3 * share(whole(*DOUBT_EXPONENTS))
    torch.testing.assert_close(log_posterior(evidence, prior.log(), 0.3).exp(), want)
    torch.testing.assert_close(log_posterior(evidence, prior.log()).exp(), share(whole(1.0, 1.0, 1.0)))


@pytest.mark.parametrize("seed", range(6))
def test_geometric_median_minimises_the_expected_distance(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(40, 2)) * 30 + generator.integers(0, 2, size=(40, 1)) * 150
    weight = generator.dirichlet(np.full(40, 0.3))

    def cost(p: np.ndarray) -> float:
        return float(weight @ np.hypot(*(points - p).T))

    # The minimum may be a kink on a point, so every point is a start as well.
    best = min(
        cost(optimize.minimize(cost, start, method="Nelder-Mead").x) for start in points[np.argsort(-weight)[:5]]
    )
    got = geometric_median(torch.from_numpy(points)[None], torch.from_numpy(weight)[None], iterations=500)[0].numpy()
    assert cost(got) <= best + 0.05


def test_geometric_median_with_spread_minimises_the_smoothed_distance() -> None:
    generator = np.random.default_rng(0)
    points, spread = generator.normal(size=(12, 2)) * 50, generator.uniform(10, 900, size=12)
    weight = generator.dirichlet(np.ones(12))

    def cost(p: np.ndarray) -> float:
        return float(weight @ np.sqrt(((points - p) ** 2).sum(1) + spread))

    best = optimize.minimize(cost, weight @ points, tol=1e-10).x
    tensors = (torch.from_numpy(a)[None] for a in (points, weight, spread))
    assert geometric_median(*tensors)[0].numpy() == pytest.approx(best, abs=1e-2)


@pytest.mark.parametrize("variance", [None, 8.0**2 / 6])
def test_geometric_median_of_wide_posteriors_of_several_modes(variance: float | None) -> None:
    """Against scipy from the mean, and from the answer; undamped Newton's steps had left one in twenty far away."""
    draws = np.random.default_rng(1)
    points = np.stack(np.meshgrid(*2 * [np.arange(-252.0, 256.0, 24.0)]), -1).reshape(-1, 2)
    weight = np.zeros((200, len(points)))
    for row in weight:
        for _ in range(draws.integers(1, 7)):
            centre, spread = draws.uniform(-256, 256, 2), np.exp(draws.uniform(np.log(4), np.log(200)))
            row += draws.lognormal() * np.exp(-((points - centre) ** 2).sum(1) / (2 * spread**2)) / spread**2
        row *= draws.random(len(points)) < 0.7  # buildings
        row /= row.sum()
    smooth = 0.1**2 if variance is None else variance
    got = geometric_median(torch.from_numpy(points).float()[None], torch.from_numpy(weight).float(), variance).numpy()

    def cost(p: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
        distance = np.sqrt(((points - p) ** 2).sum(1) + smooth)
        return float(weight @ distance), (weight / distance) @ (p - points)

    for place, row in zip(got.astype(float), weight, strict=True):
        starts = place, row @ points
        best = min(optimize.minimize(cost, start, args=(row,), jac=True).fun for start in starts)
        assert cost(place, row)[0] < best + 1e-3


def test_geometric_median_of_a_majority_is_the_majority() -> None:
    points = torch.tensor([[[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]])
    got = geometric_median(points, torch.tensor([[0.9, 0.05, 0.05]]))
    torch.testing.assert_close(got, torch.zeros(1, 2), atol=0.2, rtol=0)


def test_geometric_median_of_a_row_of_batches_is_each_by_itself() -> None:
    points = torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(0)) * 40
    weight = torch.rand(5, 30, generator=torch.Generator().manual_seed(1))
    weight = weight / weight.sum(1, keepdim=True)
    together = geometric_median(points, weight)
    alone = torch.cat([geometric_median(points, w[None]) for w in weight])
    torch.testing.assert_close(together, alone)


# ---- the limit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_no_method_beats_grid_bayes_on_data_from_its_own_map(tier: str) -> None:
    radio = radio_map(masts(*CORNERS[:5]), pixel=16.0)
    prior, power, model = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites), ObservationModel()
    points = radio.grid.centres().reshape(-1, 2)

    def draw(count: int, seed: int) -> tuple[torch.Tensor, Reports]:
        position = points[draw_pixels(prior, count, seed)]
        return position, model.observe(
            radio.pixel_truth(position), power, torch.Generator().manual_seed(seed)
        ).with_tier(tier)

    surveyed, fingerprints = draw(500, seed=1)
    position, reports = draw(400, seed=2)
    place = LocalizationProblem(radio, prior / prior.sum(), model, fingerprints, surveyed)
    mean = {
        name: float(position_error(method(reports, place), position).mean())
        for name, method in BASELINE_METHODS.items()
    }
    limit = mean.pop("grid_bayes")
    assert limit < min(mean.values())
    assert limit < 0.8 * mean["prior_median"]
