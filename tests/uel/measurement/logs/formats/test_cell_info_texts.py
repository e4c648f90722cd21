"""Android's `CellInfo` as it is printed into logs, by itself, in JSON and in tables."""

import json
from pathlib import Path

import pytest
import torch

from tests.helpers.log_tile import log_tile, read_log
from uel.geo.tile import Tile
from uel.measurement.logs.formats.cell_info_texts import cells_of_text, printed_cell_records


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return log_tile(tmp_path_factory.mktemp("logs") / "tile")


def printed(registered: str, pci: int, arfcn: int, rsrp: int) -> str:
    """A cell as Android 12 prints it."""
    return (
        f"CellInfoLte:{{mRegistered={registered} mTimeStamp=263123456789ns mCellConnectionStatus=1 "
        f"CellIdentityLte:{{ mCi=2147483647 mPci={pci} mTac=77 mEarfcn={arfcn} mBands=[3] mBandwidth=20000 mMcc=262 "
        "mMnc=01 mAlphaLong=My Net mAdditionalPlmns={} mCsgInfo=null} "
        f"CellSignalStrengthLte: rssi=-51 rsrp={rsrp} rsrq=-9 rssnr=2147483647 cqi=2147483647 ta=5 level=4 "
        "parametersUseForLevel=0 android.telephony.CellConfigLte :{ isEndcAvailable = false }}"
    )


CELLS = (
    [printed("YES", 101, 1300, -80), printed("NO", 101, 6200, -97), printed("NO", 102, 1300, -91)],
    [printed("YES", 101, 1300, -81), printed("NO", 102, 1300, -90)],
)
FIRST, SECOND = (f"[{', '.join(cells)}]" for cells in CELLS)
PLACES = ("Location[gps 48.000100,8.999000 hAcc=8 et=+1d2h]", "Location[gps 48,000200,8,999100 acc=8 et=+1d2h]")
LOGS = {
    "a report a line": f"2023-10-20 14:53:55.120 D/App: {PLACES[0]} {FIRST}\n"
    f"2023-10-20 14:53:56.120 D/App: {PLACES[1]} {SECOND}\n",
    "a list a line, places before": f"{PLACES[0]}\n{FIRST}\n{PLACES[1]}\n{SECOND}\n",
    "a cell a line": "\n".join([PLACES[0], *CELLS[0], PLACES[1], *CELLS[1]]),
    "JSON": json.dumps(
        [
            {"time": 0, "lat": 48.0001, "lon": 8.999, "cells": FIRST},
            {"time": 1, "lat": 48.0002, "lon": 8.9991, "cells": SECOND},
        ]
    ),
    "JSON lines": json.dumps({"time": 0, "lat": 48.0001, "lon": 8.999, "cellInfo": list(CELLS[0])})
    + "\n"
    + json.dumps({"time": 1, "lat": 48.0002, "lon": 8.9991, "cellInfo": list(CELLS[1])}),
    "a table": f'time;latitude;longitude;cellinfo\n0;48.0001;8.999;"{FIRST}"\n1;48.0002;8.9991;"{SECOND}"\n',
}


@pytest.mark.parametrize("name", LOGS)
def test_printed_cells_are_the_cells(tile: Tile, name: str) -> None:
    part, rejections = read_log(tile, LOGS[name], "log.txt")
    assert rejections.total == 0, rejections.summary
    assert part is not None
    assert part.reports.rsrp_dbm.tolist() == [[-80.0, -97.0, -91.0], [-81.0, 0.0, -90.0]]
    assert part.reports.serving.tolist() == [0, 0]
    torch.testing.assert_close(part.position[0], torch.tensor([-74.6, 11.1]), atol=0.1, rtol=0.0)
    assert part.position[1].tolist() == pytest.approx([-67.1, 22.2], abs=0.1)


def test_level_is_not_the_number_of_bars() -> None:
    """Android prints `level=4`, which means four bars."""
    (cell,) = cells_of_text("CellInfoLte:{mRegistered=YES CellIdentityLte:{ mPci=1 } level=4 rsrp=-80}")
    assert cell["rsrp"] == "-80"
    assert cells_of_text("CellInfoLte:{mRegistered=YES CellIdentityLte:{ mPci=1 } level=4}") == []


def test_each_technology_has_its_own_names() -> None:
    text = (
        "[CellInfoNr:{ mRegistered=YES CellIdentityNr:{ mPci = 7 mNrArfcn = 632628 mNci = 42 } "
        "CellSignalStrengthNr:{ csiRsrp = 2147483647 ssRsrp = -95 ssSinr = 20 level = 2 } }, "
        "CellInfoGsm:{mRegistered=NO CellIdentityGsm:{ mLac=1 mCid=9 mArfcn=62 mBsic=0x11} "
        "CellSignalStrengthGsm: rssi=-85 ber=2147483647 mTa=2147483647 mLevel=3}]"
    )
    nr, gsm = cells_of_text(text)
    assert (nr["technology"], nr["arfcn"], nr["rsrp"], nr["cell_id"]) == ("nr", "632628", "-95", "42")
    assert (gsm["technology"], gsm["arfcn"], gsm["rsrp"]) == ("gsm", "62", "-85")


def test_a_second_dump_without_a_time_is_a_second_report(tmp_path: Path) -> None:
    records = list(printed_cell_records([*CELLS[0], *CELLS[1]]))
    assert [len(record["cells"]) for record in records] == [3, 2]
