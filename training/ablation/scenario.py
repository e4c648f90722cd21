"""The tile of an ablation: its phones, its true maps, and the maps assumed under each map condition."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.chains.atlas import Atlas
from sim_bridge.simulator import Sionna
from sim_bridge.survey.worker import TileWithSites
from training.ablation.config import AblateConfig
from training.ablation.grid import Variant
from training.cache import StageCache
from training.locator.few_labels import FewLabelDataModule, FewLabelPool
from training.locator.losses import physics_loss
from training.locator.setup import LocatorTrainingConfig
from training.pipeline.map_conditions import assumed_deployment
from training.pipeline.scene_pipeline import open_tile, simulator_with_atlas, sites_of_tile
from training.pipeline.traced_deployment import traced_deployment
from uel.errors import UelError
from uel.estimation.estimates import GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.scoring import score
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.mobility.trajectories import draw_positions
from uel.models.locator import Locator
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Simulator

DRAWN_PER_NEEDED_PHONE = 1.5  # positions drawn for each phone that is needed: some hear no cell
PHONES_PER_CALL = 64  # phones located at once
MAX_WARM_UP_BATCHES = 20  # most batches that are traced before costs are measured
STEADY_COST_RATIO = 1.5  # cost over that of the cheapest batch, once kernels are compiled


@dataclass(frozen=True, eq=False)
class AblationScenario:
    """A deployment with its phones, and the deployment that is assumed under each map condition."""

    config: AblateConfig
    deployment: Deployment
    """the true one"""
    truth: LinkTruth
    """link truth at positions, more than there are phones"""
    open_assumed: Callable[[str], Deployment]
    """from a map condition to the tile, maps and simulator that are assumed under it"""
    warm_conditions: set[str] = field(default_factory=set)
    _assumed: dict[str, Deployment] = field(default_factory=dict)
    _atlases: dict[str, Atlas | None] = field(default_factory=dict)

    def assumed(self, condition: str) -> Deployment:
        """The deployment assumed under a map condition."""
        if condition not in self._assumed:
            self._assumed[condition] = self.open_assumed(condition)
        return self._assumed[condition]

    def as_reported(self, reports: Reports, condition: str) -> Reports:
        """Reports as a locator reads them that assumes the sites of a map condition."""
        reader = replace(self.deployment, variants={condition: self.assumed(condition).maps})
        return reader.as_reported(reports, condition)

    @cached_property
    def observed(self) -> tuple[Reports, LinkTruth]:
        """Reports and truth of the phones that hear a cell, the test phones first. Raises `UelError` if they are too
        few.
        """
        model = ObservationModel.from_parameters(self.config.measurement)
        model = model.for_ray_tracing if self.config.truth == "paths" else model
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed)
        reports = model.observe(self.truth, self.deployment.maps.power_dbm, generator)
        audible, needed = reports.heard.any(-1).nonzero()[:, 0], self.config.phones + self.config.pool
        if len(audible) < needed:
            got = f"{len(audible)} of {len(self.truth)} phones hear a cell, {needed} are needed"
            raise UelError("too few phones hear a cell", got=got, do="give a smaller pool, or more sites")
        return reports[audible[:needed]], self.truth[audible[:needed]]

    @property
    def test_phones(self) -> tuple[Reports, LinkTruth]:
        """The phones on which trainings are evaluated."""
        reports, truth = self.observed
        return reports[: self.config.phones], truth[: self.config.phones]

    def pool(self, variant: Variant) -> FewLabelPool:
        """The phones of a training; the variant's seed draws which are labelled."""
        reports, truth = self.observed
        order = torch.randperm(self.config.pool, generator=torch.Generator().manual_seed(variant.seed), device="cpu")
        index = order + self.config.phones
        labelled = index[: variant.labels or self.config.pool]
        return FewLabelPool(self.as_reported(reports[index], variant.map), truth.position[labelled])

    @cached_property
    def limit(self) -> Float[Tensor, " phone"]:
        """Errors in metres of the grid posterior on the true map: the limit for truth `map`, a reference for truth
        `paths`.
        """
        maps, model = self.deployment.maps, ObservationModel.from_parameters(self.config.measurement)

        def grid_bayes(reports: Reports) -> GridEstimate:
            is_traced = self.config.truth == "paths"
            posterior = grid_posterior(reports, maps.radio, maps.prior, model, maps.power_dbm, is_traced)
            return GridEstimate(maps.radio.grid, posterior)

        reports, truth = self.test_phones
        return score(grid_bayes, reports, truth.position, reports_per_call=PHONES_PER_CALL).error

    def warm_up(self, condition: str, config: LocatorTrainingConfig, pool: FewLabelDataModule) -> None:
        """Trace batches until they cost the same, so that compiling kernels is charged to no training.

        Afterwards an atlas is as it was built: what it learned from searches of this and other trainings is dropped, so
        that a training is the same in whatever process.
        """
        simulator = self.assumed(condition).simulator
        atlas = self._atlases.setdefault(condition, simulator.atlas if isinstance(simulator, Sionna) else None)
        if simulator is not None and condition not in self.warm_conditions:
            self._trace_until_steady(condition, simulator, config, pool)
        if isinstance(simulator, Sionna) and atlas is not None:
            simulator.attach_atlas(atlas)

    def _trace_until_steady(
        self, condition: str, simulator: Simulator, config: LocatorTrainingConfig, pool: FewLabelDataModule
    ) -> None:
        deployment, optimization = self.assumed(condition), config.training
        locator, costs = Locator(config.locator, config.measurement), list[float]()
        for batch in pool.batches(range(MAX_WARM_UP_BATCHES)):
            start = time.process_time()
            fix = locator(batch.reports, batch.maps)
            arguments = (
                deployment.maps.radio.grid,
                deployment.maps.power_dbm,
                config.measurement,
                optimization.candidates,
                optimization.features,
            )
            physics_loss(fix, batch.reports, simulator, *arguments, True)[0].backward()
            costs.append(time.process_time() - start)
            if len(costs) > 3 and max(costs[-3:]) <= STEADY_COST_RATIO * min(costs):
                break
        self.warm_conditions.add(condition)


def ablation_scenario(config: AblateConfig, stage_cache: StageCache) -> AblationScenario:
    """The tile with its own sites, if it has some, in the ray tracer; results are kept in `stage_cache`."""
    tile = open_tile(config.tile, config.size, config.margin, stage_cache)
    sites = sites_of_tile(tile, config.sites, config.seed)
    deployment = traced_deployment(tile, sites, config.maps, stage_cache, config.seed)
    count = round(DRAWN_PER_NEEDED_PHONE * (config.phones + config.pool))
    position = draw_positions(tile, sites, count, torch.Generator().manual_seed(config.seed))
    is_traced = config.truth == "paths"
    truth = deployment.trace(position) if is_traced else deployment.maps.radio.pixel_truth(position)
    optimization = replace(config.training, batch=config.training.batch + config.unlabelled)

    def open_assumed(condition: str) -> Deployment:
        assumed_tile, assumed_sites = assumed_deployment(condition, tile, sites, config.maps, stage_cache, config.seed)
        key = {"tile": assumed_tile.fingerprint, "sites": [asdict(site) for site in assumed_sites], "seed": config.seed}
        simulator = simulator_with_atlas(
            f"atlas-{assumed_tile.name}",
            key,
            TileWithSites(assumed_tile, assumed_sites),
            optimization.live_tracing(config.maps.tracing),
            config.atlas,
            stage_cache,
        )
        return Deployment(assumed_tile, deployment.assumed_maps(condition), simulator=simulator)

    return AblationScenario(config, deployment, truth, open_assumed)
