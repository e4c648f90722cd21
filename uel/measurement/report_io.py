"""Phones' reports as JSON: what comes from outside is measured before it is parsed, and checked before it is used.

    {"schema": "uel-report-1",
     "reports": [{"time": 0.0,
                  "cells": [{"cell": 0, "rsrp_dbm": -84, "toa": 4.1e-7, "aoa_deg": 210}, {"cell": 3, "rsrp_dbm": -97}],
                  "serving": 0, "timing_advance": 3, "azimuth_deg": 212}]}

Cells are numbered as in `uel.radio.sites.cells_of`. Whatever a phone did not say is left out; `serving` is the
strongest cell unless given, `time` counts in seconds from the first report. A labelled report also says where it was
sent from, `"position": [x, y]` in metres east and north of the tile's centre.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uel.errors import UelError
from uel.measurement.reports import Reports

SCHEMA = "uel-report-1"
MAX_BYTES = 1_000_000
MAX_DEPTH = 6  # the format itself needs five
MAX_REPORTS = 1000
MAX_DIGITS = 18  # of a number: more is no measurement, and slow to read
RSRP_LIMITS_DBM = (-156.0, -31.0)  # what SS-RSRP can be reported as, TS 38.133 table 10.1.6.1-1
MAX_TIMING_ADVANCE = 3846  # steps, TS 38.213 clause 4.2
MAX_TOA = 1e-3  # s: 300 km
MAX_OFFSET = 1e5  # m
_REPORT = ("time", "cells", "serving", "timing_advance", "azimuth_deg", "position")
_CELL = ("cell", "rsrp_dbm", "toa", "aoa_deg")


@dataclass(frozen=True, eq=False)
class ReportSequence:
    """Reports of one phone, in order."""

    time: Float[Tensor, " report"]
    """s since the first report"""
    reports: Reports
    position: Float[Tensor, "report 2"] | None = None
    """m, where each was sent from, if all say it"""

    def __len__(self) -> int:
        return len(self.time)


def from_json(content: bytes, cells: int) -> ReportSequence:
    """Reports out of JSON, for a network of `cells` cells. Raises `UelError` that says where and what is wrong."""
    stored = _parse(_text(content))
    top = _mapping(stored, "the file", ("schema", "reports"))
    if top.get("schema") != SCHEMA:
        raise _wrong("schema", top.get("schema"), f'write "schema": "{SCHEMA}"')
    listed = _list(top.get("reports"), "reports", MAX_REPORTS)
    reports = [_report(item, f"reports[{n}]", cells) for n, item in enumerate(listed)]
    time, position = ([report.pop(name) for report in reports] for name in ("time", "position"))
    for n, (before, after) in enumerate(itertools.pairwise(time), start=1):
        if after < before:
            raise _wrong(f"reports[{n}].time", after, f"put reports in order: the one before has {before}")
    columns = {name: torch.stack([report[name] for report in reports]) for name in reports[0]}
    told = None if None in position else torch.tensor(position)
    return ReportSequence(torch.tensor(time) - time[0], Reports(**columns), told)


def to_json(timeline: ReportSequence) -> bytes:
    """The inverse of `from_json`. Raises `UelError` where a report hears no cell: the format has no such reports."""
    silent = (~timeline.reports.heard.any(-1)).nonzero()[:, 0].tolist()
    if silent:
        raise UelError("a report without a cell cannot be written", got=f"report {silent[0]}", do="leave it out")
    reports = [_plain(timeline.reports[n], float(t)) for n, t in enumerate(timeline.time)]
    if timeline.position is not None:
        reports = [said | {"position": at} for said, at in zip(reports, timeline.position.tolist(), strict=True)]
    return (json.dumps({"schema": SCHEMA, "reports": reports}, indent=1) + "\n").encode()


def _plain(report: Reports, time: float) -> dict[str, Any]:
    cells = []
    for cell in report.heard.nonzero()[:, 0].tolist():
        said: dict[str, Any] = {"cell": cell, "rsrp_dbm": float(report.rsrp_dbm[cell])}
        said |= {"toa": float(report.toa[cell])} if report.has_toa[cell] else {}
        said |= {"aoa_deg": float(report.aoa_deg[cell])} if report.has_aoa[cell] else {}
        cells.append(said)
    whole: dict[str, Any] = {"time": round(time, 6), "cells": cells, "serving": int(report.serving)}
    whole |= {"timing_advance": int(report.timing_advance)} if report.has_timing_advance else {}
    return whole | ({"azimuth_deg": float(report.azimuth_deg)} if report.has_azimuth else {})


# ---- before anything is parsed -------------------------------------------------------------------------


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise UelError("this file is too large", got=f"{len(content)} bytes", do=f"give at most {MAX_BYTES}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UelError("this file is no UTF-8 text", got=error.reason, do="give JSON") from error
    depth = _depth(text)
    if depth > MAX_DEPTH:
        raise UelError("this file is nested too deeply", got=f"{depth} levels", do=f"give at most {MAX_DEPTH}")
    return text


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside of strings."""
    depth = deepest = 0
    inside = escaped = False
    for letter in text:
        if inside:
            inside, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter == '"':
            inside = True
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_constant, parse_int=_number(int), parse_float=_number(float)
        )
    except json.JSONDecodeError as error:
        got = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise UelError("this file is no JSON", got=got, do="correct it") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UelError("a name is given twice", got=repr(_short(twice)), do="give it once")
    return dict(pairs)


def _constant(text: str) -> Any:
    raise UelError("a number is not finite", got=text, do="leave out what was not measured")


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read_number(text: str) -> Any:
        if len(text) > MAX_DIGITS + 8 or not math.isfinite(value := kind(text)):
            raise UelError("this is no measurement", got=_short(text), do=f"give at most {MAX_DIGITS} digits")
        return value

    return read_number


# ---- what it says --------------------------------------------------------------------------------------


def _report(value: Any, where: str, cells: int) -> dict[str, Any]:
    """One report as `Reports` has it, and its time."""
    said = _mapping(value, where, _REPORT)
    listed = _list(said.get("cells"), f"{where}.cells", cells)
    report = _levels([_cell(item, f"{where}.cells[{n}]", cells) for n, item in enumerate(listed)], where, cells)
    heard = report["heard"].nonzero()[:, 0].tolist()
    strongest = int(torch.where(report["heard"], report["rsrp_dbm"], -torch.inf).argmax())
    serving = _integer(said, "serving", where, (0, cells - 1), strongest)
    if serving not in heard:
        raise _wrong(f"{where}.serving", serving, f"name one of the reported cells: {', '.join(map(str, heard))}")
    advance = _integer(said, "timing_advance", where, (0, MAX_TIMING_ADVANCE), None)
    azimuth = _real(said, "azimuth_deg", where, (0.0, 360.0), None)
    return report | {
        "position": _position(said["position"], f"{where}.position") if "position" in said else None,
        "time": _real(said, "time", where, (0.0, 1e9), 0.0),
        "serving": torch.tensor(serving),
        "timing_advance": torch.tensor(float(advance or 0)),
        "has_timing_advance": torch.tensor(advance is not None),
        "azimuth_deg": torch.tensor((azimuth or 0.0) % 360.0),
        "has_azimuth": torch.tensor(azimuth is not None),
    }


def _position(value: Any, where: str) -> list[float]:
    x, y = (*_list(value, where, 2), None)[:2]
    return [_real({name: v}, name, where, (-MAX_OFFSET, MAX_OFFSET)) for name, v in (("x", x), ("y", y))]


def _cell(value: Any, where: str, cells: int) -> dict[str, Any]:
    said = _mapping(value, where, _CELL)
    return {
        "cell": _integer(said, "cell", where, (0, cells - 1)),
        "rsrp_dbm": _real(said, "rsrp_dbm", where, RSRP_LIMITS_DBM),
        "toa": _real(said, "toa", where, (0.0, MAX_TOA), None),
        "aoa_deg": _real(said, "aoa_deg", where, (0.0, 360.0), None),
    }


def _levels(said: list[dict[str, Any]], where: str, cells: int) -> dict[str, Tensor]:
    numbers = [cell["cell"] for cell in said]
    if len(set(numbers)) < len(numbers):
        raise _wrong(f"{where}.cells", f"cells {numbers}", "name each cell once")
    columns: dict[str, Tensor] = {name: torch.zeros(cells) for name in ("rsrp_dbm", "toa", "aoa_deg")}
    columns |= {name: torch.zeros(cells, dtype=torch.bool) for name in ("heard", "has_toa", "has_aoa")}
    for cell in said:
        at = cell["cell"]
        columns["heard"][at] = True
        columns["rsrp_dbm"][at] = cell["rsrp_dbm"]
        for name, mask in (("toa", "has_toa"), ("aoa_deg", "has_aoa")):
            if cell[name] is not None:
                columns[name][at], columns[mask][at] = cell[name], True
    return columns


def _mapping(value: Any, where: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, type(value).__name__, f"give names and values: {', '.join(names)}")
    unknown = next((name for name in value if name not in names), None)
    if unknown is not None:
        raise _wrong(where, f"the name {_short(unknown)!r}", f"known are {', '.join(names)}")
    return value


def _list(value: Any, where: str, most: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        got = f"{len(value)} of them" if isinstance(value, list) else type(value).__name__
        raise _wrong(where, got, f"give a list of 1 to {most}")
    return value


_NEEDED: Any = object()


def _integer(said: Mapping[str, Any], name: str, where: str, span: tuple[int, int], default: Any = _NEEDED) -> Any:
    return _value(said, name, where, (int,), span, default)


def _real(said: Mapping[str, Any], name: str, where: str, span: tuple[float, float], default: Any = _NEEDED) -> Any:
    value = _value(said, name, where, (int, float), span, default)
    return value if value is None else float(value)


def _value(said: Mapping[str, Any], name: str, where: str, kinds: tuple[type, ...], span: Any, default: Any) -> Any:
    if name not in said:
        if default is _NEEDED:
            raise _wrong(f"{where}.{name}", "nothing", f"give a number from {span[0]:g} to {span[1]:g}")
        return default
    value = said[name]
    # True is an integer to Python, and none to us.
    if isinstance(value, bool) or not isinstance(value, kinds) or not span[0] <= value <= span[1]:
        kind = "a whole number" if kinds == (int,) else "a number"
        raise _wrong(f"{where}.{name}", _short(repr(value)), f"give {kind} from {span[0]:g} to {span[1]:g}")
    return value


def _wrong(where: str, got: object, do: str) -> UelError:
    return UelError(f"{where} is wrong", got=got, do=do)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
