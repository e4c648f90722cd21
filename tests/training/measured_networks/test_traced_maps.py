"""Levels by the radio map of a district's tile, found in the data folder by the district's name."""

from pathlib import Path

import pytest
import torch

from scenes.measured_networks.tile_network import read_tile_network
from sim_bridge.commands.config import RadioMapConfig
from sim_bridge.commands.radio_map import make_maps
from tests.helpers.network_tiles import network_tile
from training.measured_networks.traced_maps import TRACED_TREND, traced_levels_of_tile
from uel.core.units import to_db
from uel.errors import UelError
from uel.prediction.config import TrendPrior
from uel.prediction.square_posterior import Squares
from uel.radio import radio_map_io
from uel.radio.tracing_config import TracingConfig


def test_levels_are_those_of_the_tiles_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UEL_DATA", str(tmp_path))
    tile = network_tile(tmp_path / "tiles")
    network = read_tile_network(tile)
    squares = Squares(
        network.grid, torch.zeros(network.grid.shape, dtype=torch.bool).index_fill(0, network.row[:3], True)
    )
    with pytest.raises(UelError, match="uel map"):
        traced_levels_of_tile(network, squares, TRACED_TREND, backend="free-space")
    tracing = TracingConfig(backend="free-space")
    ((folder, _),) = make_maps(
        RadioMapConfig(tiles=(tile.folder,), pixel=8.0, check=1, tracing=tracing, out=tmp_path / "maps")
    )
    on_tile = Squares(network.grid, squares.possible & tile.raster_grid.contains(network.grid.centres()))
    levels = traced_levels_of_tile(network, on_tile, TRACED_TREND, backend="free-space")
    radio = radio_map_io.load(folder)
    row, column = radio.grid.pixel_of(on_tile.position)
    torch.testing.assert_close(levels, network.cells.power_dbm[:, None] + to_db(radio.gain[:, row, column]))


def test_a_district_without_a_tile_is_told_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    network = read_tile_network(network_tile(tmp_path / "elsewhere"))
    with pytest.raises(UelError, match="uel network"):
        traced_levels_of_tile(network, Squares(network.grid, network.rasters.outdoors), TrendPrior())
