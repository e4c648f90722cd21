"""Unique rows by packed columns: as numpy finds them."""

import numpy as np
import pytest

from sim_bridge.backend.unique_rows import unique_rows


@pytest.mark.parametrize("spread", [0, 1, 3, 10**6, 2**40])
def test_rows_are_those_of_numpy(spread):
    random = np.random.default_rng(spread)
    rows = random.integers(-spread, spread + 1, (500, 7))
    rows[:, 2] = 5
    rows = rows[random.integers(0, 500, 1500)]
    _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    found, number = unique_rows(rows)
    np.testing.assert_array_equal(found, first)
    np.testing.assert_array_equal(number, kind.reshape(-1))


def test_no_rows_and_no_differences():
    assert [len(part) for part in unique_rows(np.zeros((0, 3), np.int64))] == [0, 0]
    first, kind = unique_rows(np.full((4, 3), 7))
    assert first.tolist() == [0]
    assert kind.tolist() == [0, 0, 0, 0]
