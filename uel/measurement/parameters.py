"""The numbers of the measurement model: how phones measure and report."""

import math
from dataclasses import dataclass

from uel.core.constants import noise_dbm, timing_advance_step
from uel.errors import UelError
from uel.measurement.tiers import Tier

MIN_DETECTION_SNR_DB = (
    -6.0
)  # signal to noise per resource element of the weakest cell a phone must find: TS 38.133, B.2.2
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
_SHARES = (
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
    """the most that a phone reports, see `uel.measurement.tiers.Tier`; `Reports.with_tier` takes from it what a lesser
    one would"""
    shadowing_db: float = 8.0
    """standard deviation of log-normal shadow fading"""
    cell_correlation: float = 0.0
    """of the fading of two cells at one place; 0.5 between sites in TR 36.814, clause A.2.1.1"""
    decorrelation_distance: float = 0.0
    """m along a track after which fading's correlation is 1/e (TR 38.901, table 7.5-6: 37); 0: reports independent"""
    level_outliers: float = 0.0
    """share of levels that are off by `outlier_db` more, as where a map is wrong; not with `cell_correlation`"""
    outlier_db: float = 25.0
    """standard deviation of what is added to those levels"""
    level_noise_db: float = 0.0
    """standard deviation of a level's own error: thermal noise and the receiver, anew in every report"""
    sensitivity_dbm: float = -120.0
    """RSRP below which a cell is not reported"""
    rsrp_step_db: float = 1.0
    """reporting step of RSRP (TS 38.133, clause 10.1.6)"""
    cells_max: int = 8
    """strongest cells that one report holds"""
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
    """chance that the sight is blocked where the map says that it is free; drawn anew for each feature"""
    missed_sight: float = 0.0
    """chance that the sight is free where the map says that it is blocked"""
    feature_dropout: float = 0.0
    """share of timing advances, times and azimuths that are missing, each by itself"""
    cell_dropout: float = 0.0
    """share of cells that a phone hears and does not report"""
    report_dropout: float = 0.0
    """share of reports that are lost as a whole"""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise UelError(f"{name} must be positive", got=getattr(self, name), do="give a positive number")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                raise UelError(f"{name} must not be negative", got=getattr(self, name), do="give 0 or more")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise UelError(f"{name} lies in [0, 1)", got=getattr(self, name), do="give a share, 0.2 say")
        if self.level_outliers and self.cell_correlation:
            got = f"level_outliers {self.level_outliers}, cell_correlation {self.cell_correlation}"
            raise UelError("correlated levels have no outliers", got=got, do="set one of the two to 0")
        if self.cells_max < 1:
            raise UelError("a report holds a cell at least", got=self.cells_max, do="give cells_max=8, say")
        floor = noise_dbm(self.subcarrier_spacing, noise_figure_db=0.0) + MIN_DETECTION_SNR_DB
        if not floor <= self.sensitivity_dbm < math.inf:
            raise UelError(
                "no phone hears what thermal noise covers",
                got=f"{self.sensitivity_dbm} dBm",
                do=f"give {math.ceil(floor)} dBm or more",
            )

    @property
    def range_step(self) -> float:
        """One timing-advance step as a one-way distance in metres."""
        return timing_advance_step(self.subcarrier_spacing)

    @property
    def has_uncertain_los(self) -> bool:
        """Whether the map's sight may be wrong."""
        return bool(self.false_sight or self.missed_sight)
