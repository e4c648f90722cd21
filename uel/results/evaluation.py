"""Results of an evaluation: one file for each condition and deployment, and the table of all of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.io import array_bytes, csv_bytes, replace_file
from uel.core.outside.array_files import read_arrays
from uel.core.outside.json_text import parse_json
from uel.errors import UelError
from uel.estimation.scoring import Scores, bootstrap, coverage, error_summary, position_error
from uel.results.condition import Condition

BOOTSTRAP_BLOCK = 64.0  # m, side of the blocks of phones that are drawn together where there is one deployment
EVALUATION_COLUMNS: tuple[str, ...] = (
    "truth", "tier", "sigma_db", "correlation", "k", "dropout", "map", "sites", "carrier", "track", "method", "n",
    "p50_m", "p67_m", "p95_m", "mean_m", "r50", "r95", "excess_nll", "cover50", "cover90", "cpu_ms",
    "p50_low_m", "p50_high_m", "p95_low_m", "p95_high_m", "r50_low", "r50_high", "over_150", "over_500", "deployments",
)  # fmt: skip
MethodScores = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class ConditionResult:
    """Scores under one condition on one deployment.

    For each method: `estimate` (n, 2), `cpu_ms`, and `nll` and `level` (n; of the smallest credible region that holds
    the truth) for methods with a density. Slow methods may have been run on the first phones only. A locator's
    `entropy` (n) is that of its heatmap.
    """

    condition: Condition
    deployment: str
    position: np.ndarray
    methods: MethodScores
    worst: dict[str, np.ndarray]


def score_arrays(scores: Scores) -> dict[str, np.ndarray]:
    """What is stored of a method's scores, in single precision."""
    values = {
        "estimate": scores.estimate,
        "nll": scores.nll,
        "level": scores.hpd_level,
        "entropy": scores.entropy,
    }
    arrays = {name: value.numpy().astype(np.float32) for name, value in values.items() if value is not None}
    return arrays if scores.cpu_ms is None else arrays | {"cpu_ms": np.array(scores.cpu_ms)}


# ---- files ---------------------------------------------------------------------------------------------


def write_result(file: Path, result: ConditionResult, key: Mapping[str, Any] | None = None) -> None:
    """Write one `.npz` with arrays named "method/value", the position, and as JSON the condition and the key: all that
    the result was made from."""
    arrays = {f"{name}/{key}": value for name, values in result.methods.items() for key, value in values.items()}
    arrays |= {f"worst:{key}": value for key, value in result.worst.items()} | {"position": result.position}
    arrays["said"] = np.array(json.dumps({"condition": asdict(result.condition), "deployment": result.deployment}))
    arrays |= {} if key is None else {"key": np.array(json.dumps(key))}
    replace_file(file, array_bytes(arrays, compressed=True))


def read_key(file: Path) -> dict[str, Any] | None:
    """The key of a result; None for a file without one, or a damaged one."""
    try:
        return parse_json(str(read_arrays(file)["key"]), str(file))
    except (UelError, KeyError):  # results before version 0.2 have no key
        return None


def read_result(file: Path) -> ConditionResult:
    """Read a file of `write_result`. Raises `UelError` when it is damaged."""
    try:
        stored = read_arrays(file)
        metadata, position = parse_json(str(stored["said"]), str(file)), stored["position"]
        methods: MethodScores = {}
        for key, values in stored.items():
            name, slash, value = key.partition("/")
            if slash:
                methods.setdefault(name, {})[value] = values
        worst = {key.removeprefix("worst:"): values for key, values in stored.items() if key.startswith("worst:")}
        return ConditionResult(Condition(**metadata["condition"]), metadata["deployment"], position, methods, worst)
    except (UelError, KeyError, TypeError) as error:
        raise UelError(
            "this file of an evaluation is damaged", got=f"{file}: {error}", do="delete it, and run uel eval again"
        ) from error


# ---- the table -----------------------------------------------------------------------------------------


def write_evaluation_table(file: Path, results: list[ConditionResult], seed: int) -> None:
    """Write `table.csv`: one row for each condition and method, all deployments together."""
    replace_file(file, csv_bytes(EVALUATION_COLUMNS, table_rows(results, seed)))


def table_rows(results: list[ConditionResult], seed: int) -> list[dict[str, Any]]:
    """Rows of the table; ratios to the limit are blank except for truth `map`."""
    by_condition: dict[Condition, list[ConditionResult]] = {}
    for result in results:
        by_condition.setdefault(result.condition, []).append(result)
    return [
        _condition_columns(condition) | {"method": method} | _row(group, method, seed)
        for condition, group in by_condition.items()
        for method in group[0].methods
    ]


def _condition_columns(condition: Condition) -> dict[str, Any]:
    return asdict(condition) | {"track": condition.motion_label, "carrier": f"{condition.carrier:g}"}


def _row(results: list[ConditionResult], method: str, seed: int) -> dict[str, Any]:
    """Statistics of one method under one condition."""
    error = [position_errors(result, method) for result in results]
    pooled = torch.cat(error)
    row: dict[str, Any] = {key: _round(value) for key, value in error_summary(pooled).items()}
    row |= {f"over_{limit}": _round(float((pooled > limit).double().mean())) for limit in (150, 500)}
    row |= {
        "n": len(pooled),
        "deployments": len(results),
        "cpu_ms": _round(float(np.median([c.methods[method]["cpu_ms"] for c in results]))),
    }
    for p in (50, 95):
        low, high = bootstrap(_independent_parts(results, error), lambda e, p=p: float(e.quantile(p / 100)), seed)
        row |= {f"p{p}_low_m": _round(low), f"p{p}_high_m": _round(high)}
    if results[0].condition.truth == "map":
        row |= _ratios(results, error, seed)
    if "nll" in results[0].methods[method]:
        row |= _density(results, method)
    return row


def _independent_parts(results: list[ConditionResult], values: list[Tensor]) -> list[Tensor]:
    """Values of the phones of each deployment in the parts that a bootstrap draws: deployments, or blocks of one."""
    if len(values) > 1:
        return values
    block = block_numbers(torch.from_numpy(results[0].position)[: len(values[0])])
    return [values[0][block == number] for number in block.unique()]


def block_numbers(position: Float[Tensor, "n 2"]) -> Int[Tensor, " n"]:
    """The block of ground that each position (m) is in, numbered from 0: what a bootstrap draws together."""
    return (position / BOOTSTRAP_BLOCK).floor().unique(dim=0, return_inverse=True)[1]


def _ratios(results: list[ConditionResult], error: list[Tensor], seed: int) -> dict[str, Any]:
    """Ratios of percentiles to the limit's; phones of both are resampled together."""
    limit = [
        position_errors(result, "limit")[: len(method_error)]
        for method_error, result in zip(error, results, strict=True)
    ]
    both = [torch.stack(pair, 1) for pair in zip(error, limit, strict=True)]

    def ratio(pair: Tensor, quantile: float) -> float:
        return float(pair[:, 0].quantile(quantile) / pair[:, 1].quantile(quantile))

    pooled = torch.cat(both)
    low, high = bootstrap(_independent_parts(results, both), lambda e: ratio(e, 0.5), seed)
    names = {"r50": ratio(pooled, 0.5), "r95": ratio(pooled, 0.95), "r50_low": low, "r50_high": high}
    return {name: _round(value) for name, value in names.items()}


def _density(results: list[ConditionResult], method: str) -> dict[str, Any]:
    """Coverage, and the excess over the limit's negative log-density (for path truth: over the reference's)."""
    level = torch.from_numpy(np.concatenate([result.methods[method]["level"] for result in results]))
    row: dict[str, Any] = {f"cover{p}": _round(coverage(level, p / 100)) for p in (50, 90)}
    if "nll" in results[0].methods.get("limit", {}):
        method_nll = [result.methods[method]["nll"] for result in results]
        excess = [
            nll - result.methods["limit"]["nll"][: len(nll)] for nll, result in zip(method_nll, results, strict=True)
        ]
        row["excess_nll"] = _round(float(np.concatenate(excess).astype(np.float64).mean()))
    return row


def position_errors(result: ConditionResult, method: str) -> Tensor:
    """Position errors in metres of a method, for the phones that it located."""
    estimate = torch.from_numpy(result.methods[method]["estimate"])
    return position_error(estimate, torch.from_numpy(result.position)[: len(estimate)])


def _round(value: float | int) -> float:
    return float(f"{value:.5g}")
