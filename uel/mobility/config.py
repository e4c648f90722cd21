"""Configuration of phone tracks; no framework is imported here."""

import math
from dataclasses import dataclass
from typing import Literal

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Number, area and motion of the phones on a tile."""

    tracks: int = 128
    """tracks on the tile"""
    reports: int = 2
    """greatest number of reports on a track"""
    least_reports: int | None = None
    """least number of reports on a track, whose number is random; without it all tracks have `reports`"""
    interval: tuple[float, float] = (0.1, 0.5)
    """s between reports, least and greatest; random for each track"""
    speeds: tuple[float, float, float] = (0.0, 1.0, 10.0)
    """m/s: stationary, pedestrian, vehicular"""
    shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    """fractions of stationary, pedestrian and vehicular tracks"""
    min_distance: float = 10.0
    """m, least horizontal distance to a site"""
    max_distance: float = 1000.0
    """m, greatest horizontal distance to the nearest site"""
    coverage_dbm: float | None = None
    """RSRP of the best cell on the radio map below which no phone is drawn; without it phones are anywhere"""
    weighting: Literal["uniform", "coverage"] = "uniform"
    """density of start positions: uniform, or proportional to the decibels above `coverage_dbm`"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if self.tracks < 1 or self.reports < 1:
            got = f"tracks {self.tracks}, reports {self.reports}"
            raise UelError("tracks and reports must be at least 1", got=got, do="give at least one of each")
        if not 1 <= self.min_reports <= self.reports:
            got = f"least_reports {self.least_reports}, reports {self.reports}"
            raise UelError("least_reports is out of range", got=got, do="give 1 ≤ least_reports ≤ reports")
        if not 0 < self.interval[0] <= self.interval[1] < math.inf:
            raise UelError(
                "interval must be positive", got=self.interval, do="give the least first, for example 0.1 0.5"
            )
        if not all(0 <= speed < math.inf for speed in self.speeds):
            raise UelError("speeds must not be negative", got=self.speeds, do="give m/s, for example 0 1 10")
        if not all(share >= 0 for share in self.shares) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise UelError("shares must sum to 1", got=self.shares, do="give three fractions, for example 0.2 0.3 0.5")
        if not 0 <= self.min_distance < self.max_distance:
            raise UelError(
                "min_distance and max_distance are out of order",
                got=(self.min_distance, self.max_distance),
                do="give 0 ≤ min_distance < max_distance",
            )
        if self.weighting == "coverage" and self.coverage_dbm is None:
            raise UelError("weighting coverage needs coverage_dbm", do="give coverage_dbm, for example -110")

    @property
    def min_reports(self) -> int:
        """Fewest reports on a track."""
        return self.reports if self.least_reports is None else self.least_reports
