"""3GPP's definitions, each against numbers worked out by hand from its clause."""

import math

import pytest
import torch

from uel.errors import UelError
from uel.radio import nr_measurements


@pytest.mark.parametrize(("spacing", "want"), [(15e3, 4.6875e-6), (30e3, 2.34375e-6), (120e3, 0.5859375e-6)])
def test_normal_cyclic_prefix(spacing: float, want: float) -> None:
    """144/2048 of a symbol."""
    assert nr_measurements.cyclic_prefix(spacing) == pytest.approx(want, rel=1e-12)
    assert nr_measurements.cyclic_prefix(spacing) == pytest.approx(144 / 2048 / spacing, rel=1e-12)


def test_the_extended_prefix_is_a_quarter_of_a_symbol_at_60_khz_alone() -> None:
    assert nr_measurements.cyclic_prefix(60e3, extended=True) == pytest.approx(0.25 / 60e3, rel=1e-12)
    with pytest.raises(UelError, match="at 60 kHz only"):
        nr_measurements.cyclic_prefix(30e3, extended=True)


def test_levels_of_one_cell_by_hand() -> None:
    """Two antennas with 1, 3 and 2, 2 mW over two frequencies; noise of 1 mW on each."""
    power = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]])
    assert nr_measurements.rsrp(power).tolist() == [4.0]
    total = power.sum(0) + 1
    assert float(nr_measurements.rssi(total, 24)) == 24 * 6.0
    assert float(nr_measurements.rsrq(power, total)) == pytest.approx(2 / (12 * 3))
    assert float(nr_measurements.ss_sinr(power, torch.ones_like(power))) == 2.0


def test_a_full_cell_alone_has_the_textbook_rsrq() -> None:
    """N·RSRP/RSSI of 12 equal subcarriers a block: 1/12, -10.8 dB; half with an equal neighbour."""
    power = torch.full((2, 2, 5), 7.0)
    alone = nr_measurements.rsrq(power[:1], power[0])
    assert 10 * math.log10(float(alone)) == pytest.approx(-10.79, abs=0.01)
    assert nr_measurements.rsrq(power, power.sum(0)).tolist() == pytest.approx([1 / 24, 1 / 24])


def test_the_better_antenna_counts() -> None:
    power = torch.tensor([[[1.0], [8.0]]])
    others = torch.tensor([[[1.0], [2.0]]])
    assert float(nr_measurements.ss_sinr(power, others)) == 4.0
    assert float(nr_measurements.rsrq(power, power[0] + others[0])) == pytest.approx(8 / (12 * 10))


@pytest.mark.parametrize(("distance", "steps"), [(0.0, 0), (39.0, 0), (39.1, 1), (500.0, 12), (1e6, 3846)])
def test_timing_advance_at_30_khz(distance: float, steps: int) -> None:
    """One step is 16·64·Tc/2 = 260.4 ns of round trip, 39.04 m one way; the command ends at 3846."""
    assert int(nr_measurements.timing_advance(torch.tensor([distance / 299_792_458.0]), 30e3)) == steps


def test_the_cqi_table_is_the_standards() -> None:
    """Efficiencies as table 5.2.2.1-2 prints them."""
    printed = [0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141, 2.4063, 2.7305, 3.3223, 3.9023, 4.5234]
    assert list(nr_measurements.CQI_EFFICIENCY) == pytest.approx([*printed, 5.1152, 5.5547], abs=5.1e-5)


def test_cqi_counts_thresholds() -> None:
    threshold = torch.arange(15.0)
    assert nr_measurements.cqi(torch.tensor([-0.1, 0.0, 3.5, 99.0]), threshold).tolist() == [0, 1, 4, 15]


def test_rank_is_that_of_the_greater_rate() -> None:
    """log2(1 + 3) = 2 against 2·log2(1 + 1.5) = 2.64; and 2 against log2(2.5) + log2(1.005) = 1.33."""
    layer = torch.tensor([[[3.0, 3.0]], [[3.0, 0.01]], [[1.0, 1.0]]])
    rank, each = nr_measurements.rank_indicator(layer, torch.tensor([True, True, False]))
    assert rank.tolist() == [2, 1, 0]
    assert each.tolist() == pytest.approx([1.5, 3.0, 0.0])


def test_flat_sinr_carries_the_same_rate() -> None:
    """(log2(1 + 1) + log2(1 + 7)) / 2 = 2 bits: an SINR of 3."""
    assert float(nr_measurements.flat_sinr(torch.tensor([1.0, 7.0]))) == pytest.approx(3.0)


def test_a_single_delay_on_the_grid_is_one_tap() -> None:
    """A path of delay 3/W seen by two columns half a wavelength apart at broadside: one beam, one tap."""
    frequency = torch.arange(8) / 8
    response = torch.exp(-2j * math.pi * 3 * frequency).expand(1, 1, 2, 1, 8)
    kept, share = nr_measurements.compress_csi(response, 4)
    want = torch.zeros(1, 1, 2, 1, 4)
    want[0, 0, 0, 0, 3] = 1.0
    torch.testing.assert_close(kept.abs(), want, atol=1e-6, rtol=0)
    assert float(share) == pytest.approx(1.0)
    assert float(nr_measurements.compress_csi(response, 3)[1]) == pytest.approx(0.0, abs=1e-9)


def test_all_delays_keep_all_energy_and_nothing_stays_nothing() -> None:
    response = torch.randn(2, 2, 1, 2, 2, 8, dtype=torch.complex64)
    response[1] = 0
    kept, share = nr_measurements.compress_csi(response, 8)
    assert share.tolist() == pytest.approx([1.0, 0.0])
    assert bool((kept[1] == 0).all())
