"""Phases, and autocast: what a training in bfloat16 must not change."""

import math

import pytest
import torch
from torch import Tensor

from sim_bridge.channel.ofdm import frequency_response, path_coefficients, tap_power
from tests.helpers.ray_traced_scenes import STREET_POSITIONS, bundled, distance, image, mirror, sector, street_canyon
from uel.core.constants import SPEED_OF_LIGHT
from uel.geo.similarity_transform import SimilarityTransform
from uel.radio.config import Carrier
from uel.radio.sites import Array

MILLIMETRE_WAVES = 28e9  # Hz
SLAB = {"relative_permittivity": 5.0, "conductivity": 0.0, "thickness": 0.5}


def test_the_phase_between_two_rays_at_28_ghz_is_that_of_their_lengths() -> None:
    """Over a mirror, Δφ = 2π f (d₂ - d₁) / c, to a tenth of a degree; with delays in float32 it was 2.9° off."""
    antenna, position = (0.0, 0.0, 12.0), torch.tensor([[60.0, 25.5, 1.5], [-83.25, 10.0, 2.0], [31.0, -90.0, 7.75]])
    sim = mirror(sector(antenna, Array(), MILLIMETRE_WAVES), SLAB)
    paths = sim.trace(position)
    delay = torch.stack([paths.delay[paths.bounces == bounces] for bounces in (0, 1)], -1)
    length = torch.stack([distance(position, origin) for origin in (antenna, image(antenna))], -1)
    cycles = (delay - length / SPEED_OF_LIGHT).diff(dim=-1) * MILLIMETRE_WAVES
    assert float(cycles.abs().max()) * 360 < 0.1


def test_delays_have_the_gradient_of_their_lengths() -> None:
    antenna, position = (0.0, 0.0, 12.0), torch.tensor([[60.0, 25.5, 1.5]], requires_grad=True)
    paths = mirror(sector(antenna, Array()), SLAB).trace(position)
    for bounces, origin in ((0, antenna), (1, image(antenna))):
        delay = paths.delay[paths.bounces == bounces].sum()
        (gradient,) = torch.autograd.grad(delay, position, retain_graph=True)
        towards = torch.tensor(origin)
        exact = (position.detach() - towards) / (position.detach() - towards).norm() / SPEED_OF_LIGHT
        torch.testing.assert_close(gradient, exact, rtol=1e-5, atol=0)


def in_bfloat16(function, *args) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return function(*args)


@pytest.mark.parametrize("array", [Array(rows=8, columns=8), Array(rows=8, columns=8, electrical_tilt_deg=4.0)])
def test_autocast_changes_no_gain(array: Array) -> None:
    """Gains of arrays of 8 × 8 shifted by 0.58 dB."""
    sim = bundled("simple_street_canyon", sector((-30.0, 2.0, 12.0), array, azimuth_deg=80.0), samples=3000)
    for function in (sim.path_gain, lambda p: sim.trace(p, cell_height=torch.tensor([12.5])).gain()):
        torch.testing.assert_close(
            in_bfloat16(function, STREET_POSITIONS), function(STREET_POSITIONS), rtol=1e-6, atol=0
        )


def test_autocast_changes_no_channel_and_no_transform() -> None:
    sim, carrier = street_canyon(), Carrier(frequency=3.5e9)
    paths, scene = sim.trace(STREET_POSITIONS), sim.radio_scene

    def element() -> Tensor:
        return scene.antenna_offsets(scene.endpoints_of(STREET_POSITIONS, {}))

    for function in (
        lambda: path_coefficients(paths, element(), carrier),
        lambda: frequency_response(paths, element(), carrier, torch.tensor([0.0, 1e6])),
        lambda: tap_power(paths, element(), carrier),
        lambda: SimilarityTransform(angle_deg=30.0).inverse_position(STREET_POSITIONS),
    ):
        value = in_bfloat16(function)
        assert value.dtype in (torch.float32, torch.complex64)
        torch.testing.assert_close(value, function(), rtol=0, atol=0)
    assert math.isfinite(float(paths.delay.max()))
