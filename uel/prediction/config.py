"""Numbers of the prediction of levels, learned from other districts. No framework is imported here."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError

Answer = Literal["median", "mean", "most-probable-surroundings"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
TREND_FEATURES = ("intercept", "decades of distance beyond 200 m", "horizontal attenuation", "vertical attenuation")


@dataclass(frozen=True, kw_only=True)
class TrendPrior:
    """Prior of the coefficients of `TREND_FEATURES`: dB, dB a decade, and dB for each dB of attenuation."""

    mean: tuple[float, ...] = (-104.5, -8.8, -0.1, 0.06)
    """expectation in a district, of levels that are reported: far ones are where the field is high"""
    district_std: tuple[float, ...] = (6.0, 3.0, 0.1, 0.1)
    """standard deviation between districts"""
    cell_std: tuple[float, ...] = (3.0, 4.0, 0.1, 0.1)
    """standard deviation between the cells of a district"""
    mast_std: float = 1.0
    """dB, standard deviation of an offset that the cells of one mast share"""
    device_std: float = 5.0
    """dB, standard deviation of the offset of a make of phones"""

    def __post_init__(self) -> None:
        require_numbers(self, district_std=(0, 1e3), cell_std=(0, 1e3), mast_std=(0, 1e3), device_std=(0, 1e3))
        for name in ("mean", "district_std", "cell_std"):
            if len(getattr(self, name)) != len(TREND_FEATURES):
                got, do = f"{len(getattr(self, name))} of {name}", f"give {len(TREND_FEATURES)}"
                raise UelError("a trend has a number for each of its features", got=got, do=do)


@dataclass(frozen=True, kw_only=True)
class ResidualCovariance:
    """Covariance of levels around the trend: two fields in space and white noise."""

    long_std_db: float = 7.0
    long_length: float = 80.0
    """m after which the correlation is 1/e"""
    short_std_db: float = 2.7
    short_length: float = 30.0
    """m"""
    noise_std_db: float = 2.0

    def __post_init__(self) -> None:
        require_numbers(
            self,
            long_std_db=(0, 1e3),
            long_length=(1e-3, 1e6),
            short_std_db=(0, 1e3),
            short_length=(1e-3, 1e6),
            noise_std_db=(0, 1e3),
        )

    @property
    def variance(self) -> float:
        """dB², of one level around its trend."""
        return self.long_std_db**2 + self.short_std_db**2 + self.noise_std_db**2


@dataclass(frozen=True, kw_only=True)
class ReportLaw:
    """Prior of the coefficients of the log-odds that a phone reports a cell, from other districts."""

    mean: tuple[float, ...] = (0.0, -4.9, -0.044, -0.027)
    """of `TREND_FEATURES`; around a learned map of 1 and its log-odds"""
    std: tuple[float, ...] = (0.5, 0.8, 0.025, 0.03)
    """between districts"""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not min(self.std) > 0:
            got, do = f"{len(self.mean)} means, standard deviations {self.std}", "give as many, positive"
            raise UelError("a law of reports has a mean and a standard deviation for each feature", got=got, do=do)


@dataclass(frozen=True, kw_only=True)
class DetectionParameters:
    """When a phone reports a cell: by a law, and near labels that do (`uel.prediction.detection`)."""

    law: ReportLaw = field(default_factory=ReportLaw)
    map_law: ReportLaw = field(default_factory=lambda: ReportLaw(mean=(0.0, 1.0), std=(1.0, 0.3)))
    """around the log-odds of a learned map"""
    length: float = 100.0
    """m after which what labels say of a cell is correlated to 1/e"""
    white_part: float = 0.8
    """variance of a label that no neighbour shares, beside that which neighbours share"""
    floor: float = 0.01
    """least probability of a report, and of silence"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in ("length", "white_part"):
            if not getattr(self, name) > 0:
                raise UelError(f"{name} of reports must be positive", got=getattr(self, name), do="leave it out")
        if not 0 < self.floor < 0.5:
            raise UelError("the least probability of a report is between 0 and 1/2", got=self.floor, do="give 0.01")


@dataclass(frozen=True, kw_only=True)
class ReportLikelihood:
    """How a whole report weighs: its levels together, and its silent cells."""

    degrees_of_freedom: float = 12.0
    """of Student's t: heavy tails"""
    cell_correlation: float = 0.2
    """of residuals of two cells on different masts"""
    mast_correlation: float = 0.4
    """of residuals of two cells on one mast"""
    level_exponent: float = 0.8
    silence_exponent: float = 0.9
    """of the likelihood of what was reported and what was not: cells fall silent together"""

    def __post_init__(self) -> None:
        require_numbers(self, degrees_of_freedom=(0.1, 1e6), level_exponent=(0, 100), silence_exponent=(0, 100))
        if not 0 <= self.cell_correlation <= self.mast_correlation < 1:
            got = f"{self.cell_correlation} between masts, {self.mast_correlation} on one mast"
            raise UelError("correlations of cells do not rise from masts to cells of one mast", got=got, do="swap them")


@dataclass(frozen=True, kw_only=True)
class PlaceWeights:
    """How much likelier a phone is on some squares than on open ground, before any report."""

    way: float = 5.0
    """on roads and footways, where a map of them is known"""
    building: float = 0.5
    """in buildings, where phones may be there"""
    prior_labels: float = 20.0
    """how many labels these weights count for"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not min(self.way, self.building, self.prior_labels) > 0:
            got = f"way {self.way:g}, building {self.building:g}, prior_labels {self.prior_labels:g}"
            raise UelError("weights of places must be positive", got=got, do="give numbers above 0")


@dataclass(frozen=True, kw_only=True)
class PredictionParameters:
    """All numbers of a locator that learns a district from labels."""

    trend: TrendPrior = field(default_factory=TrendPrior)
    residual: ResidualCovariance = field(default_factory=ResidualCovariance)
    detection: DetectionParameters = field(default_factory=DetectionParameters)
    likelihood: ReportLikelihood = field(default_factory=ReportLikelihood)
    places: PlaceWeights = field(default_factory=PlaceWeights)


def around_learned_maps() -> PredictionParameters:
    """The numbers of levels around the maps of `uel.prediction.learned_maps`, which hold a trend already."""
    none, small = (0.0, 0.0, 0.0, 0.0), (2.5, 1.5, 0.04, 0.05)
    trend = TrendPrior(mean=none, district_std=small, cell_std=(1.5, 1.0, 0.03, 0.05))
    residual = ResidualCovariance(long_std_db=5.5, long_length=100.0, noise_std_db=2.2)
    return PredictionParameters(trend=trend, residual=residual)
