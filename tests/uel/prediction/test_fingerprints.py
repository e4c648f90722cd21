"""Simple methods where the right answer is known."""

import torch

from tests.helpers.measured_networks import toy_network
from uel.prediction.fingerprints import (
    nearest_neighbours,
    strongest_cell_centroid,
    strongest_cell_site,
    tuned_nearest_neighbours,
)
from uel.prediction.level_reports import LevelReports

NETWORK = toy_network(squares=120, cells=4)


def test_the_nearest_neighbour_of_a_label_is_itself():
    estimate = nearest_neighbours(NETWORK, 1)(LevelReports.of(NETWORK))
    assert torch.equal(estimate.position, NETWORK.position)


def test_the_strongest_cells_site_and_centroid():
    reports = LevelReports.of(NETWORK)[:1]
    cell = int(reports.strongest)
    assert torch.equal(strongest_cell_site(NETWORK)(reports).position[0], NETWORK.cells.position[cell])
    same = LevelReports.of(NETWORK).strongest == cell
    expected = NETWORK.position[same].mean(0)
    torch.testing.assert_close(strongest_cell_centroid(NETWORK)(reports).position[0], expected)


def test_tuning_is_no_worse_than_a_poor_choice():
    labels, asked = NETWORK.select(torch.arange(100)), NETWORK.select(torch.arange(100, 120))

    def error(method):
        return float((method(LevelReports.of(asked)).position - asked.position).norm(dim=1).median())

    assert error(tuned_nearest_neighbours(labels)) <= error(nearest_neighbours(labels, 100))


def test_labels_of_one_block_are_enough_for_an_answer():
    labels = NETWORK.select(NETWORK.position.norm(dim=1).argsort()[:1])
    answer = tuned_nearest_neighbours(labels)(LevelReports.of(NETWORK)[:2])
    assert torch.equal(answer.position, labels.position.expand(2, 2))
