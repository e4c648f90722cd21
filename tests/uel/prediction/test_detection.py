"""Probabilities of reports: means of beta distributions after weighted labels."""

import math

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.prediction.config import DetectionParameters
from uel.prediction.detection import PROBABILITY_LIMITS, detection_probability
from uel.prediction.district_levels import LevelPrediction

PARAMETERS = DetectionParameters(threshold_dbm=-90.0, width_db=5.0, ceiling=0.9, prior_labels=2.0, length=30.0)
POINTS = torch.tensor([[0.0, 0.0], [100.0, -50.0]])


def prediction_of(level, cells=4):
    return LevelPrediction(torch.full((cells, len(POINTS)), level), torch.ones(cells, len(POINTS)))


def test_it_is_the_mean_of_weighted_labels_and_of_the_level():
    labels = toy_network(squares=12, cells=4)
    labels.is_reported[:6, 1] = False
    value = detection_probability(labels, POINTS, prediction_of(-85.0), PARAMETERS)[1, 0]
    weights = [math.exp(-float(p.norm()) / 30.0) for p in labels.position]
    by_level = 0.9 / (1 + math.exp(-1.0))
    reported = sum(w for w, r in zip(weights, labels.is_reported[:, 1].tolist(), strict=True) if r)
    expected = (reported + 2.0 * by_level) / (sum(weights) + 2.0)
    assert math.isclose(float(value), expected, rel_tol=1e-4)


def test_without_labels_the_level_decides():
    labels = toy_network(squares=3, cells=4).select(torch.arange(0))
    value = detection_probability(labels, POINTS, prediction_of(-90.0), PARAMETERS)
    torch.testing.assert_close(value, torch.full((4, 2), 0.45))


def test_no_report_is_impossible():
    labels = toy_network(squares=12, cells=4)
    labels.is_reported[:] = False
    value = detection_probability(labels, POINTS, prediction_of(-200.0), PARAMETERS)
    assert float(value.min()) == pytest.approx(PROBABILITY_LIMITS[0])
