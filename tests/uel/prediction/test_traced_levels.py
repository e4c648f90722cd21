"""Levels by a radio map: its gain plus the power, and the law of distance where the map says nothing."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.core.grid import Grid
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredCells
from uel.prediction.config import TrendPrior
from uel.prediction.link_trend import link_features
from uel.prediction.traced_levels import UNREACHED_DROP_DB, traced_level_dbm
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Array, Cell

TREND = TrendPrior()


@pytest.fixture
def cells() -> MeasuredCells:
    return toy_network(20, cells=4).cells


@pytest.fixture
def radio(cells: MeasuredCells) -> RadioMap:
    """Of three of the four cells, in another order."""
    sites = cells.select(torch.tensor([3, 0, 2])).sites(400.0, Cell(array=Array(pattern="tr38901")))
    return FreeSpace(sites, size=320.0).radio_map(Grid(size=320.0, pixel=5.0))


def test_levels_are_power_and_gain(cells: MeasuredCells, radio: RadioMap) -> None:
    position = radio.grid.centres().reshape(-1, 2)[::97]
    levels = traced_level_dbm(cells, position, radio, TREND)
    names = [cell.cell_id for site in radio.sites for cell in site.cells]
    row, column = radio.grid.pixel_of(position)
    for number, name in enumerate(names):
        expected = 10.0 + 10 * radio.gain[number, row, column].log10()
        torch.testing.assert_close(levels[cells.cell_id.index(name)], expected)


def test_a_cell_that_the_map_lacks_has_the_law(cells: MeasuredCells, radio: RadioMap) -> None:
    position = torch.tensor([[20.0, 30.0], [-100.0, 5.0]])
    law = 10.0 + link_features(cells, position)[1] @ torch.tensor(TREND.mean)
    torch.testing.assert_close(traced_level_dbm(cells, position, radio, TREND)[1], law)


def test_a_pixel_that_no_path_reaches_is_below_the_law(cells: MeasuredCells, radio: RadioMap) -> None:
    dark = replace(radio, known=torch.zeros_like(radio.known), gain=torch.zeros_like(radio.gain))
    position = torch.tensor([[20.0, 30.0]])
    law = 10.0 + link_features(cells, position)[0] @ torch.tensor(TREND.mean)
    torch.testing.assert_close(traced_level_dbm(cells, position, dark, TREND)[0], law - UNREACHED_DROP_DB)


def test_a_map_of_another_network_is_refused(cells: MeasuredCells, radio: RadioMap) -> None:
    others = replace(cells, cell_id=("a", "b", "c", "d"))
    with pytest.raises(UelError, match="no cell of this network"):
        traced_level_dbm(others, torch.zeros(1, 2), radio, TREND)
