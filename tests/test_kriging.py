"""Kriging against the joint law of a Gaussian process."""

import torch

from uel.kriging import Kriged


def test_kriging_is_the_mean_and_variance_of_a_gaussian_process() -> None:
    random = torch.Generator().manual_seed(0)
    where = torch.rand(40, 2, generator=random) * 200
    feature = torch.randn(40, 1, generator=random)
    level = 3.0 * feature[:, 0] - 80 + torch.randn(40, generator=random)
    field = Kriged.of(where, feature, level)
    asked, there = torch.rand(5, 2, generator=random) * 200, torch.randn(5, 1, generator=random)
    mean, deviation = field.at(asked, there)
    # By the joint covariance of all 45 places, conditioned by the Schur complement.
    every = torch.cat([where, asked]).double()
    alike = field.variance * field.share * (-torch.cdist(every, every) / field.length).exp()
    alike += field.variance * (1 - field.share) * torch.eye(45, dtype=torch.float64)
    known, cross, own = alike[:40, :40], alike[40:, :40], alike[40:, 40:]
    trend = lambda x: field.slope[0] + field.slope[1] * (x[:, 0].double() - field.middle) / field.spread  # noqa: E731
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
    free = Kriged.of(where, feature, level)
    bound = Kriged.of(where, feature, level, torch.tensor([-1.0, -1.0]))
    assert free.slope[1] < 0 < free.slope[2]
    assert bound.slope[2] == 0
    assert abs(float(bound.slope[1] / bound.spread[0]) + 30.0) < 5.0
    away = torch.full((1, 2), 1e5)  # where nothing measured is alike
    last, beyond = (bound.at(away, torch.full((1, 2), value))[0] for value in (float(far.max()), 9.0))
    torch.testing.assert_close(beyond, last)
    assert beyond > -80 - 35


def test_signs_leave_alone_what_has_the_right_sign_anyway() -> None:
    random = torch.Generator().manual_seed(2)
    where, feature = torch.rand(50, 2, generator=random) * 300, torch.randn(50, 2, generator=random)
    level = feature @ torch.tensor([-4.0, 2.0]) - 90 + torch.randn(50, generator=random)
    free, bound = (Kriged.of(where, feature, level, sign) for sign in (None, torch.tensor([-1.0, 1.0])))
    torch.testing.assert_close(free.slope, bound.slope, rtol=1e-6, atol=1e-6)
