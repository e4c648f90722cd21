"""Configurations of what batches are drawn with: augmentation and domain randomization. No framework is imported
here."""

from dataclasses import dataclass, fields

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import TIERS, Tier, features_of


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Random similarity transforms of training batches."""

    symmetries: bool = False
    """draw one of the eight symmetries of the square"""
    angle_deg: float = 0.0
    """largest additional rotation in degrees, drawn uniformly in both directions; maps are resampled"""
    scale: float = 0.0
    """largest relative change of scale, drawn uniformly in both directions; maps are resampled"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 <= self.angle_deg <= 45:
            do = "give 5, or --augment.symmetries for quarter turns"
            raise UelError("augment.angle_deg must lie between 0 and 45", got=self.angle_deg, do=do)
        if not 0 <= self.scale < 0.5:
            raise UelError("augment.scale must be at least 0 and less than 0.5", got=self.scale, do="give 0.1")


ValueRange = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class DomainRandomizationConfig:
    """Ranges of the phones that a locator is trained on. Pairs are the smallest and the largest value of a uniform
    draw.
    """

    shadowing_db: ValueRange = (8.0, 8.0)
    """standard deviation of shadow fading"""
    cell_correlation: ValueRange = (0.0, 0.0)
    """correlation of the fading of two cells at one position"""
    level_noise_db: ValueRange = (0.0, 0.0)
    """standard deviation of the measurement error of a level"""
    feature_dropout: ValueRange = (0.0, 0.0)
    """probability that a timing advance, time of arrival or azimuth is missing"""
    cell_dropout: ValueRange = (0.0, 0.0)
    """probability that a heard cell is not reported"""
    report_dropout: ValueRange = (0.0, 0.0)
    """probability that a report is lost as a whole"""
    cells_max: tuple[int, ...] = (8,)
    """numbers of strongest cells in a report; each batch draws one of them"""
    tiers: tuple[Tier, ...] = TIERS
    """feature tiers, used in turn"""
    known_to_locator: tuple[str, ...] = ("cells_max",)
    """the properties whose drawn values the locator is given, as a network that configures its phones' reports knows
    them; for the others it assumes the values of its own observation model
    """

    def __post_init__(self) -> None:
        require_numbers(self)
        if not self.cells_max:
            raise UelError("realism.cells_max must name a number of cells", got="none", do="give 8")
        if not self.tiers:
            raise UelError("realism.tiers must name a feature tier", got="none", do="give rsrp rsrp_ta rsrp_ta_azimuth")
        for tier in self.tiers:
            features_of(tier)
        if unknown := [name for name in self.known_to_locator if name not in DRAWN_FIELDS]:
            do = f"choose from {', '.join(DRAWN_FIELDS)}"
            raise UelError("realism.known_to_locator names an unknown property", got=unknown[0], do=do)
        for name in RANGE_FIELDS:
            low, high = getattr(self, name)
            if low > high:
                do = "give the smaller value first"
                raise UelError(f"realism.{name} must run from low to high", got=f"{low} {high}", do=do)
        for end in (0, 1):  # the observation model checks the values
            for count in self.cells_max:
                ObservationParameters(cells_max=count, **{name: getattr(self, name)[end] for name in RANGE_FIELDS})


RANGE_FIELDS = tuple(f.name for f in fields(DomainRandomizationConfig) if f.type == ValueRange)


DRAWN_FIELDS = (*RANGE_FIELDS, "cells_max")
