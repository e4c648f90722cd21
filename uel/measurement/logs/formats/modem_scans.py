"""A modem's text log of scans: blocks of comma-separated sections, each a line of names above lines of values.

    !!!!!!!!!!!
    UTC,latitude,longitude,…,date,nsat
    145355.00,36.00280,-78.93724,…,201023,4
    is_tdd,mcc,mnc,cellid,pcid,earfcn,…,rsrp,rsrq,rssi,sinr,srxlev
    "TDD",315,010,6A401,20,56140,…,-89,-6,-63,25,-
    earfcn,pcid,srq,rsrp,rssi,sinr,srxlev
    56140,20,-6,-88,-62,-,51

A block is one report: its position and time, its serving cell, and all the cells that were heard. The names of the
columns are those of a table; cell identities with letters are hexadecimal, as modems print them.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any

from uel.measurement.logs.formats.column_names import meaning_of

DIVIDER_PATTERN = re.compile(r"^\s*[^\w\s\"'+-]{4,}\s*$")
MIN_KNOWN_NAMES = 3  # of a line of names


def is_modem_scan(lines: Iterable[str]) -> bool:
    """Whether the first lines of a text are a divider and a line of names."""
    filled = [line for line in lines if line.strip()][:2]
    return len(filled) == 2 and bool(DIVIDER_PATTERN.match(filled[0])) and _is_header(next(csv.reader([filled[1]]), []))


def scan_records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """One record a block: values of its report, and its cells."""
    header: list[str] = []
    report: dict[str, Any] = {}
    cells: list[dict[str, str]] = []
    for line in lines:
        if DIVIDER_PATTERN.match(line):
            if report or cells:
                yield _record(report, cells)
            header, report, cells = [], {}, []
            continue
        fields = [field.strip() for field in next(csv.reader([line]), [])]
        if not any(fields):
            continue
        if _is_header(fields):
            header = fields
            continue
        values = {name: value for name, value in zip(header, fields, strict=False) if value not in ("", "-")}
        if "rsrp" in {m.quantity for name in header if (m := meaning_of(name))}:
            cells.append(values)
        else:
            report |= values
    if report or cells:
        yield _record(report, cells)


def _is_header(fields: list[str]) -> bool:
    is_text = not any(re.fullmatch(r"[+-]?\d+(\.\d*)?", field.strip()) for field in fields)
    return is_text and sum(meaning_of(field) is not None for field in fields) >= MIN_KNOWN_NAMES


def _record(report: dict[str, Any], cells: list[dict[str, str]]) -> dict[str, Any]:
    """A block with the cell identities of its cells as whole numbers, and one time of its date and its time of day."""
    for cell in cells:
        for name, value in list(cell.items()):
            meaning = meaning_of(name)
            if meaning and meaning.quantity == "cell_id" and re.fullmatch(r"[0-9A-Fa-f]+", value):
                cell[name] = str(int(value, 16))
                cell["serving"] = "true"  # a modem knows the identity of the cell that it is connected to
    return {**report, "cells": cells}
