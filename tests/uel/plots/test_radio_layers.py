"""Layers of a radio map: what is offered, where values are known, and where colours end."""

import numpy as np
import pytest
import torch

from explorer.map_view import ground_image
from tests.helpers.free_space import CORNERS, masts, radio_map, rough_map
from uel.plots import radio_layers


def test_the_strongest_cell_is_shown_where_none_is_chosen():
    radio = rough_map()
    level, known = radio_layers.layer_values("rsrp", radio, {}, None)
    every = radio.rsrp_dbm
    reached = radio.known.any(0)
    np.testing.assert_array_equal(known, reached.numpy())
    best = torch.where(radio.known, every, -torch.inf).amax(0)
    np.testing.assert_allclose(level[known], best[reached].numpy())


def test_colours_end_where_a_phone_hears_nothing():
    """-174 dBm behind a city block is no level of a phone, and would take the colours of those that are."""
    radio = radio_map(masts(*CORNERS[:2]))
    layer = radio_layers.RADIO_LAYERS["rsrp"]
    least = layer.least(radio)
    assert least == pytest.approx(-128.2, abs=0.1)  # k·T·30 kHz, 7 dB noise figure, -6 dB SNR
    legend = ground_image.legend_for("RSRP", "dBm", "viridis", np.linspace(-174.0, -60.0, 1000), least)
    assert (legend.low, legend.high) == (least, pytest.approx(-61.1, abs=0.1))
    silent = ground_image.legend_for("RSRP", "dBm", "viridis", np.full(9, -174.0), least)
    assert silent.low == least < silent.high


def test_layers_that_a_map_does_not_hold_are_not_offered():
    radio = radio_map(masts(*CORNERS[:2]))
    assert "throughput" not in radio_layers.available_layers(radio, {})
    assert "throughput" in radio_layers.available_layers(radio, {"throughput": torch.ones_like(radio.gain)})
    excess, known = radio_layers.layer_values("excess", radio, {}, 0)
    assert np.abs(excess[known]).max() < 0.1  # m: in free space nothing comes later than the direct line
