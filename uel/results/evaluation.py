"""What an evaluation found: one file for each condition and deployment, and the table that is made of them."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uel.core.io import replace_file
from uel.errors import UelError
from uel.estimation.metrics import bootstrap, coverage, error_summary, position_error
from uel.results.condition import Condition

EVALUATION_COLUMNS: tuple[str, ...] = (
    "truth", "tier", "sigma_db", "correlation", "k", "dropout", "map", "sites", "carrier", "track", "method", "n",
    "p50_m", "p67_m", "p95_m", "mean_m", "r50", "r95", "excess_nll", "cover50", "cover90", "cpu_ms",
    "p50_low_m", "p50_high_m", "p95_low_m", "p95_high_m", "r50_low", "r50_high", "over_150", "over_500", "deployments",
)  # fmt: skip
MethodScores = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class ConditionResult:
    """One condition on one deployment: by method, `estimate` (n, 2), `nll`, `level` (n) where it has them, `cpu_ms`.

    Slow methods may have answered for the first phones alone. A locator's `entropy` (n) is that of its heatmap.
    """

    condition: Condition
    deployment: str
    position: np.ndarray
    methods: MethodScores
    worst: dict[str, np.ndarray]


# ---- files ---------------------------------------------------------------------------------------------


def write_result(file: Path, judged: ConditionResult) -> None:
    """One `.npz`: arrays named "method/value", the position, and the condition as JSON."""
    arrays = {f"{name}/{key}": value for name, values in judged.methods.items() for key, value in values.items()}
    arrays |= {f"worst:{key}": value for key, value in judged.worst.items()} | {"position": judged.position}
    arrays["said"] = np.array(json.dumps({"condition": asdict(judged.condition), "deployment": judged.deployment}))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    replace_file(file, content.getvalue())


def read_result(file: Path) -> ConditionResult:
    """What `write_result` wrote. Raises `UelError` when it is damaged."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as stored:
            said, position = json.loads(str(stored["said"])), stored["position"]
            methods: MethodScores = {}
            for key in stored.files:
                name, slash, value = key.partition("/")
                if slash:
                    methods.setdefault(name, {})[value] = stored[key]
            worst = {key.removeprefix("worst:"): stored[key] for key in stored.files if key.startswith("worst:")}
    except Exception as error:  # numpy raises what zip and its own format raise
        raise UelError(
            "this part of an evaluation is damaged", got=f"{file}: {error}", do="delete it, then again"
        ) from error
    return ConditionResult(Condition(**said["condition"]), said["deployment"], position, methods, worst)


# ---- the table -----------------------------------------------------------------------------------------


def write_evaluation_table(file: Path, cells: list[ConditionResult], seed: int) -> None:
    """`table.csv`: one row for each condition and method, all deployments together."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(EVALUATION_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table_rows(cells, seed))
    replace_file(file, text.getvalue().encode())


def table_rows(cells: list[ConditionResult], seed: int) -> list[dict[str, Any]]:
    """Rows of the table; a ratio or an excess belongs to truth `map` and is left blank elsewhere."""
    by_condition: dict[Condition, list[ConditionResult]] = {}
    for cell in cells:
        by_condition.setdefault(cell.condition, []).append(cell)
    return [
        _condition_columns(condition) | {"method": method} | _row(judged, method, seed)
        for condition, judged in by_condition.items()
        for method in judged[0].methods
    ]


def _condition_columns(condition: Condition) -> dict[str, Any]:
    return asdict(condition) | {"track": condition.moves, "carrier": f"{condition.carrier:g}"}


def _row(cells: list[ConditionResult], method: str, seed: int) -> dict[str, Any]:
    """Statistics of one method under one condition."""
    error = [position_errors(cell, method) for cell in cells]
    pooled = torch.cat(error)
    row: dict[str, Any] = {key: _round(value) for key, value in error_summary(pooled).items()}
    row |= {f"over_{limit}": _round(float((pooled > limit).double().mean())) for limit in (150, 500)}
    row |= {
        "n": len(pooled),
        "deployments": len(cells),
        "cpu_ms": _round(float(np.median([c.methods[method]["cpu_ms"] for c in cells]))),
    }
    for p in (50, 95):
        low, high = bootstrap(error, lambda e, p=p: float(e.quantile(p / 100)), seed)
        row |= {f"p{p}_low_m": _round(low), f"p{p}_high_m": _round(high)}
    if cells[0].condition.truth == "map":
        row |= _ratios(cells, error, seed)
    if "nll" in cells[0].methods[method]:
        row |= _density(cells, method)
    return row


def _ratios(cells: list[ConditionResult], error: list[Tensor], seed: int) -> dict[str, Any]:
    """Percentiles over the limit's; phones of both are drawn anew together."""
    limit = [position_errors(cell, "limit")[: len(mine)] for mine, cell in zip(error, cells, strict=True)]
    both = [torch.stack(pair, 1) for pair in zip(error, limit, strict=True)]
    ratio = lambda e, p: float(e[:, 0].quantile(p) / e[:, 1].quantile(p))  # noqa: E731
    pooled = torch.cat(both)
    low, high = bootstrap(both, lambda e: ratio(e, 0.5), seed)
    names = {"r50": ratio(pooled, 0.5), "r95": ratio(pooled, 0.95), "r50_low": low, "r50_high": high}
    return {name: _round(value) for name, value in names.items()}


def _density(cells: list[ConditionResult], method: str) -> dict[str, Any]:
    """Excess over the limit's negative log-density (of path truth: over the reference's), and coverage."""
    level = torch.from_numpy(np.concatenate([cell.methods[method]["level"] for cell in cells]))
    row: dict[str, Any] = {f"cover{p}": _round(coverage(level, p / 100)) for p in (50, 90)}
    if "nll" in cells[0].methods["limit"]:
        mine = [cell.methods[method]["nll"] for cell in cells]
        excess = [nll - cell.methods["limit"]["nll"][: len(nll)] for nll, cell in zip(mine, cells, strict=True)]
        row["excess_nll"] = _round(float(np.concatenate(excess).astype(np.float64).mean()))
    return row


def position_errors(cell: ConditionResult, method: str) -> Tensor:
    """Of the phones that a method answered for."""
    estimate = torch.from_numpy(cell.methods[method]["estimate"])
    return position_error(estimate, torch.from_numpy(cell.position)[: len(estimate)])


def _round(value: float | int) -> float:
    return float(f"{value:.5g}")
