"""What a survey measures of each report. No framework is imported here."""

from dataclasses import dataclass, field

from uel.errors import UelError
from uel.radio.config import EventA3
from uel.survey.feature_schema import FEATURE_LAYERS, REPORT_FEATURES, Feature


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What is measured, and how finely."""

    layers: tuple[str, ...] = FEATURE_LAYERS
    """rt, or rt and phy, or all three: each rests on those before"""
    paths: int = 4
    """strongest paths of a link that are kept"""
    taps: int = 8
    """strongest taps of a link that are kept"""
    frequencies: int = 64
    """across the carrier, at which the channel is computed"""
    csi_taps: int = 16
    """delays that the compressed CSI keeps, of as many as there are frequencies"""
    load: float = 0.5
    """share of their resource elements that the other cells fill"""
    noise_figure_db: float = 7.0
    """of the phone"""
    neighbours: int = 8
    """strongest cells beside the serving one"""
    event: EventA3 = field(default_factory=EventA3)
    """when a neighbour takes over"""

    def __post_init__(self) -> None:
        if not self.layers or self.layers != FEATURE_LAYERS[: len(self.layers)]:
            raise UelError(
                "a layer rests on those before it", got=self.layers, do=f"give the first of {FEATURE_LAYERS}"
            )
        if min(self.paths, self.taps, self.frequencies, self.csi_taps, self.neighbours) < 1:
            raise UelError("paths, taps, frequencies and neighbours are counted from one", got=self, do="raise them")
        if self.csi_taps > self.frequencies:
            raise UelError("there are no more delays than frequencies", got=self.csi_taps, do="keep fewer csi_taps")
        if not 0 <= self.load <= 1:
            raise UelError("a load is a share", got=self.load, do="give a number from 0 to 1")

    @property
    def features(self) -> dict[str, Feature]:
        """What a survey by this plan holds."""
        return {name: feature for name, feature in REPORT_FEATURES.items() if feature.layer in self.layers}
