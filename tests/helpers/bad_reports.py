"""Files that are no reports, and a word that the refusal must hold; for a network of four cells."""

import json
from typing import Any

GOOD: dict[str, Any] = {
    "schema": "uel-report-1",
    "reports": [
        {
            "time": 10.0,
            "cells": [{"cell": 0, "rsrp_dbm": -84}, {"cell": 3, "rsrp_dbm": -97.5, "toa": 4.1e-7, "aoa_deg": 12}],
            "timing_advance": 3,
            "azimuth_deg": 212.0,
        },
        {"time": 12.5, "cells": [{"cell": 3, "rsrp_dbm": -90}, {"cell": 1, "rsrp_dbm": -91}], "serving": 1},
    ],
}


def changed(**report: Any) -> bytes:
    """The good file with another first report."""
    return json.dumps({**GOOD, "reports": [{**GOOD["reports"][0], **report}, GOOD["reports"][1]]}).encode()


def _without_schema() -> bytes:
    return json.dumps({"reports": GOOD["reports"]}).encode()


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no JSON"),
    "not JSON": (b"reports: 1", "no JSON"),
    "cut off": (json.dumps(GOOD).encode()[:-9], "no JSON"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\xff", "UTF-8"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.", "UTF-8"),
    "too large": (b" " * 1_000_001, "too large"),
    "too deep": (b"[" * 100_000 + b"]" * 100_000, "nested"),
    "not a number": (changed(azimuth_deg="AZ").replace(b'"AZ"', b"NaN"), "not finite"),
    "infinite": (changed(azimuth_deg="AZ").replace(b'"AZ"', b"-Infinity"), "not finite"),
    "overflowing": (changed(azimuth_deg="AZ").replace(b'"AZ"', b"1e999"), "no measurement"),
    "endless digits": (changed(timing_advance="TA").replace(b'"TA"', b"9" * 5000), "no measurement"),
    "a name twice": (b'{"schema": "uel-report-1", "schema": "uel-report-1", "reports": []}', "twice"),
    "a list": (json.dumps(GOOD["reports"]).encode(), "the file"),
    "without a schema": (_without_schema(), "schema"),
    "another schema": (json.dumps({**GOOD, "schema": "uel-report-9"}).encode(), "schema"),
    "without reports": (json.dumps({**GOOD, "reports": []}).encode(), "reports"),
    "too many reports": (json.dumps({**GOOD, "reports": [0] * 1001}).encode(), "reports"),
    "an unknown name": (changed(rsrp=-84), "rsrp"),
    "no cells": (changed(cells=[]), "reports[0].cells"),
    "a cell twice": (changed(cells=[{"cell": 0, "rsrp_dbm": -84}] * 2), "once"),
    "a cell that is not there": (changed(cells=[{"cell": 4, "rsrp_dbm": -84}]), "cells[0].cell"),
    "no level": (changed(cells=[{"cell": 0}]), "rsrp_dbm"),
    "a level as text": (changed(cells=[{"cell": 0, "rsrp_dbm": "-84"}]), "rsrp_dbm"),
    "a level as truth": (changed(cells=[{"cell": 0, "rsrp_dbm": True}]), "rsrp_dbm"),
    "too loud": (changed(cells=[{"cell": 0, "rsrp_dbm": 12}]), "rsrp_dbm"),
    "broken advance": (changed(timing_advance=2.5), "timing_advance"),
    "azimuth beyond": (changed(azimuth_deg=361), "azimuth_deg"),
    "time reversed": (changed(time=99), "reports[1].time"),
    "silent server": (changed(serving=2), "serving"),
    "a fast arrival": (changed(cells=[{"cell": 0, "rsrp_dbm": -84, "toa": -1e-9}]), "toa"),
}
