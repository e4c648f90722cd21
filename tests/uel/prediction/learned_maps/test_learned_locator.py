"""Fixes on the squares of a district from learned maps."""

from dataclasses import replace

import torch

from tests.helpers.districts import random_network
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import MapPredictor
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Squares

NETWORK = random_network()


def locator_of(network) -> LearnedLocator:
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))]).eval()
    predictor = MapPredictor(links, EvidenceNetwork(EvidenceNetworkConfig(width=8, depth=1)).eval())
    return LearnedLocator.of(predictor, network, Squares.outdoors(network))


def test_posteriors_are_probabilities_of_the_squares():
    locator = locator_of(NETWORK)
    for estimate in (locator(LevelReports.of(NETWORK)), locator.grid_bayes(LevelReports.of(NETWORK))):
        torch.testing.assert_close(estimate.probability.sum(1), torch.ones(len(NETWORK)))
        assert NETWORK.grid.contains(estimate.position).all()
        assert estimate.log_density(NETWORK.position).isfinite().all()


def test_no_level_of_the_district_is_looked_at():
    other = replace(NETWORK, level_dbm=NETWORK.level_dbm - 20.0)
    assert torch.equal(locator_of(NETWORK).drift.level_dbm, locator_of(other).drift.level_dbm)


def test_a_report_of_no_cell_and_one_of_an_unlisted_cell_have_wide_posteriors():
    unlisted = replace(NETWORK, cells=replace(NETWORK.cells, is_listed=torch.arange(6) < 5))
    locator = locator_of(unlisted)
    alone = torch.zeros(2, 6, dtype=torch.bool)
    alone[1, 5] = True
    reports = LevelReports(torch.where(alone, -80.0, 0.0), alone, torch.zeros(2, dtype=torch.long))
    posterior = locator(reports).probability
    torch.testing.assert_close(posterior[0], posterior[1])  # a cell without a map says nothing
    assert float(posterior.max()) < 0.5
    assert locator.drift.level_dbm.shape == (6, len(locator.squares))
    assert locator.drift.level_dbm[5].std() == 0
