"""Districts with labels to learn from: every square that is no label is asked for, in labelled blocks, too."""

import torch

from tests.helpers.districts import random_network
from training.level_maps.labelled_cases import labelled_cases
from uel.measurement.measured_network import split_labels
from uel.models.config import LinkNetworkConfig
from uel.prediction.config import around_learned_maps
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import PredictedDistrict
from uel.prediction.square_posterior import Squares


def places(network):
    return {(int(row), int(column)) for row, column in zip(network.row, network.column, strict=True)}


def test_squares_of_labelled_blocks_are_asked_for_and_labels_are_not():
    network = random_network(squares=200)
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))]).eval()
    squares = Squares.outdoors(network)
    maps = PredictedDistrict.of(links, network, squares)
    cases = labelled_cases(maps, squares, network, (10, 20, 9000), around_learned_maps(), seed=4)
    assert len(cases) == 2  # no district has 9000
    for seed, budget, (_, asked) in ((4, 10, cases[0]), (5, 20, cases[1])):
        split = split_labels(network, seed)
        labels = places(network.select(split.labels(budget)))
        assert places(asked) == places(network.select(network.is_judged)) - labels
        assert places(asked) & places(network.select(split.labelled))
