"""From paths to what an OFDM receiver sees: frequency response, taps, and what falls outside the cyclic prefix.

Each cell's clock is the phone's: delays count from the first arrival of their own link, where a receiver that is
synchronised to that cell opens its window. Phases of the carrier are those of the whole way.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from sim_bridge.paths.path_set import PathSet
from uel.core.units import SPEED_OF_LIGHT
from uel.radio.nr_measurements import cyclic_prefix
from uel.radio.sites import Carrier

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

TAP_RANGE_DB = 40.0  # of a link's taps below its strongest: what is weaker drowns in the tails of the band limitation
BUDGET = 2**23  # complex numbers that a chunk of receivers may take


def antennas(sim: "Sionna") -> Float[Tensor, "cell element 3"]:
    """Offsets in metres of every cell's antennas from its position."""
    from sim_bridge.paths import solver

    return solver.elements(sim.scene, sim.ends(torch.zeros(1, 3), {}), sim.wavelength)


def frequencies(carrier: Carrier, count: int) -> Float[Tensor, " frequency"]:
    """Centres in Hz of `count` equal parts of the carrier's subcarriers, from its middle."""
    width = carrier.resource_elements * carrier.subcarrier_spacing
    return (((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) * width).float()


def late(paths: PathSet) -> Float[Tensor, " row"]:
    """Delay in seconds of each path beyond its link's first arrival."""
    return paths.delay - paths.first_arrival().flatten()[paths.link]


def in_window(excess: Float[Tensor, " row"], carrier: Carrier) -> Float[Tensor, " row"]:
    """Share c of a symbol's window, 1/Δf long, that a path fills with that symbol; 1 within the cyclic prefix.

    A path late by d > T_cp misses d - T_cp of it: c = 1 - (d - T_cp)·Δf, not below 0. Its amplitude shrinks to c, and
    1 - c² of its power (the neighbouring symbol, and subcarriers no longer orthogonal) is noise. It follows from the
    Fourier transform over the window, with independent symbols of equal power on all subcarriers.
    """
    missed = (excess - cyclic_prefix(carrier.subcarrier_spacing)).clamp(min=0)
    return (1 - missed * carrier.subcarrier_spacing).clamp(min=0)


def leakage(paths: PathSet, carrier: Carrier) -> Float[Tensor, "receiver cell"]:
    """Linear path gain that becomes interference between symbols and subcarriers; see `in_window`."""
    return paths.total(paths.power * (1 - in_window(late(paths), carrier).square()))


def coefficients(
    paths: PathSet, element: Float[Tensor, "cell element 3"], carrier: Carrier, time: float = 0.0
) -> Complex[Tensor, "row antenna port"]:
    """Complex gain of each path at the carrier's centre, `time` seconds on: way, array and Doppler put in.

    Ports are the cell's antennas pattern by pattern, as Sionna numbers them; each is driven with the whole power.
    """
    wavelength = SPEED_OF_LIGHT / carrier.frequency
    # Thousands of cycles: their fractions need double precision.
    turns = paths.doppler.double() * time - paths.delay.double() * carrier.frequency
    array = (element[paths.source] * paths.departure.unsqueeze(1)).sum(-1) / wavelength
    phase = 2 * math.pi * ((turns % 1).float().unsqueeze(-1) + array)
    return (paths.amplitude.unsqueeze(-1) * _turned(phase)[:, None, None]).flatten(2)


def ofdm(
    paths: PathSet,
    element: Float[Tensor, "cell element 3"],
    carrier: Carrier,
    frequency: Float[Tensor, " frequency"],
    time: float = 0.0,
) -> Complex[Tensor, "receiver cell antenna port frequency"]:
    """H at frequencies in Hz from the carrier's centre, `time` seconds on; zero where there is no path.

    Differentiable. What falls out of the symbol's window is left out, see `in_window` and `leakage`.
    """
    excess, turning = late(paths), -2 * math.pi * frequency  # multiplied in Sionna's order, to round as it does
    gain = coefficients(paths, element, carrier, time) * in_window(excess, carrier)[:, None, None]

    def response(row: Int[Tensor, "link path"]) -> Complex[Tensor, "link element frequency"]:
        way = _turned(turning * paths.at(excess, row).unsqueeze(-1))
        return paths.at(gain.flatten(1), row).mT @ way

    empty = gain.new_zeros(paths.receivers * paths.cells, gain.shape[1] * gain.shape[2], len(frequency))
    return _by_width(paths, response, empty).unflatten(2, gain.shape[1:])


def taps(
    paths: PathSet, element: Float[Tensor, "cell element 3"], carrier: Carrier
) -> Float[Tensor, "receiver cell tap"]:
    """Power of the channel's taps at the carrier's bandwidth, as far as the cyclic prefix reaches: linear path gain.

    Tap l lies l / bandwidth after the first arrival and takes sinc(l - W·τ) of every path; summed over the phone's
    antennas, with the cell's antennas in phase.
    """
    field = torch.view_as_real(in_phase(coefficients(paths, element, carrier))).flatten(1)
    place, number = late(paths) * carrier.bandwidth, torch.arange(tap_count(carrier))

    def power(row: Int[Tensor, "link path"]) -> Float[Tensor, "link tap"]:
        pulse = torch.sinc(number - paths.at(place, row).unsqueeze(-1))
        return (paths.at(field, row).mT @ pulse).square().sum(-2)

    return _by_width(paths, power, field.new_zeros(paths.receivers * paths.cells, len(number)))


def _by_width(paths: PathSet, ask: Callable[[Tensor], Tensor], out: Tensor) -> Tensor:
    """`ask` of each link's rows, `receiver cell …`, for links with 1 path, 2, up to 4, up to 8, … by turns.

    Links of one scene have between one and a hundred paths: padded to the most, nearly all of the work would be on
    padding. Links without a path stay as `out` has them.
    """
    count, width = paths.count().flatten(), 1
    row = paths.ranked(max(1, int(count.max()))).flatten(0, 1)
    while width // 2 < row.shape[1]:
        mine = ((count > width // 2) & (count <= width)).nonzero()[:, 0]
        if len(mine):
            out = out.index_put((mine,), ask(row[mine, :width]))
        width *= 2
    return out.unflatten(0, (paths.receivers, paths.cells))


def tap_count(carrier: Carrier) -> int:
    """Taps from the first arrival to the end of the cyclic prefix."""
    return math.ceil(cyclic_prefix(carrier.subcarrier_spacing) * carrier.bandwidth) + 1


def in_phase(response: Complex[Tensor, "*n port"]) -> Complex[Tensor, "*n"]:
    """With all of a cell's antennas in phase, sharing the power of one: what `PathSet.power` is of."""
    return response.sum(-1) / response.shape[-1] ** 0.5


def chunk(paths: PathSet, ports: int, count: int) -> int:
    """Receivers whose channels at `count` frequencies or taps fit into memory at once."""
    rows = 2 * len(paths.power) // paths.receivers  # padded to powers of two
    return max(1, BUDGET // (rows * (count + 2 * ports) + paths.cells * 2 * ports * count))


def _turned(phase: Float[Tensor, "*n"]) -> Complex[Tensor, "*n"]:
    return torch.complex(phase.cos(), phase.sin())
