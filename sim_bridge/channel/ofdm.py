"""The channel of an OFDM receiver, from paths: frequency response, taps, and leakage beyond the cyclic prefix.

Each cell's clock is the phone's: delays count from the first arrival of their own link, where a receiver that is
synchronised to that cell opens its window. Phases of the carrier are those of the whole path.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from sim_bridge.paths.path_set import PathSet
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.precision import full_precision
from uel.radio.config import Carrier
from uel.radio.nr_measurements import cyclic_prefix

TAP_RANGE_DB = 40.0  # below a link's strongest tap: weaker ones drown in the tails of the band limitation
MAX_COMPLEX_NUMBERS = 2**23  # complex numbers that a chunk of receivers may take


def sample_frequencies(carrier: Carrier, count: int) -> Float[Tensor, " frequency"]:
    """Centres in Hz of `count` equal parts of the carrier's subcarriers, from its middle."""
    width = carrier.resource_elements * carrier.subcarrier_spacing
    return (((torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / count - 0.5) * width).float()


def excess_delay(paths: PathSet) -> Float[Tensor, " row"]:
    """Delay in seconds of each path beyond its link's first arrival."""
    return (paths.delay - paths.first_arrival().flatten()[paths.link]).float()


def window_fraction(excess: Float[Tensor, " row"], carrier: Carrier) -> Float[Tensor, " row"]:
    """Fraction c of a symbol's window, 1/Δf long, that a path fills with that symbol; 1 within the cyclic prefix.

    A path late by d > T_cp misses d - T_cp of it: c = 1 - (d - T_cp)·Δf, not below 0. Its amplitude shrinks to c, and
    1 - c² of its power (the neighbouring symbol, and subcarriers no longer orthogonal) is noise. It follows from the
    Fourier transform over the window, with independent symbols of equal power on all subcarriers.
    """
    missed = (excess - cyclic_prefix(carrier.subcarrier_spacing)).clamp(min=0)
    return (1 - missed * carrier.subcarrier_spacing).clamp(min=0)


def leakage(paths: PathSet, carrier: Carrier) -> Float[Tensor, "receiver cell"]:
    """Linear path gain that becomes interference between symbols and subcarriers; see `window_fraction`."""
    return paths.sum_of_links(paths.power * (1 - window_fraction(excess_delay(paths), carrier).square()))


def path_coefficients(
    paths: PathSet, element: Float[Tensor, "cell element 3"], carrier: Carrier, time: float = 0.0
) -> Complex[Tensor, "row antenna port"]:
    """Complex gain of each path at the carrier's centre, `time` seconds on: way, array and Doppler put in.

    Ports are the cell's antennas pattern by pattern, as Sionna numbers them; each is driven with the whole power.
    """
    wavelength = SPEED_OF_LIGHT / carrier.frequency
    # Thousands of cycles: their fractions need double precision.
    cycles = paths.doppler.double() * time - paths.delay.double() * carrier.frequency
    array = (element[paths.source] * paths.departure.unsqueeze(1)).sum(-1) / wavelength
    phase = 2 * math.pi * ((cycles % 1).float().unsqueeze(-1) + array)
    return (paths.amplitude.unsqueeze(-1) * _phasor(phase)[:, None, None]).flatten(2)


@full_precision()
def frequency_response(
    paths: PathSet,
    element: Float[Tensor, "cell element 3"],
    carrier: Carrier,
    frequency: Float[Tensor, " frequency"],
    time: float = 0.0,
) -> Complex[Tensor, "receiver cell antenna port frequency"]:
    """H at frequencies in Hz from the carrier's centre, `time` seconds on; zero where there is no path.

    Differentiable. What falls out of the symbol's window is left out, see `window_fraction` and `leakage`.
    """
    excess, phase_per_second = (
        excess_delay(paths),
        -2 * math.pi * frequency,
    )  # multiplied in Sionna's order, to round as it does
    gain = path_coefficients(paths, element, carrier, time) * window_fraction(excess, carrier)[:, None, None]

    def response(row: Int[Tensor, "link path"]) -> Complex[Tensor, "link element frequency"]:
        phasor = _phasor(phase_per_second * paths.values_at(excess, row).unsqueeze(-1))
        return paths.values_at(gain.flatten(1), row).mT @ phasor

    empty = gain.new_zeros(paths.receivers * paths.cells, gain.shape[1] * gain.shape[2], len(frequency))
    return _by_path_count(paths, response, empty).unflatten(2, gain.shape[1:])


@full_precision()
def tap_power(
    paths: PathSet, element: Float[Tensor, "cell element 3"], carrier: Carrier
) -> Float[Tensor, "receiver cell tap"]:
    """Power of the channel's taps at the carrier's bandwidth, as far as the cyclic prefix reaches: linear path gain.

    Tap l lies l / bandwidth after the first arrival and takes sinc(l - W·τ) of every path; summed over the phone's
    antennas, with the cell's antennas in phase.
    """
    field = torch.view_as_real(combine_in_phase(path_coefficients(paths, element, carrier))).flatten(1)
    position, number = (
        excess_delay(paths) * carrier.bandwidth,
        torch.arange(tap_count(carrier), device=paths.power.device),
    )

    def power(row: Int[Tensor, "link path"]) -> Float[Tensor, "link tap"]:
        pulse = torch.sinc(number - paths.values_at(position, row).unsqueeze(-1))
        return (paths.values_at(field, row).mT @ pulse).square().sum(-2)

    return _by_path_count(paths, power, field.new_zeros(paths.receivers * paths.cells, len(number)))


def _by_path_count(paths: PathSet, of_rows: Callable[[Tensor], Tensor], out: Tensor) -> Tensor:
    """`of_rows` of each link's rows, `receiver cell …`, for links with 1 path, 2, up to 4, up to 8, … by turns.

    Links of one scene have between one and a hundred paths: padded to the most, nearly all of the work would be on
    padding. Links without a path stay as `out` has them.
    """
    count, width = paths.count().flatten(), 1
    row = paths.strongest_rows(max(1, int(count.max()))).flatten(0, 1)
    while width // 2 < row.shape[1]:
        links = ((count > width // 2) & (count <= width)).nonzero()[:, 0]
        if len(links):
            out = out.index_put((links,), of_rows(row[links, :width]))
        width *= 2
    return out.unflatten(0, (paths.receivers, paths.cells))


def tap_count(carrier: Carrier) -> int:
    """Taps from the first arrival to the end of the cyclic prefix."""
    return math.ceil(cyclic_prefix(carrier.subcarrier_spacing) * carrier.bandwidth) + 1


def combine_in_phase(response: Complex[Tensor, "*n port"]) -> Complex[Tensor, "*n"]:
    """Field with all of a cell's antennas in phase, sharing the power of one, as in `PathSet.power`."""
    return response.sum(-1) / response.shape[-1] ** 0.5


def receivers_per_chunk(paths: PathSet, ports: int, count: int) -> int:
    """Receivers whose channels at `count` frequencies or taps fit into memory at once."""
    rows = 2 * len(paths.power) // paths.receivers  # padded to powers of two
    return max(1, MAX_COMPLEX_NUMBERS // (rows * (count + 2 * ports) + paths.cells * 2 * ports * count))


def _phasor(phase: Float[Tensor, "*n"]) -> Complex[Tensor, "*n"]:
    return torch.complex(phase.cos(), phase.sin())
