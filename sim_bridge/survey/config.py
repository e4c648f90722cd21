"""Configuration of a survey. No framework is imported here."""

from dataclasses import dataclass, field, replace

from sim_bridge.chains.config import LINKS_TO_PAY, AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.registry import find_backend, require_paths
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.mobility.config import TrackConfig
from uel.radio.tracing_config import TracingConfig
from uel.survey.feature_schema import LINK_FEATURES, REPORT_FEATURES, Feature


@dataclass(frozen=True, kw_only=True)
class SurveyMakingConfig:
    """Tracks, features, tracing and atlas of a survey."""

    tracks: TrackConfig = field(default_factory=TrackConfig)
    measure: FeatureConfig = field(default_factory=FeatureConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    atlas: AtlasConfig = field(default_factory=AtlasConfig)
    """its depth is that of tracing; where paths diffract or scatter it is used from 2200 links on, where it pays"""
    seed: int = 1
    """of tracks, and of rays"""
    unit: int = 256
    """tracks in a unit of work"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if self.unit < 1:
            raise UelError("a unit of work needs at least one track", got=self.unit, do="try unit 256")
        if self.seed < 0:
            raise UelError("seed must not be negative", got=self.seed, do="try seed 1")
        if self.measure.layers != ("rt",):
            layers = " and ".join(self.measure.layers[1:])
            require_paths(self.tracing.backend, f"layer {layers} of a survey", ", or --measure.layers rt")

    @property
    def traces_paths(self) -> bool:
        """Whether the simulator traces single paths, of which it makes more than the features of links. Raises
        `UelError` for an unknown one.
        """
        return find_backend(self.tracing.backend).traces_paths

    @property
    def features(self) -> dict[str, Feature]:
        """Features of the survey's reports."""
        return self.measure.features if self.traces_paths else {name: REPORT_FEATURES[name] for name in LINK_FEATURES}

    def usable_atlas(self, cells: int) -> AtlasConfig | None:
        """The atlas to build for a tile with so many cells; None where paths are not traced, or are too few."""
        t, links = self.tracing, self.tracks.tracks * self.tracks.reports * cells
        pays = links >= LINKS_TO_PAY or not (t.diffraction or t.scattering > 0)
        usable = self.traces_paths and t.max_depth > 0 and pays
        return replace(self.atlas, depth=t.max_depth) if usable else None
