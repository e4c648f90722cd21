"""The report of a calibration: how fits ran, what they found beside what is true, and how much the maps gain by it."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explorer.figures.axes import (
    colour_bar,
    draw_building_outlines,
    draw_buildings,
    draw_sites,
    hatch_unknown,
    image_extent,
    map_axes,
    new_figure,
    scale_bar,
)
from explorer.reports.tile import png
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

INK, BLUE, ORANGE = "#000000", "#0072B2", "#D55E00"
PARAMETER_TITLES = {
    "azimuth_deg": "azimuth in °",
    "tilt_deg": "downtilt in °",
    "power_db": "power offset in dB",
    "height": "elevation of the mast in m",
    "relative_permittivity": "relative permittivity",
    "conductivity": "conductivity in S/m",
    "scattering_coefficient": "scattering coefficient",
    "reflection at 45°": "|reflection| at 45°",
}
PHYSICAL_LIMITS = {
    "relative_permittivity": (1.0, np.inf),
    "conductivity": (0.0, np.inf),
    "scattering_coefficient": (0.0, 1.0),
    "reflection at 45°": (0.0, 1.0),
}
"""between which values are physical: no bar goes beyond"""
MAX_PRIOR_DEVIATIONS = (
    3.0  # deviations of the belief: what was found farther off makes up for something that the tile lacks
)
ERROR_SPAN_DB = 12.0  # dB of error that the colours show, either way


def write_calibration_report(run: Path) -> Path:
    """Write `figures/*.png` and `report.md` into a run's folder; returns the report's path.

    Raises `UelError` when a piece of the run is missing or damaged.
    """
    try:
        told = json.loads((run / "calibration.json").read_text(encoding="utf-8"))
        curves, judged = _table(run / "losses.csv"), _table(run / "judged.csv")
    except (OSError, ValueError) as error:
        raise UelError("no finished calibration here", got=f"{run}: {error}", do="make one: uel calibrate") from error
    tile = Tile.open(run / "tile")
    figures = {
        "losses": loss_figure(curves, told),
        "found": parameter_figure(told["parameters"]),
        "judged": held_out_figure(judged, tile),
    }
    if "true" in told.get("maps", {}):
        radio = {name: radio_map_io.load(Path(folder)) for name, folder in told["maps"].items()}
        figures["maps"] = map_error_figure(radio, tile)
        told["map_error"] = map_errors(radio)
    for name, figure in figures.items():
        (run / "figures").mkdir(exist_ok=True)
        (run / "figures" / f"{name}.png").write_bytes(png(figure))
    path = run / "report.md"
    path.write_text(_text(run, told, figures), encoding="utf-8")
    return path


def loss_figure(curves: Sequence[Mapping[str, str]], told: Mapping[str, Any]) -> Figure:
    """Cost above the best start's, and the median error of levels, step by step; starts that got lost in orange."""
    figure = new_figure(10.0, 4.0)
    cost, error = figure.subplots(1, 2)
    best = min(float(row["cost"]) for row in curves)
    for start, end in enumerate(told["starts"]["each"]):
        mine = [row for row in curves if int(row["start"]) == start]
        style = {"color": BLUE if end["converged"] else ORANGE, "alpha": 0.6, "linewidth": 1.2}
        cost.semilogy([float(row["cost"]) - best + 1 for row in mine], **style)
        error.semilogy([float(row["median_db"]) for row in mine], **style)
    share = f"{told['starts']['converged']} of {told['starts']['count']} starts came to the same place (blue)"
    cost.set(xlabel="step", ylabel="nats above the best, plus 1", title=share)
    error.set(xlabel="step", ylabel="median |error| of levels in dB", title="at the places learned from")
    for ax in (cost, error):
        ax.grid(alpha=0.25)
    return figure


def parameter_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Found values with two deviations either way, over true ones where those are known; believed ones hollow."""
    kinds = [kind for kind in PARAMETER_TITLES if any(row["parameter"] == kind for row in rows)]
    columns = min(4, len(kinds))
    figure = new_figure(3.9 * columns, 3.7 * -(-len(kinds) // columns))
    axes = np.atleast_1d(figure.subplots(-(-len(kinds) // columns), columns)).flat
    for kind, ax in zip(kinds, axes, strict=False):
        _kind(ax, [row for row in rows if row["parameter"] == kind], kind)
    for ax in figure.axes[len(kinds) :]:
        ax.set_axis_off()
    return figure


def _kind(ax: Axes, rows: Sequence[Mapping[str, Any]], kind: str) -> None:
    known = "true" in rows[0]
    for number, row in enumerate(rows):
        x = row["true"] if known else number
        clear = row["verdict"] == "identified"
        bar = {"fmt": "o", "markersize": 5, "capsize": 3, "color": BLUE if clear else "#999999"}
        least, most = PHYSICAL_LIMITS.get(kind, (-np.inf, np.inf))
        below, above = (min(2 * row["width"], max(way, 0.0)) for way in (row["found"] - least, most - row["found"]))
        ax.errorbar(x, row["found"], yerr=[[below], [above]], **bar)
        ax.plot(x, row["believed"], "o", markersize=5, markerfacecolor="none", color=ORANGE)
    if known:
        low, high = (f([row["true"] for row in rows]) for f in (min, max))
        ax.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=":")
        ax.set_xlabel("true")
    else:
        ax.set_xticks(range(len(rows)), [row["of"] for row in rows], rotation=40, ha="right", fontsize=7)
    ax.set_ylabel("found (hollow: believed, grey: weak, or not identified)", fontsize=7)
    ax.set_title(PARAMETER_TITLES[kind], fontsize=10)
    if kind == "conductivity":
        ax.set(yscale="log", **({"xscale": "log"} if known else {}))
    ax.grid(alpha=0.25)


def held_out_figure(judged: Sequence[Mapping[str, str]], tile: Tile) -> Figure:
    """Where it was judged: error of the strongest measured cell before and after."""
    figure = new_figure(12.0, 5.4)
    best: dict[tuple[str, str], Mapping[str, str]] = {}
    for row in judged:
        key = (row["x"], row["y"])
        if key not in best or float(row["measured"]) > float(best[key]["measured"]):
            best[key] = row
    for ax, name in zip(figure.subplots(1, 2), ("before", "after"), strict=True):
        draw_buildings(ax, tile)
        shown = [row for row in best.values() if row[name] != "nan"]
        x, y, level, measured = (np.array([float(row[k]) for row in shown]) for k in ("x", "y", name, "measured"))
        error = level - measured
        dots = ax.scatter(
            x, y, c=error, s=14, cmap="RdBu_r", vmin=-ERROR_SPAN_DB, vmax=ERROR_SPAN_DB, edgecolors=INK, linewidths=0.2
        )
        draw_sites(ax, tile.sites, tile.size)
        middle = f"{np.median(np.abs(error)):.2f}" if len(error) else "–"
        map_axes(ax, tile.size, f"{name}: median |error| {middle} dB of the strongest cell")
        colour_bar(figure, ax, dots, "dB too strong")
    scale_bar(figure.axes[0], tile.size)
    return figure


def map_errors(radio: Mapping[str, RadioMap]) -> dict[str, dict[str, float]]:
    """Of levels over all pixels and cells that both maps know, in dB; rays' noise of either map is in it."""
    told = {}
    for name in ("before", "after"):
        error = _error(radio[name], radio["true"])
        kept = np.abs(error[np.isfinite(error)])
        told[name] = {"median_abs_db": float(np.median(kept)), "p90_abs_db": float(np.quantile(kept, 0.9))}
    return told


def map_error_figure(radio: Mapping[str, RadioMap], tile: Tile) -> Figure:
    """Error of the level of each pixel's strongest cell, before and after."""
    figure = new_figure(12.0, 5.4)
    true = _level(radio["true"])
    best = np.nan_to_num(true, nan=-1e9).argmax(0)[None]
    for ax, name in zip(figure.subplots(1, 2), ("before", "after"), strict=True):
        error = np.take_along_axis(_error(radio[name], radio["true"]), best, 0)[0]
        shown = np.ma.masked_invalid(error)
        picture = ax.imshow(shown, cmap="RdBu_r", vmin=-ERROR_SPAN_DB, vmax=ERROR_SPAN_DB, **image_extent(tile.size))
        hatch_unknown(ax, np.isnan(error), tile.size)
        draw_building_outlines(ax, tile)
        draw_sites(ax, tile.sites, tile.size)
        map_axes(ax, tile.size, f"{name}: median |error| {np.nanmedian(np.abs(error)):.2f} dB of the strongest cell")
        colour_bar(figure, ax, picture, "dB too strong")
    scale_bar(figure.axes[0], tile.size)
    return figure


def _level(radio: RadioMap) -> np.ndarray:
    """dBm per resource element; NaN where the map knows nothing."""
    power = reference_power_dbm(radio.sites)[:, None, None]
    return np.where(radio.known.numpy(), (to_db(radio.gain.clamp(min=1e-30)) + power).numpy(), np.nan)


def _error(radio: RadioMap, true: RadioMap) -> np.ndarray:
    return _level(radio) - _level(true)


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# ---- words -------------------------------------------------------------------------------------------------


def _text(run: Path, told: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    facts = {name: told[name] for name in ("tile", "reports", "links", "rejected", "merged")}
    best, starts = told["fit"], told["starts"]
    facts |= {"deviation of levels": f"{best['scale']:.2f} dB", "best fit": best["status"]}
    facts |= {"starts that came to the same place": f"{starts['converged']} of {starts['count']}"}
    parts = [
        f"# Calibration of `{told['tile']}`: `{run.name}`",
        "| | |\n|---|---:|\n" + "\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        "## Where it did not look\n\n" + _judged(told["judged"]),
        *(["## Maps against the true one\n\n" + _judged(told["map_error"])] if "map_error" in told else []),
        *(["## Phones\n\n" + _judged(told["phones"])] if "phones" in told else []),
        "## What was found\n\nThe width is one deviation; *left* is its share of the belief's, *away* how many of "
        "the belief's deviations the value has moved.\n\n"
        + single_start_note(starts)
        + far_from_prior_note(told["parameters"])
        + _rows(told),
        *(f"![{name}](figures/{name}.png)" for name in figures),
        "`tile/` is the corrected tile: `uel map " + (run / "tile").as_posix() + "`",
        "Repeat it: `uel calibrate --config " + (run / "config.yaml").as_posix() + "`",
    ]
    return "\n\n".join(parts) + "\n"


def _judged(told: Mapping[str, Mapping[str, float | int]]) -> str:
    names = list(dict.fromkeys(key for row in told.values() for key in row))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for name, row in told.items():
        lines.append(f"| {name} | " + " | ".join(_number(row.get(key)) for key in names) + " |")
    return "\n".join(lines)


def far_from_prior_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was found far from what was believed, however narrow it is; nothing of none."""
    names = [f"{row['parameter']} of {row['of']}" for row in rows if (row.get("away") or 0.0) > MAX_PRIOR_DEVIATIONS]
    if not names:
        return ""
    return (
        f"**Found more than {MAX_PRIOR_DEVIATIONS:g} deviations from what was believed: {', '.join(names)}.** Such values rather make "
        "up for what the tile lacks (terrain, trees, a mast) than tell what is there, and are less sure than their "
        "widths say.\n\n"
    )


def single_start_note(starts: Mapping[str, Any]) -> str:
    """That nothing speaks for the valley in which the best fit lies, where that is so."""
    if starts["converged"] > 1:
        return ""
    return (
        f"**No other start came to the place of the best one (of {starts['count']}).** *Identified* is then a width "
        "within a valley that may be the wrong one: give more `--starts`.\n\n"
    )


def _rows(told: Mapping[str, Any]) -> str:
    names = ("believed", "found", "width", "left", "away", "true", "error")
    lines = ["| | of | " + " | ".join(names) + " | |", "|---|---|" + "---:|" * len(names) + "---|"]
    for row in told["parameters"]:
        values = " | ".join(_number(row.get(name)) for name in names)
        lines.append(f"| {row['parameter']} | {row['of']} | {values} | {row['verdict']} |")
    return "\n".join(lines)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value}" if isinstance(value, (int, str)) else f"{value:.4g}"
