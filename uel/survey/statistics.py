"""Count, mean, standard deviation and range of many numbers, merged from parts in any order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StreamingStatistics:
    """Statistics of a set of numbers; all 0 for an empty set."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """sum of squared distances from the mean"""
    least: float = 0.0
    greatest: float = 0.0

    @staticmethod
    def from_values(values: Tensor) -> "StreamingStatistics":
        """Statistics of all numbers of a tensor, in double precision."""
        if not values.numel():
            return StreamingStatistics()
        exact = values.double()
        mean = float(exact.mean())
        squares = float((exact - mean).square().sum())
        return StreamingStatistics(values.numel(), mean, squares, float(exact.min()), float(exact.max()))

    @staticmethod
    def merge(parts: Sequence["StreamingStatistics"]) -> "StreamingStatistics":
        """Statistics of all parts together (Chan, Golub and LeVeque 1983, equations 2.1), the same in every order.

        `math.fsum` rounds once, at the end.
        """
        parts = [part for part in parts if part.count]
        count = sum(part.count for part in parts)
        if not count:
            return StreamingStatistics()
        mean = math.fsum(part.count * part.mean for part in parts) / count
        squares = math.fsum(x for p in parts for x in (p.squares, p.count * (p.mean - mean) ** 2))
        return StreamingStatistics(count, mean, squares, min(p.least for p in parts), max(p.greatest for p in parts))

    @property
    def std(self) -> float:
        """Standard deviation of the numbers themselves (divided by n, not n - 1)."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0
