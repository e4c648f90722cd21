"""The accuracy of a run in the base condition of its newest evaluation, for reports and the explorer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.estimation.scoring import error_summary
from uel.results.condition import Condition
from uel.results.evaluation import ConditionResult, block_numbers, position_errors, read_result

PROTOCOL_FILE = "protocol.json"  # in the folder of an evaluation


def newest_evaluation(run: Path) -> Path | None:
    """The folder of the run's newest evaluation of drawn phones, None without one."""
    files = sorted((run / "eval").glob(f"*/{PROTOCOL_FILE}"), key=lambda file: file.stat().st_mtime)
    return next((file.parent for file in reversed(files) if not _is_of_log(file)), None)


def _is_of_log(file: Path) -> bool:
    """Whether an evaluation is of a measured log, which has no limit; a damaged one is not."""
    try:
        return "log" in read_json_object(file)
    except UelError:
        return False


@dataclass(frozen=True, eq=False, repr=False)
class MethodErrors(ShortRepr):
    """Position errors of one method, phone by phone, over all deployments of an evaluation."""

    error: Float[Tensor, " n"]
    """m"""
    position: Float[Tensor, "n 2"]
    """m, the true one"""
    part: Int[Tensor, " n"]
    """what a bootstrap draws together: the number of the deployment; of a single one, of the block of ground"""

    def parts(self, values: Tensor) -> list[Tensor]:
        """Values of phones (n, …) in the parts that a bootstrap draws."""
        return [values[self.part == number] for number in self.part.unique()]


def base_method_errors(evaluation: Path) -> dict[str, MethodErrors]:
    """Errors of every method in the base condition, by "truth/tier/method", over all deployments.

    Raises `UelError` for a damaged evaluation.
    """
    try:
        protocol = read_json_object(evaluation / PROTOCOL_FILE)
        base, files = Condition(**protocol["base"]), [evaluation / "cells" / name for name in protocol["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        do = "repeat uel eval"
        raise UelError("this evaluation is damaged", got=f"{evaluation}: {error!r}", do=do) from error
    results: dict[str, list[ConditionResult]] = {}
    for result in filter(lambda result: _is_base(result, base), map(read_result, files)):
        for method in result.methods:
            key = f"{result.condition.truth}/{result.condition.tier}/{method}"
            results.setdefault(key, []).append(result)
    return {key: _method_errors(of_key, key.rpartition("/")[2]) for key, of_key in results.items()}


def _method_errors(results: list[ConditionResult], method: str) -> MethodErrors:
    error = [position_errors(result, method) for result in results]
    pairs = [*zip(results, error, strict=True)]
    position = [torch.from_numpy(result.position)[: len(located)].float() for result, located in pairs]
    if len(results) == 1:
        part = block_numbers(position[0])
    else:
        part = torch.cat([torch.full((len(located),), number, device="cpu") for number, located in enumerate(error)])
    return MethodErrors(torch.cat(error), torch.cat(position), part)


def base_errors(evaluation: Path) -> dict[str, np.ndarray]:
    """Position errors in metres of every method in the base condition, by "truth/tier/method", over all deployments.

    Raises `UelError` for a damaged evaluation.
    """
    return {key: errors.error.numpy() for key, errors in base_method_errors(evaluation).items()}


def _is_base(result: ConditionResult, base: Condition) -> bool:
    return result.condition == replace(base, truth=result.condition.truth, tier=result.condition.tier)


def accuracy_tables(errors: Mapping[str, np.ndarray], place: str) -> dict[str, Any]:
    """`test`, `test_paths`, `r50` and `r95` of a run's `metrics.json`, of errors by "truth/tier/method".

    Ratios are the locator's percentiles over the limit's, for truth `map`, whose limit is exact.
    """
    tables: dict[str, dict[str, dict[str, Any]]] = {"map": {}, "paths": {}}
    for key, error in errors.items():
        truth, tier, method = key.split("/")
        tables[truth].setdefault(tier, {})[method] = error_summary(torch.from_numpy(error))
    ratios = {
        f"r{p}": {tier: rows["locator"][f"p{p}_m"] / rows["limit"][f"p{p}_m"] for tier, rows in tables["map"].items()}
        for p in (50, 95)
    }
    return {
        "test": {"tile": place, "truth": "map", "tier": tables["map"]},
        "test_paths": {"tile": place, "truth": "paths", "tier": tables["paths"]},
        **ratios,
    }


def run_metrics(run: Path) -> dict[str, Any]:
    """`metrics.json` of a run, with the accuracy of its newest evaluation where the file has none; empty without both.

    Raises `UelError` for damaged files.
    """
    file, evaluation = run / "metrics.json", newest_evaluation(run)
    try:
        metrics = read_json_object(file) if file.is_file() else {}
    except ValueError as error:
        do = "repeat the command that made the run"
        raise UelError("metrics.json of this run is damaged", got=f"{file}: {error}", do=do) from error
    if "test" in metrics or evaluation is None:
        return metrics
    protocol = read_json_object(evaluation / PROTOCOL_FILE)
    return metrics | accuracy_tables(base_errors(evaluation), ", ".join(protocol["tiles"]))
