"""Learned maps corrected by labels, and fixes on them."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.districts import random_network
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.config import around_learned_maps
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.labelled_maps import LabelledLocator, with_labels
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import MapPredictor
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Squares

NETWORK = random_network()
PARAMETERS = around_learned_maps()


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))]).eval()
    predictor = MapPredictor(links, EvidenceNetwork(EvidenceNetworkConfig(width=8, depth=1)).eval())
    return LearnedLocator.of(predictor, NETWORK, Squares.outdoors(NETWORK))


def test_without_labels_the_learned_maps_remain(learned):
    none = NETWORK.select(torch.arange(0))
    maps = with_labels(learned.district, learned.squares, none, PARAMETERS).maps
    torch.testing.assert_close(maps.mean_dbm, learned.district.maps.mean_dbm)
    torch.testing.assert_close(maps.log_odds, learned.district.maps.log_odds, atol=1e-4, rtol=0)


def test_labels_correct_levels_and_reports(learned):
    before = learned.district.maps
    number = learned.squares.number[NETWORK.row, NETWORK.column]
    place, reported = learned.district.places.place_of_square[number], NETWORK.is_reported.T
    level = torch.where(reported, before.mean_dbm[:, place] + 12, 0.0)  # the maps are 12 dB too low everywhere
    labels = replace(NETWORK, level_dbm=level.T)
    after = with_labels(learned.district, learned.squares, labels, PARAMETERS).maps
    off = (after.mean_dbm[:, place] - level)[reported].abs().mean()
    assert float(off) < 3
    chance = [torch.distributions.Bernoulli(logits=maps.log_odds[:, place]) for maps in (before, after)]
    likelihood = [float(c.log_prob(reported.float()).mean()) for c in chance]
    assert likelihood[1] > likelihood[0]


def test_blocks_are_by_the_network_and_their_squares_by_bayes_rule(learned):
    locator, reports = LabelledLocator.of(learned, NETWORK, PARAMETERS), LevelReports.of(NETWORK)[:5]
    probability = locator(reports).probability
    fine, place = locator.squares(reports).probability, learned.district.places.place_of_square
    places = len(learned.district.places)
    blocks = torch.zeros(5, places).index_add(1, place, probability)
    torch.testing.assert_close(blocks.log(), locator.blocks.log_posterior(reports), atol=1e-3, rtol=0)
    likeliest = int(blocks[0].argmax())
    ratio = probability[0, place == likeliest] / fine[0, place == likeliest]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=0)
