"""The accuracy of a run in the base condition of its newest evaluation, for reports and the explorer."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.estimation.scoring import error_summary
from uel.results.condition import Condition
from uel.results.evaluation import ConditionResult, position_errors, read_result

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


def base_errors(evaluation: Path) -> dict[str, np.ndarray]:
    """Position errors in metres of every method in the base condition, by "truth/tier/method", over all deployments.

    Raises `UelError` for a damaged evaluation.
    """
    try:
        protocol = read_json_object(evaluation / PROTOCOL_FILE)
        base, files = Condition(**protocol["base"]), [evaluation / "cells" / name for name in protocol["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        do = "repeat uel eval"
        raise UelError("this evaluation is damaged", got=f"{evaluation}: {error!r}", do=do) from error
    errors: dict[str, list[np.ndarray]] = {}
    for result in filter(lambda result: _is_base(result, base), map(read_result, files)):
        for method in result.methods:
            key = f"{result.condition.truth}/{result.condition.tier}/{method}"
            errors.setdefault(key, []).append(position_errors(result, method).numpy())
    return {key: np.concatenate(parts) for key, parts in errors.items()}


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
