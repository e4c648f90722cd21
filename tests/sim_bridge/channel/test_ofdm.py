"""The OFDM channel: against two rays by hand, Sionna's PHY and ray tracer, and symbols sent through it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sim_bridge.channel import ofdm
from sim_bridge.paths.path_set import PathSet
from tests.helpers.ray_traced_scenes import (
    FREQUENCY,
    bundled,
    central_difference,
    empty,
    gradient,
    mast,
    mirror,
    sector,
)
from uel.radio.config import Carrier
from uel.radio.nr_measurements import cyclic_prefix
from uel.radio.sites import Array

import mitsuba as mi  # isort: skip  (after tests.helpers.ray_traced_scenes, which finds a usable LLVM)
import sionna.rt as rt  # isort: skip

CARRIER = Carrier(frequency=FREQUENCY)
ONE = torch.zeros(1, 1, 3)  # a single antenna at the cell's position


def rays(delay: list[float], amplitude: list[complex], doppler: list[float] | None = None) -> PathSet:
    """One link of one cell and a phone with a single antenna."""
    count = len(delay)
    field = torch.tensor(amplitude, dtype=torch.complex64)[:, None, None]
    axis = torch.tensor([1.0, 0, 0]).expand(count, 3)
    index = torch.zeros(count, dtype=torch.long)
    power = field.abs().square()[:, 0, 0]
    shift, late = torch.tensor(doppler or [0.0] * count), torch.tensor(delay, dtype=torch.float64)
    kinds = index[:, None].expand(-1, 4)
    return PathSet(1, 1, index, index, power, late, axis, -axis, shift, kinds, field)


def many(seed: int = 0, receivers: int = 3, cells: int = 2, rows: int = 40) -> PathSet:
    """Random paths, between 0 and many a link, of phones with two and cells with two antenna patterns."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=g)

    target, source = (draw(rows) * receivers).long().clamp(max=receivers - 2), (draw(rows) * cells).long()
    field = torch.complex(draw(rows, 2, 2) - 0.5, draw(rows, 2, 2) - 0.5)
    way = torch.nn.functional.normalize(draw(rows, 3) - 0.5, dim=-1)
    power, kinds = field.abs().square().sum((1, 2)), (draw(rows, 4) * 2).long()
    return PathSet(
        receivers, cells, target, source, power, draw(rows).double() * 1e-6, way, -way, draw(rows) * 100, kinds, field
    )


def test_two_rays_by_hand() -> None:
    """|a + b·exp(-2πi(f_c + f)Δτ)|² = a² + b² + 2ab·cos(2π(f_c + f)Δτ)."""
    paths, frequency = rays([1e-7, 2.5e-7], [0.5, 0.3]), torch.tensor([-4e7, 0.0, 1.3e7])
    found = ofdm.frequency_response(paths, ONE, CARRIER, frequency).abs().square().flatten()
    late = paths.delay.double().diff()
    want = 0.34 + 0.3 * torch.cos(2 * math.pi * (FREQUENCY + frequency.double()) * late)
    torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=0)


def test_delays_count_from_the_first_arrival_and_phases_from_the_antenna() -> None:
    found = ofdm.frequency_response(rays([1e-7], [1.0]), ONE, CARRIER, torch.tensor([0.0, 1e7]))[0, 0, 0, 0]
    turns = 1e-7 * FREQUENCY
    want = complex(math.cos(2 * math.pi * turns), -math.sin(2 * math.pi * turns))
    assert found.tolist() == pytest.approx([want, want], abs=1e-5)


def test_it_is_sionnas_cir_to_ofdm_channel() -> None:
    from sionna.phy.channel import cir_to_ofdm_channel

    paths, frequency = many(), ofdm.sample_frequencies(CARRIER, 16)
    element = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(1)) * 0.1
    gain = ofdm.path_coefficients(paths, element, CARRIER)
    found = ofdm.frequency_response(paths, element, CARRIER, frequency)
    excess = ofdm.excess_delay(paths)
    for receiver in range(paths.receivers):
        for cell in range(paths.cells):
            mine = (paths.target == receiver) & (paths.source == cell)
            a = gain[mine].permute(1, 2, 0)[None, None, :, None, :, :, None]
            theirs = cir_to_ofdm_channel(frequency, a, excess[mine][None, None, None])[0, 0, :, 0, :, 0]
            torch.testing.assert_close(found[receiver, cell], theirs, rtol=1e-4, atol=1e-5)
    assert bool((found[-1] == 0).all())


def test_taps_are_sionnas_cir_to_time_channel() -> None:
    from sionna.phy.channel import cir_to_time_channel

    paths = rays([1e-7, 1.63e-7, 4.2e-7], [0.5, 0.3j, -0.2])
    found = ofdm.tap_power(paths, ONE, CARRIER)[0, 0]
    a = ofdm.path_coefficients(paths, ONE, CARRIER)[:, 0, 0][None, None, None, None, None, :, None]
    excess = ofdm.excess_delay(paths)[None, None, None]
    theirs = cir_to_time_channel(CARRIER.bandwidth, a, excess, 0, len(found) - 1)
    torch.testing.assert_close(found, theirs.abs().square().flatten(), rtol=1e-4, atol=1e-8)
    assert len(found) == math.ceil(2.34375e-6 * 1e8) + 1


def test_it_is_what_sionnas_ray_tracer_says_of_an_array() -> None:
    """Phases, ports and polarisations of four dual-polarised antennas in a street, as stock Sionna has them."""
    array = Array(rows=2, columns=2, pattern="tr38901", polarization="VH")
    sites = sector((-30.0, 2.0, 12.0), array, azimuth_deg=80.0, tilt_deg=5.0)
    sim = bundled("simple_street_canyon", sites, samples=3000, max_depth=1)
    points = torch.tensor([[25.0, -3.0, 1.5], [10.0, 4.0, 1.5]])
    frequency = ofdm.sample_frequencies(CARRIER, 8)
    found = ofdm.frequency_response(
        sim.trace(points),
        sim.radio_scene.antenna_offsets(sim.radio_scene.endpoints_of(torch.zeros(1, 3), {})),
        CARRIER,
        frequency,
    )
    for index, position in enumerate(points.tolist()):
        sim.scene.add(rt.Receiver(f"rx-{index}", position=mi.Point3f(*position)))
    stock = rt.PathSolver(deterministic=True)(sim.scene, max_depth=1, samples_per_src=3000, diffraction=False, seed=1)
    theirs = stock.cfr(frequency.tolist(), normalize_delays=True, normalize=False, out_type="torch")[:, :, 0, :, 0]
    # Stock Sionna takes the first arrival out of the carrier's phase too.
    turns = (sim.trace(points).first_arrival().double() * FREQUENCY % 1)[:, 0, None, None, None]
    theirs = theirs * torch.exp(-2j * math.pi * turns)
    assert found.shape == (2, 1, 2, 8, 8)
    torch.testing.assert_close(found[:, 0].to(theirs.dtype), theirs, rtol=0, atol=2e-3 * float(theirs.abs().max()))


def test_antennas_in_phase_radiate_what_gains_are_of() -> None:
    """A single path's |H|², both antennas of the phone, is its incoherent gain."""
    sites = sector((3.0, -2.0, 20.0), Array(rows=4, columns=2, polarization="V"), azimuth_deg=40.0)
    sim = empty(sites)
    found = sim.trace(torch.tensor([[43.0, 8.0, 1.5]]))
    response = ofdm.frequency_response(
        found,
        sim.radio_scene.antenna_offsets(sim.radio_scene.endpoints_of(torch.zeros(1, 3), {})),
        CARRIER,
        torch.tensor([0.0]),
    )
    power = ofdm.combine_in_phase(response.transpose(-1, -2)).abs().square().sum(2)[..., 0]
    torch.testing.assert_close(power, found.gain(), rtol=1e-5, atol=0)


def test_doppler_turns_the_channel() -> None:
    paths = rays([1e-7], [1.0], doppler=[50.0])
    now, later = (ofdm.frequency_response(paths, ONE, CARRIER, torch.zeros(1), time) for time in (0.0, 0.005))
    torch.testing.assert_close(later / now, torch.tensor(1j).expand_as(now) ** 1, rtol=0, atol=1e-5)


def test_gradients_follow_the_fading() -> None:
    """A quarter of a wavelength changes everything; the derivative of |H|² at a phone over a mirror knows that."""
    slab = {"relative_permittivity": 5.0, "conductivity": 0.1, "thickness": 0.3}
    sim = mirror(mast((0.0, 0.0, 10.0)), slab)

    def power(position: Tensor) -> Tensor:
        paths = sim.trace(position)
        return (
            ofdm.frequency_response(
                paths,
                sim.radio_scene.antenna_offsets(sim.radio_scene.endpoints_of(torch.zeros(1, 3), {})),
                CARRIER,
                torch.zeros(1),
            )
            .abs()
            .square()
            .sum((1, 2, 3, 4))
            * 1e6
        )

    position = torch.tensor([[20.0, 3.0, 5.0], [-11.0, 8.0, 3.0]])
    want = central_difference(power, position, 2e-3)
    torch.testing.assert_close(gradient(power, position), want, rtol=0.03, atol=0.03 * float(want.abs().max()))


# ---- the cyclic prefix ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "share"), [(0.0, 1.0), (2.3e-6, 1.0), (2.34375e-6 + 1 / 120e3, 0.75), (1e-4, 0.0)])
def test_window_by_hand(late: float, share: float) -> None:
    """A quarter of the 33 µs symbol beyond the 2.34 µs prefix leaves three quarters."""
    assert float(ofdm.window_fraction(torch.tensor([late]), CARRIER)) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("spacing", [15e3, 30e3, 60e3, 120e3])
def test_what_falls_outside_shrinks_with_the_prefix(spacing: float) -> None:
    carrier = replace(CARRIER, subcarrier_spacing=spacing, bandwidth=50e6)
    beyond = cyclic_prefix(spacing) + 0.5 / spacing
    lost = ofdm.leakage(rays([1e-7, 1e-7 + beyond], [1.0, 0.5]), carrier)
    assert float(lost) == pytest.approx(0.25 * 0.75, rel=1e-4)
    assert float(ofdm.leakage(rays([1e-7, 1e-7 + 0.9 * cyclic_prefix(spacing)], [1.0, 0.5]), carrier)) == 0.0


def test_symbols_sent_through_a_late_path_lose_what_the_formula_says() -> None:
    """Random QPSK of 64 subcarriers, 16 samples of prefix, an echo 40 samples late: signal and interference."""
    size, prefix, late, count = 64, 16, 40, 4000
    generator = torch.Generator().manual_seed(0)

    def sign():
        return torch.randint(2, (count, size), generator=generator) * 2.0 - 1

    sent = torch.complex(sign(), sign()) / math.sqrt(2)
    wave = torch.fft.ifft(sent, norm="ortho")
    stream = torch.cat([wave[:, -prefix:], wave], 1).flatten()
    echo = torch.nn.functional.pad(stream, (late, 0))[: len(stream)].view(count, -1)[:, prefix:]
    heard = torch.fft.fft(echo, norm="ortho")[1:]
    kept = (heard * sent[1:].conj()).mean(0)
    noise = (heard - kept * sent[1:]).abs().square().mean()
    spacing = 1 / (64 * CARRIER.subcarrier_spacing)  # of samples, so that the symbol is one of the carrier
    # The toy's prefix is longer than the standard's: as far beyond the one as beyond the other.
    excess = cyclic_prefix(CARRIER.subcarrier_spacing) + (late - prefix) * spacing
    share = ofdm.window_fraction(torch.tensor([excess]), CARRIER)
    assert float(kept.abs().mean()) == pytest.approx(float(share), abs=0.01)
    assert float(noise) == pytest.approx(1 - float(share) ** 2, abs=0.01)


def test_no_path_is_no_channel() -> None:
    paths = rays([1e-7], [1.0]).of_receivers(1, 2)
    assert (paths.receivers, len(paths.power)) == (2, 0)
    assert ofdm.frequency_response(paths, ONE, CARRIER, torch.zeros(4)).abs().sum() == 0
    assert ofdm.tap_power(paths, ONE, CARRIER).sum() == ofdm.leakage(paths, CARRIER).sum() == 0
