"""Configurations of `uel demo` and `uel train`. No framework is imported here."""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.engines.config import ENGINE_FIELDS, EngineConfig, require_whole_result
from sim_bridge.registry import find_backend
from training.data.config import AugmentationConfig, DomainRandomizationConfig
from training.evaluation.protocol import EvalConfig
from training.locator.config import HardwareConfig, LoggingConfig, MapRestorerTrainingConfig, OptimizationConfig
from training.pipeline.config import MapAdaptationConfig, MapConditionConfig, SitePlacementConfig
from uel.core.files.folder_names import run_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import TIERS
from uel.mobility.config import TrackConfig
from uel.models.config import LocatorConfig
from uel.radio.config import Carrier
from uel.radio.tracing_config import TracingConfig


@dataclass(frozen=True, kw_only=True)
class DemoEvaluationConfig:
    """Numbers of phones of the demo's evaluation."""

    phones: int = 160
    """reports that are located, for each truth"""
    fingerprints: int = 100
    """labelled reports: kNN searches them, and every method is tuned on them"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for name, least in {"phones": 1, "fingerprints": 2}.items():
            if getattr(self, name) < least:
                do = f"give {least} or more"
                raise UelError(f"evaluation.{name} must be at least {least}", got=getattr(self, name), do=do)


@dataclass(frozen=True, kw_only=True)
class DemoConfig(EngineConfig):
    """Everything the demo depends on. Tiles are written `city@x,y`: the centre in the city's own metres.

    Raises:
        UelError: for values that contradict each other, before any stage starts.

    Example:
        >>> import training
        >>> training.DemoConfig(run="mine").test
        'florence@0,100'
    """

    run: str = "demo"
    """name of the folder under `runs/`"""
    seed: int = 1
    """seed of sites, tracks, fading, network and rays"""
    train: tuple[str, ...] = ("munich@-300,-150", "munich@0,0", "san_francisco@0,0")
    """tiles to train on"""
    validate: str = "etoile@0,0"
    """tile to choose the best epoch on"""
    test: str = "florence@0,100"
    """unseen city to evaluate on"""
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
    measurement: ObservationParameters = field(default_factory=ObservationParameters)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(default_factory=lambda: OptimizationConfig(epochs=5))
    """validation does not improve after some 200 steps"""
    evaluation: DemoEvaluationConfig = field(default_factory=DemoEvaluationConfig)
    overwrite: bool = False
    """replace a training of another configuration in the run's folder, which is kept otherwise"""

    @property
    def train_config(self) -> "TrainConfig":
        """The configuration of `uel train`."""
        return TrainConfig(
            **self._engine, run=self.run, seed=self.seed, train=self.train, validate=(self.validate,), size=self.size,
            margin=self.margin, deployments=1, sites=self.sites, maps=self._maps, tracks=self.survey, atlas=self.atlas,
            measurement=self.measurement, locator=self.locator, training=self.training, overwrite=self.overwrite,
        )  # fmt: skip

    @property
    def eval_config(self) -> EvalConfig:
        """The configuration of `uel eval`: the base condition alone, on the test tile, for both truths."""
        return EvalConfig(
            **self._engine, run=run_folder(self.run), name="demo", seed=self.seed, tiles=(self.test,),
            size=self.size, margin=self.margin, deployments=1, phones=self.evaluation.phones,
            fingerprints=self.evaluation.fingerprints, maps=self._maps, nominal=self.measurement, tiers=TIERS,
            sigmas=(), correlations=(), cells=(), dropouts=(), conditions=(), sites=(self.sites.count,),
            sectors=self.sites.sectors, mast=self.sites.mast, carriers=(Carrier().frequency,), speeds=(),
            controls=False,
        )  # fmt: skip

    @property
    def _engine(self) -> dict[str, Any]:
        """The engine of deployments and of the evaluation."""
        return {name: getattr(self, name) for name in ENGINE_FIELDS}

    @property
    def _maps(self) -> MapConditionConfig:
        return MapConditionConfig(pixel=self.pixel, tracing=self.tracing, few_rays=self.tracing.map_rays)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, margin=(0, 1e5))
        # Checked here, before any stage starts; imported here, because `--help` builds no configuration.
        from training.pipeline.scene_pipeline import require_raster, require_unseen_city
        from uel.core.grid import Grid
        from uel.models.locator import require_nesting

        require_whole_result(self, "the demo")
        run_folder(self.run)
        find_backend(self.tracing.backend)
        if not self.train:
            raise UelError("train must name a tile", got="none", do="give --train munich@0,0")
        require_unseen_city((self.test,), (*self.train, self.validate), "test", "train and validate")
        require_raster(self.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.pixel), self.locator.patches)


@dataclass(frozen=True, kw_only=True)
class MapConditionWeights:
    """How often the locator is given the maps of each condition, see `training.pipeline.map_conditions`."""

    exact: float = 1.0
    """exact maps"""
    few_rays: float = 0.0
    """maps of few rays"""
    wrong_materials: float = 0.0
    """maps of wrong materials"""
    wrong_buildings: float = 0.0
    """maps of wrong building heights, with buildings missing"""
    wrong_sites: float = 0.0
    """maps of wrong antenna azimuths and heights"""
    no_radio_map: float = 0.0
    """buildings only, no radio map"""

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not 0 <= weight < math.inf:
                do = "give a weight of 0 or more"
                raise UelError(f"conditions.{name} must be a weight, not negative", got=weight, do=do)
        if not self.positive:
            raise UelError("all weights of map conditions are 0", got=0, do="give --conditions.exact 1")

    @property
    def positive(self) -> dict[str, float]:
        """The conditions of positive weight and their weights."""
        return {name: weight for name, weight in asdict(self).items() if weight}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(EngineConfig):
    """Train a locator: `uel train --config train/small`. Places are tile folders, or bundled cities as `city@x,y`.

    Raises:
        UelError: for values that contradict each other, before any stage starts.

    Example:
        >>> import training
        >>> training.TrainConfig(run="small", deployments=1).validate
        ('etoile@0,0',)
    """

    run: str = "train"
    """name of the folder under `runs/`"""
    seed: int = 1
    """seed of sites, phones, wrong maps, network and rays"""
    train: tuple[str, ...] = ("munich@-300,-150", "munich@0,0", "san_francisco@0,0")
    """tiles to train on"""
    validate: tuple[str, ...] = ("etoile@0,0",)
    """tiles to choose the best epoch on, in other cities"""
    size: float = 512.0
    """m, side of a tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around such a tile"""
    deployments: int = 2
    """sets of sites on each tile to train on; a folder's own sites are the first"""
    validate_deployments: int = 1
    """sets of sites on each tile to validate on"""
    site_counts: tuple[int, ...] = ()
    """numbers of sites of these sets, in turn; `sites.count` unless given"""
    sites: SitePlacementConfig = field(default_factory=SitePlacementConfig)
    maps: MapConditionConfig = field(default_factory=MapConditionConfig)
    """the true maps, and the errors of the others"""
    conditions: MapConditionWeights = field(default_factory=MapConditionWeights)
    map_adaptation: MapAdaptationConfig = field(default_factory=MapAdaptationConfig)
    """labelled reports that correct maps first, for a locator that learns from corrected maps
    (`locator.corrected_maps`)
    """
    map_restorer: MapRestorerTrainingConfig = field(default_factory=MapRestorerTrainingConfig)
    """a network that is first trained to correct wrong maps, for such a locator"""
    survey: Path | None = None
    """a survey with traced tracks on tiles to train on that are folders, with their own sites"""
    tracks: TrackConfig = field(default_factory=TrackConfig)
    """tracks that are traced for each set of sites, unless `survey` has them or `training.traced_fraction` is 0"""
    atlas: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=300_000))
    """chains of walls kept for the ray tracing in training"""
    measurement: ObservationParameters = field(default_factory=ObservationParameters)
    """the locator's observation model of phones"""
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
    overwrite: bool = False
    """replace a training of another configuration in the run's folder, which is kept otherwise"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, margin=(0, 1e5))
        # Checked here, before any stage starts; imported here, because `--help` builds no configuration.
        from training.pipeline.scene_pipeline import require_raster, require_unseen_city
        from uel.core.grid import Grid
        from uel.models.locator import require_nesting

        run_folder(self.run)
        for name in ("train", "validate"):
            if not getattr(self, name):
                raise UelError(
                    f"{name} must name a tile", got="none", do=f"give --{name} munich@0,0 or a tile's folder"
                )
        for name in ("deployments", "validate_deployments"):
            if getattr(self, name) < 1:
                raise UelError(f"{name} must be at least 1", got=getattr(self, name), do="give 1 or more")
        require_unseen_city(self.validate, self.train, "validation", "train")
        require_raster(self.maps.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.maps.pixel), self.locator.patches)
        for count in self.site_counts:
            replace(self.sites, count=count)
        if self.survey is not None:
            self._require_survey(self.survey)
        if self.wandb_sweep and self.sweep is None:
            raise UelError("--wandb-sweep has no sweep to print", got="no --sweep", do="add --sweep FILE")

    def _require_survey(self, folder: Path) -> None:
        from uel.survey.dataset import Survey

        Survey.open(folder)
        if self.training.traced_fraction == 0:
            do = "give --training.traced-fraction 0.25, or no --survey"
            raise UelError("--survey is given, but no phone is drawn from it", got="training.traced_fraction 0", do=do)
        if self.deployments > 1:
            do = "give --deployments 1; other sites are other tiles of the survey"
            raise UelError("a survey has one set of sites on each tile", got=f"deployments {self.deployments}", do=do)
