"""`uel locate RUN REPORT.json`: fixes for reports from a file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from uel import geojson, report_json
from uel.errors import UelError
from uel.files import as_json, replace_file
from uel.fix import Fix
from uel.runs import Run


@dataclass(frozen=True, kw_only=True)
class LocateConfig:
    """Where a phone is: `uel locate runs/demo report.json`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator answers, on the tile that it was judged on"""
    report: tyro.conf.Positional[Path]
    """reports as JSON, see `uel.report_json`"""
    geojson: Path | None = None
    """write the fixes with their candidates and regions here, too; of several reports the last one's"""


def locate(config: LocateConfig) -> Iterator[str]:
    """One line of text for each report: its position and how sure that is. Raises `UelError` for bad files."""
    run = Run.open(config.run)
    if not config.report.is_file():
        raise UelError("no such report", got=str(config.report), do="give a JSON file, see uel/report_json.py")
    maps, locator = run.maps, run.locator
    timeline = report_json.read(config.report.read_bytes(), len(maps.radio.gain))
    for n in range(len(timeline)):
        with torch.no_grad():
            fix = locator(timeline.reports[n : n + 1], maps)
        yield line(fix, float(timeline.time[n]))
    if config.geojson:
        told = geojson.features(fix, run.tile, maps.radio.grid, time=round(float(timeline.time[-1]), 3))
        replace_file(config.geojson, as_json(told))


def line(fix: Fix, time: float) -> str:
    """Position in metres, its covariance in m², and the likeliest candidates, as one line of JSON."""
    where, likely, _ = fix.candidates(geojson.CANDIDATES)
    candidates = [
        {"position": [round(v, 1) for v in xy], "probability": round(p, 4)}
        for xy, p in zip(where[0].tolist(), likely[0].tolist(), strict=True)
    ]
    told = {
        "time": round(time, 3),
        "position": [round(v, 1) for v in fix.position[0].tolist()],
        "covariance": [[round(v, 1) for v in row] for row in fix.covariance[0].tolist()],
        "candidates": candidates,
    }
    return json.dumps(told)
