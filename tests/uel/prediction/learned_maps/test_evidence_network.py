"""The network that weighs the evidence."""

import torch

from tests.helpers.districts import random_network
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import PredictedDistrict
from uel.prediction.square_posterior import Squares

NETWORK = random_network()


def small_district(network=NETWORK) -> PredictedDistrict:
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))]).eval()
    return PredictedDistrict.of(links, network, Squares.outdoors(network))


def corrected(network: EvidenceNetwork, measured=NETWORK) -> torch.Tensor:
    district = small_district(measured)
    reports = PaddedReports.of(measured.level_dbm[:9], measured.is_reported[:9])
    return network(district.maps, district.places, district.surroundings, reports)


def trained_like(seed: int) -> EvidenceNetwork:
    torch.manual_seed(seed)
    network = EvidenceNetwork(EvidenceNetworkConfig(width=8, depth=1))
    torch.nn.init.normal_(network.head.weight)  # as after training: a new network corrects nothing
    return network


def test_before_training_it_is_grid_bayes():
    network, district = EvidenceNetwork(EvidenceNetworkConfig(width=8, depth=1)), small_district()
    reports = PaddedReports.of(NETWORK.level_dbm[:9], NETWORK.is_reported[:9])
    torch.testing.assert_close(corrected(network), network.grid_bayes(district.maps, district.places, reports))


def test_the_posterior_is_normalised_and_reaches_all_parameters():
    network = trained_like(1)
    log_posterior = corrected(network)
    torch.testing.assert_close(log_posterior.exp().sum(1), torch.ones(9))
    log_posterior[:, 0].sum().backward()
    assert {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()} == set()


def test_cells_are_a_set():
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    network = trained_like(2)
    torch.testing.assert_close(corrected(network), corrected(network, NETWORK.with_cells(order)), rtol=1e-3, atol=1e-3)
