"""Resource blocks by 3GPP's tables, and what RSRP makes of them."""

import math

import pytest

from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.sites import Cell

# Technology, GHz, MHz, kHz, resource blocks: TS 36.101 table 5.6-1, TS 38.101-1 and -2 tables 5.3.2-1.
ROWS = [
    ("lte", 1.815, 1.4, 15, 6), ("lte", 1.815, 3, 15, 15), ("lte", 1.815, 5, 15, 25), ("lte", 1.815, 10, 15, 50),
    ("lte", 1.815, 15, 15, 75), ("lte", 1.815, 20, 15, 100), ("nb_iot", 0.8, 0.2, 15, 1),
    ("nr", 2.1, 5, 15, 25), ("nr", 2.1, 20, 15, 106), ("nr", 2.1, 50, 15, 270), ("nr", 3.5, 10, 30, 24),
    ("nr", 3.5, 20, 30, 51), ("nr", 3.5, 40, 30, 106), ("nr", 3.5, 50, 30, 133), ("nr", 3.5, 90, 30, 245),
    ("nr", 3.5, 100, 30, 273), ("nr", 3.5, 40, 60, 51), ("nr", 3.5, 100, 60, 135), ("nr", 28.0, 100, 60, 132),
    ("nr", 3.5, 50, 60, 65), ("nr", 28.0, 50, 60, 66), ("nr", 28.0, 100, 120, 66), ("nr", 28.0, 400, 120, 264),
    ("nr", 60.0, 1600, 480, 248), ("nr", 60.0, 2000, 960, 148), ("nr", 3.5, 400, 120, 264),
]  # fmt: skip


@pytest.mark.parametrize(("technology", "ghz", "mhz", "khz", "blocks"), ROWS)
def test_blocks_are_those_of_the_tables(technology, ghz, mhz, khz, blocks) -> None:
    carrier = Carrier(frequency=ghz * 1e9, bandwidth=mhz * 1e6, subcarrier_spacing=khz * 1e3, technology=technology)
    assert carrier.resource_blocks == blocks
    assert carrier.resource_elements == 12 * blocks
    cell = Cell(power_dbm=46.0, carrier=carrier)
    assert cell.reference_power_dbm == pytest.approx(46 - 10 * math.log10(12 * blocks), abs=1e-4)


def test_the_level_of_gsm_is_that_of_its_whole_carrier() -> None:
    assert Cell(power_dbm=43.0, carrier=Carrier.from_channel_number(62, "gsm")).reference_power_dbm == 43.0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"bandwidth": 18e6}, "60, 70, 80"),
        ({"bandwidth": 100e6, "subcarrier_spacing": 15e3}, "no channel of this bandwidth"),
        ({"bandwidth": 100.0}, "no channel of this bandwidth"),
        ({"technology": "lte", "subcarrier_spacing": 15e3, "bandwidth": 100e6}, "1.4, 3, 5, 10, 15, 20 MHz"),
        ({"technology": "lte", "bandwidth": 20e6}, "15 kHz"),
        ({"channel_number": 1300}, "does not belong to this NR-ARFCN"),
    ],
)
def test_carriers_that_do_not_exist_are_refused(wrong, named) -> None:
    with pytest.raises(UelError, match=named):
        Carrier(**wrong)


def test_a_carrier_by_its_number_keeps_it() -> None:
    carrier = Carrier.from_channel_number(1300, "lte", bandwidth=10e6)
    assert (carrier.frequency, carrier.resource_blocks, carrier.label) == (1815e6, 50, "lte 1815 MHz (EARFCN 1300)")
    assert carrier.at_frequency(796e6).channel_number is None
    assert carrier.at_frequency(1815e6) is carrier
