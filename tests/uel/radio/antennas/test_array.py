"""Gains of arrays in their own frame: patterns of 3GPP, electrical and mechanical tilt, EIRP."""

import math
from dataclasses import replace

import pytest
import torch

from uel.errors import UelError
from uel.radio.antennas.gain import antenna_gain_db
from uel.radio.config import Carrier
from uel.radio.sites import Array, Cell, Site


def direction(azimuth_deg: float, elevation_deg: float) -> torch.Tensor:
    """Ahead, left, up of an azimuth to the left and an elevation."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    across = math.cos(elevation)
    return torch.tensor([across * math.cos(azimuth), across * math.sin(azimuth), math.sin(elevation)]).double()


def gain_db(array: Array, azimuth_deg: float, elevation_deg: float) -> float:
    return 10 * math.log10(float(array.gain(direction(azimuth_deg, elevation_deg))))


@pytest.mark.parametrize(
    ("azimuth", "elevation", "db"),
    [
        (0, 0, 14), (35, 0, 11), (-35, 0, 11), (0, 5, 11), (0, -5, 11), (0, 60, -6), (90, 0, 14 - 12 * (90 / 70) ** 2),
        (180, 0, -11), (90, 60, -11),
    ],
)  # fmt: skip
def test_the_sector_of_tr_36814(azimuth, elevation, db) -> None:
    """70° and 10° between the half-power points, at most 25 and 20 dB below 14 dBi."""
    assert gain_db(Array(pattern="tr36814"), azimuth, elevation) == pytest.approx(db, abs=1e-6)


def test_an_electrical_tilt_moves_the_maximum_down_all_round() -> None:
    array = Array(pattern="tr36814", electrical_tilt_deg=8.0)
    assert gain_db(array, 0, -8) == pytest.approx(14.0)
    assert gain_db(array, 0, -3) == pytest.approx(11.0)
    assert gain_db(array, 50, -8) > gain_db(array, 50, 0)  # at the side, too, where a mechanical tilt does nothing


def test_an_electrical_tilt_steers_the_rows_of_an_array() -> None:
    array = Array(rows=8, pattern="tr38901", electrical_tilt_deg=6.0)
    along = [gain_db(replace(array, pattern="iso"), 0, -e) for e in range(15)]
    assert max(range(15), key=lambda e: along[e]) == 6
    assert along[6] == pytest.approx(10 * math.log10(8))


def test_a_mechanical_tilt_turns_the_array() -> None:
    """Ahead it is 8° down, behind 8° up, at the side it stays."""
    cell = Cell(azimuth_deg=90.0, tilt_deg=8.0, array=Array(pattern="tr36814"))
    sites = (Site(position=(0.0, 0.0, 0.0), cells=(cell,)),)
    down = math.radians(8)
    world = torch.tensor([[[math.cos(down), 0.0, -math.sin(down)]], [[0.0, 1.0, 0.0]]])
    east_and_north = antenna_gain_db(sites, world)[:, 0].tolist()
    assert east_and_north == pytest.approx([14.0, gain_db(cell.array, 90, 0)], abs=1e-5)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"electrical_tilt_deg": 40.0, "pattern": "tr36814"}, "-30° to 30°"),
        ({"electrical_tilt_deg": 4.0}, "no electrical tilt"),
        ({"electrical_tilt_deg": math.nan, "pattern": "tr36814"}, "electrical_tilt_deg"),
        ({"pattern": "measured"}, "pattern measured needs"),
    ],
)
def test_antennas_that_cannot_be_are_refused(wrong, named) -> None:
    with pytest.raises(UelError, match=named):
        Array(**wrong)


@pytest.mark.parametrize(
    ("array", "peak"),
    [
        (Array(), 0.0), (Array(pattern="tr38901"), 8.0), (Array(rows=4, columns=2, pattern="tr38901"), 8 + 9.031),
        (Array(pattern="tr36814", electrical_tilt_deg=5.0), 14.0), (Array(pattern="dipole"), 1.761),
    ],
)  # fmt: skip
def test_an_eirp_holds_the_greatest_gain(array, peak) -> None:
    """RSRP in the direction of the maximum is the EIRP's share of a resource element, whatever the antenna."""
    assert array.peak_gain_dbi == pytest.approx(peak, abs=1e-3)
    cell = Cell(power_dbm=60.0, power_kind="eirp", array=array)
    assert cell.reference_power_dbm + peak == pytest.approx(60 - 10 * math.log10(3276), abs=2e-3)


def test_a_reference_signal_power_is_of_one_element() -> None:
    carrier = Carrier.from_channel_number(1300, "lte", bandwidth=10e6)
    assert Cell(power_dbm=15.2, power_kind="reference", carrier=carrier).reference_power_dbm == 15.2
    total = Cell(power_dbm=43.0, carrier=carrier).reference_power_dbm
    assert total == pytest.approx(43 - 10 * math.log10(600), abs=1e-4)
