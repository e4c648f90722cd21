"""Layers of a measured network on the map: its levels, what a radio map lacks of them, errors of located phones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.analysis import measured_layers
from explorer.analysis.district import DistrictView
from explorer.style import QUANTITY_SCALES, apply_colour_map
from scenes.measured_networks.tile_network import JUDGED_FILE, read_tile_network
from tests.helpers.network_tiles import network_tile
from uel.geo.tile import Tile
from uel.radio.simulator import FreeSpace
from uel.radio.sites import reference_power_dbm

SCRIPT = """
from explorer.app import widgets
from explorer.app.views import map
with widgets.show_errors():
    map.page()
"""


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return network_tile(tmp_path_factory.mktemp("layers"))


def test_levels_are_coloured_where_they_were_measured(tile: Tile) -> None:
    network = read_tile_network(tile)
    areas, legend = measured_layers.level_layer(tile, 0)
    reported = network.position[network.is_reported[:, 0]]
    inside = (reported.abs() < tile.size / 2 - network.grid.pixel / 2).all(1)
    assert len(areas.points) == min(int(inside.sum()), measured_layers.MAX_SQUARES)
    middle = areas.points[0][:, :2].mean(0)
    square = int((network.position - torch.tensor(middle)).norm(dim=1).argmin())
    level = float(network.level_dbm[square, 0])
    assert f"{level:.1f} dBm" in areas.texts[0]
    colour = apply_colour_map(np.array([level]), QUANTITY_SCALES["rsrp"], legend.low, legend.high)[0]
    assert tuple(areas.colours[0]) == tuple(colour.tolist())
    strongest, _ = measured_layers.level_layer(tile, None)
    assert len(strongest.points) >= len(areas.points)


def test_residuals_are_measured_levels_minus_the_maps(tile: Tile) -> None:
    network = read_tile_network(tile)
    radio = FreeSpace(tile.sites, size=tile.size).radio_map(tile.grid(8.0))
    areas, legend = measured_layers.residual_layer(tile, radio, 1)
    middle = torch.tensor(areas.points[3][:, :2].mean(0)).float()
    square = int((network.position - middle).norm(dim=1).argmin())
    place = network.position[square : square + 1]
    predicted = radio.pixel_truth(place).gain_db[0, 1] + reference_power_dbm(radio.sites)[1]
    residual = float(network.level_dbm[square, 1] - predicted)
    assert f"{residual:.1f} dB" in areas.texts[3]
    assert (legend.low, legend.high) == (-20.0, 20.0)


def test_errors_stand_where_the_phones_were(tile: Tile) -> None:
    view = DistrictView.of(tile)
    areas, _ = measured_layers.error_layer(tile, view)
    middle = torch.tensor(areas.points[0][:, :2].mean(0)).float()
    phone = int((view.judged.position[: len(view.errors)] - middle).norm(dim=1).argmin())
    assert f"{float(view.errors[phone]):.1f} m" in areas.texts[0]
    assert areas.texts[0].startswith("Judged phone")


def test_a_layer_that_needs_what_a_tile_lacks_is_not_offered(tile: Tile, tmp_path: Path) -> None:
    assert set(measured_layers.available_layers(tile, True)) == {"level", "residual", "errors"}
    assert set(measured_layers.available_layers(tile, False)) == {"level", "errors"}
    away = (tile.folder / JUDGED_FILE).rename(tmp_path / JUDGED_FILE)
    try:
        assert set(measured_layers.available_layers(tile, False)) == {"level"}
    finally:
        away.rename(tile.folder / JUDGED_FILE)


def test_measured_levels_are_a_layer_of_the_map_page(
    tile: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    import streamlit as st

    from explorer.app.serve import PATH_VARIABLE

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, str(tile.folder))
    monkeypatch.delenv("UEL_DATA", raising=False)
    st.cache_resource.clear()
    page = testing.AppTest.from_string(SCRIPT, default_timeout=300).run()
    assert not page.exception
    assert page.selectbox(key="measured").value == "level"
    legends = " ".join(item.proto.body for item in page.get("html"))
    assert "RSRP" in legends
    page.selectbox(key="measured").set_value("errors").run()
    assert not page.exception
    assert "position error" in " ".join(item.proto.body for item in page.get("html"))
