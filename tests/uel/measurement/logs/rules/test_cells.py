"""Cells of a log by the frequency of their carrier, and timing advances of LTE."""

import pytest

from tests.helpers.log_tile import NETWORK, log_tile, read_log
from uel.geo.tile import Tile
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.reader import LTE_STEP, open_log
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.quantities import to_hertz
from uel.measurement.logs.rules.rejections import Rejections
from uel.measurement.parameters import ObservationParameters


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return log_tile(tmp_path_factory.mktemp("logs") / "tile")


@pytest.mark.parametrize(
    ("high", "low"), [("1815", "796"), ("1815.0 MHz", "796.0"), ("1.815 GHz", "0.796"), ("1815000", "796000")]
)
def test_a_carrier_is_known_by_its_frequency(tile: Tile, high: str, low: str) -> None:
    """One PCI on two carriers, 1815 and 796 MHz."""
    log = f"time,frequency,pci,rsrp\n0,{high},101,-80\n0,{low},101,-97\n0,2650,101,-70\n"
    part, rejections = read_log(tile, log, "log.csv")
    assert part is not None
    assert part.reports.rsrp_dbm.tolist() == [[-80.0, -97.0, 0.0]]
    assert rejections.counts == {"other carrier": 1}


def test_a_column_of_megahertz_is_found_by_its_name(tile: Tile) -> None:
    log = (
        "time,Serving Cell PCI,Serving Cell DL Frequency (MHz),Serving Cell RSRP,"
        "Neighbor Cell PCI[1],Neighbor Cell Frequency (MHz)[1],Neighbor Cell RSRP[1]\n0,101,1815,-80,101,796,-97\n"
    )
    part, _ = read_log(tile, log, "log.csv")
    assert part is not None
    assert part.reports.rsrp_dbm.tolist() == [[-80.0, -97.0, 0.0]]


def test_a_frequency_that_is_none_is_set_aside(tile: Tile) -> None:
    part, rejections = read_log(tile, "time,frequency,pci,rsrp\n0,loud,101,-80\n0,7,101,-80\n", "log.csv")
    assert part is None
    assert rejections.counts == {"unknown cell": 1, "other carrier": 1}


@pytest.mark.parametrize(
    ("text", "hertz"), [("3.5", 3.5e9), ("3500", 3.5e9), ("3500000", 3.5e9), ("3500000000", 3.5e9), ("28000,0", 28e9)]
)
def test_the_size_of_a_number_tells_its_unit(text: str, hertz: float) -> None:
    parsed = to_hertz(text)
    assert parsed is not None
    assert parsed[0] == pytest.approx(hertz)


@pytest.mark.parametrize("text", ["", "0", "-1815", "1815 m", "0.01", "10000000000000"])
def test_what_is_no_frequency_is_none(text: str) -> None:
    assert to_hertz(text) is None


ADVANCES = "time,pci,earfcn,rsrp,{}\n0,101,1300,-80,5\n0,102,1300,-90,\n1,101,1300,-80,1283\n2,101,1300,-80,2.5\n"


def advances(tile: Tile, name: str, range_step: float | None) -> list[float | None]:
    file = tile.folder.parent / "log.csv"
    file.write_text(ADVANCES.format(name))
    with open_log(tile, NETWORK, file, ColumnConfig(), Rejections(), range_step=range_step) as log:
        reports = LogPart.cat(list(log.parts())).reports
    pairs = zip(reports.timing_advance.tolist(), reports.has_timing_advance.tolist(), strict=True)
    return [value if has else None for value, has in pairs]


def test_timing_advances_of_lte_are_read_where_the_steps_are_as_long(tile: Tile, caplog) -> None:
    """TS 36.213, clause 4.2.3: whole steps of 16 Ts from 0 to 1282, 78 m one way."""
    caplog.set_level("INFO")
    assert ObservationParameters(subcarrier_spacing=15e3).range_step == pytest.approx(LTE_STEP)
    assert advances(tile, "TA", LTE_STEP) == [5.0, None, None]
    assert "timing advance is not used" not in caplog.text
    assert advances(tile, "TA", ObservationParameters().range_step) == [None] * 3
    assert "steps of 78 m (LTE), the locator's are of 39 m" in caplog.text


@pytest.mark.parametrize("name", ["TA (m)", "Timing Advance [µs]"])
def test_a_timing_advance_in_metres_or_times_is_no_number_of_steps(tile: Tile, name: str) -> None:
    assert advances(tile, name, LTE_STEP) == [None] * 3
