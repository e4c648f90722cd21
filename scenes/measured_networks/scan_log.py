"""Reads a folder of a modem's scan logs, one file a day: all cells at one instant, serving and neighbours.

A scan begins with a line of exclamation marks. It has a table of the position (`UTC,latitude,longitude,…`), one of the
serving cell (`…,pcid,earfcn,…,rsrp,…`) and one of the neighbours (`earfcn,pcid,srq,rsrp,…`). A cell's identity is its
EARFCN and PCI together, as some PCIs are used on two carriers. One measured square is what one day's scans say on one
square of `SQUARE_SIDE` metres; days are told apart as makes of phones are.
"""

import csv
from pathlib import Path

import pandas as pd

from scenes.measured_networks.drive_folder import network_of_levels
from uel.core.outside.compression import open_unpacked
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork

SCAN_PATTERNS = ("*.txt", "*.txt.gz")
SCAN_MARK = "!!!"
SERVING_COLUMNS = {"pcid", "earfcn", "rsrp", "cellid"}
NEIGHBOUR_COLUMNS = {"pcid", "earfcn", "rsrp"}
POSITION_COLUMNS = {"latitude", "longitude", "fix"}


def scan_files(folder: Path) -> list[Path]:
    """The logs of scans in a folder, by name: those whose first line begins with `SCAN_MARK`."""
    files = sorted(file for pattern in SCAN_PATTERNS for file in folder.glob(pattern))
    return [file for file in files if _text(file, 64).startswith(SCAN_MARK)]


def read_scan_logs(folder: Path) -> MeasuredNetwork:
    """The network of a folder of scan logs; no antenna is known, and a phone can be anywhere around the reports.

    Raises `UelError` for a folder without logs, and for a log without a scan that has a position and a cell.
    """
    files = scan_files(folder)
    if not files:
        raise UelError("the folder has no log of scans", got=str(folder), do=f"add one: {', '.join(SCAN_PATTERNS)}")
    rows = [row for file in files for row in _rows(file)]
    return network_of_levels(folder, pd.DataFrame(rows), [], 0.0)


def _rows(file: Path) -> list[dict[str, object]]:
    """Levels of all scans of a day, as rows of a table of levels."""
    rows = list[dict[str, object]]()
    for scan in _text(file).split(SCAN_MARK):
        rows += _scan_rows(scan.lstrip("!").splitlines(), file.name.partition(".")[0])
    if not rows:
        do = "give a log whose scans have tables of position, serving cell and neighbours"
        raise UelError("the log has no scan with a position and a cell", got=str(file), do=do)
    return rows


def _scan_rows(lines: list[str], day: str) -> list[dict[str, object]]:
    """Levels of one scan; none without a position. A serving cell that is among its own neighbours counts once."""
    place, levels, header = None, dict[str, float](), list[str]()
    for fields in csv.reader(lines):
        names = {field.strip() for field in fields}
        if names >= POSITION_COLUMNS or names >= NEIGHBOUR_COLUMNS:
            header = [field.strip() for field in fields]
            continue
        values = dict(zip(header, fields, strict=False))
        try:
            if "latitude" in values:
                place = {"latitude": float(values["latitude"]), "longitude": float(values["longitude"])}
            elif set(values) >= NEIGHBOUR_COLUMNS:
                levels.setdefault(f"{int(values['earfcn'])}/{int(values['pcid'])}", float(values["rsrp"]))
        except ValueError:
            continue  # a row of an absent cell: the modem writes "-" for what it does not know
    if place is None:
        return []
    return [{"PCI": identity, "rsrp": level, "device": day, **place} for identity, level in levels.items()]


def _text(file: Path, count: int = -1) -> str:
    """The first bytes of a log as text, all of them by default."""
    with open_unpacked(file) as stream:
        return stream.read(count).decode(errors="replace")
