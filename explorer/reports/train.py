"""The report of a training: losses, validation errors and calibration by map condition, heatmaps of a few phones."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from explorer.figures.overview import training_figure
from explorer.reports.run import read_curves
from explorer.style import GREY, LINE_COLOURS, YELLOW, condition_label, hex_colour
from uel.core.io import replace_file
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.geo.tile_maps import TileMaps
from uel.measurement.reports import Reports
from uel.plots.axes import draw_sites, image_extent, map_axes, new_figure, png_bytes, scale_bar

LOSS_CURVES = ("loss", "coarse", "fine", "physics_map", "physics_rt")
VALIDATION_CURVES = ("val_p50_m", "val_p95_m")
FIGURE_TITLES = {"cdf": "Position error of validation phones", "calibration": "Coverage of credible regions"}


def validation_pictures(title: str, maps: TileMaps, reports: Reports, fix: Fix, truth: Tensor) -> dict[str, bytes]:
    """Figures of one validation as PNG, by name."""
    return {"heatmaps": png_bytes(heatmap_figure(title, maps, reports, fix, truth))}


def heatmap_figure(title: str, maps: TileMaps, reports: Reports, fix: Fix, truth: Float[Tensor, "phone 2"]) -> Figure:
    """The locator's heatmaps of a few phones (darker is likelier), with fixes and true positions (m)."""
    size = maps.radio.grid.size
    figure = new_figure(4.2 * len(truth), 4.6)
    side = int(np.sqrt(fix.log_heatmap.shape[1]))
    for number, ax in enumerate(np.atleast_1d(figure.subplots(1, len(truth)))):
        heat = fix.log_heatmap[number].exp().reshape(side, side).sqrt().numpy()
        ax.imshow(maps.buildings[1].numpy(), cmap="Greys", vmin=0, vmax=3, **image_extent(size))
        ax.imshow(heat, cmap="YlGnBu", vmin=0, alpha=(1.5 * heat / heat.max()).clip(max=1), **image_extent(size))
        draw_sites(ax, maps.radio.sites, size, strong=int(reports.serving[number]))
        ax.plot(*truth[number], "*", markersize=14, color=hex_colour(YELLOW), markeredgecolor="black", zorder=9)
        ax.plot(*fix.position[number], "X", markersize=10, color="white", markeredgecolor="black", zorder=10)
        map_axes(ax, size, f"phone {number}: {float((fix.position[number] - truth[number]).norm()):.0f} m error")
    scale_bar(figure.axes[0], size)
    figure.suptitle(f"{title}: true position ★, fix ×, serving cell in colour")
    return figure


def write_training_report(run: Path) -> Path:
    """Write `figures/*.png` and `report.md` into a run's folder; returns the report's path.

    Raises `UelError` where a file of the run is missing or damaged.
    """
    metrics, curves, rows = _metrics(run), read_curves(run / "metrics.csv"), {n: _last(run, n) for n in FIGURE_TITLES}
    folder = run / "figures"
    losses = {name: curves[name] for name in (*LOSS_CURVES, *VALIDATION_CURVES) if name in curves}
    figures = {
        "training": training_figure(losses),
        "cdf": cdf_figure(rows["cdf"]),
        "calibration": calibration_figure(rows["calibration"]),
    }
    for name, figure in figures.items():
        replace_file(folder / f"{name}.png", png_bytes(figure))
    path = run / "report.md"
    replace_file(path, _markdown(run, metrics, curves).encode())
    return path


def cdf_figure(rows: Mapping[str, np.ndarray]) -> Figure:
    """Cumulative distribution of position errors, a curve for each map condition."""
    figure = new_figure(6.0, 4.4)
    ax = figure.add_subplot()
    for (name, curve), colour in zip(rows.items(), LINE_COLOURS, strict=False):
        ax.plot(curve[1], curve[0], color=colour, label=condition_label(name))
    ax.set(xlabel="error in m", ylabel="fraction of phones", title=FIGURE_TITLES["cdf"], xlim=(0, None), ylim=(0, 1))
    return _with_legend(figure, ax)


def calibration_figure(rows: Mapping[str, np.ndarray]) -> Figure:
    """Fraction of phones inside credible regions by the regions' probability, a curve for each map condition."""
    figure = new_figure(6.0, 4.4)
    ax = figure.add_subplot()
    ax.plot([0, 1], [0, 1], color=hex_colour(GREY), linestyle=":", label="calibrated")
    for (name, curve), colour in zip(rows.items(), LINE_COLOURS, strict=False):
        ax.plot(*curve, color=colour, label=condition_label(name))
    ax.set(xlabel="probability of the region", ylabel="fraction of phones inside", title=FIGURE_TITLES["calibration"])
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return _with_legend(figure, ax)


def _with_legend(figure: Figure, ax: Axes) -> Figure:
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    return figure


def _metrics(run: Path) -> dict[str, Any]:
    try:
        return read_json_object(run / "metrics.json")
    except UelError as error:
        raise UelError(
            "metrics.json of this run is missing or damaged", got=f"{run}: {error}", do="train a run: uel train"
        ) from error


def _last(run: Path, name: str) -> dict[str, np.ndarray]:
    """Curves of the last validation by map condition: an array (2, points) of fractions and values each."""
    with (run / "training" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = [row for row in rows if row["epoch"] == rows[-1]["epoch"]]
    points = [key for key in rows[0] if key not in ("epoch", "condition")]
    return {row["condition"]: np.array([[float(p), float(row[p])] for p in points]).T for row in last}


def _markdown(run: Path, metrics: Mapping[str, Any], curves: Mapping[str, Any]) -> str:
    training = metrics["training"]
    heatmaps = sorted((run / "training" / "pictures").glob("heatmaps-*.png"))
    rows = [f"| {name} | {value} |" for name, value in {"parameters": metrics["parameters"], **training}.items()]
    parts = [
        f"# Training of `{run.name}`",
        "Errors are those of validation tiles, which no training step saw; `uel eval` evaluates a run on test cities.",
        "| | |\n|---|---:|\n" + "\n".join(rows),
        _table(curves),
        "![losses](figures/training.png)",
        "![errors](figures/cdf.png)\n![calibration](figures/calibration.png)",
        *(f"![heatmaps](training/pictures/{path.name})" for path in heatmaps[-1:]),
        "Repeat it: `uel train --config " + (run / "config.yaml").as_posix() + "`",
    ]
    return "\n\n".join(parts) + "\n"


def _table(curves: Mapping[str, Any]) -> str:
    """A Markdown table of the best epoch: median, 95th percentile, NLL and coverage by map condition."""
    best = int(curves["val_nll"][1].argmin())
    names = [name.removeprefix("val_nll").lstrip("_") for name in curves if name.startswith("val_nll")]
    lines = [
        "| map | p50 m | p95 m | NLL nat | in 50 % region | in 90 % region |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        suffix = f"_{name}" if name else ""
        p50, p95, nll, cover50, cover90 = (
            float(curves[f"val_{part}{suffix}"][1][best]) for part in ("p50_m", "p95_m", "nll", "cover50", "cover90")
        )
        condition = condition_label(name) if name else "all"
        lines.append(f"| {condition} | {p50:.1f} | {p95:.1f} | {nll:.2f} | {cover50:.0%} | {cover90:.0%} |")
    return f"Best epoch: {best}.\n\n" + "\n".join(lines)
