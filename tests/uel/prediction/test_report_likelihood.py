"""The likelihood of a report against matrices."""

import math

import torch
from torch.distributions import MultivariateNormal

from uel.prediction.config import ReportLikelihood
from uel.prediction.report_likelihood import level_log_likelihood, silence_log_likelihood

MAST = torch.tensor([4, 1, 4, 7, 1])


def correlation_matrix(parameters, mast=MAST):
    same = mast[:, None] == mast
    matrix = torch.where(same, parameters.mast_correlation, parameters.cell_correlation)
    return matrix.fill_diagonal_(1.0)


def drawn(points=3):
    generator = torch.Generator().manual_seed(0)
    return 5 * torch.randn(5, points, generator=generator), 2 + torch.rand(5, points, generator=generator)


def test_it_is_the_multivariate_t_of_its_correlation_matrix():
    parameters = ReportLikelihood(degrees_of_freedom=5.0, cell_correlation=0.2, mast_correlation=0.6)
    residual, std = drawn()
    for point, value in enumerate(level_log_likelihood(residual, std, MAST, parameters).tolist()):
        scale = std[:, point].double().diag() @ correlation_matrix(parameters).double() @ std[:, point].double().diag()
        distance = residual[:, point].double() @ torch.linalg.solve(scale, residual[:, point].double())
        expected = math.lgamma(5.0) - math.lgamma(2.5) - 2.5 * math.log(5.0 * math.pi)
        expected += -float(scale.logdet()) / 2 - 5.0 * math.log1p(float(distance) / 5.0)
        assert math.isclose(value, expected, abs_tol=1e-4)


def test_many_degrees_of_freedom_make_it_gaussian():
    parameters = ReportLikelihood(degrees_of_freedom=1e6, cell_correlation=0.1, mast_correlation=0.5)
    residual, std = drawn(points=1)
    scale = std[:, 0].diag() @ correlation_matrix(parameters) @ std[:, 0].diag()
    expected = MultivariateNormal(torch.zeros(5), scale).log_prob(residual[:, 0])
    torch.testing.assert_close(level_log_likelihood(residual, std, MAST, parameters)[0], expected, atol=0.06, rtol=0)


def test_silence_is_a_product_of_probabilities():
    probability = torch.tensor([[0.2, 0.5], [0.9, 0.4], [0.3, 0.3]])
    reported = torch.tensor([True, False, True])
    log_silent = (1 - probability).log()
    value = silence_log_likelihood(reported, probability.log() - log_silent, log_silent.sum(0))
    expected = (probability[0] * (1 - probability[1]) * probability[2]).log()
    torch.testing.assert_close(value, expected)
