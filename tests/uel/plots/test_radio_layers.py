"""Layers of a radio map: what is offered, where values are known, and where colours end."""

import math
from dataclasses import replace

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


def test_the_error_of_rays_is_not_capped_at_3_db():
    """One batch of rays says nothing about its own error: 10·log10(1 + 1) = 3 dB looked like one."""
    radio = radio_map(masts(*CORNERS[:1]))
    relative = torch.full_like(radio.gain, 0.1)
    relative[0, 0, :3] = torch.tensor([0.9, 0.99, 1.0])
    error = radio_layers.monte_carlo_error_db(replace(radio, relative_error=relative))
    below, above = -10 * math.log10(1 - 0.9), 10 * math.log10(1 + 0.9)
    assert float(error[0, 0, 0]) == pytest.approx(0.5 * (below + above), rel=1e-4)
    assert float(error[0, 0, 1]) > 10
    assert math.isinf(float(error[0, 0, 2]))
    assert float(error[0, 5, 5]) == pytest.approx(0.436, abs=1e-3)
    values, known = radio_layers.layer_values("error", replace(radio, relative_error=relative), {}, 0)
    legend = ground_image.legend_for("error", "dB", "magma", values[known])
    assert math.isfinite(legend.high)


def test_covered_is_where_a_phone_reports_a_cell():
    radio = radio_map(masts(*CORNERS[:1]))
    assert radio_layers.is_covered(radio).all()
    weak = replace(radio, gain=radio.gain * 1e-9)
    level = weak.rsrp_dbm[0]
    np.testing.assert_array_equal(radio_layers.is_covered(weak), level >= -120.0)  # the sensitivity of a phone
    assert not radio_layers.is_covered(weak).all()
    assert weak.known.all()
