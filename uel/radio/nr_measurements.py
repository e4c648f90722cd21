"""5G NR measurements by 3GPP's definitions: RSRP, RSSI, RSRQ, SINR, timing advance, CQI, rank, CSI.

Levels are received powers in milliwatts per resource element; `cell` axes come before `antenna frequency`.
"""

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from uel.core.constants import NR_TIME_UNIT, SPEED_OF_LIGHT, timing_advance_step
from uel.errors import UelError

SUBCARRIERS_PER_BLOCK = 12  # subcarriers of a resource block (TS 38.211, clause 4.4.4.1)
MAX_TIMING_ADVANCE = 3846  # greatest timing advance command of a random access response (TS 38.213, clause 4.2)

# Bits of a symbol and 1024 × code rate of CQI 1 to 15 (TS 38.214, table 5.2.2.1-2).
CQI_MODULATION = (2, 2, 2, 2, 2, 2, 4, 4, 4, 6, 6, 6, 6, 6, 6)
CQI_RATE = (78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948)
CQI_EFFICIENCY = tuple(bits * rate / 1024 for bits, rate in zip(CQI_MODULATION, CQI_RATE, strict=True))


def cyclic_prefix(subcarrier_spacing: float, extended: bool = False) -> float:
    """Length in seconds of a cyclic prefix, 144·κ·Tc/2^µ, or 512·κ·Tc/2^µ if extended (TS 38.211, clause 5.3.1).

    4.69 µs at 15 kHz. The two symbols in a millisecond whose normal prefix is 16·κ·Tc longer are not modelled.
    Raises `UelError` for an extended prefix at another spacing than 60 kHz (TS 38.211, table 4.2-1).
    """
    if extended and subcarrier_spacing != 60e3:
        raise UelError(
            "an extended cyclic prefix exists at 60 kHz only",
            got=f"{subcarrier_spacing:g} Hz",
            do="use extended=False, or 60e3 Hz",
        )
    return (512 if extended else 144) * 64 * NR_TIME_UNIT * 15e3 / subcarrier_spacing


def rsrp(power: Float[Tensor, "*n antenna frequency"]) -> Float[Tensor, "*n"]:
    """Mean power of a cell's resource elements in mW, summed over the antennas (TS 38.215, clause 5.1.1).

    The clause requires at least the power of either antenna alone.
    """
    return power.mean(-1).sum(-1)


def rssi(power: Float[Tensor, "*n antenna frequency"], resource_elements: int) -> Float[Tensor, "*n"]:
    """Power in mW of everything received over a carrier (TS 38.215, clause 5.1.3, of which NR carrier RSSI is a part).

    `power` is the power of one resource element of all cells and noise together.
    """
    return resource_elements * power.mean(-1).sum(-1)


def rsrq(
    power: Float[Tensor, "*n cell antenna frequency"], total: Float[Tensor, "*n antenna frequency"]
) -> Float[Tensor, "*n cell"]:
    """N·RSRP/RSSI over N resource blocks of 12 subcarriers at the better antenna, linear (TS 38.215, clause 5.1.3).

    -10.8 dB for a single cell that uses all of its resource elements.
    """
    return (power.mean(-1) / (SUBCARRIERS_PER_BLOCK * total.mean(-1).unsqueeze(-2))).amax(-1)


def ss_sinr(
    power: Float[Tensor, "*n cell antenna frequency"], others: Float[Tensor, "*n cell antenna frequency"]
) -> Float[Tensor, "*n cell"]:
    """Mean power of a cell over mean power of noise and interference at the better antenna (TS 38.215, clause
    5.1.5)."""
    return (power.mean(-1) / others.mean(-1)).amax(-1)


def timing_advance(delay: Float[Tensor, "*n"], subcarrier_spacing: float) -> Int[Tensor, "*n"]:
    """Whole steps of 16·64·Tc/2^µ in the round trip of a delay in seconds (TS 38.213, clause 4.2; TS 38.211, 4.3.1)."""
    steps = delay.double() * SPEED_OF_LIGHT / timing_advance_step(subcarrier_spacing)
    return steps.floor().clamp(0, MAX_TIMING_ADVANCE).long()


def cqi(sinr_db: Float[Tensor, "*n"], threshold_db: Float[Tensor, "15"]) -> Int[Tensor, "*n"]:
    """Greatest CQI with a block error rate of at most 10 %; 0 is out of range (TS 38.214, clause 5.2.2.1).

    `threshold_db` is the effective SINR at which each CQI reaches 10 %, in ascending order.
    """
    return torch.searchsorted(threshold_db.to(sinr_db.dtype), sinr_db.contiguous(), right=True)


def rank_indicator(
    layer: Float[Tensor, "*n frequency 2"], known: Bool[Tensor, "*n"]
) -> tuple[Int[Tensor, "*n"], Float[Tensor, "*n"]]:
    """The rank, 1 or 2, with the greater rate, and the SINR of one of its layers; 0 and 0 where not `known`.

    `layer` holds the SINRs of the channel's two best directions, each with full power; two layers share the power.
    TS 38.214, clause 5.2.2, leaves the choice of rank to the phone. The rate is log2(1 + SINR), summed over layers and
    averaged over frequency; the SINR is that of a flat channel with the same rate.
    """
    one = torch.log2(1 + layer[..., 0]).mean(-1)
    two = torch.log2(1 + layer / 2).sum(-1).mean(-1)
    rank = torch.where(known, torch.where(two > one, 2, 1), 0)
    rate = torch.where(two > one, two / 2, one)
    return rank, torch.where(known, torch.exp2(rate) - 1, 0.0)


def flat_sinr(sinr: Float[Tensor, "*n frequency"]) -> Float[Tensor, "*n"]:
    """SINR of the flat channel that has the same mean log2(1 + SINR); linear."""
    return torch.expm1(torch.log1p(sinr).mean(-1))


def compress_csi(
    response: Complex[Tensor, "*n antenna pattern column row frequency"], taps: int
) -> tuple[Complex[Tensor, "*n antenna pattern column row tap"], Float[Tensor, "*n"]]:
    """Channel in angle and delay, cut to its first `taps` delays, and the fraction of energy in them.

    The input of CsiNet (Wen, Shih and Jin, IEEE Wireless Communications Letters 7(5), 2018, section II): a Fourier
    transform over the array's columns and rows, an inverse one over frequency, later delays cut off. Scaled to an
    energy of one before the cut; a channel of zeros stays zero. Delays beyond 1 / (frequency spacing) fold back.
    """
    angles = torch.fft.fftn(response, dim=(-3, -2), norm="ortho")
    impulse_response = torch.fft.ifft(angles, norm="ortho")
    energy = impulse_response.abs().square().sum((-5, -4, -3, -2, -1), keepdim=True)
    kept = impulse_response[..., :taps] / torch.where(energy > 0, energy, 1.0).sqrt()
    return kept, kept.abs().square().sum((-5, -4, -3, -2, -1))
