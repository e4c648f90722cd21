"""The deployments of a training: every set of sites on every tile, with its radio maps, tracks and simulator."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.engines.config import require_whole_result
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import UnitDone
from sim_bridge.survey.worker import TileWithSites
from training.cache import StageCache
from training.commands.config import TrainConfig
from training.pipeline.map_conditions import maps_for_condition
from training.pipeline.scene_pipeline import open_tile, simulator_with_atlas, sites_of_tile, track_survey
from uel.core.io import data_folder
from uel.geo.tile import Tile
from uel.inference.deployment import Deployment
from uel.models.locator import require_nesting
from uel.radio.sites import Site
from uel.radio.tracing_config import tracing_key
from uel.results.condition import EXACT_MAPS

VALIDATION_SEED = 10_000  # added to the seed of sites on validation tiles


@dataclass(frozen=True)
class DeploymentUnit:
    """One set of sites on one tile."""

    place: str
    index: int
    """among all of its kind, to train or to validate on"""
    number: int
    """of the set of sites on its tile"""
    is_validation: bool


def deployment_units(config: TrainConfig) -> list[DeploymentUnit]:
    """All deployments of a training, those to validate on behind those to train on."""
    kinds = ((config.train, config.deployments, False), (config.validate, config.validate_deployments, True))
    return [
        DeploymentUnit(place, count * place_number + number, number, is_validation)
        for places, count, is_validation in kinds
        for place_number, place in enumerate(places)
        for number in range(count)
    ]


def prepare_deployments(config: TrainConfig, units: list[DeploymentUnit]) -> None:
    """Put the stages of all deployments into the stage cache by the engine of `config`; `local` makes them on use.

    Raises `UnitError` where a deployment could not be made, and `UelError` as `require_whole_result` does.
    """
    require_whole_result(config, "one training")
    if config.engine != "local":
        make_all(DeploymentJob(config, tuple(units)), "train", config, "deployments", alone=False)


@dataclass(frozen=True)
class DeploymentJob:
    """Deployments to be made, each a unit: its tile, radio maps, tracks and atlas go into the stage cache."""

    config: TrainConfig
    units: tuple[DeploymentUnit, ...]

    @property
    def folder(self) -> Path:
        return data_folder()

    @property
    def phases(self) -> tuple[range, ...]:
        return (range(len(self.units)),)

    def is_done(self, number: int) -> bool:
        return False  # tiles may have changed: which stages are reused, the cache finds out itself

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return self.make

    def make(self, number: int) -> UnitDone:
        """Make the stages of a deployment."""
        unit = self.units[number]
        make_deployment(self.config, StageCache(self.folder), unit)
        return UnitDone(number, f"{unit.place}, sites {unit.number}")


def make_deployment(config: TrainConfig, stage_cache: StageCache, unit: DeploymentUnit) -> Deployment:
    """A tile with a set of sites, its maps under every condition of positive weight, and its traced truth."""
    tile = open_tile(unit.place, config.size, config.margin, stage_cache)
    require_nesting(tile.grid(config.maps.pixel), config.locator.patches)
    seed = config.seed + unit.index + VALIDATION_SEED * unit.is_validation
    place = TileWithSites(tile, _sites(config, tile, unit, seed))
    maps = {
        name: maps_for_condition(name, tile, place.sites, config.maps, stage_cache, seed)
        for name in dict.fromkeys((EXACT_MAPS, *config.conditions.positive))
    }
    network = {"tile": tile.fingerprint, "sites": [asdict(site) for site in place.sites], "seed": seed}
    tracing, survey, simulator = config.maps.tracing, None, None
    if config.training.traced_fraction and (unit.is_validation or config.survey is None):
        key = {**network, "tracing": tracing_key(tracing), "plan": asdict(config.tracks)}
        survey = track_survey(f"survey-{tile.name}", key, place, config.tracks, tracing, seed, stage_cache)
    if config.training.uses_ray_tracer and not unit.is_validation:
        simulator = simulator_with_atlas(
            f"atlas-{tile.name}", network, place, config.training.live_tracing(tracing), config.atlas, stage_cache
        )
    return Deployment(tile, maps.pop(EXACT_MAPS), survey, simulator, maps)


def _sites(config: TrainConfig, tile: Tile, unit: DeploymentUnit, seed: int) -> tuple[Site, ...]:
    """The tile's own sites for the first set, if it has some, otherwise drawn ones."""
    counts = config.site_counts
    count = counts[unit.index % len(counts)] if counts else config.sites.count
    return sites_of_tile(tile, replace(config.sites, count=count), seed, unit.number)
