"""How many phones there are, where, and how they move; no framework is imported here."""

import math
from dataclasses import dataclass
from typing import Literal

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """How many phones, where, and how they move."""

    tracks: int = 128
    """tracks on the tile"""
    reports: int = 2
    """most reports on a track"""
    least_reports: int | None = None
    """fewest reports on a track, which draws its number; none given: all have the most"""
    interval: tuple[float, float] = (0.1, 0.5)
    """s between reports, least and greatest: each track draws its own"""
    speeds: tuple[float, float, float] = (0.0, 1.0, 10.0)
    """m/s: stationary, pedestrian, vehicular"""
    shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    """of stationary, pedestrian and vehicular tracks"""
    min_distance: float = 10.0
    """m, least horizontal distance to a site"""
    max_distance: float = 1000.0
    """m, greatest horizontal distance to the nearest site"""
    coverage_dbm: float | None = None
    """RSRP of the best cell on the radio map, below which no phone is drawn; none given: anywhere"""
    weighting: Literal["uniform", "coverage"] = "uniform"
    """where tracks begin: anywhere alike, or in proportion to the decibels above `coverage_dbm`"""

    def __post_init__(self) -> None:
        if self.tracks < 1 or self.reports < 1:
            raise UelError("a survey needs tracks with reports", got=self, do="give at least one of each")
        if not 1 <= self.min_reports <= self.reports:
            raise UelError("a track has from least_reports to reports", got=self, do="give 1 ≤ least_reports ≤ reports")
        if not 0 < self.interval[0] <= self.interval[1] < math.inf:
            raise UelError("an interval is positive", got=self.interval, do="give the least first, 0.1 and 0.5 s say")
        if not all(0 <= speed < math.inf for speed in self.speeds):
            raise UelError("speeds must not be negative", got=self.speeds, do="give m/s, 0 1 10 say")
        if not all(share >= 0 for share in self.shares) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise UelError("shares of tracks sum to 1", got=self.shares, do="give three shares, 0.2 0.3 0.5 say")
        if not 0 <= self.min_distance < self.max_distance:
            raise UelError(
                "distances to sites run from the least to the greatest",
                got=(self.min_distance, self.max_distance),
                do="give 0 ≤ min_distance < max_distance",
            )
        if self.weighting == "coverage" and self.coverage_dbm is None:
            raise UelError("tracks by coverage need a threshold", got=None, do="give coverage_dbm, -110 say")

    @property
    def min_reports(self) -> int:
        """Fewest reports on a track."""
        return self.reports if self.least_reports is None else self.least_reports
