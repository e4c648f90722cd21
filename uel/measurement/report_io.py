"""Reports as JSON; the text is limited in size and depth before it is parsed, and every value is checked.

    {"schema": "uel-report-1",
     "reports": [{"time": 0.0,
                  "cells": [{"cell": 0, "rsrp_dbm": -84, "toa": 4.1e-7, "aoa_deg": 210}, {"cell": 3, "rsrp_dbm": -97}],
                  "serving": 0, "timing_advance": 3, "azimuth_deg": 212}]}

Cells are numbered as in `uel.radio.sites.cells_of`. Values that were not measured are left out; `serving` is the
strongest cell unless given, `time` counts in seconds from the first report. A labelled report also has its position,
`"position": [x, y]` in metres east and north of the tile's centre. `"network"` beside the schema says whose cells the
numbers are (`network_of`); a document of another network is refused.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.tables.text_files import decode
from uel.errors import UelError
from uel.measurement.logs.rules.quantities import RSRP_LIMITS_DBM
from uel.measurement.reports import Reports
from uel.radio.nr_measurements import MAX_TIMING_ADVANCE
from uel.radio.sites import Site, sites_to_json

SCHEMA = "uel-report-1"
MAX_BYTES = 1_000_000
MAX_DEPTH = 6  # the format itself needs five
MAX_REPORTS = 1000
MAX_DIGITS = 18  # of a number: a longer one is no measurement, and slow to read
MAX_TOA = 1e-3  # s: 300 km
MAX_OFFSET = 1e5  # m from the tile's centre
_REPORT = ("time", "cells", "serving", "timing_advance", "azimuth_deg", "position")
_CELL = ("cell", "rsrp_dbm", "toa", "aoa_deg")


@dataclass(frozen=True, eq=False, repr=False)
class ReportSequence(ShortRepr):
    """Reports of one phone, in order."""

    time: Float[Tensor, " report"]
    """s since the first report"""
    reports: Reports
    position: Float[Tensor, "report 2"] | None = None
    """m, true position of each report; None unless all have one"""

    def __len__(self) -> int:
        return len(self.time)


def network_of(sites: tuple[Site, ...]) -> str:
    """A short name of a network, equal for equal sites."""
    return hashlib.sha256(json.dumps(sites_to_json(sites), sort_keys=True).encode()).hexdigest()[:16]


def is_report_document(content: bytes) -> bool:
    """Whether a text begins as one document of this format in any version, rather than as another log."""
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").replace(b"\0", b"")
    start = start.lstrip(b"\xff\xfe \t\r\n")
    return start[:1] == b"{" and SCHEMA.rstrip("0123456789").encode() in start and b'"schema"' in start


def from_json(content: bytes, cells: int, sites: tuple[Site, ...] | None = None) -> ReportSequence:
    """Reports from JSON, for a network of `cells` cells; with its `sites`, the network that the document names is
    compared with it. Raises `UelError` that names the faulty value."""
    document = _mapping(_parse(_text(content)), "the file", ("schema", "network", "reports"))
    if document.get("schema") != SCHEMA:
        raise _wrong("schema", document.get("schema"), f'write "schema": "{SCHEMA}"')
    network = document.get("network")
    if network is not None and sites is not None and network != network_of(sites):
        do = "choose the tile of that network (--tile), or write reports with the identities of their cells"
        raise UelError("these reports are of another network", got=f"{network!r}, here {network_of(sites)}", do=do)
    listed = _list(document.get("reports"), "reports", MAX_REPORTS)
    reports = [_report(item, f"reports[{n}]", cells) for n, item in enumerate(listed)]
    time, position = ([report.pop(name) for report in reports] for name in ("time", "position"))
    for n, (before, after) in enumerate(itertools.pairwise(time), start=1):
        if after < before:
            raise _wrong(f"reports[{n}].time", after, f"sort reports by time; the report before has {before}")
    columns = {name: torch.stack([report[name] for report in reports]) for name in reports[0]}
    known_position = None if None in position else torch.tensor(position, device="cpu")
    return ReportSequence(torch.tensor(time, device="cpu") - time[0], Reports(**columns), known_position)


def to_json(sequence: ReportSequence, sites: tuple[Site, ...] | None = None) -> bytes:
    """Inverse of `from_json`; with its `sites`, the document names its network. Raises `UelError` for a report that
    hears no cell: the format has no such reports."""
    silent = (~sequence.reports.heard.any(-1)).nonzero()[:, 0].tolist()
    if silent:
        raise UelError("a report without a cell cannot be written", got=f"report {silent[0]}", do="leave it out")
    reports = [_plain(sequence.reports[n], float(t)) for n, t in enumerate(sequence.time)]
    if sequence.position is not None:
        reports = [r | {"position": p} for r, p in zip(reports, sequence.position.tolist(), strict=True)]
    network = {} if sites is None else {"network": network_of(sites)}
    return (json.dumps({"schema": SCHEMA, **network, "reports": reports}, indent=1) + "\n").encode()


def _plain(report: Reports, time: float) -> dict[str, Any]:
    cells = []
    for cell in report.heard.nonzero()[:, 0].tolist():
        values: dict[str, Any] = {"cell": cell, "rsrp_dbm": float(report.rsrp_dbm[cell])}
        values |= {"toa": float(report.toa[cell])} if report.has_toa[cell] else {}
        values |= {"aoa_deg": float(report.aoa_deg[cell])} if report.has_aoa[cell] else {}
        cells.append(values)
    plain: dict[str, Any] = {"time": round(time, 6), "cells": cells, "serving": int(report.serving)}
    plain |= {"timing_advance": int(report.timing_advance)} if report.has_timing_advance else {}
    return plain | ({"azimuth_deg": float(report.azimuth_deg)} if report.has_azimuth else {})


# ---- parsing -------------------------------------------------------------------------------------------


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise UelError("this file is too large", got=f"{len(content)} bytes", do=f"give at most {MAX_BYTES}")
    text = decode(content, "this file")
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
            text,
            object_pairs_hook=_unique_names,
            parse_constant=_constant,
            parse_int=_number(int),
            parse_float=_number(float),
        )
    except json.JSONDecodeError as error:
        got = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise UelError("this file is no JSON", got=got, do="correct it") from error


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values, seen = dict(pairs), set[str]()
    if len(values) < len(pairs):
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise UelError("a name is given twice", got=repr(_short(repeated)), do="give it once")
    return values


def _constant(text: str) -> Any:
    raise UelError("a number is not finite", got=text, do="leave out what was not measured")


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read_number(text: str) -> Any:
        if len(text) > MAX_DIGITS + 8 or not math.isfinite(value := kind(text)):
            raise UelError("a number is no measurement", got=_short(text), do=f"give at most {MAX_DIGITS} digits")
        return value

    return read_number


# ---- checking values -----------------------------------------------------------------------------------


def _report(value: Any, where: str, cells: int) -> dict[str, Any]:
    """Fields of `Reports` for one report, its time and its position."""
    values = _mapping(value, where, _REPORT)
    listed = _list(values.get("cells"), f"{where}.cells", cells)
    report = _levels([_cell(item, f"{where}.cells[{n}]", cells) for n, item in enumerate(listed)], where, cells)
    heard = report["heard"].nonzero()[:, 0].tolist()
    strongest = int(torch.where(report["heard"], report["rsrp_dbm"], -torch.inf).argmax())
    serving = _integer(values, "serving", where, (0, cells - 1), strongest)
    if serving not in heard:
        raise _wrong(f"{where}.serving", serving, f"name one of the reported cells: {', '.join(map(str, heard))}")
    advance = _integer(values, "timing_advance", where, (0, MAX_TIMING_ADVANCE), None)
    azimuth = _real(values, "azimuth_deg", where, (0.0, 360.0), None)
    return report | {
        "position": _position(values["position"], f"{where}.position") if "position" in values else None,
        "time": _real(values, "time", where, (0.0, 1e9), 0.0),
        "serving": torch.tensor(serving, device="cpu"),
        "timing_advance": torch.tensor(float(advance or 0), device="cpu"),
        "has_timing_advance": torch.tensor(advance is not None, device="cpu"),
        "azimuth_deg": torch.tensor((azimuth or 0.0) % 360.0, device="cpu"),
        "has_azimuth": torch.tensor(azimuth is not None, device="cpu"),
    }


def _position(value: Any, where: str) -> list[float]:
    x, y = (*_list(value, where, 2), None)[:2]
    return [_real({name: v}, name, where, (-MAX_OFFSET, MAX_OFFSET)) for name, v in (("x", x), ("y", y))]


def _cell(value: Any, where: str, cells: int) -> dict[str, Any]:
    values = _mapping(value, where, _CELL)
    return {
        "cell": _integer(values, "cell", where, (0, cells - 1)),
        "rsrp_dbm": _real(values, "rsrp_dbm", where, RSRP_LIMITS_DBM),
        "toa": _real(values, "toa", where, (0.0, MAX_TOA), None),
        "aoa_deg": _real(values, "aoa_deg", where, (0.0, 360.0), None),
    }


def _levels(reported: list[dict[str, Any]], where: str, cells: int) -> dict[str, Tensor]:
    numbers = [cell["cell"] for cell in reported]
    if len(set(numbers)) < len(numbers):
        raise _wrong(f"{where}.cells", f"cells {numbers}", "name each cell once")
    columns: dict[str, Tensor] = {name: torch.zeros(cells, device="cpu") for name in ("rsrp_dbm", "toa", "aoa_deg")}
    columns |= {name: torch.zeros(cells, dtype=torch.bool, device="cpu") for name in ("heard", "has_toa", "has_aoa")}
    for cell in reported:
        index = cell["cell"]
        columns["heard"][index] = True
        columns["rsrp_dbm"][index] = cell["rsrp_dbm"]
        for name, mask in (("toa", "has_toa"), ("aoa_deg", "has_aoa")):
            if cell[name] is not None:
                columns[name][index], columns[mask][index] = cell[name], True
    return columns


def _mapping(value: Any, where: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, type(value).__name__, f"give names and values: {', '.join(names)}")
    unknown = next((name for name in value if name not in names), None)
    if unknown is not None:
        raise _wrong(where, f"the name {_short(unknown)!r}", f"known are {', '.join(names)}")
    return value


def _list(value: Any, where: str, limit: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= limit:
        got = f"{len(value)} of them" if isinstance(value, list) else type(value).__name__
        raise _wrong(where, got, f"give a list of 1 to {limit}")
    return value


_REQUIRED: Any = object()


def _integer(
    values: Mapping[str, Any], name: str, where: str, limits: tuple[int, int], default: Any = _REQUIRED
) -> Any:
    return _value(values, name, where, (int,), limits, default)


def _real(
    values: Mapping[str, Any], name: str, where: str, limits: tuple[float, float], default: Any = _REQUIRED
) -> Any:
    value = _value(values, name, where, (int, float), limits, default)
    return value if value is None else float(value)


def _value(values: Mapping[str, Any], name: str, where: str, kinds: tuple[type, ...], limits: Any, default: Any) -> Any:
    if name not in values:
        if default is _REQUIRED:
            raise _wrong(f"{where}.{name}", "nothing", f"give a number from {limits[0]:g} to {limits[1]:g}")
        return default
    value = values[name]
    # A Boolean is an int in Python, but not in the format.
    if isinstance(value, bool) or not isinstance(value, kinds) or not limits[0] <= value <= limits[1]:
        kind = "a whole number" if kinds == (int,) else "a number"
        raise _wrong(f"{where}.{name}", _short(repr(value)), f"give {kind} from {limits[0]:g} to {limits[1]:g}")
    return value


def _wrong(where: str, got: object, do: str) -> UelError:
    return UelError(f"{where} is wrong", got=got, do=do)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
