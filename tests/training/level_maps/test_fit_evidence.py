"""Weights of the evidence are learned from posteriors at the truth."""

import torch

from tests.helpers.districts import random_network
from training.level_maps.config import EvidenceTrainingConfig
from training.level_maps.fit_evidence import fit_evidence
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import PredictedDistrict
from uel.prediction.square_posterior import Squares


def test_evidence_of_maps_that_say_nothing_loses_its_weight():
    """The levels are drawn without regard to the maps: a posterior that trusts the maps is punished at the truth."""
    measured = random_network(squares=200)
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))]).eval()
    district = PredictedDistrict.of(links, measured, Squares.outdoors(measured))
    config = EvidenceTrainingConfig(
        steps=40, batch=8, learning_rate=0.1, network=EvidenceNetworkConfig(width=4, depth=1)
    )
    evidence = fit_evidence(config, [(district, measured)], seed=1).evidence
    assert float((evidence.log_weight[0] - evidence.log_std_factor).detach().exp()) < 0.9
