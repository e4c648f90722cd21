"""Evaluation scenarios: sites on an unseen tile, and reports of phones at known positions."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import scenes
from training.cache import StageCache
from training.evaluation.methods import EvaluationCase
from training.evaluation.protocol import EvalConfig
from training.evaluation.track_methods import TrackEvaluationCase, TrackReports
from training.pipeline.scene_pipeline import open_tile
from training.pipeline.traced_deployment import traced_deployment
from uel.adaptation.mast_heights import MapFactory
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.particle_filter import MotionModel
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports, rotate_to_assumed_azimuths
from uel.mobility.config import TrackConfig
from uel.mobility.outdoor_area import outdoor_area
from uel.mobility.trajectories import Tracks, draw_positions, draw_tracks
from uel.radio.config import Carrier
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Simulator
from uel.radio.sites import Cell, Site, cells_of, require_sites, with_frequency
from uel.results.condition import Condition

TUNING_TRACKS = 48  # labelled tracks, on which filters are tuned
DRAWN_PER_NEEDED_TRACK = 1.5  # tracks drawn for each that is needed: some have reports without any cell
MIN_CAR_SPEED = 3.0  # m/s, phones from this speed on are in cars


@dataclass(frozen=True, eq=False)
class EvaluationScenario:
    """One set of sites on one tile, by carrier frequency in Hz."""

    name: str
    seed: int
    tile: Tile
    open_deployment: Callable[[float], Deployment]
    """from a carrier frequency in Hz to the deployment"""
    config: EvalConfig
    """the protocol on this tile"""
    own_sites: tuple[Site, ...] | None = None
    """the tile's own sites, where the deployment has these"""
    _deployments: dict[float, Deployment] = field(default_factory=dict)

    @property
    def source_key(self) -> dict[str, Any]:
        """What the reports come from, beside condition and seed: nothing else for drawn phones."""
        return {}

    @cached_property
    def nominal(self) -> ObservationModel:
        """The observation model that methods assume."""
        return ObservationModel.from_parameters(self.config.nominal)

    def case(self, condition: Condition) -> EvaluationCase:
        """Single reports under a condition. Raises `UelError` if too few phones hear a cell."""
        queries, labelled = self.config.phones, self.config.fingerprints
        reports, position = self._single(condition, queries + labelled)
        if len(reports) < labelled + 1:
            got = f"{len(reports)} of {queries + labelled} phones on {self.name} hear a cell"
            raise UelError("too few phones hear a cell", got=got, do="give fewer fingerprints, or more sites")
        return self._case(condition, reports[labelled:], position[labelled:], reports[:labelled], position[:labelled])

    def tracks(self, condition: Condition) -> TrackEvaluationCase:
        """Tracks under a condition, and the case of their last reports. Raises `UelError` if too few hear a cell
        throughout.
        """
        tracks = self._track_reports(condition)
        if len(tracks.time) <= TUNING_TRACKS:
            got = f"{len(tracks.time)} tracks on {self.name} hear a cell in every report"
            raise UelError("too few tracks hear a cell", got=got, do="give more tracks, or more sites")
        labelled, labelled_position = self._single(replace(condition, track=-1.0), self.config.fingerprints)
        tuning_tracks, queries = tracks[:TUNING_TRACKS], tracks[TUNING_TRACKS : TUNING_TRACKS + self.config.tracks]
        case = self._case(condition, queries.reports[:, -1], queries.position, labelled, labelled_position)

        def as_read(reports: TrackReports) -> TrackReports:
            return replace(reports, reports=self._as_read(condition, reports.reports))

        return TrackEvaluationCase(
            case, self._motion(condition), as_read(queries), queries, as_read(tuning_tracks), self.config.particles,
            self.config.limit_particles,
        )  # fmt: skip

    def maps(self, condition: Condition) -> TileMaps:
        """The maps that methods are given."""
        return maps_of_first_sites(self.deployment(condition).assumed_maps(condition.map), condition.sites)

    def map_factory(self, condition: Condition) -> MapFactory:
        """A factory of more maps of all sites, for methods."""
        return self.deployment(condition).map_factory(condition.map)

    def simulator(self, condition: Condition) -> Simulator:
        """The ray tracer of the true deployment."""
        return self.deployment(condition).require_simulator()

    # ---- reports -------------------------------------------------------------------------------------

    def deployment(self, condition: Condition) -> Deployment:
        """The deployment on a condition's carrier."""
        if condition.carrier not in self._deployments:
            self._deployments[condition.carrier] = self.open_deployment(condition.carrier)
        return self._deployments[condition.carrier]

    def _case(
        self, condition: Condition, reports: Reports, position: Tensor, labelled: Reports, labelled_position: Tensor
    ) -> EvaluationCase:
        assumed_maps, true_maps = self.maps(condition), self.maps(replace(condition, map="exact"))
        model = condition.assumed_model(self.nominal)
        labelled_as_read = self._as_read(condition, labelled)
        return EvaluationCase(
            problem=LocalizationProblem(
                assumed_maps.radio, assumed_maps.prior, model, labelled_as_read, labelled_position
            ),
            maps=assumed_maps,
            reports=self._as_read(condition, reports),
            position=position,
            true_maps=true_maps,
            true_model=condition.true_model(self.nominal, 0.0 if condition.track < 0 else self.config.decorrelation),
            true_reports=reports,
            map_error=condition.truth == "paths",
        )

    def _as_read(self, condition: Condition, reports: Reports) -> Reports:
        true_sites = self.deployment(condition).sites[: condition.sites]
        return rotate_to_assumed_azimuths(reports, true_sites, self.maps(condition).radio.sites)

    def _single(self, condition: Condition, count: int) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Phones that hear a cell; position and fading are drawn together, so that the prior stays uniform."""
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + self.seed)
        model, audible_reports, positions = self._model(condition), [], []
        rounds = range(50 if condition.truth == "map" else 1)
        for _ in rounds:
            position = self._positions(condition, count, generator)
            truth = self._truth(condition, position)
            reports = model.observe(truth, self._power(condition), generator)
            audible = reports.heard.any(-1)
            audible_reports.append(reports[audible])
            positions.append(position[audible])
            if sum(map(len, positions)) >= count:
                break
        return Reports.cat(audible_reports)[:count], torch.cat(positions)[:count]

    def _positions(self, condition: Condition, count: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
        """Positions of phones; ray-traced phones have the same in all conditions, so that they are traced once."""
        deployment = self.deployment(condition)
        if condition.truth == "paths":
            count = self.config.phones + self.config.fingerprints
            return draw_positions(deployment.tile, deployment.sites, count, torch.Generator().manual_seed(self.seed))
        return draw_positions(deployment.tile, deployment.sites[: condition.sites], 2 * count, generator)

    def _track_reports(self, condition: Condition) -> TrackReports:
        """Tracks that hear a cell in every report, in the order of their draw."""
        tracks = self._draw_tracks(condition)
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + self.seed + 1)
        truth = self._truth(condition, tracks.position.flatten(0, 1))
        shape = tracks.time.shape
        truth = replace(truth, **{name: value.unflatten(0, shape) for name, value in vars(truth).items()})
        reports = self._model(condition).observe(truth, self._power(condition), generator)
        audible = reports.heard.any(-1).all(1)
        return TrackReports(reports[audible], tracks.time[audible], tracks.position[audible, -1])

    def _draw_tracks(self, condition: Condition) -> Tracks:
        deployment, speed = self.deployment(condition), condition.track
        shares = (1.0, 0.0, 0.0) if speed == 0 else (0.0, 1.0, 0.0) if speed < MIN_CAR_SPEED else (0.0, 0.0, 1.0)
        count = round(DRAWN_PER_NEEDED_TRACK * (self.config.tracks + TUNING_TRACKS))
        config = TrackConfig(tracks=count, reports=self.config.reports, speeds=(0.0, speed, speed), shares=shares)
        return draw_tracks(deployment.tile, deployment.sites, config, self.seed)

    def _motion(self, condition: Condition) -> MotionModel:
        speed = condition.track
        area = outdoor_area(self.tile, self.deployment(condition).sites, (10.0, 1000.0), None, False, None)
        on_roads = area.road is not None and speed >= MIN_CAR_SPEED
        allowed = area.road if on_roads and area.road is not None else area.free
        return MotionModel(area.grid, allowed, speed, wander=0 < speed < MIN_CAR_SPEED, roads=on_roads)

    def _truth(self, condition: Condition, position: Float[Tensor, "n 2"]) -> LinkTruth:
        deployment = self.deployment(condition)
        if condition.truth == "paths":
            return truth_of_first_sites(deployment.trace(position), condition.sites, deployment.sites)
        return self.maps(replace(condition, map="exact")).radio.pixel_truth(position)

    def _model(self, condition: Condition) -> ObservationModel:
        model = condition.true_model(self.nominal, self.config.decorrelation)
        return model.for_ray_tracing if condition.truth == "paths" else model

    def _power(self, condition: Condition) -> Float[Tensor, " cell"]:
        return self.maps(replace(condition, map="exact")).power_dbm


def maps_of_first_sites(maps: TileMaps, count: int) -> TileMaps:
    """Maps of the first sites alone."""
    radio = maps.radio
    if count == len(radio.sites):
        return maps
    cells = len(cells_of(radio.sites[:count]))
    parts = {name: getattr(radio, name)[:cells] for name in ("gain", "relative_error", "known", "los")}
    return replace(maps, radio=replace(radio, sites=radio.sites[:count], channels=None, **parts))


def truth_of_first_sites(truth: LinkTruth, count: int, sites: tuple[Site, ...]) -> LinkTruth:
    cells = len(cells_of(sites[:count]))
    parts = ("gain_db", "known", "delay", "azimuth_deg", "los")
    return replace(truth, **{name: getattr(truth, name)[..., :cells] for name in parts})


def evaluation_scenarios(config: EvalConfig, stage_cache: StageCache) -> list[Callable[[], EvaluationScenario]]:
    """Makers of the scenarios of all tiles and sets of sites."""
    return [
        partial(_scenario, config, stage_cache, tile, number)
        for tile in config.tiles
        for number in range(config.deployments)
    ]


def _scenario(config: EvalConfig, stage_cache: StageCache, place: str, number: int) -> EvaluationScenario:
    tile, seed = open_tile(place, config.size, config.margin, stage_cache), 1000 * config.seed + number
    own_sites = tile.sites if number == 0 and tile.has_sites else None
    if own_sites:
        config = config_of_sites(config, own_sites)

    def open_deployment(frequency: float) -> Deployment:
        cell = Cell(carrier=Carrier(frequency=frequency))
        sites = (
            with_frequency(own_sites, frequency)
            if own_sites
            else scenes.place(tile, config.sites[0], seed=seed, sectors=config.sectors, mast=config.mast, template=cell)
        )
        return traced_deployment(tile, sites, config.maps, stage_cache, seed)

    return EvaluationScenario(f"{place}#{number}", seed, tile, open_deployment, config, own_sites)


def config_of_sites(config: EvalConfig, sites: tuple[Site, ...]) -> EvalConfig:
    """The protocol on a tile's own sites: their number and carrier are the base."""
    frequency = require_sites(sites).frequency
    fewer = tuple(count for count in config.sites[1:] if count < len(sites))
    return replace(config, sites=(len(sites), *fewer), carriers=(frequency, *config.carriers[1:]))
