"""`uel train`: a locator out of many worlds, the maps it is given being right or wrong."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from sim_bridge.chains.atlas import AtlasConfig
from sim_bridge.survey.worker import TileWithSites
from training.cache import StageCache, digest
from training.data.augmentation import AugmentationConfig
from training.data.deployment import EXACT_MAPS, Deployment
from training.data.domain_randomization import DomainRandomizationConfig
from training.locator.callbacks import FixDrawing
from training.locator.config import HardwareConfig, LocatorTrainingConfig, LoggingConfig, OptimizationConfig
from training.locator.fit import first_process, fit
from training.locator.fit_map_restorer import MapRestorerTrainingConfig, fit_restorer
from training.pipeline.map_adaptation import MapAdaptationConfig, adapt_deployment
from training.pipeline.map_conditions import MapConditionConfig, maps_for_condition
from training.pipeline.scene_pipeline import (
    SitePlacementConfig,
    live_simulator,
    open_tile,
    place_sites,
    require_raster,
    require_unseen_city,
    track_survey,
)
from uel.config import save
from uel.core.grid import Grid
from uel.core.io import as_json, data_folder, replace_file
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.model import ObservationModel
from uel.mobility.config import TrackConfig
from uel.models.config import LocatorConfig
from uel.models.locator import SCHEMA, require_nesting
from uel.models.map_restorer import RESTORER_FILE as RESTORER
from uel.models.map_restorer import SCHEMA as RESTORER_SCHEMA
from uel.models.map_restorer import MapRestorer
from uel.radio.sites import Site, sites_to_json
from uel.survey.dataset import Survey

VALIDATION_SEED = 10_000  # of the masts on places to validate on, beyond those on places to train on


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
    measurement: ObservationModel = field(default_factory=ObservationModel)
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
        # Whatever can be wrong is said now, not after the stages before it.
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
        Survey.open(folder)
        if self.training.traced_fraction == 0:
            raise UelError("a survey of which no phone is used", got="traced_fraction=0", do="give a share, 0.25 say")
        if self.deployments > 1:
            do = "give --deployments 1; other masts are other tiles of the survey"
            raise UelError("a survey knows one set of masts on a place", got=f"deployments {self.deployments}", do=do)

    @property
    def recipe(self) -> LocatorTrainingConfig:
        same = {f.name: getattr(self, f.name) for f in fields(LocatorTrainingConfig) if f.name != "conditions"}
        return LocatorTrainingConfig(conditions=self.conditions.drawn, **same)


def run(config: TrainConfig, draw: FixDrawing | None = None) -> Path | None:
    """Make what is not there yet, train, and return the run's folder.

    It holds `locator.pt`, `config.yaml`, `metrics.csv`, `metrics.json` and `training/`. Killed, the same call goes on
    after the last whole epoch. Of several processes each calls this; the first one writes, the others return None.
    """
    folder = Path("runs") / run_name(config.run)
    stages = StageCache(data_folder())
    train = list(_deployments(config, stages, config.train, live=config.training.uses_ray_tracer))
    validate = list(_deployments(config, stages, config.validate))
    at = _restorer(config, stages, train, validate)
    if config.locator.corrected_maps:
        train, validate = (_adapted(config, stages, worlds, at) for worlds in (train, validate))
    survey = Survey.open(config.survey) if config.survey else None
    key = {
        "schema": SCHEMA,
        "config": {k: v for k, v in asdict(config).items() if k not in ("run", "watch", "sweep", "wandb_sweep")},
        "tiles": [world.tile.fingerprint for world in (*train, *validate)],
        "survey": digest(survey.manifest.plan) if survey else "",
    }
    locator, facts = fit(folder / "training", digest(key), config.recipe, train, validate, survey, draw)
    if not first_process():
        return None
    locator.save(folder)
    if at is not None:
        shutil.copyfile(at / RESTORER, folder / RESTORER)
    save(config, folder / "config.yaml")
    shutil.copyfile(folder / "training" / "metrics.csv", folder / "metrics.csv")
    parameters = sum(p.numel() for p in locator.parameters())
    told = {"training": facts, "parameters": parameters, "stages": stages.seconds, "seed": config.seed}
    if at is not None:
        told["restorer"] = json.loads((at / "restorer.json").read_text())
    replace_file(folder / "metrics.json", as_json(told))
    return folder


def run_name(run: str) -> str:
    """A run's name; the agents of a wandb sweep, which all give the same one, add their own."""
    agent = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    return f"{run}-{agent}" if agent else run


def _deployments(
    config: TrainConfig, stages: StageCache, places: tuple[str, ...], live: bool = False
) -> Iterator[Deployment]:
    """Every set of masts on every place."""
    sets = config.deployments if places == config.train else config.validate_deployments
    chosen = [(place, number) for place in places for number in range(sets)]
    for index, (place, number) in enumerate(track(chosen, "maps of places", transient=True)):
        tile = open_tile(place, config.size, config.margin, stages)
        require_nesting(tile.grid(config.maps.pixel), config.locator.patches)
        yield _deployment(config, stages, tile, index, number, live, places != config.train)


def _deployment(
    config: TrainConfig, stages: StageCache, tile: Tile, index: int, number: int, live: bool, validate: bool
) -> Deployment:
    """A tile with a set of masts, its maps under every condition that has a weight, and its traced truth."""
    seed = config.seed + index + VALIDATION_SEED * validate
    place = TileWithSites(tile, _sites(config, tile, index, number, seed))
    maps = {
        name: maps_for_condition(name, tile, place.sites, config.maps, stages, seed)
        for name in dict.fromkeys((EXACT_MAPS, *config.conditions.drawn))
    }
    network = {"tile": tile.fingerprint, "sites": [asdict(site) for site in place.sites], "seed": seed}
    tracing, survey, simulator = config.maps.tracing, None, None
    if config.training.traced_fraction and (validate or config.survey is None):
        key = {**network, "tracing": asdict(tracing), "plan": asdict(config.tracks)}
        survey = track_survey(f"survey-{tile.name}", key, place, config.tracks, tracing, seed, stages)
    if live:
        simulator = live_simulator(
            f"atlas-{tile.name}", network, place, config.training.live_tracing(tracing), config.atlas, stages
        )
    return Deployment(tile, maps.pop(EXACT_MAPS), survey, simulator, maps)


def _restorer(
    config: TrainConfig, stages: StageCache, train: list[Deployment], validate: list[Deployment]
) -> Path | None:
    """The folder of a network that learned how these maps are wrong, where one is asked for."""
    if (
        not config.locator.corrected_maps
        or not config.map_restorer.steps
        or set(config.conditions.drawn) == {EXACT_MAPS}
    ):
        return None
    key = {
        "schema": RESTORER_SCHEMA,
        "worlds": [_deployment_key(world) for world in (*train, *validate)],
        "maps": asdict(config.maps),
        "conditions": list(config.conditions.drawn),
        "map_restorer": asdict(config.map_restorer),
        "model": asdict(config.measurement),
        "seed": config.seed,
    }
    device = torch.device("cuda" if config.hardware.accelerator == "gpu" else "cpu")
    return stages.make(
        "restorer",
        key,
        lambda out: fit_restorer(config.map_restorer, train, validate, config.measurement, config.seed, out, device),
        resumes=True,
    )


def _adapted(
    config: TrainConfig, stages: StageCache, worlds: list[Deployment], restorer: Path | None
) -> list[Deployment]:
    """Worlds whose maps are put right, under each condition."""
    network, found = restorer and MapRestorer.load(restorer), list[Deployment]()
    for index, world in enumerate(track(worlds, "putting maps right", transient=True)):
        key = {**_deployment_key(world), "maps": asdict(config.maps), "restorer": restorer and restorer.name}
        found.append(
            adapt_deployment(
                world, config.conditions.drawn, config.map_adaptation, config.measurement, network, key, index, stages
            )
        )
    return found


def _deployment_key(world: Deployment) -> dict[str, Any]:
    """What tells a world from others."""
    return {"tile": world.tile.fingerprint, "sites": sites_to_json(world.maps.radio.sites)}


def _sites(config: TrainConfig, tile: Tile, index: int, number: int, seed: int) -> tuple[Site, ...]:
    """The folder's own masts where it has some and they are asked for first, else drawn ones."""
    if number == 0 and (tile.folder / "sites.json").is_file():
        return tile.sites
    count = config.counts[index % len(config.counts)] if config.counts else config.sites.count
    return place_sites(tile, replace(config.sites, count=count), seed)
