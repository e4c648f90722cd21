"""The report of `uel antennas`: a table of errors with intervals, and fitted against listed azimuths and tilts."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from explorer.style import BLUE, GREY, hex_colour
from uel.core.io import replace_file
from uel.core.outside.json_text import read_json_object
from uel.plots.axes import new_figure, png_bytes

Z_90 = 1.645  # standard deviations of a 90 % interval


def write_antennas_report(folder: Path) -> Path:
    """Write `report.md` and `antennas.png` into the folder of a result; returns the report."""
    with (folder / "antennas.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    replace_file(folder / "antennas.png", figure(rows))
    text = "\n".join(report_lines(read_json_object(folder / "summary.json")))
    replace_file(folder / "report.md", text.encode())
    return folder / "report.md"


def report_lines(summary: dict[str, Any]) -> list[str]:
    """The report as Markdown. Errors count from the list's values; intervals are 90 % bootstraps over cells."""
    lines = [
        "# Antennas from levels",
        "",
        f"{', '.join(summary['districts'])}; seed {summary['seed']}. Errors count from the operator's list.",
        "",
        "| source | cells | | believed: median error | fitted: median error | median width | cover of 90 % intervals |",
        "|---|---|---|---|---|---|---|",
    ]
    for source in ("labelled squares", "reports of unknown place"):
        for name in ("azimuth", "tilt") if source in summary else ():
            found = summary[source][name]
            cover = f"{found['cover_90']:.0%}"
            cells = [source, summary[source]["cells"], name, _interval(found["believed_error_deg"])]
            cells += [_interval(found["error_deg"]), f"{found['median_std_deg']:.1f}°", cover]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    if "fixes" in summary:
        lines += [
            "",
            "Fixes of reports from other blocks by grid Bayes on the law of distance and antenna, p50 in m; intervals",
            "of the part of the loss that is won back are 90 % bootstraps over blocks of 64 m.",
            "",
            "| district | reports | list | believed | fitted | won back |",
            "|---|---|---|---|---|---|",
        ]
    for fix in summary.get("fixes", ()):
        medians = " | ".join(f"{fix[f'p50_{name}_m']:.1f}" for name in ("list", "believed", "fitted"))
        won = f"{fix['won_back']:.0%} ({fix['won_back_low']:.0%} to {fix['won_back_high']:.0%})"
        lines.append(f"| {fix['district']} | {fix['reports']} | {medians} | {won} |")
    return [*lines, "", "![fitted against listed](antennas.png)", ""]


def _interval(value: dict[str, float]) -> str:
    return f"{value['median']:.1f}° ({value['low']:.1f} to {value['high']:.1f})"


def figure(rows: list[dict[str, str]]) -> bytes:
    """Errors of believed and fitted azimuths and tilts, a cell each, with 90 % intervals."""
    picture = new_figure(9.0, 4.2)
    for ax, name in zip(picture.subplots(1, 2), ("azimuth", "tilt"), strict=True):
        listed, believed, fitted, std = (
            np.array([float(row[column]) for row in rows])
            for column in (f"list_{name}_deg", f"believed_{name}_deg", f"{name}_deg", f"{name}_std_deg")
        )
        before, after = _wrapped(believed - listed), _wrapped(fitted - listed)
        order = np.argsort(before)
        index = np.arange(len(order))
        ax.errorbar(
            index, after[order], Z_90 * std[order], fmt="o", ms=3, lw=0.8, color=hex_colour(BLUE), label="fitted"
        )
        ax.plot(index, before[order], ".", color=hex_colour(GREY), label="believed")
        ax.axhline(0.0, lw=0.8, color="black")
        ax.set(xlabel="cell", ylabel=f"{name} minus the list's, degrees")
        ax.legend()
    return png_bytes(picture)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + 180.0) % 360.0 - 180.0
