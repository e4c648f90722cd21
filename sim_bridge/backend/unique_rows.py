"""Rows of whole numbers, each once and in order: as `np.unique(axis=0)`, which compares rows field by field and takes
ten times as long."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

MAX_PACKED = 2**62  # of the numbers that several columns are packed into


def unique_rows(rows: Int[Array, "row column"]) -> tuple[Int[Array, " unique"], Int[Array, " row"]]:
    """The first of each kind of row, kinds in rising order, and the number of each row's kind.

    Example:
        >>> import numpy as np
        >>> first, kind = unique_rows(np.array([[2, 1], [0, 5], [2, 1], [0, -5]]))
        >>> first.tolist(), kind.tolist()
        ([3, 1, 0], [2, 1, 2, 0])
    """
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys = _packed_columns(rows)
    order = np.lexsort(keys[::-1])  # stable, and the last key counts most
    changes = np.zeros(len(rows), bool)
    for key in keys:
        ordered = key[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    kind = np.empty(len(rows), np.int64)
    kind[order] = np.cumsum(changes)
    changes[0] = True
    return order[changes], kind


def _packed_columns(rows: Int[Array, "row column"]) -> list[Int[Array, " row"]]:
    """Few columns in the same order of rows: neighbours are packed into one number as long as they fit."""
    low = rows.min(0)
    spans, keys, span = (rows.max(0) - low + 1).tolist(), list[np.ndarray](), MAX_PACKED
    for column, own in enumerate(spans):
        shifted = rows[:, column].astype(np.int64) - low[column]
        if span * own < MAX_PACKED:
            keys[-1], span = keys[-1] * own + shifted, span * own
        elif own > 1:
            keys.append(shifted)
            span = own
    return keys or [np.zeros(len(rows), np.int64)]
