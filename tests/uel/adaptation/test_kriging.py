"""Kriging against the joint law of a Gaussian process."""

import numpy as np
import pytest
import torch
from scipy import stats

from uel.adaptation.kriging import ErrorCovariance, KrigedLevels, MapErrorKriging


def test_kriging_is_the_mean_and_variance_of_a_gaussian_process() -> None:
    random = torch.Generator().manual_seed(0)
    where = torch.rand(40, 2, generator=random) * 200
    feature = torch.randn(40, 1, generator=random)
    level = 3.0 * feature[:, 0] - 80 + torch.randn(40, generator=random)
    field = KrigedLevels.fit(where, feature, level)
    asked, there = torch.rand(5, 2, generator=random) * 200, torch.randn(5, 1, generator=random)
    mean, deviation = field.predict(asked, there)
    # By the joint covariance of all 45 places, conditioned by the Schur complement.
    every = torch.cat([where, asked]).double()
    alike = field.variance * field.correlated_fraction * (-torch.cdist(every, every) / field.length).exp()
    alike += field.variance * (1 - field.correlated_fraction) * torch.eye(45, dtype=torch.float64)
    known, cross, own = alike[:40, :40], alike[40:, :40], alike[40:, 40:]

    def trend(x):
        return field.slope[0] + field.slope[1] * (x[:, 0].double() - field.feature_mean) / field.feature_std

    expected = trend(there) + cross @ torch.linalg.solve(known, level.double() - trend(feature))
    variance = (own - cross @ torch.linalg.solve(known, cross.T)).diagonal()
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(deviation, variance.sqrt())


def test_slopes_have_the_sign_that_they_may_have_and_the_trend_ends_where_it_was_seen() -> None:
    """Two features that are much alike: free slopes take opposite signs, bound ones do not."""
    random = torch.Generator().manual_seed(1)
    where = torch.rand(60, 2, generator=random) * 2000
    far, apart = torch.rand(60, generator=random), 0.05 * torch.randn(60, generator=random)
    feature = torch.stack([far, far + apart], -1)
    level = -30.0 * far - 80 + 60.0 * apart + 0.3 * torch.randn(60, generator=random)
    free = KrigedLevels.fit(where, feature, level)
    bound = KrigedLevels.fit(where, feature, level, torch.tensor([-1.0, -1.0]))
    assert free.slope[1] < 0 < free.slope[2]
    assert bound.slope[2] == 0
    assert abs(float(bound.slope[1] / bound.feature_std[0]) + 30.0) < 5.0
    away = torch.full((1, 2), 1e5)  # where nothing measured is alike
    last, beyond = (bound.predict(away, torch.full((1, 2), value))[0] for value in (float(far.max()), 9.0))
    torch.testing.assert_close(beyond, last)
    assert beyond > -80 - 35


def test_signs_leave_alone_what_has_the_right_sign_anyway() -> None:
    random = torch.Generator().manual_seed(2)
    where, feature = torch.rand(50, 2, generator=random) * 300, torch.randn(50, 2, generator=random)
    level = feature @ torch.tensor([-4.0, 2.0]) - 90 + torch.randn(50, generator=random)
    free, bound = (KrigedLevels.fit(where, feature, level, sign) for sign in (None, torch.tensor([-1.0, 1.0])))
    torch.testing.assert_close(free.slope, bound.slope, rtol=1e-6, atol=1e-6)


# ---- what a map gets wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alike", [ErrorCovariance(std_db=11.0, length=30.0), ErrorCovariance(std_db=4.0, length=30.0, bar_fraction=0.8)]
)
def test_residuals_are_the_conditional_normal(alike: ErrorCovariance) -> None:
    """Mean and variance given measurements, by the textbook's block matrices."""
    generator = np.random.default_rng(0)
    position, asked = generator.uniform(0, 100, (6, 2)), generator.uniform(0, 100, (4, 2))
    off, bar = generator.normal(0, 10, 6), generator.uniform(2, 9, 10)
    far = np.linalg.norm(np.vstack([position, asked])[:, None] - np.vstack([position, asked]), axis=-1)
    size = np.sqrt(alike.std_db**2 + (alike.bar_fraction * bar) ** 2)
    own = (1 - alike.bar_fraction**2) * bar**2
    joint = np.outer(size, size) * np.exp(-far / alike.length)
    gain = joint[6:, :6] @ np.linalg.inv(joint[:6, :6] + np.diag(own[:6] + 8.0**2))
    here, level, told = map(torch.from_numpy, (position, off, bar))
    one = MapErrorKriging.fit(here, level, told[:6], 8.0, torch.ones(6).bool(), alike)
    mean, spread = one.predict(torch.from_numpy(asked), told[6:])
    np.testing.assert_allclose(mean.numpy(), gain @ off, rtol=1e-9)
    left = np.diag(joint[6:, 6:] - gain @ joint[:6, 6:]) + own[6:]
    np.testing.assert_allclose(spread.numpy() ** 2, left, rtol=1e-9)


@pytest.mark.parametrize("limit", [-25.0, -3.0, 0.0, 8.0, 60.0])
def test_a_silent_cell_leaves_the_mean_and_the_variance_of_its_integral(limit: float) -> None:
    spread, noise = 9.0, 8.0
    error = np.linspace(-120, 120, 200_001)
    density = stats.norm.pdf(error, 0, spread) * stats.norm.cdf((limit - error) / noise)
    density /= density.sum()
    want = (density * error).sum()
    here = torch.zeros(1, 2).double()
    none, alike = torch.zeros(1), ErrorCovariance(std_db=spread, length=30.0)
    one = MapErrorKriging.fit(here, torch.tensor([limit]), none, noise, torch.tensor([False]), alike)
    mean, deviation = one.predict(here, none)
    assert float(mean) == pytest.approx(want, abs=1e-5)
    assert float(deviation) ** 2 == pytest.approx((density * (error - want) ** 2).sum(), abs=1e-4)
