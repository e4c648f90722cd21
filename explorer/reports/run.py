"""The report of a finished run: `report.md` with its errors, and its figures beside it."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explorer.figures import overview
from explorer.figures.overview import ExampleFix
from explorer.style import RUN_METHOD_STYLES, run_method_label, tier_label
from uel.core.io import replace_file
from uel.core.outside.array_files import read_arrays
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError, quoted
from uel.inference.run_folder import Run
from uel.plots.axes import png_bytes
from uel.results.run_summary import MethodErrors, base_method_errors, newest_evaluation

SOURCE_COMMANDS: dict[str, str] = {
    "metrics.json": "uel demo",
    "example.npz": "uel demo",
    "training/metrics.csv": "uel demo",
}
ERRORS_FILE_0_1 = "errors.npz"  # of runs of version 0.1, which have no evaluation
LIMIT_METHOD = "grid_bayes"
LOCATOR_METHODS = ("locator", "locator_refined")
TRUTH_LABELS = {"test": "map truth", "test_paths": "path truth"}


def write_run_report(run: Path) -> Path:
    """Write `figures/*.png` and `report.md` into a run folder; returns the report's path.

    Raises `UelError` with the command to give where a file of the run is missing or damaged.

    Example:
        >>> from pathlib import Path
        >>> import explorer
        >>> explorer.report(Path("runs/nothing"))
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    run = Path(run)
    for name in SOURCE_COMMANDS:
        _require(run, name)
    metrics = _json(run, "metrics.json")
    figures = _figures(run)
    folder = run / "figures"
    for name, figure in figures.items():
        replace_file(folder / f"{name}.png", png_bytes(figure))
    path = run / "report.md"
    replace_file(path, _markdown(run, metrics).encode())
    return path


# ---- reading --------------------------------------------------------------------------------------------


def _require(run: Path, name: str) -> Path:
    if not (run / name).is_file():
        raise UelError(f"this run has no {name}", got=str(run), do=f"make the run: {SOURCE_COMMANDS[name]}")
    return run / name


def _damaged(run: Path, name: str, error: Exception) -> UelError:
    return UelError(
        f"{name} of this run is damaged", got=f"{run}: {error!r}", do=f"make it again: {SOURCE_COMMANDS[name]}"
    )


def _json(run: Path, name: str) -> dict[str, Any]:
    try:
        return read_json_object(run / name)
    except UelError as error:
        raise _damaged(run, name, error) from error


def _arrays(run: Path, name: str) -> dict[str, np.ndarray]:
    try:
        return read_arrays(run / name)
    except UelError as error:
        raise _damaged(run, name, error) from error


def read_errors(run: Path) -> dict[str, np.ndarray]:
    """Errors in m by `truth/tier/method`, in the base condition of the run's newest evaluation.

    Raises `UelError` where the run has not been evaluated, or the evaluation is damaged.
    """
    if newest_evaluation(run) is not None:
        return {key: errors.error.numpy() for key, errors in read_method_errors(run).items()}
    if not (run / ERRORS_FILE_0_1).is_file():
        do = f"evaluate it: uel eval {quoted(run)} --protocol quick"
        raise UelError("this run has not been evaluated", got=str(run), do=do)
    return _arrays(run, ERRORS_FILE_0_1)


def read_method_errors(run: Path) -> dict[str, MethodErrors]:
    """Errors with the phones' positions by `truth/tier/method`, in the base condition of the run's newest evaluation;
    empty for a run of version 0.1, which has errors alone. Raises `UelError` where the evaluation is damaged.
    """
    evaluation = newest_evaluation(run)
    errors = {} if evaluation is None else base_method_errors(evaluation)
    return {key: values for key, values in errors.items() if key.split("/")[2] in RUN_METHOD_STYLES}


def read_example(run: Path) -> ExampleFix:
    """The fix in a run's `example.npz`. Raises `UelError` where it is damaged."""
    stored = _arrays(run, "example.npz")
    try:
        fields = {name: stored[name] for name in ExampleFix.__dataclass_fields__}
    except KeyError as error:
        raise _damaged(run, "example.npz", error) from error
    return ExampleFix(**{**fields, "serving": int(fields["serving"]), "tier": str(fields["tier"])})


def read_curves(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Columns of Lightning's CSV as (step, value); empty cells and empty columns are left out."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    curves = {}
    for name in rows[0] if rows else []:
        pairs = [(float(row["step"]), float(row[name])) for row in rows if row.get(name) and row.get("step")]
        if pairs and name not in ("step", "epoch"):
            curves[name] = tuple(np.array(pairs).T)
    return curves


def _figures(run: Path) -> dict[str, Any]:
    opened, example, errors = Run.open(run), read_example(run), read_errors(run)
    tile, radio = opened.tile, opened.maps.radio
    curves = {
        name: curve
        for name, curve in read_curves(run / "training/metrics.csv").items()
        if name in ("loss", "coarse", "fine", "physics_map", "physics_rt") or name.startswith("val_p")
    }
    figures = {
        "tile": overview.tile_figure(tile, radio.sites),
        "radio": overview.radio_figure(tile, radio, example.serving),
        "fix": overview.fix_figure(tile, radio.sites, example),
        "errors_map": overview.error_figure(errors, "map"),
        "training": overview.training_figure(curves),
    }
    if any(key.startswith("paths/") for key in errors):
        figures["errors_paths"] = overview.error_figure(errors, "paths")
    return figures


# ---- writing --------------------------------------------------------------------------------------------


def _markdown(run: Path, metrics: Mapping[str, Any]) -> str:
    tiers = list(metrics["test"]["tier"])
    parts = [
        f"# Report of `{run.name}`",
        _introduction(metrics),
        "## Verdict",
        "\n".join(f"- {line}" for tier in tiers for line in _verdict(metrics, tier)),
        "## Accuracy",
        *(_table(metrics, tier) for tier in tiers),
        _errors_section(run),
        "## One fix\n\n![one fix beside the limit](figures/fix.png)",
        "## Tile and radio map\n\n![tile](figures/tile.png)\n\n![radio map](figures/radio.png)",
        "## Training",
        _training_section(metrics["training"]),
        "![training losses](figures/training.png)",
        "## Time and versions",
        _two_columns("stage", "s", {k: f"{v:.1f}" for k, v in metrics.get("stages", {}).items()}),
        _two_columns("package", "version", metrics.get("versions", {})),
        _repeat_section(run, metrics),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(metrics: Mapping[str, Any]) -> str:
    return (
        f"Tested on {metrics['test']['tile']}, a tile that training never saw. *Map truth*: reports are "
        "drawn from the radio map itself, so that no method can beat the mean error of the **limit**, the exact grid "
        "posterior under that map and the true measurement model. *Path truth*: reports are "
        "ray-traced at the true position; there the grid posterior is a strong reference, but no bound. "
        "**r50** (r95) is the locator's median (95th percentile) error over the limit's on map truth: 1.00 "
        "would be perfect. Tiers: `rsrp` reports signal levels (RSRP) only, `rsrp_ta` also the timing advance (TA), "
        "`rsrp_ta_azimuth` also the azimuth at the serving cell. Errors are horizontal, in metres."
    )


def _verdict(metrics: Mapping[str, Any], tier: str) -> list[str]:
    """Sentences that compare the locator's median error with the best baseline's, on each truth."""
    lines = []
    for key, name in TRUTH_LABELS.items():
        rows = metrics.get(key, {}).get("tier", {}).get(tier, {})
        baselines = [m for m in RUN_METHOD_STYLES if m in rows and m not in (LIMIT_METHOD, *LOCATOR_METHODS)]
        medians = {m: rows[m]["p50_m"] for m in baselines}
        if "locator" not in rows or not medians:
            continue
        best, locator_m = min(medians, key=medians.__getitem__), rows["locator"]["p50_m"]
        answer = "**yes**" if locator_m < medians[best] else "**no**"
        lines.append(
            f"{tier_label(tier)}, {name}: does the locator's median error beat every baseline but the limit? {answer}: "
            f"{locator_m:.1f} m against {medians[best]:.1f} m ({run_method_label(best)}), the next best."
        )
    return [*lines, _ratio_line(metrics, tier)]


def _ratio_line(metrics: Mapping[str, Any], tier: str) -> str:
    r50, r95 = (metrics.get(key, {}).get(tier) for key in ("r50", "r95"))
    if r50 is None or r95 is None:
        return f"{tier_label(tier)}: r50 and r95 were not measured."
    goal = "meets" if r50 <= 1.05 and r95 <= 1.10 else "misses"
    return f"{tier_label(tier)}: r50 = {r50:.2f}, r95 = {r95:.2f}; this {goal} the goal of 1.05 and 1.10."


def _table(metrics: Mapping[str, Any], tier: str) -> str:
    present = [k for k in TRUTH_LABELS if tier in metrics.get(k, {}).get("tier", {})]
    columns = ("p50_m", "p67_m", "p95_m", "mean_m")
    header = [f"{c.removesuffix('_m')} ({TRUTH_LABELS[k]})" for k in present for c in columns]
    title = f"### {tier_label(tier)} (`{tier}`)"
    lines = [title, "", f"| method | {' | '.join(header)} |", "|---|" + "---:|" * len(header)]
    methods = metrics["test"]["tier"][tier]
    for method in (m for m in RUN_METHOD_STYLES if m in methods):
        cells = [f"{metrics[k]['tier'][tier][method][c]:.1f}" if method in metrics[k]["tier"][tier] else "–"
                 for k in present for c in columns]  # fmt: skip
        lines.append(f"| {run_method_label(method)} (`{method}`) | {' | '.join(cells)} |")
    count = next(iter(methods.values()))["n"]
    return "\n".join([*lines, "", f"{count} reports for each truth. {_ratio_line(metrics, tier)}"])


def _errors_section(run: Path) -> str:
    names = [n for n in ("errors_map", "errors_paths") if (run / "figures" / f"{n}.png").is_file()]
    return "\n\n".join(f"![distribution of errors](figures/{name}.png)" for name in names)


def _training_section(metrics: Mapping[str, Any]) -> str:
    batches, traced = metrics.get("batches", 0), metrics.get("rt_batches", 0)
    fraction = f"{100 * traced / batches:.1f} %" if batches else "none"
    norm = metrics.get("rt_gradient_norm")
    return "\n".join(
        [
            f"- {metrics.get('steps', '?')} steps, {batches} batches, {metrics.get('wall_s', 0):.0f} s",
            f"- ray tracer in the loss: {traced} batches ({fraction}), {metrics.get('rt_links', 0)} links",
            f"- norm of the gradient through it: {'not measured' if norm is None else format(norm, '.3g')}",
        ]
    )


def _two_columns(left: str, right: str, rows: Mapping[str, Any]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---:|", *(f"| {k} | {v} |" for k, v in rows.items())])


def _repeat_section(run: Path, metrics: Mapping[str, Any]) -> str:
    return (
        "## Repeat it\n\n```\n"
        f"uel demo --seed {metrics.get('seed', 0)}\n```\n\n"
        "`config.yaml` beside this report, if present, holds every setting. This page alone:\n\n"
        '`python -c "from pathlib import Path; from explorer.reports.run import write_run_report; '
        f"write_run_report(Path('runs/{run.name}'))\"`"
    )
