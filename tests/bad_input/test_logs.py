"""Logs with something wrong in them: every fault is an error that says what to do, or a named rule with its row."""

import gzip
import json
from pathlib import Path

import pytest

from tests.helpers.log_tile import log_tile, parts_to_locate, read_log
from uel.errors import UelError
from uel.geo.tile import Tile

GOOD = "0,48.0001,8.9990,1300,101,-80"  # a row of HEADER that is used
HEADER = "time,latitude,longitude,earfcn,pci,rsrp"


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return log_tile(tmp_path_factory.mktemp("logs") / "tile")


def with_level(level: str) -> str:
    return f"{HEADER}\n{GOOD}\n1,48.0001,8.9991,1300,101,{level}\n"


def with_row(row: str) -> str:
    return f"{HEADER}\n{GOOD}\n{row}\n"


# id: (content, rule that sets the second row aside)
ROWS = {
    "Android's unavailable": (with_level("2147483647"), "no level"),
    "Android's unavailable, 64 bits": (with_level("9223372036854775807"), "no level"),
    "a float of it": (with_level("2147483647.0"), "no level"),
    "minus one": (with_level("-1"), "no level"),
    "zero": (with_level("0"), "no level"),
    "a modem's 255": (with_level("255"), "no level"),
    "an exporter's -999": (with_level("-999"), "no level"),
    "a hyphen": (with_level("-"), "no level"),
    "an empty level": (with_level(""), "no level"),
    "NaN": (with_level("NaN"), "no level"),
    "null": (with_level("null"), "no level"),
    "N/A": (with_level("N/A"), "no level"),
    "infinity": (with_level("inf"), "no number"),
    "a word": (with_level("loud"), "no number"),
    "a hexadecimal": (with_level("0x50"), "no number"),
    "two numbers": (with_level("-80 -90"), "no number"),
    "an index of NR": (with_level("43"), "level out of range"),
    "GSM's 99": (with_level("99"), "level out of range"),
    "GSM's 114": (with_level("114"), "level out of range"),
    "a lost sign": (with_level("80"), "level out of range"),
    "tenths of a dB": (with_level("-850"), "level out of range"),
    "too loud": (with_level("-30.5"), "level out of range"),
    "too quiet": (with_level("-157"), "level out of range"),
    "an RSRQ": (with_level("-11"), "level out of range"),
    "a power in watts": (with_level("1e-11"), "level out of range"),
    "another PCI": (with_row("1,48.0001,8.9991,1300,333,-80"), "unknown cell"),
    "no PCI": (with_row("1,48.0001,8.9991,1300,,-80"), "unknown cell"),
    "PCI unavailable": (with_row("1,48.0001,8.9991,1300,2147483647,-80"), "unknown cell"),
    "a PCI of 1200": (with_row("1,48.0001,8.9991,1300,1200,-80"), "unknown cell"),
    "a frequency that is none": (f"{HEADER},freq\n{GOOD},\n1,48.0001,8.9991,,101,-80,loud\n", "unknown cell"),
    "a band as frequency": (f"{HEADER},freq\n{GOOD},\n1,48.0001,8.9991,,101,-80,3\n", "other carrier"),
    "a frequency of another carrier": (
        f"{HEADER},Frequency (MHz)\n{GOOD},\n1,48.0001,8.9991,,101,-80,2650\n",
        "other carrier",
    ),
    "Android's text, unavailable": (
        "".join(
            f"[CellInfoLte:{{mRegistered=YES CellIdentityLte:{{ mPci=101 mEarfcn=1300 }} rsrp={level} ta=1 }}]\n"
            for level in (-80, 2147483647)
        ),
        "no level",
    ),
    "Android's text of another cell": (
        "".join(
            f"[CellInfoLte:{{mRegistered=YES CellIdentityLte:{{ mPci={pci} mEarfcn=1300 }} rsrp=-80 ta=1 }}]\n"
            for pci in (101, 333)
        ),
        "unknown cell",
    ),
    "a negative PCI": (with_row("1,48.0001,8.9991,1300,-7,-80"), "unknown cell"),
    "another carrier": (with_row("1,48.0001,8.9991,3100,102,-80"), "other carrier"),
    "an uplink EARFCN": (with_row("1,48.0001,8.9991,19300,101,-80"), "unknown cell"),
    "a fractional EARFCN": (with_row("1,48.0001,8.9991,1300.5,101,-80"), "unknown cell"),
    "off the tile": (with_row("1,48.1,8.9991,1300,101,-80"), "off the tile"),
    "swapped latitude and longitude": (with_row("1,8.9991,48.0001,1300,101,-80"), "off the tile"),
    "null island": (with_row("1,0,0,1300,101,-80"), "no position"),
    "degrees times 1e7": (with_row("1,480001000,89991000,1300,101,-80"), "no position"),
    "a latitude of 91": (with_row("1,91,8.9991,1300,101,-80"), "no position"),
    "half a position": (with_row("1,48.0001,,1300,101,-80"), "no position"),
    "a position in words": (with_row("1,here,there,1300,101,-80"), "no position"),
    "degrees and minutes": (with_row("1,48°00.006',8°59.9',1300,101,-80"), "no position"),
    "the same row again": (with_row(GOOD), "duplicate"),
    "too many fields": (with_row("1,48.0001,8.9991,1300,101,-80,7"), "too many fields"),
    "a decimal comma in a comma table": (with_row("1,48,0001,8,9991,1300,101,-80"), "too many fields"),
    "too few fields": (with_row("1,48.0001,8.9991"), "no level"),
    "the header again": (with_row(HEADER), "no number"),
    "two levels of one moment": (with_row("0,48.0001,8.9990,1300,101,-95"), "contradiction"),
    "a line of JSON that is none": ('{"pci": 101, "earfcn": 1300, "rsrp": -80}\n{"pci": 101,\n', "no record"),
    "a line that is a list": ('{"pci": 101, "earfcn": 1300, "rsrp": -80}\n[1, 2]\n', "no record"),
    "a record without cells": ('{"pci": 101, "earfcn": 1300, "rsrp": -80}\n{"battery": 3}\n', "no record"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_faulty_row_is_set_aside_by_its_rule(tile: Tile, name: str) -> None:
    content, rule = ROWS[name]
    part, rejections = read_log(tile, content, "log.csv")
    assert rule in rejections.counts, dict(rejections.counts)
    assert {rejection.row for rejection in rejections.kept} <= {1, 2, 3}
    if part is not None:
        heard = part.reports.rsrp_dbm[part.reports.heard]
        assert heard.tolist() == [-80.0]
        assert not part.position.isinf().any()


def test_a_level_out_of_range_is_named_with_the_range(tile: Tile) -> None:
    _, rejections = read_log(tile, with_level("43"), "log.csv")
    assert [rejection.reason for rejection in rejections.kept] == [
        "level out of range: 43 in dbm; RSRP is from -156 to -31 dBm"
    ]


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


# id: (content, options, words of the refusal)
FILES = {
    "nothing": (b"", {}, "empty"),
    "blank lines": (b"\n\n \n", {}, "empty"),
    "a workbook": (b"PK\x03\x04" + bytes(40), {}, "Excel"),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(40), {}, "Excel"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\xff" * 20, {}, "no text"),
    "a database": (b"SQLite format 3\x00" + bytes(40), {}, "SQLite"),
    "half a gzip": (gzip.compress(with_level("-80").encode() * 50)[:60], {}, "cannot be read"),
    "a ZIP archive": (b"PK\x03\x04" + bytes(40), {}, "unpack it"),
    "gzip twice": (gzip.compress(gzip.compress(b"time,pci,rsrp\n0,101,-80\n")), {}, "no text"),
    "half a Parquet": (b"PAR1" + bytes(40), {}, "Parquet file is damaged"),
    "prose": (b"To whom it may concern\nI heard a cell.\n", {}, "names the columns"),
    "numbers without a header": (b"0,48.0,9.0,1300,101,-80\n" * 3, {}, "names the columns"),
    "no level": (b"time,latitude,longitude,pci\n0,48,9,101\n", {}, "no column of RSRP"),
    "RSSI alone": (b"time,pci,rssi\n0,101,-60\n", {}, "rssi: another quantity"),
    "levels of nobody": (b"time,rsrp\n0,-80\n", {}, "whose level"),
    "two columns of levels": (b"time,pci,RSRP,rsrp_dbm\n0,101,-80,-81\n", {}, "two columns mean the rsrp"),
    "more columns than cells": (b"time,rsrp_1,rsrp_2\n0,-80,-90\n", {}, "the tile has 3 cells"),
    "a missing column": (with_level("-80").encode(), {"level": "power"}, "no such column"),
    "another encoding": (with_level("-80").encode("utf-16"), {"encoding": "ascii"}, "encoding ascii"),
    "an unknown encoding": (with_level("-80").encode(), {"encoding": "klingon"}, "klingon"),
    "too few names": (with_level("-80").encode(), {"cells": ("a",)}, "every cell of the tile needs a name"),
    "indices by name": (b"time,pci,earfcn,ss_rsrp_index\n0,101,1300,60\n", {}, "level-unit"),
    "another CRS": (b"x,y,pci,rsrp\n0,0,101,-80\n", {"crs": "EPSG:0"}, "no coordinate reference system"),
    "JSON that ends early": (b'{"reports": [{"pci": 101', {}, "no JSON"),
    "an array that ends early": (b'[{"pci": 101}, {"pci"', {}, "no JSON"),
    "two lists of records": (b'{"a": [{"pci": 1, "rsrp": -80}], "b": [{"pci": 1, "rsrp": -80}]}', {}, "several lists"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_log_is_refused_with_what_to_do(tile: Tile, name: str) -> None:
    content, options, words = FILES[name]
    with pytest.raises(UelError) as refusal:
        read_log(tile, content, "log.bin", **options)
    assert words in str(refusal.value)
    assert "do:" in str(refusal.value)


@pytest.mark.parametrize("content", [deep(40), deep(100_000), json.dumps([[]] * 3), json.dumps([1, 2])])
def test_strange_json_is_no_report(tile: Tile, content: str) -> None:
    try:
        part, rejections = read_log(tile, content, "log.json")
    except UelError:
        return
    assert part is None
    assert set(rejections.counts) == {"no record"}


def test_a_missing_file_is_named(tile: Tile) -> None:
    with pytest.raises(UelError, match="no such file of reports"):
        parts_to_locate(tile, Path("nowhere.csv"))
