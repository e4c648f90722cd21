"""What a phone makes of the channels of all cells at once: features of the PHY and SYS layers that need no history."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from sim_bridge.channel import ofdm, phy_abstraction
from sim_bridge.paths.path_set import PathSet
from uel.core.constants import noise_dbm
from uel.core.units import from_db, to_db
from uel.radio import mimo, nr_measurements
from uel.radio.config import Carrier
from uel.radio.sites import Array, cells_of, reference_power_dbm, require_sites

if TYPE_CHECKING:
    from sim_bridge.channel.config import FeatureConfig
    from sim_bridge.simulator import Sionna

FeatureValues = dict[str, Tensor]
LEAST = 1e-10  # linear ratio to the noise, -100 dB: an antenna that hears nothing at all has a finite level
SINR, CSI = "_sinr", "_csi"  # of every cell and not for the survey: what `over_time` takes the serving cell's from


@dataclass(frozen=True, eq=False)
class InterferenceNetwork:
    """What all receivers have in common."""

    carrier: Carrier
    array: Array
    element: Float[Tensor, "cell element 3"]
    """m, offsets of the antennas"""
    level: Float[Tensor, " cell"]
    """transmit power of a resource element over the noise there; double precision"""
    noise: float
    """dBm on a resource element"""

    @staticmethod
    def of(sim: "Sionna", noise_figure_db: float) -> "InterferenceNetwork":
        """The cells of a simulator, heard with a noise figure."""
        carrier = require_sites(sim.sites)
        noise = noise_dbm(carrier.subcarrier_spacing, noise_figure_db)
        level = from_db(reference_power_dbm(sim.sites).double() - noise)
        return InterferenceNetwork(carrier, cells_of(sim.sites)[0][1].array, ofdm.antennas(sim), level, noise)


def signals(network: InterferenceNetwork, paths: PathSet, plan: "FeatureConfig") -> FeatureValues:
    """Features of all receivers, in chunks that bound the memory."""
    ports = network.element.shape[1] * paths.amplitude.shape[-1]
    width = ofdm.chunk(paths, ports, max(plan.frequencies, ofdm.tap_count(network.carrier)))
    parts = [
        _chunk(network, paths.part(first, min(width, paths.receivers - first)), plan)
        for first in range(0, paths.receivers, width)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _chunk(network: InterferenceNetwork, paths: PathSet, plan: "FeatureConfig") -> FeatureValues:
    carrier, known = network.carrier, paths.known()
    frequency = ofdm.frequencies(carrier, plan.frequencies)
    response = ofdm.ofdm(paths, network.element, carrier, frequency)
    field = response.to(torch.complex128) * network.level.sqrt()[:, None, None, None]
    signal = ofdm.in_phase(field.transpose(-1, -2))
    lost = ofdm.leakage(paths, carrier)
    # What falls out of the window meets both antennas alike.
    others = mimo.interference_covariance(signal, plan.load, 1 + lost * network.level / 2)
    power, sinr = mimo.squared_magnitude(signal), mimo.lmmse_sinr(signal, others)
    return {
        **_taps(network, paths, known, plan.taps),
        "leakage_share": torch.where(known, lost / paths.gain().clamp(min=1e-30), 0.0),
        "snr_db": decibels(power.mean(-1), known.unsqueeze(-1), LEAST),
        "sinr_db": decibels(nr_measurements.flat_sinr(sinr), known, LEAST),
        **_layers(field, others, known, carrier),
        **_levels(network, power, others, known, plan.load),
        "timing_advance": nr_measurements.timing_advance(paths.first_arrival(), carrier.subcarrier_spacing),
        SINR: sinr.float(),
        CSI: _csi(network.array, response, plan.csi_taps),
    }


def _taps(network: InterferenceNetwork, paths: PathSet, known: Bool[Tensor, "n cell"], count: int) -> FeatureValues:
    """The strongest taps, the strongest first."""
    every = ofdm.taps(paths, network.element, network.carrier)
    power, tap = torch.nn.functional.pad(every, (0, max(0, count - every.shape[-1]))).topk(count)
    there = known.unsqueeze(-1) & (power > power[..., :1] * 10 ** (-ofdm.TAP_RANGE_DB / 10))
    return {
        "tap_known": there,
        "tap_gain_db": decibels(power, there),
        "tap_delay": torch.where(there, tap / network.carrier.bandwidth, 0.0),
    }


def _layers(
    field: Complex[Tensor, "n cell antenna port frequency"],
    others: mimo.Hermitian,
    known: Bool[Tensor, "n cell"],
    carrier: Carrier,
) -> FeatureValues:
    """How many layers each cell's channel carries, and how well."""
    gram = mimo.Hermitian.from_field(field)
    rank, each = nr_measurements.rank_indicator(mimo.layer_sinr(gram, others), known)
    quality = nr_measurements.cqi(decibels(each, known, LEAST), phy_abstraction.cqi_threshold_db(carrier))
    # A single port has a single singular value.
    several = known & (field.shape[3] > 1)
    return {
        "condition_db": torch.where(several, mimo.condition_number_db(gram).mean(-1), 0.0),
        "rank_indicator": rank,
        "cqi": torch.where(known, quality, 0),
    }


def _levels(
    network: InterferenceNetwork,
    power: Float[Tensor, "n cell antenna frequency"],
    others: mimo.Hermitian,
    known: Bool[Tensor, "n cell"],
    load: float,
) -> FeatureValues:
    """Levels of TS 38.215. All cells fill the share `load` of the resource elements in which RSSI is measured."""
    total = load * power.sum(1) + 1
    disturbance = torch.stack([others.a, others.b], 2)
    return {
        "rsrp_dbm": torch.where(known, decibels(nr_measurements.rsrp(power), known, LEAST) + network.noise, 0.0),
        "rssi_dbm": to_db(nr_measurements.rssi(total, network.carrier.resource_elements)) + network.noise,
        "rsrq_db": decibels(nr_measurements.rsrq(power, total), known, LEAST),
        "ss_sinr_db": decibels(nr_measurements.ss_sinr(power, disturbance), known, LEAST),
    }


def _csi(
    array: Array, response: Complex[Tensor, "n cell antenna port frequency"], taps: int
) -> Complex[Tensor, "n cell antenna port tap"]:
    """Every cell's channel in angle and delay; the share of energy is its squared length."""
    grid = response.unflatten(3, (-1, array.columns, array.rows))
    return nr_measurements.compress_csi(grid, taps)[0].flatten(3, 5)


def decibels(ratio: Tensor, known: Tensor, least: float = 1e-30) -> Tensor:
    """In decibels where known, no less than `least`; 0 elsewhere."""
    return torch.where(known, to_db(ratio.clamp(min=least)), 0.0)
