"""The report of a calibration: convergence, fitted parameters beside true ones, and errors before and after."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explorer.style import BLACK, BLUE, GREY, VERMILION, hex_colour
from uel.core.io import replace_file
from uel.core.outside.json_text import read_json_object
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.plots.axes import (
    colour_bar,
    draw_building_outlines,
    draw_buildings,
    draw_sites,
    hatch_unknown,
    image_extent,
    map_axes,
    new_figure,
    png_bytes,
    scale_bar,
)
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

PARAMETER_TITLES = {
    "azimuth_deg": "azimuth in °",
    "tilt_deg": "downtilt in °",
    "power_db": "power offset in dB",
    "height": "elevation of the site in m",
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
"""physical range of each parameter; error bars end there"""
COLUMN_TITLES = {
    "believed": "prior",
    "found": "fitted",
    "width": "std",
    "left": "of prior std",
    "away": "moved",
    "true": "true",
    "error": "error",
}
"""columns of `calibration.json` and their titles"""
MAX_PRIOR_DEVIATIONS = 3.0  # standard deviations of the prior: a value farther off may make up for an error of the tile
ERROR_SPAN_DB = 12.0  # dB of error at both ends of the colour map


def write_calibration_report(run: Path) -> Path:
    """Write `figures/*.png` and `report.md` into a calibration's folder; returns the report's path.

    Raises `UelError` where a file of the calibration is missing or damaged.
    """
    try:
        result = read_json_object(run / "calibration.json")
        curves, held_out = _table(run / "losses.csv"), _table(run / "judged.csv")
    except (OSError, ValueError) as error:
        raise UelError(
            "a file of this calibration is missing or damaged",
            got=f"{run}: {error}",
            do="repeat the calibration: uel calibrate",
        ) from error
    tile = Tile.open(run / "tile")
    figures = {
        "losses": loss_figure(curves, result),
        "found": parameter_figure(result["parameters"]),
        "judged": held_out_figure(held_out, tile),
    }
    if "true" in result.get("maps", {}):
        radio = {name: radio_map_io.load(Path(folder)) for name, folder in result["maps"].items()}
        figures["maps"] = map_error_figure(radio, tile)
        result["map_error"] = map_errors(radio)
    for name, figure in figures.items():
        replace_file(run / "figures" / f"{name}.png", png_bytes(figure))
    path = run / "report.md"
    replace_file(path, _markdown(run, result, figures).encode())
    return path


def loss_figure(curves: Sequence[Mapping[str, str]], result: Mapping[str, Any]) -> Figure:
    """Cost above the best start's and median level error by step; starts that did not converge are orange."""
    figure = new_figure(10.0, 4.0)
    cost, error = figure.subplots(1, 2)
    best = min(float(row["cost"]) for row in curves)
    for start, end in enumerate(result["starts"]["each"]):
        rows = [row for row in curves if int(row["start"]) == start]
        style = {
            "color": hex_colour(BLUE) if end["converged"] else hex_colour(VERMILION),
            "alpha": 0.6,
            "linewidth": 1.2,
        }
        cost.semilogy([float(row["cost"]) - best + 1 for row in rows], **style)
        error.semilogy([float(row["median_db"]) for row in rows], **style)
    title = (
        f"{result['starts']['converged']} of {result['starts']['count']} starts converged to the same optimum (blue)"
    )
    cost.set(xlabel="step", ylabel="nats above the best, plus 1", title=title)
    error.set(xlabel="step", ylabel="median |error| of levels in dB", title="at the positions fitted to")
    for ax in (cost, error):
        ax.grid(alpha=0.25)
    return figure


def parameter_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Fitted values ± 2 standard deviations, over true ones where these are known; prior values are hollow."""
    kinds = [kind for kind in PARAMETER_TITLES if any(row["parameter"] == kind for row in rows)]
    columns = min(4, len(kinds))
    figure = new_figure(3.9 * columns, 3.7 * -(-len(kinds) // columns))
    axes = np.atleast_1d(figure.subplots(-(-len(kinds) // columns), columns)).flat
    for kind, ax in zip(kinds, axes, strict=False):
        _parameter_axes(ax, [row for row in rows if row["parameter"] == kind], kind)
    for ax in figure.axes[len(kinds) :]:
        ax.set_axis_off()
    return figure


def _parameter_axes(ax: Axes, rows: Sequence[Mapping[str, Any]], kind: str) -> None:
    known = "true" in rows[0]
    for number, row in enumerate(rows):
        x = row["true"] if known else number
        identified = row["verdict"] == "identified"
        bar = {"fmt": "o", "markersize": 5, "capsize": 3, "color": hex_colour(BLUE) if identified else hex_colour(GREY)}
        low_limit, high_limit = PHYSICAL_LIMITS.get(kind, (-np.inf, np.inf))
        below, above = (
            min(2 * row["width"], max(room, 0.0)) for room in (row["found"] - low_limit, high_limit - row["found"])
        )
        ax.errorbar(x, row["found"], yerr=[[below], [above]], **bar)
        ax.plot(x, row["believed"], "o", markersize=5, markerfacecolor="none", color=hex_colour(VERMILION))
    if known:
        low, high = (f([row["true"] for row in rows]) for f in (min, max))
        ax.plot([low, high], [low, high], color=BLACK, linewidth=0.8, linestyle=":")
        ax.set_xlabel("true")
    else:
        ax.set_xticks(range(len(rows)), [row["of"] for row in rows], rotation=40, ha="right", fontsize=7)
    ax.set_ylabel("fitted (hollow: prior, grey: weak or not identified)", fontsize=7)
    ax.set_title(PARAMETER_TITLES[kind], fontsize=10)
    if kind == "conductivity":
        ax.set(yscale="log", **({"xscale": "log"} if known else {}))
    ax.grid(alpha=0.25)


def held_out_figure(rows: Sequence[Mapping[str, str]], tile: Tile) -> Figure:
    """Level error of the strongest measured cell at held-out positions, before and after."""
    figure = new_figure(12.0, 5.4)
    best: dict[tuple[str, str], Mapping[str, str]] = {}
    for row in rows:
        key = (row["x"], row["y"])
        if key not in best or float(row["measured"]) > float(best[key]["measured"]):
            best[key] = row
    for ax, name in zip(figure.subplots(1, 2), ("before", "after"), strict=True):
        draw_buildings(ax, tile)
        drawn = [row for row in best.values() if row[name] != "nan"]
        x, y, level, measured = (np.array([float(row[k]) for row in drawn]) for k in ("x", "y", name, "measured"))
        error = level - measured
        dots = ax.scatter(
            x,
            y,
            c=error,
            s=14,
            cmap="RdBu_r",
            vmin=-ERROR_SPAN_DB,
            vmax=ERROR_SPAN_DB,
            edgecolors=BLACK,
            linewidths=0.2,
        )
        draw_sites(ax, tile.sites, tile.size)
        median = f"{np.median(np.abs(error)):.2f}" if len(error) else "–"
        map_axes(ax, tile.size, f"{name}: median |error| {median} dB of the strongest cell")
        colour_bar(figure, ax, dots, "dB too strong")
    scale_bar(figure.axes[0], tile.size)
    return figure


def map_errors(radio: Mapping[str, RadioMap]) -> dict[str, dict[str, float]]:
    """Absolute level error in dB over pixels and cells known to both maps, Monte-Carlo noise of both included."""
    errors = {}
    for name in ("before", "after"):
        error = _error(radio[name], radio["true"])
        kept = np.abs(error[np.isfinite(error)])
        errors[name] = {"median_abs_db": float(np.median(kept)), "p90_abs_db": float(np.quantile(kept, 0.9))}
    return errors


def map_error_figure(radio: Mapping[str, RadioMap], tile: Tile) -> Figure:
    """Level error of each pixel's strongest cell against the true map, before and after."""
    figure = new_figure(12.0, 5.4)
    true = _level(radio["true"])
    best = np.nan_to_num(true, nan=-1e9).argmax(0)[None]
    for ax, name in zip(figure.subplots(1, 2), ("before", "after"), strict=True):
        error = np.take_along_axis(_error(radio[name], radio["true"]), best, 0)[0]
        masked = np.ma.masked_invalid(error)
        picture = ax.imshow(masked, cmap="RdBu_r", vmin=-ERROR_SPAN_DB, vmax=ERROR_SPAN_DB, **image_extent(tile.size))
        hatch_unknown(ax, np.isnan(error), tile.size)
        draw_building_outlines(ax, tile)
        draw_sites(ax, tile.sites, tile.size)
        map_axes(ax, tile.size, f"{name}: median |error| {np.nanmedian(np.abs(error)):.2f} dB of the strongest cell")
        colour_bar(figure, ax, picture, "dB too strong")
    scale_bar(figure.axes[0], tile.size)
    return figure


def _level(radio: RadioMap) -> np.ndarray:
    """RSRP in dBm; NaN where the map is not known."""
    power = reference_power_dbm(radio.sites)[:, None, None]
    return np.where(radio.known.numpy(), (to_db(radio.gain.clamp(min=1e-30)) + power).numpy(), np.nan)


def _error(radio: RadioMap, true: RadioMap) -> np.ndarray:
    return _level(radio) - _level(true)


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# ---- words -------------------------------------------------------------------------------------------------


def _markdown(run: Path, result: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    summary = {name: result[name] for name in ("tile", "reports", "links", "rejected", "merged")}
    best, starts = result["fit"], result["starts"]
    summary |= {"standard deviation of levels": f"{best['scale']:.2f} dB", "best fit": best["status"]}
    summary |= {"starts at the same optimum": f"{starts['converged']} of {starts['count']}"}
    parts = [
        f"# Calibration of `{result['tile']}`: `{run.name}`",
        "| | |\n|---|---:|\n" + "\n".join(f"| {name} | {value} |" for name, value in summary.items()),
        "## Held-out positions\n\n" + _error_table(result["judged"]),
        *(["## Error against the true map\n\n" + _error_table(result["map_error"])] if "map_error" in result else []),
        *(["## Phones\n\n" + _error_table(result["phones"])] if "phones" in result else []),
        "## Fitted parameters\n\n*std* is the standard deviation of a fitted value, *of prior std* its ratio to the "
        "prior's, *moved* the distance from the prior value in standard deviations of the prior.\n\n"
        + single_start_note(starts)
        + far_from_prior_note(result["parameters"])
        + _parameter_table(result),
        *(f"![{name}](figures/{name}.png)" for name in figures),
        "`tile/` is the corrected tile: `uel map " + (run / "tile").as_posix() + "`",
        "Repeat it: `uel calibrate --config " + (run / "config.yaml").as_posix() + "`",
    ]
    return "\n\n".join(parts) + "\n"


def _error_table(errors: Mapping[str, Mapping[str, float | int]]) -> str:
    names = list(dict.fromkeys(key for row in errors.values() for key in row))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for name, row in errors.items():
        lines.append(f"| {name} | " + " | ".join(_number(row.get(key)) for key in names) + " |")
    return "\n".join(lines)


def far_from_prior_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """A warning that names parameters fitted far from their prior; empty where there is none."""
    names = [f"{row['parameter']} of {row['of']}" for row in rows if (row.get("away") or 0.0) > MAX_PRIOR_DEVIATIONS]
    if not names:
        return ""
    return (
        f"**Fitted more than {MAX_PRIOR_DEVIATIONS:g} standard deviations from the prior: {', '.join(names)}.** Such "
        "values may make up for what the tile lacks (terrain, trees, a mast), and are less certain than their standard "
        "deviations say.\n\n"
    )


def single_start_note(starts: Mapping[str, Any]) -> str:
    """A warning where no other start converged to the best optimum; empty otherwise."""
    if starts["converged"] > 1:
        return ""
    return (
        f"**No other of {starts['count']} starts converged to the best optimum.** *Identified* then holds within a "
        "local optimum that may not be the global one: give more `--starts`.\n\n"
    )


def _parameter_table(result: Mapping[str, Any]) -> str:
    lines = [f"| parameter | of | {' | '.join(COLUMN_TITLES.values())} | |"]
    lines.append("|---|---|" + "---:|" * len(COLUMN_TITLES) + "---|")
    for row in result["parameters"]:
        values = " | ".join(_number(row.get(name)) for name in COLUMN_TITLES)
        lines.append(f"| {row['parameter']} | {row['of']} | {values} | {row['verdict']} |")
    return "\n".join(lines)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value}" if isinstance(value, (int, str)) else f"{value:.4g}"
