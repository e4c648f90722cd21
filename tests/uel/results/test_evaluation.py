"""Cells of an evaluation and the table made of them, by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uel.results.condition import Condition
from uel.results.evaluation import ConditionResult, read_result, table_rows, write_result


def by_hand(error: list[float], limit: list[float], truth: str = "map") -> ConditionResult:
    """Phones at the origin, found so many metres to the east."""

    def along(values):
        return np.stack([np.array(values), np.zeros(len(values))], 1).astype(np.float32)

    level = np.linspace(0.05, 0.95, len(error)).astype(np.float32)

    def scored(values, nll):
        return {"estimate": along(values), "nll": np.full(len(error), nll), "level": level}

    methods = {
        "limit": scored(limit, 5.0) | {"cpu_ms": np.array(2.0)},
        "locator": scored(error, 5.5) | {"cpu_ms": np.array(7.0)},
        "knn": {"estimate": along(error), "cpu_ms": np.array(1.0)},
    }
    return ConditionResult(Condition(truth=truth), "a", np.zeros((len(error), 2), np.float32), methods, {})  # type: ignore[arg-type]


def test_table_of_errors_made_by_hand() -> None:
    cells = [by_hand([10.0] * 10, [5.0] * 10), by_hand([30.0] * 9 + [600.0], [10.0] * 10)]
    rows = {row["method"]: row for row in table_rows(cells, seed=0)}
    assert rows["locator"]["p50_m"] == 20.0
    assert rows["locator"]["r50"] == pytest.approx(20 / 7.5, rel=1e-3)
    assert rows["locator"]["mean_m"] == pytest.approx((100 + 270 + 600) / 20)
    assert rows["locator"]["over_500"] == rows["locator"]["over_150"] == 0.05
    assert rows["locator"]["excess_nll"] == 0.5
    assert rows["locator"]["cover50"] == 0.5
    assert rows["locator"]["cover90"] == 0.9
    assert rows["locator"]["cpu_ms"] == 7.0
    # Drawn with replacement two deployments are at times both the one or both the other.
    assert (rows["locator"]["p50_low_m"], rows["locator"]["p50_high_m"]) == (10.0, 30.0)
    assert "excess_nll" not in rows["knn"]
    assert "r50" not in table_rows([by_hand([1.0], [1.0], "paths")], seed=0)[0]


def test_one_deployment_has_an_interval_over_its_blocks() -> None:
    """Two blocks, each of equal errors: drawn with replacement, both are at times the one or the other."""
    near, far = by_hand([10.0] * 5, [5.0] * 5), by_hand([30.0] * 5, [5.0] * 5)
    offset = np.array([100.0, 0.0], np.float32)
    estimate = np.concatenate([near.methods["knn"]["estimate"], far.methods["knn"]["estimate"] + offset])
    position = np.concatenate([near.position, far.position + offset])
    methods = {"knn": {"estimate": estimate, "cpu_ms": np.array(1.0)}}
    cell = replace(by_hand([0.0], [0.0], "paths"), position=position, methods=methods)
    (row,) = table_rows([cell], seed=0)
    assert (row["p50_m"], row["p50_low_m"], row["p50_high_m"]) == (20.0, 10.0, 30.0)


def test_cells_are_written_and_read(tmp_path: Path) -> None:
    want = by_hand([1.0, 2.0], [1.0, 1.0])
    write_result(tmp_path / "cell.npz", want)
    got = read_result(tmp_path / "cell.npz")
    assert got.condition == want.condition
    assert got.methods.keys() == want.methods.keys()
    assert (got.methods["locator"]["estimate"] == want.methods["locator"]["estimate"]).all()
    assert json.dumps(got.deployment) == '"a"'
