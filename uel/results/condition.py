"""One condition of an evaluation. No framework is imported here."""

from dataclasses import dataclass, replace
from typing import TypeVar

from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import TruthSource

Parameters = TypeVar("Parameters", bound=ObservationParameters)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One row of the table for every method."""

    truth: TruthSource = "map"
    """map: reports are drawn from the true map, and the limit is exact; paths: they are traced at the true place"""
    tier: str = "rsrp_ta_azimuth"
    """what a phone reports, see `uel.measurement.tiers.Tier`"""
    sigma_db: float = 8.0
    """standard deviation of shadow fading; methods take it to be the base's, or fit it"""
    correlation: float = 0.0
    """of the fading of two cells at one place"""
    k: int = 8
    """strongest audible cells that a report holds"""
    dropout: float = 0.0
    """share of cells, timing advances, times and azimuths that are not reported"""
    map: str = "exact"
    """map condition, see `training.pipeline.map_conditions`"""
    sites: int = 8
    """on the tile"""
    carrier: float = 3.5e9
    """Hz"""
    track: float = -1.0
    """m/s of a track of reports; below 0 a single report"""

    @property
    def moves(self) -> str:
        """The table's word for `track`."""
        return "single" if self.track < 0 else f"{self.track:g} m/s"

    def model(self, nominal: Parameters, decorrelation: float) -> Parameters:
        """The realism that draws the reports."""
        return replace(
            self.known(nominal),
            shadowing_db=self.sigma_db,
            cell_correlation=self.correlation,
            decorrelation_distance=decorrelation if self.track >= 0 else 0.0,
        )

    def known(self, nominal: Parameters) -> Parameters:
        """What every method is told: the rules of reporting, and the fading as it is nominally."""
        return replace(
            nominal, tier=self.tier, cells_max=self.k, cell_dropout=self.dropout, feature_dropout=self.dropout
        )
