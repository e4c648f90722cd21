"""Logs in the formats of apps, modems, test tools and office programs: the same levels of the same cells from each."""

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.log_tile import log_tile, parts_to_locate, read_drive, read_log
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.reader import open_log
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejections


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return log_tile(tmp_path_factory.mktemp("logs") / "tile")


def levels(part: LogPart | None) -> list[list[float | None]]:
    """Levels of each report by cell (West, West 800, East); None where a cell is silent."""
    assert part is not None
    heard = zip(part.reports.rsrp_dbm.tolist(), part.reports.heard.tolist(), strict=True)
    return [[level if is_heard else None for level, is_heard in zip(*row, strict=True)] for row in heard]


EXPECTED = [[-80.0, -97.5, -91.0], [-81.0, None, -90.0]]
LONG = """time;latitude;longitude;earfcn;pci;rsrp
0;48,0001;8,9990;1300;101;-80
0;48,0001;8,9990;6200;101;-97,5
0;48,0001;8,9990;1300;102;-91
1;48,0002;8,9991;1300;101;-81
1;48,0002;8,9991;1300;102;-90
"""
# Made up in the manner of the tools that are named.
G_NETTRACK = "\n".join(
    line.replace(" ", "\t")
    for line in (
        "Timestamp Longitude Latitude Speed Operator CGI Node CellID LAC NetworkTech Level Qual SNR "
        "ARFCN PSC Altitude NTech1 NCell1 NARFCN1 NRxLev1 NQual1 NTech2 NCell2 NARFCN2 NRxLev2 NQual2",
        "2021.05.12_10.20.30 8.9990 48.0001 3 MyNet - 105020 1 77 4G -80 -9 12 1300 101 400 4G 101 6200 "
        "-97.5 -14 4G 102 1300 -91 -12",
        "2021.05.12_10.20.31 8.9991 48.0002 3 MyNet - 105020 1 77 4G -81 -9 - 1300 101 400 4G 102 1300 -90 -12 -  -  ",
    )
)
SIGNAL_GURU = """Date & Time,Longitude,Latitude,LTE PCell Serving PCI,LTE PCell Serving EARFCN(DL),\
LTE PCell Serving RSRP(dBm),LTE PCell Serving RSRQ(dB),LTE Neighbor Cell 1 PCI,LTE Neighbor Cell 1 EARFCN,\
LTE Neighbor Cell 1 RSRP(dBm),LTE Neighbor Cell 2 PCI,LTE Neighbor Cell 2 EARFCN,LTE Neighbor Cell 2 RSRP(dBm)
2023-10-20 14:53:55.120,8.9990,48.0001,101,1300,-80,-9,101,6200,-97.5,102,1300,-91
2023-10-20 14:53:56.120,8.9991,48.0002,101,1300,-81,-9,102,1300,-90,,,
"""
TEMS = """Exported by a test tool
Log file: drive.log

Time;All-Latitude Decimal Degree;All-Longitude Decimal Degree;MS;\
Serving Cell PCI;Serving Cell DL EARFCN;Serving Cell RSRP (dBm);\
Neighbor Cell PCI[1];Neighbor Cell EARFCN[1];Neighbor Cell RSRP (dBm)[1];\
Neighbor Cell PCI[2];Neighbor Cell EARFCN[2];Neighbor Cell RSRP (dBm)[2]
10:20:30,5;48,0001;8,9990;MS1;101;1300;-80,0;101;6200;-97,5;102;1300;-91,0
10:20:31,5;48,0002;8,9991;MS1;101;1300;-81,0;102;1300;-90,0;;;
"""
SCANS = """!!!!!!!!!!!
UTC,latitude,longitude,HDOP,altitude,fix,COG,spkm,spkn,date,nsat
102030.00,48.0001,8.9990,2.1,124.7,3,131.1,0.0,0.0,201023,4
is_tdd,mcc,mnc,cellid,pcid,earfcn,freq_band_ind,tac,rsrp,rsrq,rssi,sinr,srxlev
"FDD",262,01,19A3C01,101,1300,3,2,-80,-6,-50,25,-
earfcn,pcid,srq,rsrp,rssi,sinr,srxlev
6200,101,-8,-97.5,-75,-,51
1300,102,-7,-91,-60,-,0
!!!!!!!!!!!
UTC,latitude,longitude,HDOP,altitude,fix,COG,spkm,spkn,date,nsat
102031.00,48.0002,8.9991,2.1,124.7,3,131.1,0.0,0.0,201023,4
is_tdd,mcc,mnc,cellid,pcid,earfcn,freq_band_ind,tac,rsrp,rsrq,rssi,sinr,srxlev
"FDD",262,01,19A3C01,101,1300,3,2,-81,-6,-50,25,-
earfcn,pcid,srq,rsrp,rssi,sinr,srxlev
1300,102,-7,-90,-60,-,0
"""


def cells_of_report(names: tuple[str, str, str]) -> list[list[dict]]:
    keys = [[(101, 1300, -80), (101, 6200, -97.5), (102, 1300, -91)], [(101, 1300, -81), (102, 1300, -90)]]
    return [[dict(zip(names, cell, strict=True)) for cell in report] for report in keys]


def places() -> list[tuple[float, float, float]]:
    return [(0.0, 48.0001, 8.9990), (1.0, 48.0002, 8.9991)]


NESTED = [
    {"id": n, "ts": t, "pos": {"lat": lat, "lng": lon}, "cells": cells}
    for n, ((t, lat, lon), cells) in enumerate(zip(places(), cells_of_report(("pci", "earfcn", "rsrp")), strict=True))
]
GEOSUBMIT = {
    "items": [
        {
            "timestamp": 1697813635000 + 1000 * t,
            "position": {"latitude": lat, "longitude": lon, "accuracy": 8.0, "age": 500},
            "cellTowers": [{"radioType": "lte", **cell} for cell in cells],
            "wifiAccessPoints": [{"macAddress": "01:23:45:67:89:ab", "signalStrength": -60}],
        }
        for (t, lat, lon), cells in zip(
            places(), cells_of_report(("primaryScramblingCode", "arfcn", "signalStrength")), strict=True
        )
    ]
}
CELL_INFO = [
    {
        "time": f"2023-10-20T14:53:5{n}+02:00",
        "location": {"mLatitude": lat, "mLongitude": lon},
        "CellInfoLte": [
            {
                "mRegistered": cell["pci"] == 101 and cell["earfcn"] == 1300,
                "mCellIdentityLte": {"mCi": 2147483647, "mPci": cell["pci"], "mEarfcn": cell["earfcn"], "mTac": 77},
                "mCellSignalStrengthLte": {"mRsrp": cell["rsrp"], "mRsrq": -9, "mTimingAdvance": 2147483647},
            }
            for cell in cells
        ],
    }
    for n, ((_, lat, lon), cells) in enumerate(zip(places(), cells_of_report(("pci", "earfcn", "rsrp")), strict=True))
]
FEATURES = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [lon, lat]},
            "properties": {"time": t, "cells": cells},
        }
        for (t, lat, lon), cells in zip(places(), cells_of_report(("pci", "earfcn", "rsrp")), strict=True)
    ],
}
LOGS: dict[str, str | bytes] = {
    "long": LONG,
    "UTF-16": LONG.encode("utf-16"),
    "UTF-16 without a mark": LONG.encode("utf-16-le"),
    "old Macintosh": LONG.replace("\n", "\r"),
    "Windows, with a mark": LONG.replace("\n", "\r\n").encode("utf-8-sig"),
    "Latin-1": LONG.replace("time", "Zeit (größe)").replace("Zeit (größe)", "time (größe)").encode("latin-1"),
    "sep=": "sep=;\n" + LONG,
    "tabs and points": LONG.replace(",", ".").replace(";", "\t"),
    "commas and quotes": '"' + LONG.replace("\n", '"\n"').replace(";", '","')[:-1],
    "bars": LONG.replace(";", "|"),
    "gzip": gzip.compress(LONG.encode()),
    "G-NetTrack": G_NETTRACK,
    "Network Signal Guru": SIGNAL_GURU,
    "TEMS": TEMS,
    "a modem's scans": SCANS,
    "nested array": json.dumps(NESTED, indent=1),
    "JSON lines": "\n".join(map(json.dumps, NESTED)),
    "JSON lines in UTF-16": "\n".join(map(json.dumps, NESTED)).encode("utf-16"),
    "one object after the other": "\n".join(json.dumps(record, indent=2) for record in NESTED),
    "geosubmit": json.dumps(GEOSUBMIT),
    "Android's CellInfo": json.dumps(CELL_INFO),
    "GeoJSON": json.dumps(FEATURES),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_of_any_format_says_the_same(tile: Tile, name: str) -> None:
    part, rejections = read_log(tile, LOGS[name], "log.dat")
    assert rejections.total == 0, rejections.summary
    assert levels(part) == EXPECTED
    assert part is not None
    assert part.position[0].tolist() == pytest.approx([-74.6, 11.1], abs=0.2)
    assert np.diff(part.seconds).tolist() == [1.0]


def test_parquet_is_read_flat_and_nested(tile: Tile) -> None:
    folder = tile.folder.parent
    (folder / "long.csv").write_text(LONG.replace(",", "."))
    flat = f"COPY (SELECT * FROM read_csv('{folder / 'long.csv'}')) TO '{folder / 'flat.parquet'}'"
    (folder / "nested.json").write_text(json.dumps(NESTED))
    nested = f"COPY (SELECT * FROM read_json('{folder / 'nested.json'}')) TO '{folder / 'nested.parquet'}'"
    for query, name in ((flat, "flat.parquet"), (nested, "nested.parquet")):
        duckdb.sql(query)
        part, _ = read_log(tile, (folder / name).read_bytes(), "log.parquet")
        assert levels(part) == EXPECTED


def test_a_wide_table_is_read_by_the_names_of_its_columns(tile: Tile) -> None:
    """Cells in the tile's order, counted from 0 or 1; by their PCI; by names that are given. Empty is silent."""
    head, rows = "id,latitude,longitude", ["1,48.0001,8.999,-80,-97.5,-91", "2,48.0002,8.9991,-81,,-90"]
    for names in ("rsrp_1,rsrp_2,rsrp_3", "RSRP[0],RSRP[1],RSRP[2]"):
        part, rejections = read_log(tile, "\n".join([f"{head},{names}", *rows]), "wide.csv")
        assert levels(part) == EXPECTED
        assert rejections.total == 0
    part, _ = read_log(tile, "\n".join([f"{head},a,b,c", *rows]), "wide.csv", cells=("a", "b", "c"))
    assert levels(part) == EXPECTED
    ranks = [f"{n},48.0001,8.999,-80,-8{n},-91" for n in range(1, 10)] + ["10,48.0001,8.999,-80,-85,-91"]
    with pytest.raises(UelError, match="seem to be ranks"):
        read_log(tile, "\n".join([f"{head},rsrp_1,rsrp_2,rsrp_3", *ranks]), "wide.csv")
    part, rejections = read_log(tile, f"{head},rsrp_102,rsrp_333\n1,48.0001,8.999,-80,-90\n", "wide.csv")
    assert levels(part) == [[None, None, -80.0]]
    assert rejections.counts == {"unknown cell": 1}


@pytest.mark.parametrize("key", [("cell_id", "26885121"), ("eci", "0x19A3C01"), ("cell name", "West"), ("cell", "0")])
def test_a_cell_is_found_by_any_identity(tile: Tile, key: tuple[str, str]) -> None:
    part, _ = read_log(tile, f"time,{key[0]},rsrp\n0,{key[1]},-80\n", "log.csv")
    assert levels(part) == [[-80.0, None, None]]


def test_one_pci_on_two_carriers_is_two_cells_or_none(tile: Tile) -> None:
    part, rejections = read_log(tile, "time,pci,rsrp\n0,101,-80\n0,102,-90\n", "log.csv")
    assert levels(part) == [[None, None, -90.0]]  # both cells stand on one mast: no place tells them apart
    assert rejections.counts == {"ambiguous cell": 1}
    named = {"cell": "pci", "cells": ("101", "800", "102")}
    log = "time,earfcn,pci,rsrp\n0,1300,101,-80\n0,6200,101,-97\n"
    part, rejections = read_log(tile, log, "log.csv", **named)
    assert levels(part) == [[-80.0, None, None]]  # the network knows its carrier
    assert rejections.counts == {"other carrier": 1}
    part, rejections = read_log(tile, log.replace("1300", "1400"), "log.csv", carriers=("1400",), **named)
    assert levels(part) == [[-80.0, None, None]]  # the user says so
    with pytest.raises(UelError, match="ambiguous carrier"):
        read_drive(tile, "latitude,longitude,earfcn,pci,rsrp\n48,9,1400,101,-80\n48,9,3100,101,-97\n", **named)


def test_a_report_of_another_network_is_not_answered(tile: Tile) -> None:
    """One PCI agrees by chance, three do not."""
    rows = "".join(f"0,{pci},1300,-80\n" for pci in (102, 7, 8, 9))
    file = tile.folder.parent / "log.csv"
    file.write_text(f"time,pci,earfcn,rsrp\n{rows}")
    with pytest.raises(UelError, match="1 × other network") as refusal:
        parts_to_locate(tile, file)
    assert "1 of 4 cells belong to this network" in str(refusal.value)
    file.write_text(f"time,pci,earfcn,rsrp\n{rows}0,101,1300,-70\n0,101,6200,-90\n")
    assert levels(LogPart.cat(parts_to_locate(tile, file))) == [[-70.0, -90.0, -80.0]]


def test_the_beams_of_a_cell_are_one_level(tile: Tile) -> None:
    part, rejections = read_log(tile, "time,cell,ssb_index,rsrp\n0,0,0,-80\n0,0,1,-101\n", "log.csv")
    assert levels(part) == [[-80.0, None, None]]
    assert rejections.total == 0


def test_indices_are_told_from_levels(tile: Tile) -> None:
    log = "time,cell,rsrp\n0,0,77\n"
    part, _ = read_log(tile, log, "log.csv", level_unit="nr_index")
    assert levels(part) == [[-80.0, None, None]]  # TS 38.133, table 10.1.6.1-1
    part, _ = read_log(tile, log, "log.csv", level_unit="lte_index")
    assert levels(part) == [[-64.0, None, None]]  # TS 36.133, table 9.1.4-1
    for index in (0, 127, 128, -3, 60.5):
        part, rejections = read_log(tile, f"time,cell,rsrp\n0,0,{index}\n", "log.csv", level_unit="nr_index")
        assert part is None
        assert rejections.counts == {"level out of range": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1697813635", 1697813635.0), ("1697813635250", 1697813635.25), ("1697813635250000", 1697813635.25),
        ("2023-10-20T14:53:55.250Z", 1697813635.25), ("2023-10-20 16:53:55.250+02:00", 1697813635.25),
        ("20.10.2023 14:53:55", 1697813635.0), ("20/10/2023 14:53:55", 1697813635.0),
        ("10/20/2023 14:53:55", 1697813635.0), ("2023.10.20_14.53.55", 1697813635.0),
        ("20231020145355", 1697813635.0), ("12.5", 12.5), ('"12,5"', 12.5), ("01:00:01", 3601.0),
    ],
)  # fmt: skip
def test_times_are_read_in_any_usual_form(tile: Tile, text: str, seconds: float) -> None:
    part, _ = read_log(tile, f"time,cell,rsrp\n{text},0,-80\n", "log.csv")
    assert part is not None
    assert part.seconds[0] == pytest.approx(seconds, abs=1e-3)


def test_days_of_a_spreadsheet_are_told_from_seconds(tile: Tile) -> None:
    day = 45219 + 53635 / 86400  # 2023-10-20 14:53:55
    rows = "".join(f"{day + n / 86400:.11f},0,{-80 - n}\n" for n in range(3))
    part, _ = read_log(tile, f"time,cell,rsrp\n{rows}", "log.csv")
    assert part is not None
    assert part.seconds == pytest.approx([1697813635.0, 1697813636.0, 1697813637.0], abs=1e-3)
    rows = "".join(f"{45219.62031 + n / 10:.5f},0,{-80 - n}\n" for n in range(3))  # s since midnight
    part, _ = read_log(tile, f"time,cell,rsrp\n{rows}", "log.csv")
    assert part is not None
    assert part.seconds == pytest.approx([45219.62031, 45219.72031, 45219.82031])


def test_a_part_ends_with_a_report(tile: Tile) -> None:
    """Rows of a report may stand apart; the parts of a log hold whole reports in the order of their first rows."""
    rows = [f"{time},{cell},{-80 - cell}" for cell in range(3) for time in range(100)]
    file = tile.folder.parent / "log.csv"
    file.write_text("\n".join(["time,cell,rsrp", *rows]))
    with open_log(tile, tile.sites, file, ColumnConfig(), Rejections()) as log:
        parts = list(log.parts(rows=50))
    assert len(parts) > 3
    assert torch.cat([part.reports.heard for part in parts]).all()
    assert np.concatenate([part.seconds for part in parts]).tolist() == [float(n) for n in range(100)]


SEPARATORS = st.sampled_from([",", ";", "\t", "|"])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.integers(-1600, -200).map(lambda tenths: tenths / 10), min_size=1, max_size=8),
    separator=SEPARATORS,
    encoding=ENCODINGS,
    comma=st.booleans(),
    unit=st.sampled_from(["", " dBm"]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_level_is_the_same_however_it_is_written(
    tile: Tile, values: list[float], separator: str, encoding: str, comma: bool, unit: str, ending: str
) -> None:
    """Each level between -156 and -31 dBm is read to the letter, each other is set aside with its row."""

    def written(value: float) -> str:
        text = f"{value}".replace(".", ",") if comma else f"{value}"
        return f'"{text}{unit}"' if separator == "," else f"{text}{unit}"

    rows = [f"{n}{separator}0{separator}{written(value)}" for n, value in enumerate(values)]
    log = ending.join([separator.join(("time", "cell", "rsrp")), *rows, ""])
    part, rejections = read_log(tile, log.encode(encoding), "log.csv")
    good = [value for value in values if -156 <= value <= -31]
    assert (part.reports.rsrp_dbm[:, 0].tolist() if part else []) == pytest.approx(good)
    assert [r.row for r in rejections.kept] == [n + 1 for n, value in enumerate(values) if value not in good]
    assert set(rejections.counts) <= {"level out of range"}


@pytest.mark.slow  # 23 s beside other work
def test_the_duke_scans_are_read(tile: Tile, shared: Path) -> None:
    """A modem's own log of a real network, none of whose cells is here."""
    with pytest.raises(UelError, match="off the tile"):
        parts_to_locate(tile, shared / "measurements/duke_scans/2023-10-20.txt.gz")
