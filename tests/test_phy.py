"""Throughput and block errors on a map: against the standard's arithmetic and Sionna called pixel by pixel."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sim_bridge import phy
from tests.small import CORNERS, masts, radio_map
from uel.errors import UelError
from uel.quality import sinr
from uel.radiomap import RadioMap
from uel.sites import Carrier
from uel.units import from_db


def with_gain(gain: Tensor) -> RadioMap:
    """One cell, these gains along the first row, nothing known elsewhere."""
    radio = radio_map(masts(CORNERS[0]), pixel=8.0)
    known = torch.zeros_like(radio.known)
    known[0, 0, : len(gain)] = True
    return replace(
        radio,
        gain=torch.where(known, 0.0, radio.gain).index_put(
            (torch.tensor(0), torch.tensor(0), torch.arange(len(gain))), gain
        ),
        known=known,
    )


def test_a_perfect_link_carries_the_whole_transport_block() -> None:
    served = phy.serve(with_gain(torch.tensor([1.0, 1e-18])))
    # 3276 subcarriers × 12 symbols × 6 bits × 910/1024 in 0.5 ms; block sizes are quantised (TS 38.214, 5.1.3.2).
    assert float(served.throughput[0, 0, 0]) == pytest.approx(3276 * 12 * 6 * 910 / 1024 / 0.5e-3, rel=5e-3)
    assert served.mcs[0, 0, :3].tolist() == [27, 3, -1]
    assert served.bler[0, 0, :3].tolist() == [0.0, 1.0, 1.0]
    assert served.throughput[0, 0, 1:].sum() == 0


def test_it_is_sionnas_own_answer_pixel_by_pixel() -> None:
    radio = radio_map(masts(*CORNERS), pixel=16.0)
    served, ratio = phy.serve(radio, load=0.5), sinr(radio, load=0.5)
    rounded = from_db((10 * ratio.log10() / phy.STEP_DB).round() * phy.STEP_DB).flatten()
    abstraction, *_ = phy._sionna()  # first: importing Sionna SYS draws from torch's generator
    from sionna.sys import InnerLoopLinkAdaptation

    adaptation = InnerLoopLinkAdaptation(abstraction, device="cpu")
    for pixel in torch.randperm(rounded.numel(), generator=torch.Generator().manual_seed(0))[:20].tolist():
        channel = {
            "sinr_eff": rounded[[pixel]],
            "num_allocated_re": torch.tensor([3276 * 12], dtype=torch.int32),
            "mcs_table_index": 1,
            "mcs_category": 1,
        }
        mcs = adaptation(**channel)
        bits, acknowledged, _, bler, _ = abstraction(mcs, **channel)
        assert served.mcs.flatten()[pixel] == mcs
        assert float(served.bler.flatten()[pixel]) == pytest.approx(float(bler), abs=1e-6)
        if acknowledged:
            delivered = float(served.throughput.flatten()[pixel]) * phy.slot(Carrier()) / (1 - float(bler))
            assert delivered == pytest.approx(float(bits), rel=1e-5)


def test_more_power_never_carries_less_and_the_target_holds() -> None:
    gain = torch.logspace(-16, -8, 30)
    served = phy.serve(with_gain(gain), bler_target=0.01)
    assert (served.throughput[0, 0, :30].diff() >= -1e-3 * served.throughput.max()).all()
    assert (served.bler[served.mcs > 3] <= 0.01).all()


def test_the_callers_random_numbers_are_left_alone() -> None:
    phy._sionna.cache_clear()
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    phy.serve(radio_map(masts(CORNERS[0]), pixel=32.0))
    assert torch.equal(torch.rand(3), want)


@pytest.mark.parametrize("target", [0.0, 1.0, float("nan")])
def test_a_target_that_is_no_probability(target: float) -> None:
    with pytest.raises(UelError, match="a block error rate is a probability"):
        phy.serve(radio_map(masts(CORNERS[0]), pixel=32.0), bler_target=target)
