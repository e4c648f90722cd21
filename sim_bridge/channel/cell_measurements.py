"""Measurements of a phone from the channels of all cells: features of the PHY and SYS layers that need no history."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from sim_bridge.channel import ofdm, phy_abstraction
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.paths.path_set import PathSet
from sim_bridge.scene.cell_antennas import sionna_array
from uel.core.constants import noise_dbm
from uel.core.precision import full_precision
from uel.core.units import from_db, to_db
from uel.radio import mimo, nr_measurements
from uel.radio.config import Carrier
from uel.radio.sites import Array, reference_power_dbm, require_sites

if TYPE_CHECKING:
    from sim_bridge.scene.radio_scene import RadioScene

FeatureValues = dict[str, Tensor]
MIN_SNR = 1e-10  # linear, -100 dB: an antenna that receives nothing has a finite level
SINR_NAME, CSI_NAME = "_sinr", "_csi"  # of every cell and not for the survey: `serving_features` picks the serving one


@dataclass(frozen=True, eq=False)
class InterferenceNetwork:
    """Carrier, antennas, powers and noise, which all receivers have in common."""

    carrier: Carrier
    array: Array
    element: Float[Tensor, "cell element 3"]
    """m, offsets of the antennas"""
    level: Float[Tensor, " cell"]
    """transmit power of a resource element over the noise there; double precision"""
    noise: float
    """dBm on a resource element"""

    @staticmethod
    def from_scene(scene: "RadioScene", noise_figure_db: float, device: torch.device) -> "InterferenceNetwork":
        """The cells of a scene, received with a noise figure, for paths on a device."""
        carrier = require_sites(scene.sites)
        noise = noise_dbm(carrier.subcarrier_spacing, noise_figure_db)
        level = from_db(reference_power_dbm(scene.sites).double() - noise).to(device)
        element = scene.antenna_offsets(scene.endpoints_of(torch.zeros(1, 3, device=device), {}))
        return InterferenceNetwork(carrier, sionna_array(scene.sites), element, level, noise)


@full_precision()
def cell_measurements(network: InterferenceNetwork, paths: PathSet, config: FeatureConfig) -> FeatureValues:
    """Features of all receivers, in chunks that bound the memory."""
    ports = network.element.shape[1] * paths.amplitude.shape[-1]
    width = ofdm.receivers_per_chunk(paths, ports, max(config.frequencies, ofdm.tap_count(network.carrier)))
    parts = [
        _measure_chunk(network, paths.of_receivers(first, min(width, paths.receivers - first)), config)
        for first in range(0, paths.receivers, width)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _measure_chunk(network: InterferenceNetwork, paths: PathSet, config: FeatureConfig) -> FeatureValues:
    carrier, known = network.carrier, paths.known()
    frequency = ofdm.sample_frequencies(carrier, config.frequencies).to(paths.power.device)
    response = ofdm.frequency_response(paths, network.element, carrier, frequency)
    field = response.to(torch.complex128) * network.level.sqrt()[:, None, None, None]
    signal = ofdm.combine_in_phase(field.transpose(-1, -2))
    leaked = ofdm.leakage(paths, carrier)
    # Power that falls out of the window reaches both antennas alike.
    others = mimo.interference_covariance(signal, config.load, 1 + leaked * network.level / 2)
    power, sinr = mimo.squared_magnitude(signal), mimo.lmmse_sinr(signal, others)
    return {
        **_taps(network, paths, known, config.taps),
        "leakage_share": torch.where(known, leaked / paths.gain().clamp(min=1e-30), 0.0),
        "snr_db": decibels(power.mean(-1), known.unsqueeze(-1), MIN_SNR),
        "sinr_db": decibels(nr_measurements.flat_sinr(sinr), known, MIN_SNR),
        **_layers(field, others, known, carrier),
        **_levels(network, power, others, known, config.load),
        "timing_advance": nr_measurements.timing_advance(paths.first_arrival().float(), carrier.subcarrier_spacing),
        SINR_NAME: sinr.float(),
        CSI_NAME: _compressed_csi(network.array, response, config.csi_taps),
    }


def _taps(network: InterferenceNetwork, paths: PathSet, known: Bool[Tensor, "n cell"], count: int) -> FeatureValues:
    """The strongest taps, the strongest first."""
    tap_power = ofdm.tap_power(paths, network.element, network.carrier)
    power, tap = torch.nn.functional.pad(tap_power, (0, max(0, count - tap_power.shape[-1]))).topk(count)
    tap_known = known.unsqueeze(-1) & (power > power[..., :1] * 10 ** (-ofdm.TAP_RANGE_DB / 10))
    return {
        "tap_known": tap_known,
        "tap_gain_db": decibels(power, tap_known),
        "tap_delay": torch.where(tap_known, tap / network.carrier.bandwidth, 0.0),
    }


def _layers(
    field: Complex[Tensor, "n cell antenna port frequency"],
    others: mimo.Hermitian,
    known: Bool[Tensor, "n cell"],
    carrier: Carrier,
) -> FeatureValues:
    """Rank, condition number and channel quality of each cell's channel."""
    gram = mimo.Hermitian.from_field(field)
    rank, layer_sinr = nr_measurements.rank_indicator(mimo.layer_sinr(gram, others), known)
    quality = nr_measurements.cqi(
        decibels(layer_sinr, known, MIN_SNR), phy_abstraction.cqi_threshold_db(carrier).to(layer_sinr.device)
    )
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
    """Levels of TS 38.215. All cells fill the fraction `load` of the resource elements in which RSSI is measured."""
    total = load * power.sum(1) + 1
    disturbance = torch.stack([others.a, others.b], 2)
    return {
        "rsrp_dbm": torch.where(known, decibels(nr_measurements.rsrp(power), known, MIN_SNR) + network.noise, 0.0),
        "rssi_dbm": to_db(nr_measurements.rssi(total, network.carrier.resource_elements)) + network.noise,
        "rsrq_db": decibels(nr_measurements.rsrq(power, total), known, MIN_SNR),
        "ss_sinr_db": decibels(nr_measurements.ss_sinr(power, disturbance), known, MIN_SNR),
    }


def _compressed_csi(
    array: Array, response: Complex[Tensor, "n cell antenna port frequency"], taps: int
) -> Complex[Tensor, "n cell antenna port tap"]:
    """Every cell's channel in angle and delay; the fraction of energy is its squared length."""
    grid = response.unflatten(3, (-1, array.columns, array.rows))
    return nr_measurements.compress_csi(grid, taps)[0].flatten(3, 5)


def decibels(ratio: Tensor, known: Tensor, smallest: float = 1e-30) -> Tensor:
    """In decibels where known, no less than `smallest`; 0 elsewhere."""
    return torch.where(known, to_db(ratio.clamp(min=smallest)), 0.0)
