"""Regions, samples and rasters of a fix against closed forms; levels of pixels; intervals."""

import math

import pytest
import torch

from uel.core.grid import Grid
from uel.estimation.credible_regions import grid_hpd_level
from uel.estimation.estimates import FixEstimate, GridEstimate, PointEstimate, fix_raster
from uel.estimation.fix import Fix
from uel.estimation.scoring import bootstrap, coverage


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def gaussian(mean: torch.Tensor, covariance: torch.Tensor, patches: int = 4) -> Fix:
    """All weight in patch 1 of each fix."""
    count = len(mean)
    heat = torch.full((count, patches), -torch.inf)
    heat[:, 1] = 0.0
    where = torch.zeros(count, patches, 2)
    where[:, 1] = mean
    return Fix(heat, where, covariance.expand(count, patches, 2, 2))


def test_region_of_one_gaussian_is_its_ellipse() -> None:
    """The density is higher with probability 1 - exp(-d²/2) at Mahalanobis distance d, in two dimensions."""
    covariance = torch.tensor([[90.0, -30.0], [-30.0, 40.0]])
    root = torch.linalg.cholesky(covariance)
    distance = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
    angle = torch.arange(6.0)
    off = distance[:, None] * torch.stack([angle.cos(), angle.sin()], -1) @ root.T
    mean = torch.randn(6, 2, generator=seed(1)) * 50
    level = gaussian(mean, covariance).hpd_level(mean + off, seed(2), count=4000)
    torch.testing.assert_close(level, 1 - (-(distance**2) / 2).exp(), atol=0.03, rtol=0)


def test_samples_have_the_moments_of_the_mixture() -> None:
    heat = torch.tensor([[0.2, 0.8]]).log()
    mean = torch.tensor([[[-40.0, 10.0], [30.0, 0.0]]])
    covariance = torch.tensor([[[[25.0, 10.0], [10.0, 9.0]], [[4.0, 0.0], [0.0, 64.0]]]])
    drawn = Fix(heat, mean, covariance).sample(20000, seed(3))[:, 0]
    centre = 0.2 * mean[0, 0] + 0.8 * mean[0, 1]
    torch.testing.assert_close(drawn.mean(0), centre, atol=0.8, rtol=0)
    off = mean[0] - centre
    second = (torch.tensor([0.2, 0.8])[:, None, None] * (covariance[0] + off[:, :, None] * off[:, None])).sum(0)
    torch.testing.assert_close(drawn.T.cov(), second, atol=20.0, rtol=0.03)
    near = drawn[drawn[:, 0] < -10]
    torch.testing.assert_close(near.T.cov(), covariance[0, 0], atol=1.0, rtol=0.05)


def test_regions_hold_as_much_as_they_claim_of_what_the_fix_itself_draws() -> None:
    count = 400
    heat = torch.randn(count, 9, generator=seed(4)).log_softmax(-1)
    mean = torch.randn(count, 9, 2, generator=seed(5)) * 60
    spread = torch.rand(count, 9, 1, 1, generator=seed(6)) * 200 + 10
    fix = Fix(heat, mean, spread * torch.eye(2))
    level = fix.hpd_level(fix.sample(1, seed(7))[0], seed(8))
    for share in (0.5, 0.9):
        assert coverage(level, share) == pytest.approx(share, abs=3.5 * math.sqrt(share * (1 - share) / count))


def test_many_positions_at_once_are_each_by_itself() -> None:
    fix = Fix(torch.zeros(3, 4).log_softmax(-1), torch.randn(3, 4, 2), torch.eye(2).expand(3, 4, 2, 2))
    position = torch.randn(5, 3, 2)
    one_by_one = torch.stack([fix.log_density(p) for p in position])
    torch.testing.assert_close(fix.log_density(position), one_by_one)


def test_raster_of_a_fix_is_its_density_at_pixel_centres() -> None:
    grid = Grid(size=64.0, pixel=4.0)
    centres = Grid(size=64.0, pixel=8.0).centres().reshape(1, 64, 2)
    heat = torch.randn(2, 64, generator=seed(1)).log_softmax(-1)
    fix = Fix(heat, centres + torch.randn(2, 64, 2, generator=seed(2)), 4.0 * torch.eye(2).expand(2, 64, 2, 2))
    points = grid.centres().reshape(-1, 1, 2).expand(-1, 2, 2)
    want = fix.log_density(points).T.unflatten(1, grid.shape)
    torch.testing.assert_close(fix_raster(fix, grid), want, atol=0.01, rtol=0)


def test_level_of_a_pixel_by_hand() -> None:
    posterior = torch.tensor([[0.1, 0.6, 0.3, 0.0]]).expand(4, 4)
    level = grid_hpd_level(posterior, torch.tensor([1, 2, 0, 3]), seed())
    low, high = torch.tensor([0.0, 0.6, 0.9, 1.0]), torch.tensor([0.6, 0.9, 1.0, 1.0])
    assert bool(((level >= low - 1e-6) & (level <= high + 1e-6)).all())


def test_levels_are_uniform_where_the_posterior_is_true() -> None:
    posterior = torch.rand(2000, 12, generator=seed(1)).softmax(-1)
    truth = torch.multinomial(posterior, 1, generator=seed(2)).squeeze(1)
    level = grid_hpd_level(posterior, truth, seed(3))
    for share in (0.1, 0.5, 0.9):
        assert coverage(level, share) == pytest.approx(share, abs=0.035)


def test_estimates_say_the_same_of_a_density_that_is_even() -> None:
    grid = Grid(size=64.0, pixel=8.0)
    truth = torch.tensor([[1.0, 2.0], [-30.0, 30.0]])
    even = GridEstimate(grid, torch.full((2, 8, 8), 1 / 64))
    torch.testing.assert_close(even.log_density(truth), torch.full((2,), -math.log(64.0**2)))
    torch.testing.assert_close(even.position, torch.zeros(2, 2), atol=0.1, rtol=0)
    sure = torch.zeros(2, 8, 8)
    sure[:, 0, 0] = 1.0
    assert bool((GridEstimate(grid, sure).log_density(truth) > -100).all())  # sure and wrong is dear, not infinite
    point = PointEstimate(truth)
    assert point.log_density(truth) is None
    assert point.hpd_level(truth, seed()) is None
    fix = gaussian(truth, torch.eye(2) * 9)
    torch.testing.assert_close(FixEstimate(fix).log_density(truth), fix.log_density(truth))


def test_bootstrap_of_means_is_as_wide_as_theory_says() -> None:
    parts = list(torch.randn(40, 1, generator=seed(1)))
    low, high = bootstrap(parts, lambda values: float(values.mean()), draws=2000)
    spread = float(torch.cat(parts).std(correction=0)) / math.sqrt(40)
    assert (high - low) / 2 == pytest.approx(1.645 * spread, rel=0.12)
    assert bootstrap(parts[:1], lambda values: float(values.mean())) == pytest.approx((float(parts[0]),) * 2)
