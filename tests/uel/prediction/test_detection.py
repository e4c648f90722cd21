"""Probabilities of reports: kriged indicators, and the law that labels fit to what other districts suggest."""

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.errors import UelError
from uel.prediction.config import DetectionParameters, ReportLaw
from uel.prediction.detection import detection_probability, district_law, map_features

PARAMETERS = DetectionParameters(length=60.0, white_part=0.5, floor=0.001)
LAW = ReportLaw(mean=(0.0, 1.0), std=(0.7, 0.2))
POINTS = torch.tensor([[0.0, 0.0], [100.0, -50.0]])


def labels_with_silence(squares=40, cells=4):
    labels = toy_network(squares=squares, cells=cells)
    labels.is_reported[:] = torch.rand(squares, cells, generator=torch.Generator().manual_seed(1)) < 0.4
    return labels


def drawn_features(*shape):
    return map_features(torch.randn(shape, generator=torch.Generator().manual_seed(2)) - 1)


def test_it_is_simple_kriging_of_the_indicators():
    labels, at_labels, at_points = labels_with_silence(), drawn_features(4, 40), drawn_features(4, 2)
    coefficient = district_law(at_labels, labels.is_reported, LAW)
    place = labels.position.double()
    distance = (place[:, None] - place).norm(dim=-1)
    covariance = (-distance / 60.0).exp() + 0.5 * torch.eye(40, dtype=torch.float64)
    to_points = (-(POINTS.double()[:, None] - place).norm(dim=-1) / 60.0).exp()
    weights = torch.linalg.solve(covariance, to_points.T)
    for cell in range(4):
        expected = (at_labels[cell] @ coefficient).sigmoid().double()
        change = weights.T @ (labels.is_reported[:, cell].double() - expected)
        kriged = (at_points[cell] @ coefficient).sigmoid().double() + change
        value = detection_probability(labels, POINTS, at_labels, at_points, LAW, PARAMETERS)[cell]
        torch.testing.assert_close(value.double(), kriged.clamp(0.001, 0.999), atol=1e-5, rtol=0)


def test_labels_without_white_part_are_met():
    labels, at_labels = labels_with_silence(), drawn_features(4, 40)
    exact = DetectionParameters(length=60.0, white_part=1e-6, floor=1e-4)
    value = detection_probability(labels, labels.position, at_labels, at_labels, LAW, exact)
    torch.testing.assert_close(value, labels.is_reported.T.float().clamp(1e-4, 1 - 1e-4), atol=2e-3, rtol=0)


def test_the_law_is_the_mode_of_its_posterior():
    labels, features = labels_with_silence(), drawn_features(4, 40)

    def log_posterior(coefficient):
        chance = torch.distributions.Bernoulli(logits=(features @ coefficient).T)
        fit = float(chance.log_prob(labels.is_reported.float()).sum())
        return fit - float(((coefficient - torch.tensor(LAW.mean)) / torch.tensor(LAW.std)).square().sum()) / 2

    law = district_law(features, labels.is_reported, LAW)
    for step in ((0.05, 0.0), (-0.05, 0.0), (0.0, 0.03), (0.0, -0.03), (0.05, 0.03)):
        assert log_posterior(law + torch.tensor(step)) < log_posterior(law)


def test_a_districts_own_law_is_found():
    features = drawn_features(4, 2000)
    chance = (features @ torch.tensor([1.5, 1.2])).sigmoid()
    reported = torch.rand(4, 2000, generator=torch.Generator().manual_seed(3)) < chance
    law = district_law(features, reported.T, ReportLaw(mean=(0.0, 1.0), std=(2.0, 0.3)))
    assert law.tolist() == pytest.approx([1.5, 1.2], abs=0.1)


def test_without_labels_the_law_of_other_districts_decides():
    labels = toy_network(squares=3, cells=4).select(torch.arange(0))
    features = map_features(torch.tensor([[0.0, 1.0]]).expand(4, -1))
    value = detection_probability(labels, POINTS, features[:, :0], features, LAW, PARAMETERS)
    expected = torch.tensor([[0.5, 0.73106]]).expand(4, -1)
    torch.testing.assert_close(value, expected, atol=1e-4, rtol=0)


def test_no_report_and_no_silence_is_impossible():
    labels = labels_with_silence().with_cells(torch.arange(2))
    sure = map_features(torch.tensor([[-50.0], [50.0]]).expand(-1, 2))
    value = detection_probability(labels, POINTS, drawn_features(2, 40), sure, LAW, PARAMETERS)
    assert float(value.min()) == pytest.approx(PARAMETERS.floor)
    assert float(value.max()) == pytest.approx(1 - PARAMETERS.floor)


def test_parameters_that_cannot_be_are_refused():
    with pytest.raises(UelError, match="must be positive"):
        DetectionParameters(length=0.0)
    with pytest.raises(UelError, match="least probability"):
        DetectionParameters(floor=0.5)
    with pytest.raises(UelError, match="for each feature"):
        ReportLaw(mean=(0.0, 1.0), std=(1.0,))
