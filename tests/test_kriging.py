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
