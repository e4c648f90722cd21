"""Parameters of the observation model: how phones measure and report."""

import math
from dataclasses import dataclass

from uel.core.constants import MIN_DETECTION_SNR_DB, noise_dbm, timing_advance_step
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.measurement.tiers import Tier

_POSITIVE = (
    "shadowing_db",
    "rsrp_step_db",
    "range_noise",
    "nlos_excess",
    "toa_noise",
    "azimuth_noise_deg",
    "azimuth_noise_nlos_deg",
    "azimuth_step_deg",
)
_NOT_NEGATIVE = ("decorrelation_distance", "outlier_db", "level_noise_db")
_PROBABILITIES = (
    "level_outliers",
    "false_sight",
    "missed_sight",
    "feature_dropout",
    "cell_dropout",
    "report_dropout",
    "cell_correlation",
)


@dataclass(frozen=True, kw_only=True)
class ObservationParameters:
    """The realism between the ray-traced truth and a phone's report (levels in dB, ranges in metres)."""

    tier: Tier = "rsrp_ta_azimuth"
    """feature tier of the reports, see `uel.measurement.tiers.Tier`; `Reports.with_tier` restricts them to a lower
    one"""
    shadowing_db: float = 8.0
    """standard deviation of log-normal shadow fading"""
    cell_correlation: float = 0.0
    """correlation of the fading of two cells at one position; 0.5 between sites in TR 36.814, clause A.2.1.1"""
    decorrelation_distance: float = 0.0
    """m along a track after which fading's correlation is 1/e (TR 38.901, table 7.5-6: 37); 0: reports independent"""
    level_outliers: float = 0.0
    """probability that a level has an additional error of `outlier_db`, as where a map is wrong; not with
    `cell_correlation`"""
    outlier_db: float = 25.0
    """standard deviation of that additional error"""
    level_noise_db: float = 0.0
    """standard deviation of a level's measurement error (thermal noise, receiver), independent in every report"""
    sensitivity_dbm: float = -120.0
    """RSRP below which a cell is not reported"""
    rsrp_step_db: float = 1.0
    """reporting step of RSRP (TS 38.133, clause 10.1.6)"""
    cells_max: int = 8
    """greatest number of cells in a report; the strongest are reported"""
    subcarrier_spacing: float = 30e3
    """Hz: sets the timing advance step"""
    range_noise: float = 5.0
    """m, standard deviation of the one-way range behind the timing advance"""
    nlos_excess: float = 30.0
    """m, mean of the exponential excess range when the line of sight is blocked"""
    toa_noise: float = 10.0
    """m, standard deviation of the one-way range behind a time of arrival"""
    azimuth_noise_deg: float = 5.0
    """standard deviation of a cell's azimuth in line of sight"""
    azimuth_noise_nlos_deg: float = 25.0
    """the same when the line of sight is blocked"""
    azimuth_step_deg: float = 1.0
    """reporting step of azimuths"""
    false_sight: float = 0.0
    """probability that the line of sight is blocked where the map has it free; independent for each feature"""
    missed_sight: float = 0.0
    """probability that the line of sight is free where the map has it blocked"""
    feature_dropout: float = 0.0
    """probability that a timing advance, time or azimuth is missing, independently"""
    cell_dropout: float = 0.0
    """probability that a cell is heard but not reported"""
    report_dropout: float = 0.0
    """probability that a report is lost"""

    def __post_init__(self) -> None:
        require_numbers(self, subcarrier_spacing=(1e3, 1e7))
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise UelError(f"{name} must be positive", got=getattr(self, name), do="give a positive number")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                raise UelError(f"{name} must not be negative", got=getattr(self, name), do="give 0 or more")
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) < 1:
                raise UelError(
                    f"{name} must lie in [0, 1)", got=getattr(self, name), do="give a probability, for example 0.2"
                )
        if self.level_outliers and self.cell_correlation:
            got = f"level_outliers {self.level_outliers}, cell_correlation {self.cell_correlation}"
            raise UelError("level_outliers and cell_correlation exclude each other", got=got, do="set one of them to 0")
        if self.cells_max < 1:
            raise UelError("cells_max must be at least 1", got=self.cells_max, do="give cells_max=8, for example")
        floor = noise_dbm(self.subcarrier_spacing, noise_figure_db=0.0) + MIN_DETECTION_SNR_DB
        if not floor <= self.sensitivity_dbm < math.inf:
            raise UelError(
                "sensitivity_dbm is below what a phone can detect in thermal noise",
                got=f"{self.sensitivity_dbm} dBm",
                do=f"give {math.ceil(floor)} dBm or more",
            )

    @property
    def range_step(self) -> float:
        """One timing-advance step as a one-way distance in metres."""
        return timing_advance_step(self.subcarrier_spacing)

    @property
    def has_uncertain_los(self) -> bool:
        """Whether the map's line of sight may be wrong."""
        return bool(self.false_sight or self.missed_sight)
