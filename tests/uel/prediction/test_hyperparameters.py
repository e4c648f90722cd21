"""Numbers learned by the evidence."""

import torch

from tests.helpers.measured_networks import toy_network
from uel.prediction.config import ResidualCovariance, TrendPrior
from uel.prediction.hyperparameters import learn_level_prior


def test_the_evidence_rises_and_the_noise_is_found():
    network = toy_network(squares=80, cells=4).select(torch.arange(60))  # noise of 1 dB around a law of distance
    start = ResidualCovariance(long_std_db=1.0, short_std_db=1.0, noise_std_db=4.0)
    trend, residual, history = learn_level_prior([(network, None)], TrendPrior(), start, steps=25)
    assert history[-1] > history[0] + 0.3
    assert 0.5 < residual.noise_std_db < 2.0
    assert len(trend.mean) == 4
