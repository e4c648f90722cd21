"""Channel numbers and frequencies: values of public tables, round trips over whole bands, refusals."""

import itertools

import pytest

from uel.errors import UelError
from uel.radio.carriers.bands import GSM_BANDS, LTE_BANDS, NR_RASTER
from uel.radio.carriers.channel_numbers import band_of, channel_number, channel_numbers, downlink_frequency

KNOWN = [
    ("lte", 100, 2120.0), ("lte", 1300, 1815.0), ("lte", 1850, 1870.0), ("lte", 2850, 2630.0), ("lte", 3749, 954.9),
    ("lte", 6200, 796.0), ("lte", 6300, 806.0), ("lte", 5035, 731.5), ("lte", 9360, 773.0), ("lte", 40936, 2624.6),
    ("lte", 66486, 2115.0), ("lte", 68611, 619.5), ("nb_iot", 6254, 801.4),
    ("nr", 0, 0.0), ("nr", 431530, 2157.65), ("nr", 599999, 2999.995), ("nr", 600000, 3000.0), ("nr", 632628, 3489.42),
    ("nr", 653952, 3809.28), ("nr", 2016666, 24249.99), ("nr", 2016667, 24250.08), ("nr", 2077915, 27924.96),
    ("nr", 3279165, 99999.96),
    ("gsm", 1, 935.2), ("gsm", 62, 947.4), ("gsm", 124, 959.8), ("gsm", 0, 935.0), ("gsm", 975, 925.2),
    ("gsm", 1023, 934.8), ("gsm", 128, 869.2), ("gsm", 251, 893.8), ("gsm", 885, 1879.8),
]  # fmt: skip


@pytest.mark.parametrize(("technology", "number", "mhz"), KNOWN)
def test_numbers_have_the_frequencies_of_the_tables(technology, number, mhz) -> None:
    assert downlink_frequency(number, technology) == pytest.approx(mhz * 1e6, abs=1.0)


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])  # all: 52 s beside other work
@pytest.mark.parametrize("band", LTE_BANDS)
def test_earfcn_of_a_band_come_back(band: int, stride: int) -> None:
    part = LTE_BANDS[band]
    numbers = (*range(part.first, part.last, stride), part.last)
    assert [channel_number(downlink_frequency(n, "lte"), "lte", band) for n in numbers] == list(numbers)
    assert {band_of(n, "lte") for n in numbers} == {band}


@pytest.mark.parametrize("part", NR_RASTER)
def test_nr_arfcn_come_back(part) -> None:
    found = 0
    for number in (*range(part.first, part.last, 997), part.last):
        numbers = set(channel_numbers(downlink_frequency(number, "nr"), "nr").values())
        assert numbers <= {number}  # empty where no band has the frequency
        found += len(numbers)
    assert found > 20


@pytest.mark.parametrize("band", GSM_BANDS)
def test_all_arfcn_of_a_band_come_back(band: int) -> None:
    for part in GSM_BANDS[band]:
        numbers = range(part.first, part.last + 1)
        assert [channel_number(downlink_frequency(n, "gsm", band), "gsm", band) for n in numbers] == list(numbers)


def test_bands_do_not_share_a_number() -> None:
    parts = sorted(LTE_BANDS.values(), key=lambda part: part.first)
    assert all(a.last < b.first for a, b in itertools.pairwise(parts))


def test_one_frequency_has_a_number_in_each_band_that_holds_it() -> None:
    assert channel_numbers(2120e6, "lte") == {1: 100, 4: 2050, 10: 4250, 65: 65636, 66: 66536}
    assert channel_numbers(1815.03e6, "lte") == {}  # off the raster of 0.1 MHz


@pytest.mark.parametrize(("technology", "number"), [("lte", 5000), ("lte", 71000), ("nr", 3279166), ("gsm", 300_000)])
def test_a_number_of_no_band_is_refused(technology, number) -> None:
    with pytest.raises(UelError, match="no downlink channel"):
        downlink_frequency(number, technology)


def test_an_uplink_number_is_named_as_one() -> None:
    with pytest.raises(UelError, match="19300, which is an uplink number"):
        downlink_frequency(19300, "lte")


def test_an_arfcn_of_two_bands_needs_its_band() -> None:
    with pytest.raises(UelError, match=r"two bands of GSM[\s\S]*1800[\s\S]*1900"):
        downlink_frequency(600, "gsm")
    assert downlink_frequency(600, "gsm", band=1900) == pytest.approx(1947.8e6)


def test_a_frequency_of_no_band_has_no_number() -> None:
    with pytest.raises(UelError, match="no EARFCN has this frequency"):
        channel_number(4e9, "lte")
