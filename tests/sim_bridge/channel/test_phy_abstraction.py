"""Throughput and block errors on a map: against the standard's arithmetic and Sionna called pixel by pixel."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sim_bridge.channel import phy_abstraction
from tests.helpers.free_space import CORNERS, masts, radio_map
from uel.core.units import from_db
from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.nr_measurements import CQI_EFFICIENCY
from uel.radio.radio_map import RadioMap
from uel.radio.sinr import sinr


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
    served = phy_abstraction.link_service(with_gain(torch.tensor([1.0, 1e-18])))
    # 3276 subcarriers × 12 symbols × 6 bits × 910/1024 in 0.5 ms; block sizes are quantised (TS 38.214, 5.1.3.2).
    assert float(served.throughput[0, 0, 0]) == pytest.approx(3276 * 12 * 6 * 910 / 1024 / 0.5e-3, rel=5e-3)
    assert served.mcs[0, 0, :3].tolist() == [27, 3, -1]
    assert served.bler[0, 0, :3].tolist() == [0.0, 1.0, 1.0]
    assert served.throughput[0, 0, 1:].sum() == 0


def test_it_is_sionnas_own_answer_pixel_by_pixel() -> None:
    radio = radio_map(masts(*CORNERS), pixel=16.0)
    served, ratio = phy_abstraction.link_service(radio, load=0.5), sinr(radio, load=0.5)
    rounded = from_db(
        (10 * ratio.log10() / phy_abstraction.SINR_STEP_DB).round() * phy_abstraction.SINR_STEP_DB
    ).flatten()
    abstraction, *_ = phy_abstraction._sionna()  # first: importing Sionna SYS draws from torch's generator
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
            delivered = (
                float(served.throughput.flatten()[pixel]) * phy_abstraction.slot_duration(Carrier()) / (1 - float(bler))
            )
            assert delivered == pytest.approx(float(bits), rel=1e-5)


def test_adaptation_is_sionnas_inner_loop_over_a_whole_slot() -> None:
    """63 SINRs stand for 3276 subcarriers × 12 symbols; Sionna's loop is given them all."""
    abstraction, *_ = phy_abstraction._sionna()
    from sionna.sys import InnerLoopLinkAdaptation

    adaptation = InnerLoopLinkAdaptation(abstraction, device="cpu", bler_target=0.1)
    generator = torch.Generator().manual_seed(0)
    fading = torch.empty(6, 63).exponential_(generator=generator)
    sinr = fading * from_db(torch.tensor([-4.0, 3.0, 8.0, 14.0, 20.0, 40.0]))[:, None]
    ours = phy_abstraction.adapt_link(sinr, Carrier())
    for which in range(len(sinr)):
        grid = sinr[which].repeat_interleave(52).expand(12, -1)[..., None, None]
        mcs = adaptation(sinr=grid, mcs_table_index=1, mcs_category=1)
        bits, _, effective, bler, _ = abstraction(mcs, sinr=grid, mcs_table_index=1, mcs_category=1)
        assert int(ours.mcs[which]) == int(mcs)
        assert float(ours.effective[which]) == pytest.approx(float(effective), rel=1e-4)
        assert float(ours.bler[which]) == pytest.approx(float(bler), abs=1e-4)
        if bits > 0:
            assert float(ours.bits[which]) == pytest.approx(float(bits) * (1 - float(bler)), rel=1e-3)


def test_a_flat_channel_is_its_own_effective_sinr() -> None:
    """EESM of equal SINRs is that SINR, between -30 and 30 dB."""
    found = phy_abstraction.effective_sinr(torch.tensor([[5.0, 5.0, 5.0], [1e4, 1e4, 1e4]]))
    assert found.shape == (2, 29)
    assert found[0].tolist() == pytest.approx([5.0] * 29, rel=1e-4)
    assert found[1].tolist() == pytest.approx([1e3] * 29, rel=1e-4)


def test_cqi_thresholds_rise_and_keep_their_distance_from_shannon() -> None:
    threshold = phy_abstraction.cqi_threshold_db(Carrier())
    assert bool((threshold.diff() > 0).all())
    ideal = 10 * (2 ** torch.tensor(CQI_EFFICIENCY) - 1).log10()
    assert bool(((threshold - ideal) > 0).all())
    assert bool(((threshold - ideal) < 4).all())


@pytest.mark.parametrize(("cqi", "mcs"), [(4, 4), (9, 15), (14, 26)])
def test_blocks_of_a_cqi_fail_one_in_ten_times_at_its_threshold(cqi: int, mcs: int) -> None:
    """Rates 308, 616 and 873 of 1024 are in both tables of TS 38.214."""
    threshold = phy_abstraction.cqi_threshold_db(Carrier())[cqi - 1]
    at, below = (
        phy_abstraction._block_errors(from_db(threshold + step).expand(1, 29), Carrier())[0, mcs]
        for step in (0.01, -0.5)
    )
    assert at <= 0.1 < below


def test_more_power_never_carries_less_and_the_target_holds() -> None:
    gain = torch.logspace(-16, -8, 30)
    served = phy_abstraction.link_service(with_gain(gain), bler_target=0.01)
    assert (served.throughput[0, 0, :30].diff() >= -1e-3 * served.throughput.max()).all()
    assert (served.bler[served.mcs > 3] <= 0.01).all()


def test_the_callers_random_numbers_are_left_alone() -> None:
    phy_abstraction._sionna.cache_clear()
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    phy_abstraction.link_service(radio_map(masts(CORNERS[0]), pixel=32.0))
    assert torch.equal(torch.rand(3), want)


@pytest.mark.parametrize("target", [0.0, 1.0, float("nan")])
def test_a_target_that_is_no_probability(target: float) -> None:
    with pytest.raises(UelError, match="bler_target must lie between 0 and 1"):
        phy_abstraction.link_service(radio_map(masts(CORNERS[0]), pixel=32.0), bler_target=target)
