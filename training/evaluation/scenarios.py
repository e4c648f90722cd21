"""Masts on an unseen tile, and the questions that are asked there: reports of phones whose places are known."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import scenes
from sim_bridge.simulator import open as open_simulator
from training.cache import StageCache
from training.evaluation.methods import EvaluationCase, TrackEvaluationCase, TrackReports
from training.evaluation.protocol import EvalConfig
from training.pipeline.config import MapConditionConfig, parse_place
from training.pipeline.map_conditions import map_factory, maps_for_condition
from uel.adaptation.mast_heights import MapFactory
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.particle_filter import MotionModel
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports, rotate_to_assumed_azimuths
from uel.mobility.config import TrackConfig
from uel.mobility.outdoor_area import outdoor_area
from uel.mobility.trajectories import Tracks, draw_positions, draw_tracks
from uel.radio.config import Carrier
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Simulator
from uel.radio.sites import Cell, Site, sites_to_json
from uel.results.condition import Condition

TUNING_TRACKS = 48  # labelled tracks, on which filters are tuned
DRAWN_PER_NEEDED_TRACK = 1.5  # tracks drawn for each that is needed: some hear nothing on the way
MIN_CAR_SPEED = 3.0  # m/s from which on a phone is in a car
RESCORING_SEED_OFFSET = 7919  # rays that re-score are not those that the truth was traced with
POSITIONS_PER_STAGE = 512  # positions of one stage of tracing, so that a killed one loses little


@runtime_checkable
class ScenarioBackend(Protocol):
    """Where a deployment's maps and traced truth come from."""

    @property
    def tile(self) -> Tile: ...

    @property
    def sites(self) -> tuple[Site, ...]: ...

    def maps(self, condition: str, seed: int) -> TileMaps:
        """Maps under a map condition, of all sites."""
        ...

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        """What the path solver says of positions."""
        ...

    def tracer(self, condition: str, seed: int) -> MapFactory:
        """How more maps are made by whoever has those of a map condition."""
        ...

    @property
    def simulator(self) -> Simulator:
        """The true world's, for those who ask it live."""
        ...


@dataclass(frozen=True, eq=False)
class RayTracedBackend:
    """A tile in the ray tracer; everything that it is asked once is kept by stages."""

    tile: Tile
    sites: tuple[Site, ...]
    plan: MapConditionConfig
    stages: StageCache

    def maps(self, condition: str, seed: int) -> TileMaps:
        return maps_for_condition(condition, self.tile, self.sites, self.plan, self.stages, seed)

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        return LinkTruth.cat([self._part(part) for part in position.split(POSITIONS_PER_STAGE)])

    def tracer(self, condition: str, seed: int) -> MapFactory:
        return map_factory(condition, self.tile, self.sites, self.plan, self.stages, seed)

    def _part(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        tracing = asdict(self.plan.tracing)
        key = {"tile": self.tile.fingerprint, "sites": sites_to_json(self.sites), "tracing": tracing}
        at = self.stages.make(
            f"paths-{self.tile.name}", key | {"at": position.tolist()}, lambda out: self._save(position, out)
        )
        with np.load(at / "truth.npz") as stored:
            return LinkTruth(**{name: torch.from_numpy(stored[name]) for name in stored.files})

    def _save(self, position: Float[Tensor, "n 2"], out: Path) -> None:
        truth = self._simulator.paths(position)
        np.savez(out / "truth.npz", **{name: value.numpy() for name, value in vars(truth).items()})

    @cached_property
    def _simulator(self):
        return open_simulator(self.tile, self.sites, self.plan.tracing)

    @property
    def simulator(self) -> Simulator:
        return self._other

    @cached_property
    def _other(self):
        other = replace(self.plan.tracing, seed=self.plan.tracing.seed + RESCORING_SEED_OFFSET)
        return open_simulator(self.tile, self.sites, other)


@dataclass(frozen=True, eq=False)
class EvaluationDeployment:
    """One set of masts on one tile; `sources` by carrier frequency in Hz."""

    name: str
    seed: int
    sources: dict[float, ScenarioBackend]
    config: EvalConfig

    @cached_property
    def nominal(self) -> ObservationModel:
        """The observation model that methods assume."""
        return ObservationModel.of(self.config.nominal)

    def case(self, condition: Condition) -> EvaluationCase:
        """Single reports under a condition. Raises `UelError` where hardly any phone hears a cell."""
        asked, known = self.config.phones, self.config.fingerprints
        reports, position = self._single(condition, asked + known)
        if len(reports) < known + 1:
            got = f"{len(reports)} of {asked + known} phones on {self.name} hear a cell"
            raise UelError("too few phones hear a cell", got=got, do="give fewer fingerprints, or more sites")
        return self._case(condition, reports[known:], position[known:], reports[:known], position[:known])

    def tracks(self, condition: Condition) -> TrackEvaluationCase:
        """Tracks under a condition, and the case of their last reports."""
        walks, speed = self._walks(condition), condition.track
        if len(walks.time) <= TUNING_TRACKS:
            got = f"{len(walks.time)} tracks on {self.name} hear a cell all the way"
            raise UelError("too few tracks hear a cell", got=got, do="ask for more tracks, or more sites")
        known, known_at = self._single(replace(condition, track=-1.0), self.config.fingerprints)
        tuning, asked = walks[:TUNING_TRACKS], walks[TUNING_TRACKS : TUNING_TRACKS + self.config.tracks]
        case = self._case(condition, asked.reports[:, -1], asked.position, known, known_at)
        believed = lambda w: replace(w, reports=self._believed(condition, w.reports))  # noqa: E731
        return TrackEvaluationCase(
            case, self._motion(speed), believed(asked), asked, believed(tuning), self.config.particles,
            self.config.limit_particles,
        )  # fmt: skip

    def maps(self, condition: Condition) -> TileMaps:
        """What methods are given."""
        return maps_of_first_sites(self._source(condition).maps(condition.map, self.seed), condition.sites)

    def tracer(self, condition: Condition) -> MapFactory:
        """How methods make more maps of all sites."""
        return self._source(condition).tracer(condition.map, self.seed)

    def simulator(self, condition: Condition) -> Simulator:
        """The true world's ray tracer."""
        return self._source(condition).simulator

    # ---- reports -------------------------------------------------------------------------------------

    def _source(self, condition: Condition) -> ScenarioBackend:
        return self.sources[condition.carrier]

    def _case(
        self, condition: Condition, reports: Reports, position: Tensor, known: Reports, known_at: Tensor
    ) -> EvaluationCase:
        given, true = self.maps(condition), self.maps(replace(condition, map="exact"))
        model = condition.assumed_model(self.nominal)
        labelled = self._believed(condition, known)
        return EvaluationCase(
            place=LocalizationProblem(given.radio, given.prior, model, labelled, known_at),
            maps=given,
            reports=self._believed(condition, reports),
            position=position,
            true_maps=true,
            true_model=condition.true_model(self.nominal, 0.0 if condition.track < 0 else self.config.decorrelation),
            true_reports=reports,
            map_error=condition.truth == "paths",
        )

    def _believed(self, condition: Condition, reports: Reports) -> Reports:
        true = self._source(condition).sites[: condition.sites]
        return rotate_to_assumed_azimuths(reports, true, self.maps(condition).radio.sites)

    def _single(self, condition: Condition, count: int) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Phones that hear a cell; place and fading are drawn together, so that the prior stays even."""
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + self.seed)
        model, found, places = self._model(condition), [], []
        rounds = range(50 if condition.truth == "map" else 1)
        for _ in rounds:
            position = self._positions(condition, count, generator)
            truth = self._truth(condition, position)
            reports = model.observe(truth, self._power(condition), generator)
            audible = reports.heard.any(-1)
            found.append(reports[audible])
            places.append(position[audible])
            if sum(map(len, places)) >= count:
                break
        return Reports.cat(found)[:count], torch.cat(places)[:count]

    def _positions(self, condition: Condition, count: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
        """Of traced phones the same places whatever is varied, so that they are traced once."""
        source = self._source(condition)
        if condition.truth == "paths":
            wanted = self.config.phones + self.config.fingerprints
            return draw_positions(source.tile, source.sites, wanted, torch.Generator().manual_seed(self.seed))
        return draw_positions(source.tile, source.sites[: condition.sites], 2 * count, generator)

    def _walks(self, condition: Condition) -> TrackReports:
        """Tracks that hear a cell in every report, in the order that they were drawn in."""
        tracks = self._drawn(condition)
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + self.seed + 1)
        truth = self._truth(condition, tracks.position.flatten(0, 1))
        shape = tracks.time.shape
        truth = replace(truth, **{name: value.unflatten(0, shape) for name, value in vars(truth).items()})
        reports = self._model(condition).observe(truth, self._power(condition), generator)
        audible = reports.heard.any(-1).all(1)
        return TrackReports(reports[audible], tracks.time[audible], tracks.position[audible, -1])

    def _drawn(self, condition: Condition) -> Tracks:
        source, speed = self._source(condition), condition.track
        shares = (1.0, 0.0, 0.0) if speed == 0 else (0.0, 1.0, 0.0) if speed < MIN_CAR_SPEED else (0.0, 0.0, 1.0)
        count = round(DRAWN_PER_NEEDED_TRACK * (self.config.tracks + TUNING_TRACKS))
        plan = TrackConfig(tracks=count, reports=self.config.reports, speeds=(0.0, speed, speed), shares=shares)
        return draw_tracks(source.tile, source.sites, plan, self.seed)

    def _motion(self, speed: float) -> MotionModel:
        source = next(iter(self.sources.values()))
        places = outdoor_area(source.tile, source.sites, (10.0, 1000.0), None, False, None)
        roads = places.road is not None and speed >= MIN_CAR_SPEED
        free = places.road if roads and places.road is not None else places.free
        return MotionModel(places.grid, free, speed, wander=0 < speed < MIN_CAR_SPEED, roads=roads)

    def _truth(self, condition: Condition, position: Float[Tensor, "n 2"]) -> LinkTruth:
        source = self._source(condition)
        if condition.truth == "paths":
            return truth_of_first_sites(source.trace(position), condition.sites, source.sites)
        return self.maps(replace(condition, map="exact")).radio.pixel_truth(position)

    def _model(self, condition: Condition) -> ObservationModel:
        model = condition.true_model(self.nominal, self.config.decorrelation)
        return model.for_ray_tracing if condition.truth == "paths" else model

    def _power(self, condition: Condition) -> Float[Tensor, " cell"]:
        return self.maps(replace(condition, map="exact")).power_dbm


def maps_of_first_sites(maps: TileMaps, sites: int) -> TileMaps:
    """Maps of the first sites alone."""
    radio = maps.radio
    if sites == len(radio.sites):
        return maps
    cells = sites * len(radio.sites[0].cells)
    parts = {name: getattr(radio, name)[:cells] for name in ("gain", "relative_error", "known", "los")}
    return replace(maps, radio=replace(radio, sites=radio.sites[:sites], channels=None, **parts))


def truth_of_first_sites(truth: LinkTruth, count: int, sites: tuple[Site, ...]) -> LinkTruth:
    cells = sum(len(site.cells) for site in sites[:count])
    parts = ("gain_db", "known", "delay", "azimuth_deg", "los")
    return replace(truth, **{name: getattr(truth, name)[..., :cells] for name in parts})


def evaluation_deployments(config: EvalConfig, stages: StageCache) -> list[Callable[[], EvaluationDeployment]]:
    """All deployments, each made when it is called."""
    return [
        lambda tile=tile, seed=seed: _deployment(config, stages, tile, seed)
        for tile in config.tiles
        for seed in range(config.deployments)
    ]


def _deployment(config: EvalConfig, stages: StageCache, name: str, number: int) -> EvaluationDeployment:
    city, centre = parse_place(name)
    geometry = {"place": name, "size": config.size, "margin": config.margin}
    at = stages.make(
        f"tile-{name}",
        geometry,
        lambda out: _build(city, centre, config, out),
    )
    tile, seed = Tile.open(at / "tile"), 1000 * config.seed + number
    sources: dict[float, ScenarioBackend] = {}
    for frequency in config.carriers:
        cell = Cell(carrier=Carrier(frequency=frequency))
        sites = scenes.place(tile, config.sites[0], seed=seed, mast=config.mast, template=cell)
        sources[frequency] = CachedBackend(RayTracedBackend(tile, sites, config.maps, stages))
    return EvaluationDeployment(f"{name}#{number}", seed, sources, config)


def _build(city: str, centre: tuple[float, float], config: EvalConfig, out: Path) -> None:
    scenes.build(city, out / "tile", center=centre, size=config.size, margin=config.margin, pixel=1.0)


class CachedBackend:
    """A source whose maps stay in memory for the conditions to come."""

    def __init__(self, source: ScenarioBackend) -> None:
        self.source, self.tile, self.sites = source, source.tile, source.sites
        self._maps: dict[tuple[str, int], TileMaps] = {}

    def maps(self, condition: str, seed: int) -> TileMaps:
        if (condition, seed) not in self._maps:
            self._maps[condition, seed] = self.source.maps(condition, seed)
        return self._maps[condition, seed]

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        return self.source.trace(position)

    def tracer(self, condition: str, seed: int) -> MapFactory:
        return self.source.tracer(condition, seed)

    @property
    def simulator(self) -> Simulator:
        return self.source.simulator
