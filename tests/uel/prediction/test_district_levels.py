"""Kriging of a district against the joint Gaussian process of all its levels."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal

from tests.helpers.measured_networks import toy_network
from tests.helpers.slow_district_levels import joint_prior
from uel.prediction.config import PredictionParameters
from uel.prediction.district_levels import DistrictKriging

POINTS = torch.tensor([[-20.0, 30.0], [60.0, -80.0], [0.0, 0.0]])


def partly_reported(squares=9, devices=1, seed=3):
    network = toy_network(squares=squares, cells=4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    reported = torch.rand(network.is_reported.shape, generator=generator) < 0.6
    reported[:, 3] = False  # a cell that no label reports
    device = torch.arange(squares) % devices
    return replace(network, is_reported=reported, device=device, devices=tuple("abc"[:devices]))


@pytest.mark.parametrize("devices", [1, 2])
def test_predictions_are_those_of_the_joint_process(devices):
    labels = partly_reported(devices=devices)
    kriging = DistrictKriging.fit(labels, PredictionParameters())
    mean, covariance, level = joint_prior(labels, POINTS, PredictionParameters())
    known = slice(0, len(level))
    gain = torch.linalg.solve(covariance[known, known], covariance[known, len(level) :]).T
    expected = mean[len(level) :] + gain @ (level - mean[known])
    spread = covariance[len(level) :, len(level) :] - gain @ covariance[known, len(level) :]
    prediction = kriging.predict(POINTS)
    torch.testing.assert_close(prediction.mean.flatten(), expected.float(), atol=2e-3, rtol=0)
    torch.testing.assert_close(prediction.std.flatten(), spread.diagonal().sqrt().float(), atol=2e-3, rtol=0)


def test_the_evidence_is_the_joint_density():
    labels = partly_reported()
    kriging = DistrictKriging.fit(labels, PredictionParameters())
    mean, covariance, level = joint_prior(labels, POINTS[:0], PredictionParameters())
    expected = MultivariateNormal(mean, covariance).log_prob(level)
    assert float(kriging.effects.log_evidence) == pytest.approx(float(expected), abs=1e-6)


def test_offsets_of_makes_of_phones_are_found():
    network = toy_network(squares=200, cells=4)
    device = torch.arange(200) % 2
    offset = torch.tensor([3.5, -3.5])[device][:, None]
    labels = replace(network, device=device, devices=("a", "b"), level_dbm=network.level_dbm + offset)
    found = DistrictKriging.fit(labels, PredictionParameters()).device_offset
    assert float(found[0] - found[1]) == pytest.approx(7.0, abs=0.5)


def test_without_labels_the_prior_remains():
    labels = partly_reported().select(torch.arange(0))
    prediction = DistrictKriging.fit(labels, PredictionParameters()).predict(POINTS)
    mean, covariance, level = joint_prior(labels, POINTS, PredictionParameters())
    assert len(level) == 0
    torch.testing.assert_close(prediction.mean.flatten(), mean.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(prediction.std.flatten(), covariance.diagonal().sqrt().float(), atol=1e-3, rtol=0)


def test_a_drift_that_is_the_truth_leaves_the_noise():
    network = toy_network(squares=60, cells=4)
    drift = network.level_dbm
    kriging = DistrictKriging.fit(network, with_flat_trend(), drift)
    prediction = kriging.predict(network.position, drift.T)
    torch.testing.assert_close(prediction.mean, network.level_dbm.T, atol=0.05, rtol=0)


def with_flat_trend():
    parameters = PredictionParameters()
    return replace(parameters, trend=replace(parameters.trend, mean=(0.0, 0.0, 0.0, 0.0)))
