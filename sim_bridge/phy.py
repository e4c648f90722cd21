"""Throughput and block errors on a radio map, by Sionna's PHY abstraction.

A pixel's channel is flat: its SINR is the effective one. Sionna draws acknowledgements; here is what they average to.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.errors import UelError
from uel.quality import sinr
from uel.radiomap import RadioMap
from uel.sites import Carrier, require_sites
from uel.units import from_db, to_db

TABLE, PDSCH = 1, 1  # MCS table 5.1.3.1-1 of TS 38.214 (up to 64-QAM), downlink
DATA_SYMBOLS = 12  # of 14 in a slot; one carries control, one reference signals
STEP_DB = 0.1  # of the SINR: the step of Sionna's own tables
RANGE_DB = (-30.0, 60.0)


@dataclass(frozen=True, eq=False)
class Served:
    """What a phone alone in a cell would get there; a pixel that the map does not know has none of it."""

    mcs: Int[Tensor, "cell row column"]
    """greatest MCS index whose block error rate does not exceed the target, or the least there is; -1 where unknown"""
    bler: Float[Tensor, "cell row column"]
    """error rate of transport blocks; 1 where unknown"""
    throughput: Float[Tensor, "cell row column"]
    """delivered bits per second"""


def serve(radio: RadioMap, load: float = 1.0, noise_figure_db: float = 7.0, bler_target: float = 0.1) -> Served:
    """Link adaptation (TS 38.214, clause 5.1.3) and the errors that remain, for every cell and pixel of a map.

    `load` is the share of time that the other cells transmit, see `uel.quality.sinr`. The first call takes some
    20 s: Sionna reads its tables. Raises `UelError` for a load outside [0, 1] or a target outside (0, 1).
    """
    if not 0 < bler_target < 1:
        raise UelError("a block error rate is a probability", got=bler_target, do="give 0.1, say")
    ratio = sinr(radio, load, noise_figure_db)
    level = to_db(ratio.clamp(min=1e-30)).clamp(*RANGE_DB)
    steps, pixel = (level / STEP_DB).round().unique(return_inverse=True)
    mcs, bler, bits = _adapt(from_db(steps * STEP_DB), require_sites(radio.sites), bler_target)
    known = radio.known
    return Served(
        mcs=torch.where(known, mcs[pixel], -1),
        bler=torch.where(known, bler[pixel], 1.0),
        throughput=torch.where(known, bits[pixel], 0.0) / slot(require_sites(radio.sites)),
    )


def slot(carrier: Carrier) -> float:
    """Length of a slot in seconds, 14 symbols: 1 ms / 2^µ (TS 38.211, clause 4.3.2)."""
    return 1e-3 * 15e3 / carrier.subcarrier_spacing


def _adapt(
    ratio: Float[Tensor, " n"], carrier: Carrier, bler_target: float
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """MCS index, error rate of blocks and mean bits that a slot delivers, at linear effective SINRs."""
    abstraction, adaptation, nr = _sionna()
    adaptation.bler_target = bler_target
    elements = torch.full(ratio.shape, carrier.resource_elements * DATA_SYMBOLS, dtype=torch.int32)
    channel = {"sinr_eff": ratio.cpu(), "num_allocated_re": elements, "mcs_table_index": TABLE, "mcs_category": PDSCH}
    mcs = adaptation(**channel)
    bler = abstraction(mcs, **channel)[3].clamp(max=1.0)
    order, rate = nr.decode_mcs_index(mcs, TABLE, is_pusch=False, device="cpu")
    size = nr.calculate_tb_size(order, rate, num_coded_bits=order * elements, return_cw_length=False, device="cpu")[0]
    return tuple(value.to(ratio.device) for value in (mcs, bler, (1 - bler) * size))  # type: ignore[return-value]


@cache
def _sionna() -> tuple[Any, Any, Any]:
    """PHY abstraction, link adaptation and Sionna's NR module, built once in a process."""
    # Importing Sionna's PHY reseeds torch's global generator.
    with torch.random.fork_rng(devices=[]):
        from sionna.phy.nr import utils
        from sionna.sys import InnerLoopLinkAdaptation, PHYAbstraction

        abstraction = PHYAbstraction(device="cpu")
        return abstraction, InnerLoopLinkAdaptation(abstraction, device="cpu"), utils
