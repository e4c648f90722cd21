"""Tables of measured networks: intervals by blocks, comparisons."""

import numpy as np
import pytest

from uel.results.measured_evaluation import MeasuredResult, MeasuredTable, method_scores, resampled_medians


def draw_of(errors, block, rival=None):
    arrays = {
        "position": np.zeros((len(errors), 2)),
        "block": block,
        "a/20/error": errors,
        "a/20/cpu_ms": np.array(1.0),
    }
    arrays |= {"a/20/nll": errors / 10, "a/20/hpd_level": np.full(len(errors), 0.5)}
    return arrays if rival is None else arrays | {"knn_5/20/error": rival, "knn_5/20/cpu_ms": np.array(1.0)}


def test_resampled_medians_are_those_of_resampled_blocks():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(8), 5)
    errors = rng.exponential(50.0, 40)
    medians = resampled_medians(method_scores([draw_of(errors, block)]), seed=3)["a", 20]
    picks = np.random.default_rng(3).integers(8, size=(200, 8))
    for pick, median in list(zip(picks, medians, strict=True))[:20]:
        drawn = np.sort(np.concatenate([errors[block == number] for number in pick]))
        assert median == drawn[(len(drawn) - 1) // 2]


def test_errors_that_are_alike_within_blocks_have_wide_intervals():
    rng = np.random.default_rng(1)
    of_block = rng.exponential(50.0, 20)
    block = np.repeat(np.arange(20), 50)
    alike = resampled_medians(method_scores([draw_of(of_block[block], block)]), 0)["a", 20]
    free = resampled_medians(method_scores([draw_of(rng.exponential(50.0, 1000), block)]), 0)["a", 20]
    assert alike.std() > 3 * free.std()


def test_a_rival_twice_as_far_off_is_beaten_by_half():
    rng = np.random.default_rng(2)
    errors, block = rng.exponential(50.0, 400), np.repeat(np.arange(40), 10)
    result = MeasuredResult({}, {"d": [draw_of(errors, block, 2 * errors)]})
    (row,) = MeasuredTable.of(result).comparisons
    assert row["rival"] == "knn_5"
    assert row["better_percent"] == pytest.approx(50.0)
    assert row["low_percent"] == pytest.approx(50.0)
    assert row["high_percent"] == pytest.approx(50.0)
