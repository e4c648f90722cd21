"""Configuration of the features of a report. No framework is imported here."""

from dataclasses import dataclass, field

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.config import EventA3
from uel.survey.feature_schema import FEATURE_LAYERS, REPORT_FEATURES, Feature


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Features of a report, and their resolution."""

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
    """fraction of their resource elements that the other cells fill"""
    noise_figure_db: float = 7.0
    """of the phone"""
    neighbours: int = 8
    """strongest cells beside the serving one"""
    event: EventA3 = field(default_factory=EventA3)
    """when a neighbour takes over"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not self.layers or self.layers != FEATURE_LAYERS[: len(self.layers)]:
            raise UelError(
                "layers must be the first of rt, phy, sys",
                got=self.layers,
                do=f"give the first of {FEATURE_LAYERS}",
            )
        for name in ("paths", "taps", "frequencies", "csi_taps", "neighbours"):
            if getattr(self, name) < 1:
                raise UelError(f"{name} must be at least 1", got=getattr(self, name), do=f"raise {name}")
        if self.csi_taps > self.frequencies:
            raise UelError(
                f"csi_taps must not exceed frequencies ({self.frequencies})",
                got=self.csi_taps,
                do="keep fewer csi_taps, or raise frequencies",
            )
        if not 0 <= self.load <= 1:
            raise UelError("load must be a fraction from 0 to 1", got=self.load, do="give 0.5, say")

    @property
    def features(self) -> dict[str, Feature]:
        """Features of a survey by this configuration."""
        return {name: feature for name, feature in REPORT_FEATURES.items() if feature.layer in self.layers}
