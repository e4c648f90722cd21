"""Configurations of `uel demo` and `uel train`. No framework is imported here."""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.scene.tracing_config import TracingConfig
from training.data.config import AugmentationConfig, DomainRandomizationConfig
from training.evaluation.config import DemoEvaluationConfig
from training.locator.config import HardwareConfig, LoggingConfig, MapRestorerTrainingConfig, OptimizationConfig
from training.pipeline.config import MapAdaptationConfig, MapConditionConfig, SitePlacementConfig
from uel.errors import UelError
from uel.measurement.parameters import ObservationParameters
from uel.mobility.config import TrackConfig
from uel.models.config import LocatorConfig


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Everything the demo depends on. Tiles are written `city@x,y`: the centre in the city's own metres."""

    run: str = "demo"
    """name of the folder under `runs/`"""
    seed: int = 1
    """seed of sites, tracks, fading, network and rays"""
    train: tuple[str, ...] = ("munich@-300,-150", "munich@0,0", "san_francisco@0,0")
    """tiles to train on"""
    validate: str = "etoile@0,0"
    """tile to choose the best epoch on"""
    test: str = "florence@0,100"
    """unseen city to judge on"""
    size: float = 512.0
    """m, side of a tile"""
    margin: float = 128.0
    """m of city kept around a tile, so that rays do not fall off its edge"""
    pixel: float = 4.0
    """m, pixel of radio maps"""
    sites: SitePlacementConfig = field(default_factory=SitePlacementConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    atlas: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=300_000))
    """chains of walls kept for the ray tracing in training"""
    survey: TrackConfig = field(default_factory=TrackConfig)
    """tracks on each training and validation tile"""
    test_survey: TrackConfig = field(default_factory=lambda: TrackConfig(tracks=256))
    """tracks on the test tile"""
    measurement: ObservationParameters = field(default_factory=ObservationParameters)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(default_factory=OptimizationConfig)
    evaluation: DemoEvaluationConfig = field(default_factory=DemoEvaluationConfig)

    def __post_init__(self) -> None:
        # Checked here, before any stage starts; imported here, because `--help` builds no configuration.
        from training.pipeline.scene_pipeline import require_raster, require_unseen_city
        from uel.core.grid import Grid
        from uel.models.locator import require_nesting

        if not self.train:
            raise UelError("nothing to train on", got="train=()", do="name at least one tile, munich@0,0 say")
        require_unseen_city((self.test,), (*self.train, self.validate), "test", "train and validate")
        require_raster(self.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.pixel), self.locator.patches)


@dataclass(frozen=True, kw_only=True)
class MapConditionWeights:
    """How often the locator is given which maps, see `training.pipeline.map_conditions`."""

    exact: float = 1.0
    """exact"""
    few_rays: float = 0.0
    """of few rays"""
    wrong_materials: float = 0.0
    """of wrong materials"""
    wrong_buildings: float = 0.0
    """of wrong heights, with buildings missing"""
    wrong_sites: float = 0.0
    """of masts that are believed to be otherwise"""
    no_radio_map: float = 0.0
    """none but of buildings"""

    def __post_init__(self) -> None:
        if not all(0 <= weight < math.inf for weight in asdict(self).values()) or not self.drawn:
            raise UelError("maps are drawn by weights", got=self, do="give exact 1, say, and none below 0")

    @property
    def drawn(self) -> dict[str, float]:
        """Weights of the conditions that have one."""
        return {name: weight for name, weight in asdict(self).items() if weight}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a locator: `uel train --config train/small`. Places are tiles' folders, or bundled cities as `city@x,y`."""

    run: str = "train"
    """name of the folder under `runs/`"""
    seed: int = 1
    """seed of masts, phones, wrong maps, network and rays"""
    train: tuple[str, ...] = ("munich@-300,-150", "munich@0,0", "san_francisco@0,0")
    """places to train on"""
    validate: tuple[str, ...] = ("etoile@0,0",)
    """places to choose the best epoch on, of other cities"""
    size: float = 512.0
    """m, side of a tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around such a tile"""
    deployments: int = 2
    """sets of masts on each place to train on; a folder's own masts are the first"""
    validate_deployments: int = 1
    """sets of masts on each place to validate on"""
    counts: tuple[int, ...] = ()
    """sites of the sets of masts, in turn; `sites.count` unless given"""
    sites: SitePlacementConfig = field(default_factory=SitePlacementConfig)
    maps: MapConditionConfig = field(default_factory=MapConditionConfig)
    """the true maps, and how wrong the others are"""
    conditions: MapConditionWeights = field(default_factory=MapConditionWeights)
    map_adaptation: MapAdaptationConfig = field(default_factory=MapAdaptationConfig)
    """labelled reports that put maps right first, of a locator that learns from such maps (`locator.corrected_maps`)"""
    map_restorer: MapRestorerTrainingConfig = field(default_factory=MapRestorerTrainingConfig)
    """a network that learns first how maps are wrong, of such a locator, too"""
    survey: Path | None = None
    """a survey with traced tracks on places to train on that are folders, with their own masts"""
    tracks: TrackConfig = field(default_factory=TrackConfig)
    """tracks that are traced for each set of masts, unless `survey` has them or `training.traced_fraction` is 0"""
    atlas: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=300_000))
    """chains of walls kept for the ray tracing in training"""
    measurement: ObservationParameters = field(default_factory=ObservationParameters)
    """what the locator takes phones to be"""
    realism: DomainRandomizationConfig = field(default_factory=DomainRandomizationConfig)
    augment: AugmentationConfig = field(default_factory=AugmentationConfig)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(default_factory=OptimizationConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    watch: LoggingConfig = field(default_factory=LoggingConfig)
    sweep: Path | None = None
    """train once for each combination of the values in this file, which `wandb sweep` reads, too"""
    wandb_sweep: bool = False
    """train nothing: print the sweep for `wandb sweep`, with the command of its agents"""

    def __post_init__(self) -> None:
        # Checked here, before any stage starts; imported here, because `--help` builds no configuration.
        from training.pipeline.scene_pipeline import require_raster, require_unseen_city
        from uel.core.grid import Grid
        from uel.models.locator import require_nesting

        if not self.train or not self.validate or min(self.deployments, self.validate_deployments) < 1:
            raise UelError("nothing to train or validate on", got=f"{self.train}, {self.validate}", do="name places")
        require_unseen_city(self.validate, self.train, "validation", "train")
        require_raster(self.maps.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.maps.pixel), self.locator.patches)
        for count in self.counts:
            replace(self.sites, count=count)
        if self.survey is not None:
            self._require_survey(self.survey)
        if self.wandb_sweep and self.sweep is None:
            raise UelError("no sweep to print", got="--wandb-sweep", do="add --sweep FILE")

    def _require_survey(self, folder: Path) -> None:
        from uel.survey.dataset import Survey

        Survey.open(folder)
        if self.training.traced_fraction == 0:
            raise UelError("a survey of which no phone is used", got="traced_fraction=0", do="give a share, 0.25 say")
        if self.deployments > 1:
            do = "give --deployments 1; other masts are other tiles of the survey"
            raise UelError("a survey knows one set of masts on a place", got=f"deployments {self.deployments}", do=do)
