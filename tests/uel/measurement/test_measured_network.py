"""Measured networks: judged squares, splits by blocks, cells as sites."""

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.errors import UelError
from uel.measurement.drive_test import block_index
from uel.measurement.measured_network import BLOCK_SIDE, split_labels
from uel.radio.antennas.array import Array
from uel.radio.sites import Cell, cell_positions


def test_judged_squares_are_outdoors_and_report_three_cells():
    network = toy_network(squares=40, cells=4)
    network.rasters.building_height[network.row[:5], network.column[:5]] = 9.0
    network.is_reported[5:9, 2:] = False
    expected = torch.ones(40, dtype=torch.bool)
    expected[:9] = False
    assert torch.equal(network.is_judged, expected)


def test_labelled_and_judged_squares_share_no_block():
    network = toy_network(squares=300)
    for seed in range(3):
        split = split_labels(network, seed)
        labelled, judged = (block_index(network.position[s], BLOCK_SIDE) for s in (split.labelled, split.judged))
        assert not set(labelled.tolist()) & set(judged.tolist())
        assert len(labelled) + len(judged) == int(network.is_judged.sum())


def test_budgets_are_nested_and_bounded():
    split = split_labels(toy_network(squares=300), 0)
    assert torch.equal(split.labels(5), split.labels(20)[:5])
    assert len(split.labels(0)) == 0
    with pytest.raises(UelError, match="too few squares"):
        split.labels(301)


def test_draws_differ_by_their_seed_alone():
    network = toy_network(squares=300)
    assert torch.equal(split_labels(network, 1).labelled, split_labels(network, 1).labelled)
    assert not torch.equal(split_labels(network, 1).judged, split_labels(network, 2).judged)


def test_a_network_that_reports_one_cell_alone_cannot_be_judged():
    network = toy_network(squares=30, cells=4)
    network.is_reported[:, 1:] = False
    with pytest.raises(UelError, match="no outdoor square of toy reports 3 cells"):
        split_labels(network.heard_cells(), 0)


def test_heard_cells_keep_their_columns():
    network = toy_network(squares=30, cells=4)
    network.is_reported[:, 1] = False
    heard = network.heard_cells()
    assert heard.cells.cell_id == ("100", "102", "103")
    assert torch.equal(heard.level_dbm, network.level_dbm[:, [0, 2, 3]])
    network.is_reported[:] = False
    with pytest.raises(UelError, match="reports a cell"):
        network.heard_cells()


def test_cells_become_sites_at_their_elevation():
    cells = toy_network(squares=3, cells=4).cells
    sites = cells.sites(datum=400.0, template=Cell(array=Array(pattern="tr38901")))
    place = cell_positions(sites)
    assert torch.equal(place[:, :2], cells.position)
    assert torch.equal(place[:, 2], cells.height + cells.ground - 400.0)
    assert len(sites) == 2
    assert cells.mast.tolist() == [0, 0, 1, 1]
