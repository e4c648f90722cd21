"""One condition of an evaluation. No framework is imported here."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import TruthSource

EXACT_MAPS = "exact"  # the map condition under which a locator is given the true maps

Parameters = TypeVar("Parameters", bound=ObservationParameters)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of an evaluation: one row of the table for every method."""

    truth: TruthSource | Literal["log"] = "map"
    """map: reports are drawn from the true map, and the limit is exact; paths: reports are traced at the true
    position; log: measured reports at known positions"""
    tier: str = "rsrp_ta_azimuth"
    """features that a phone reports, see `uel.measurement.tiers.Tier`"""
    sigma_db: float = 8.0
    """standard deviation of shadow fading; methods assume the nominal one, or fit it"""
    correlation: float = 0.0
    """of the fading of two cells at one position"""
    k: int = 8
    """strongest audible cells in a report"""
    dropout: float = 0.0
    """fraction of cells, timing advances, times and azimuths that are not reported"""
    map: str = "exact"
    """map condition, see `training.pipeline.map_conditions`"""
    sites: int = 8
    """on the tile"""
    carrier: float = 3.5e9
    """Hz"""
    track: float = -1.0
    """m/s of a track of reports; below 0 a single report"""

    @property
    def motion_label(self) -> str:
        """Speed of a track as in the table, or single."""
        return "single" if self.track < 0 else f"{self.track:g} m/s"

    def true_model(self, nominal: Parameters, decorrelation: float) -> Parameters:
        """The observation model that the reports are drawn from."""
        return replace(
            self.assumed_model(nominal),
            shadowing_db=self.sigma_db,
            cell_correlation=self.correlation,
            decorrelation_distance=decorrelation if self.track >= 0 else 0.0,
        )

    def assumed_model(self, nominal: Parameters) -> Parameters:
        """The observation model that every method knows: the reporting rules, and the nominal fading."""
        return replace(
            nominal, tier=self.tier, cells_max=self.k, cell_dropout=self.dropout, feature_dropout=self.dropout
        )
