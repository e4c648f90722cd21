"""The simple rival: silence by weighted shares of near labels."""

import math

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from training.measured_networks.simple_rival import (
    CEILING_PROBABILITY,
    LEVEL_LABELS,
    NEAR_LENGTH,
    PROBABILITY_LIMITS,
    THRESHOLD_DBM,
    WIDTH_DB,
    near_label_share,
)

POINTS = torch.tensor([[0.0, 0.0], [100.0, -50.0]])


def test_it_is_the_weighted_share_of_labels_and_of_the_level():
    labels = toy_network(squares=12, cells=4)
    labels.is_reported[:6, 1] = False
    value = near_label_share(labels, POINTS, torch.full((4, 2), THRESHOLD_DBM + WIDTH_DB))[1, 0]
    weights = [math.exp(-float(p.norm()) / NEAR_LENGTH) for p in labels.position]
    by_level = CEILING_PROBABILITY / (1 + math.exp(-1.0))
    reported = sum(w for w, r in zip(weights, labels.is_reported[:, 1].tolist(), strict=True) if r)
    expected = (reported + LEVEL_LABELS * by_level) / (sum(weights) + LEVEL_LABELS)
    assert math.isclose(float(value), expected, rel_tol=1e-4)


def test_no_report_is_impossible():
    labels = toy_network(squares=12, cells=4)
    labels.is_reported[:] = False
    value = near_label_share(labels, POINTS, torch.full((4, 2), -200.0))
    assert float(value.min()) == pytest.approx(PROBABILITY_LIMITS[0])
