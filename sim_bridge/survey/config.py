"""Configuration of a survey. No framework is imported here."""

from dataclasses import dataclass, field, replace

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.scene.tracing_config import TracingConfig
from uel.errors import UelError
from uel.mobility.config import TrackConfig


@dataclass(frozen=True, kw_only=True)
class SurveyMakingConfig:
    """Tracks, features, tracing and atlas of a survey."""

    tracks: TrackConfig = field(default_factory=TrackConfig)
    measure: FeatureConfig = field(default_factory=FeatureConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    atlas: AtlasConfig = field(default_factory=AtlasConfig)
    """used where tracing neither diffracts nor scatters; its depth is that of tracing"""
    seed: int = 1
    """of tracks, and of rays"""
    unit: int = 256
    """tracks in a unit of work"""

    def __post_init__(self) -> None:
        if self.unit < 1:
            raise UelError("a unit of work needs at least one track", got=self.unit, do="try unit 256")
        if self.seed < 0:
            raise UelError("seed must not be negative", got=self.seed, do="try seed 1")

    @property
    def usable_atlas(self) -> AtlasConfig | None:
        """The atlas to build; None where paths diffract or scatter, which no atlas knows."""
        t = self.tracing
        usable = not t.diffraction and t.scattering == 0 and t.max_depth > 0
        return replace(self.atlas, depth=t.max_depth) if usable else None
