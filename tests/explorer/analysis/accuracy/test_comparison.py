import numpy as np
import pytest
import torch

from explorer.analysis.accuracy.comparison import (
    IntervalEstimate,
    difference,
    estimated,
    locator_cards,
    percentile_rows,
    pivot_rows,
    statistic_of,
)
from uel.results.evaluation import block_numbers
from uel.results.run_summary import MethodErrors

SIZE = 256.0  # m, half the side on which phones are


def errors_of(error: torch.Tensor, seed: int = 0) -> MethodErrors:
    """Errors of phones at positions that belong to a seed."""
    generator = torch.Generator().manual_seed(seed)
    position = (torch.rand(len(error), 2, generator=generator) - 0.5) * SIZE
    return MethodErrors(error, position, block_numbers(position))


def drawn(scale: float, count: int = 200, seed: int = 0) -> MethodErrors:
    generator = torch.Generator().manual_seed(seed + 100)
    return errors_of(scale * torch.rand(count, generator=generator), seed)


@pytest.mark.parametrize(("name", "expected"), [("p50", 20.0), ("p95", 38.0), ("mean", 20.0), ("within", 11 / 21)])
def test_statistics_are_those_of_numpy(name, expected):
    error = torch.arange(21).float() * 2
    assert statistic_of(name, 20.0)(error) == pytest.approx(expected)
    if name.startswith("p"):
        assert statistic_of(name, 20.0)(error) == pytest.approx(np.percentile(error.numpy(), float(name[1:])))


def test_a_constant_difference_has_an_interval_of_no_width():
    """Both methods are asked about the same phones, which are drawn together."""
    base = drawn(40.0)
    worse = MethodErrors(base.error + 5.0, base.position, base.part)
    found = difference(worse, base, statistic_of("p50", 30.0))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((5.0, 5.0, 5.0), abs=1e-4)
    alone = estimated(base, statistic_of("p50", 30.0))
    assert alone.low is not None
    assert alone.high is not None
    assert alone.low < alone.value < alone.high


def test_methods_of_other_phones_are_not_compared():
    assert difference(drawn(40.0, seed=1), drawn(40.0, seed=2), statistic_of("p50", 30.0)) is None
    assert difference(drawn(40.0, 50), drawn(40.0, 60), statistic_of("p50", 30.0)) is None


def test_phones_of_one_block_have_no_interval():
    crowd = MethodErrors(torch.arange(9).float(), torch.zeros(9, 2), torch.zeros(9, dtype=torch.long))
    found = estimated(crowd, statistic_of("p50", 30.0))
    assert found == IntervalEstimate(4.0, None, None)
    assert found.text(lambda value: f"{value:.1f} m") == "4.0 m"


def test_texts_have_signs_and_intervals():
    assert IntervalEstimate(1.5, -0.5, 3.0).text("{:.1f}".format, sign=True) == "+1.5 [−0.5, 3.0]"


def test_the_pivot_has_a_row_a_method_and_two_columns_a_run():
    one = {("a", "locator"): drawn(40.0), ("a", "grid_bayes"): drawn(30.0)}
    two = one | {("b", "locator"): drawn(50.0), ("b", "knn_map"): drawn(70.0, seed=9)}
    (grid, locator) = pivot_rows(one, "map", "p50", 30.0)  # the best first
    assert [*locator] == ["method", "median (p50)", "against the locator [interval]"]
    assert locator["against the locator [interval]"] == "–"
    assert grid["method"] == "grid Bayes (the limit)"
    assert "[" in grid["against the locator [interval]"]
    rows = {row["method"]: row for row in pivot_rows(two, "paths", "within", 30.0)}
    assert [*rows] == ["grid Bayes (reference)", "locator", "kNN on the map"]
    assert rows["grid Bayes (reference)"]["b"] == "–"
    assert rows["kNN on the map"]["b against a"] == "–"
    assert rows["locator"]["b against a"].endswith("points]")


def test_cards_name_a_limit_only_where_there_is_one():
    errors = {("a", "locator"): drawn(40.0), ("a", "grid_bayes"): drawn(30.0)}
    assert all("limit" in note for _, note in locator_cards(errors, "a", "map", 30.0).values())
    assert all("reference" in note for _, note in locator_cards(errors, "a", "paths", 30.0).values())
    assert locator_cards({("a", "grid_bayes"): drawn(30.0)}, "a", "map", 30.0) == {}


def test_rows_for_a_file_hold_every_statistic_with_its_ends():
    (row,) = percentile_rows({("a", "locator"): drawn(40.0)}, "map", 30.0)
    assert {"p50 m", "p50 m, low", "p95 m, high", "within 30 m", "mean m", "n", "run"} <= {*row}
    assert row["p50 m, low"] <= row["p50 m"] <= row["p50 m, high"]
