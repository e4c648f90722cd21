"""Throughput and block errors by Sionna's PHY abstraction, of radio maps and of channels.

A map's pixel has a flat channel: its SINR is the effective one. Sionna draws acknowledgements; these functions
give their mean.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.units import from_db, to_db
from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.nr_measurements import CQI_EFFICIENCY, CQI_MODULATION, CQI_RATE
from uel.radio.radio_map import RadioMap
from uel.radio.sinr import sinr
from uel.radio.sites import require_sites

MCS_TABLE, PDSCH_CATEGORY = 1, 1  # MCS table 5.1.3.1-1 of TS 38.214 (up to 64-QAM), downlink
MCS_COUNT = 29  # of that table, 0 to 28
DATA_SYMBOLS_PER_SLOT = 12  # of 14 in a slot; one carries control, one reference signals
SINR_STEP_DB = 0.1  # of the SINR: the step of Sionna's own tables
SINR_RANGE_DB = (-30.0, 60.0)
CHANNELS_PER_CHUNK = 4096  # channels adapted at once


@dataclass(frozen=True, eq=False)
class LinkService:
    """Service of a phone alone in a cell, per pixel; a pixel that the map does not know has none."""

    mcs: Int[Tensor, "cell row column"]
    """greatest MCS index whose block error rate does not exceed the target, or the least there is; -1 where unknown"""
    bler: Float[Tensor, "cell row column"]
    """error rate of transport blocks; 1 where unknown"""
    throughput: Float[Tensor, "cell row column"]
    """delivered bits per second"""


def link_service(
    radio: RadioMap, load: float = 1.0, noise_figure_db: float = 7.0, bler_target: float = 0.1
) -> LinkService:
    """Link adaptation (TS 38.214, clause 5.1.3) and the errors that remain, for every cell and pixel of a map.

    `load` is the fraction of time that the other cells transmit, see `uel.radio.sinr.sinr`. The first call takes some
    20 s: Sionna reads its tables. Raises `UelError` for a load outside [0, 1] or a target outside (0, 1).
    """
    if not 0 < bler_target < 1:
        raise UelError("bler_target must lie between 0 and 1", got=bler_target, do="give 0.1, say")
    ratio = sinr(radio, load, noise_figure_db)
    level = to_db(ratio.clamp(min=1e-30)).clamp(*SINR_RANGE_DB)
    steps, pixel = (level / SINR_STEP_DB).round().unique(return_inverse=True)
    flat = from_db(steps * SINR_STEP_DB).cpu()[:, None].expand(-1, MCS_COUNT)
    best = _choose(flat, require_sites(radio.sites), bler_target)
    mcs, bler, bits = (values.to(pixel.device) for values in (best.mcs, best.bler, best.bits))
    known = radio.known
    return LinkService(
        mcs=torch.where(known, mcs[pixel], -1),
        bler=torch.where(known, bler[pixel], 1.0),
        throughput=torch.where(known, bits[pixel], 0.0) / slot_duration(require_sites(radio.sites)),
    )


def slot_duration(carrier: Carrier) -> float:
    """Length of a slot in seconds, 14 symbols: 1 ms / 2^µ (TS 38.211, clause 4.3.2)."""
    return 1e-3 * 15e3 / carrier.subcarrier_spacing


@dataclass(frozen=True, eq=False)
class LinkAdaptation:
    """Link adaptation to the channels of phones, each alone in its cell."""

    effective: Float[Tensor, " n"]
    """linear effective SINR of the scheme that was chosen"""
    mcs: Int[Tensor, " n"]
    bler: Float[Tensor, " n"]
    bits: Float[Tensor, " n"]
    """mean of the bits that a slot delivers"""


def adapt_link(sinr: Float[Tensor, "n frequency"], carrier: Carrier, bler_target: float = 0.1) -> LinkAdaptation:
    """Link adaptation over a channel's linear SINRs at several frequencies, one layer.

    Every scheme has an effective SINR of its own: exponential mapping (EESM; Brueninghaus et al., PIMRC 2005) with
    Sionna's factors, between -30 and 30 dB.
    """
    parts = [_choose(effective_sinr(part), carrier, bler_target) for part in sinr.split(CHANNELS_PER_CHUNK)]
    return LinkAdaptation(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(LinkAdaptation)))


def effective_sinr(sinr: Float[Tensor, "n frequency"]) -> Float[Tensor, "n mcs"]:
    """Linear effective SINR of every MCS, by Sionna's EESM."""
    _, mapping, _ = _sionna()
    wide = sinr.float().cpu()[:, None, None, :, None, None].expand(-1, MCS_COUNT, -1, -1, -1, -1)
    return mapping(wide, mcs_index=_schemes(len(sinr)).unsqueeze(-1), mcs_table_index=MCS_TABLE)[..., 0]


def _choose(effective: Float[Tensor, "n mcs"], carrier: Carrier, bler_target: float) -> LinkAdaptation:
    """The greatest MCS whose blocks fail no more often than the target, or the least that Sionna has a table for.

    Sionna's inner loop, which counts the SINRs that it is given as the resource elements of a block; here a few stand
    for a whole slot.
    """
    error = _block_errors(effective, carrier)
    allowed, tabulated = error <= bler_target, error <= 1
    greatest = torch.where(allowed, torch.arange(MCS_COUNT, device=allowed.device), -1).amax(-1)
    mcs = torch.where(allowed.any(-1), greatest, tabulated.int().argmax(-1))

    def of_mcs(values):
        return values.gather(-1, mcs.unsqueeze(-1))[:, 0]

    bler = of_mcs(error).clamp(max=1.0)
    return LinkAdaptation(of_mcs(effective), mcs, bler, (1 - bler) * _block_bits(carrier)[mcs])


def _block_errors(effective: Float[Tensor, "n mcs"], carrier: Carrier) -> Float[Tensor, "n mcs"]:
    """Error rate of transport blocks of a whole slot; infinite for schemes that Sionna has no table for."""
    abstraction, _, _ = _sionna()
    elements = torch.full(
        effective.shape, carrier.resource_elements * DATA_SYMBOLS_PER_SLOT, dtype=torch.int32, device="cpu"
    )
    channel = {"sinr_eff": effective.cpu(), "num_allocated_re": elements, "mcs_table_index": MCS_TABLE}
    schemes = _schemes(len(effective))
    return abstraction(schemes, **channel, mcs_category=PDSCH_CATEGORY, check_mcs_index_validity=False)[3]


def _block_bits(carrier: Carrier) -> Float[Tensor, " mcs"]:
    """Size of a slot's transport block (TS 38.214, clause 5.1.3.2)."""
    order, rate = _table()
    coded = order * (carrier.resource_elements * DATA_SYMBOLS_PER_SLOT)
    size = _sionna()[2].calculate_tb_size(order, rate, num_coded_bits=coded, return_cw_length=False, device="cpu")
    return size[0].float()


def _table() -> tuple[Int[Tensor, " mcs"], Float[Tensor, " mcs"]]:
    """Bits of a symbol and code rate of every MCS."""
    return _sionna()[2].decode_mcs_index(_schemes(1)[0], MCS_TABLE, is_pusch=False, device="cpu")


def _schemes(count: int) -> Int[Tensor, "n mcs"]:
    return torch.arange(MCS_COUNT, dtype=torch.int32, device="cpu").expand(count, -1)


@cache
def cqi_threshold_db(carrier: Carrier) -> Float[Tensor, "15"]:
    """Flat SINR in dB from which blocks of each CQI fail no more than one in ten times (TS 38.214, clause 5.2.2.1).

    By Sionna's tables of the same modulation and rate. A CQI without one (1 to 3, 15) lies above log2(1 + SINR) =
    efficiency by as much as the nearest CQI with one does.
    """
    order, rate = _table()
    level = torch.arange(-10.0, 30.0, SINR_STEP_DB, device="cpu")
    error = _block_errors(from_db(level)[:, None].expand(-1, MCS_COUNT).contiguous(), carrier)
    reached = torch.where(error <= 0.1, level[:, None], torch.inf).amin(0)
    same = (order == torch.tensor(CQI_MODULATION, device="cpu")[:, None]) & (
        (rate * 1024 - torch.tensor(CQI_RATE, device="cpu")[:, None]).abs() < 0.5
    )
    threshold = torch.where(same, reached, torch.inf).amin(-1)
    ideal = to_db(torch.exp2(torch.tensor(CQI_EFFICIENCY, device="cpu")) - 1)
    known = threshold.isfinite().nonzero()[:, 0]
    nearest = known[(torch.arange(15, device="cpu")[:, None] - known).abs().argmin(-1)]
    return ideal + (threshold - ideal)[nearest]


@cache
def _sionna() -> tuple[Any, Any, Any]:
    """PHY abstraction, effective SINR and Sionna's NR module, built once in a process."""
    # Importing Sionna's PHY reseeds torch's global generator.
    with torch.random.fork_rng(devices=[]):
        from sionna.phy.nr import utils
        from sionna.sys import EESM, PHYAbstraction

        return PHYAbstraction(device="cpu"), EESM(device="cpu"), utils
