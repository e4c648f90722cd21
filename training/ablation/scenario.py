"""A new tile: its phones, what is true there, and what is believed under each map condition."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.survey.worker import TileWithSites
from training.ablation.config import AblateConfig
from training.ablation.grid import Variant
from training.cache import StageCache
from training.data.config import EXACT_MAPS
from training.data.deployment import Deployment
from training.evaluation.scenarios import RayTracedBackend
from training.locator.few_labels import FewLabelDataModule, FewLabelPool
from training.locator.losses import physics_loss
from training.locator.setup import LocatorTrainingConfig
from training.pipeline.map_conditions import assumed_deployment, maps_for_condition
from training.pipeline.scene_pipeline import live_simulator, open_tile, place_sites
from uel.errors import UelError
from uel.estimation.estimates import GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.metrics import position_error
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.mobility.trajectories import draw_positions
from uel.models.locator import Locator
from uel.radio.link_truth import LinkTruth

DRAWN_PER_NEEDED_PHONE = 1.5  # places drawn for each phone that is needed: some hear nothing
PHONES_PER_CALL = 64  # phones located at once
MAX_WARM_UP_BATCHES = 20  # batches at most that are traced before the clock runs
STEADY_COST_RATIO = 1.5  # times the cheapest that a batch costs once kernels are compiled


@dataclass(frozen=True, eq=False)
class AblationDeployment:
    """A new tile: phones there, what is true, and what is believed under each map condition."""

    config: AblateConfig
    tile: Tile
    true: TileMaps
    truth: LinkTruth
    """of places, more than there are phones"""
    believed: Callable[[str], Deployment]
    """the tile, maps and simulator that whoever has a condition's maps takes for true"""
    worlds: dict[str, Deployment] = field(default_factory=dict)
    warmed: set[str] = field(default_factory=set)

    def world(self, condition: str) -> Deployment:
        if condition not in self.worlds:
            self.worlds[condition] = self.believed(condition)
        return self.worlds[condition]

    @cached_property
    def observed(self) -> tuple[Reports, LinkTruth]:
        """What phones say that hear a cell, and where they truly are; those that training is judged on first."""
        model = ObservationModel.of(self.config.measurement)
        model = model.for_ray_tracing if self.config.truth == "paths" else model
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed)
        reports = model.observe(self.truth, self.true.power_dbm, generator)
        audible, wanted = reports.heard.any(-1).nonzero()[:, 0], self.config.phones + self.config.pool
        if len(audible) < wanted:
            got = f"{len(audible)} of {len(self.truth)} phones hear a cell, {wanted} are needed"
            raise UelError("too few phones hear a cell", got=got, do="give a smaller pool, or more sites")
        return reports[audible[:wanted]], self.truth[audible[:wanted]]

    @property
    def judged(self) -> tuple[Reports, LinkTruth]:
        """The phones that training is judged on."""
        reports, truth = self.observed
        return reports[: self.config.phones], truth[: self.config.phones]

    def pool(self, variant: Variant) -> FewLabelPool:
        """The phones of a training: which of them are labelled is the seed's matter."""
        said = Deployment(self.tile, self.true, None, variants={variant.map: self.world(variant.map).maps})
        reports, truth = self.observed
        order = torch.randperm(self.config.pool, generator=torch.Generator().manual_seed(variant.seed))
        index = order + self.config.phones
        labelled = index[: variant.labels or self.config.pool]
        return FewLabelPool(said.as_reported(reports[index], variant.map), truth.position[labelled])

    @cached_property
    def limit(self) -> Float[Tensor, " phone"]:
        """Errors in metres of the grid posterior on the true map: the limit of map truth, a reference of path truth."""
        reports, truth = self.judged
        errors, traced = [], self.config.truth == "paths"
        for start in range(0, len(reports), PHONES_PER_CALL):
            part = slice(start, start + PHONES_PER_CALL)
            posterior = grid_posterior(
                reports[part],
                self.true.radio,
                self.true.prior,
                ObservationModel.of(self.config.measurement),
                self.true.power_dbm,
                traced,
            )
            errors.append(position_error(GridEstimate(self.true.radio.grid, posterior).position, truth.position[part]))
        return torch.cat(errors)

    def warm(self, condition: str, recipe: LocatorTrainingConfig, pool: FewLabelDataModule) -> None:
        """Have batches traced until they cost the same, so that no training is charged for compiling kernels."""
        world, plan = self.world(condition), recipe.training
        if condition in self.warmed or world.simulator is None:
            return
        locator, costs = Locator(recipe.locator, recipe.measurement), list[float]()
        for batch in pool.batches(range(MAX_WARM_UP_BATCHES)):
            start = time.process_time()
            fix = locator(batch.reports, batch.maps)
            told = (world.maps.radio.grid, world.maps.power_dbm, recipe.measurement, plan.candidates, plan.features)
            physics_loss(fix, batch.reports, world.simulator, *told, True)[0].backward()
            costs.append(time.process_time() - start)
            if len(costs) > 3 and max(costs[-3:]) <= STEADY_COST_RATIO * min(costs):
                break
        self.warmed.add(condition)


def ablation_deployment(config: AblateConfig, stages: StageCache) -> AblationDeployment:
    """The tile in the ray tracer; what it is asked once is kept by stages."""
    tile = open_tile(config.tile, config.size, config.margin, stages)
    sites = place_sites(tile, config.sites, config.seed)
    under = lambda condition: maps_for_condition(condition, tile, sites, config.maps, stages, config.seed)  # noqa: E731
    true, count = under(EXACT_MAPS), round(DRAWN_PER_NEEDED_PHONE * (config.phones + config.pool))
    position = draw_positions(tile, sites, count, torch.Generator().manual_seed(config.seed))
    paths = config.truth == "paths"
    truth = (
        RayTracedBackend(tile, sites, config.maps, stages).trace(position)
        if paths
        else true.radio.pixel_truth(position)
    )
    plan = replace(config.training, batch=config.training.batch + config.unlabelled)

    def believed(condition: str) -> Deployment:
        there, its = assumed_deployment(condition, tile, sites, config.maps, stages, config.seed)
        key = {"tile": there.fingerprint, "sites": [asdict(site) for site in its], "seed": config.seed}
        name, tracing = f"atlas-{there.name}", config.maps.tracing
        simulator = live_simulator(
            name, key, TileWithSites(there, its), plan.live_tracing(tracing), config.atlas, stages
        )
        return Deployment(there, under(condition), None, simulator)

    return AblationDeployment(config, tile, true, truth, believed)
