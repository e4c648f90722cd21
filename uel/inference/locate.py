"""`uel locate RUN REPORT.json`: fixes for reports from a file."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapFactory
from uel.adaptation.site_adaptation import RefinedLocator, SiteAdaptation
from uel.core.grid import Grid
from uel.core.io import as_json, replace_file
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.estimates import LEAST
from uel.estimation.fix import Fix, pooled
from uel.estimation.particle_filter import MotionModel, ParticleCloud, followed
from uel.estimation.ray_rescoring import RayRescoringConfig, rescore_with_rays
from uel.estimation.refinement import RefinementConfig
from uel.estimation.track_likelihood import RasterLikelihood
from uel.geo.tile import Tile
from uel.inference import geojson
from uel.inference.run_folder import Run
from uel.measurement import report_io
from uel.measurement.drive_test import ColumnConfig, read_drive
from uel.measurement.report_io import ReportSequence
from uel.measurement.reports import Reports
from uel.mobility.outdoor_area import places_of
from uel.models.map_restorer import FILE as RESTORER
from uel.models.map_restorer import MapRestorer
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sites import Site

log = logging.getLogger(__name__)

DRIVES = 3.0  # m/s from which on a phone is taken to be in a car, which does not wander


@dataclass(frozen=True, kw_only=True)
class RayTracingConfig:
    """How hard the ray tracer tries where it is asked; see `sim_bridge.scene.tracing_config.TracingConfig`."""

    depth: int = 5
    """interactions on a path at most"""
    samples: int = 20_000
    """rays per cell"""
    scattering: float = 0.3
    """scattering coefficient of walls and ground"""
    map_rays: int = 20_000_000
    """rays per cell of a map that is traced anew"""


@dataclass(frozen=True, kw_only=True)
class LocateConfig:
    """Where a phone is: `uel locate runs/demo report.json`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator answers, on the tile that it was judged on"""
    report: tyro.conf.Positional[Path]
    """reports as JSON, see `uel.measurement.report_io`"""
    geojson: Path | None = None
    """write the fixes with their candidates and regions here, too; of several reports the last one's"""
    refine: Literal["none", "map", "rt"] = "map"
    """look at undecided fixes again: on the map's finest grid, or also by tracing rays to their likeliest places"""
    labelled_reports: Path | None = None
    """reports of this place that say where they were sent from (JSON as above with `position`, or a drive's .csv or
    .csv.gz): they put the map and its antennas right first, on which fixes are then looked at again"""
    restorer: Path | None = None
    """folder of a run of `uel train` whose network has learned how maps are wrong (`restorer.pt`; this run's own, if it
    has one): labelled reports are asked about the map that it makes of this place's, too"""
    fit_mast_heights: bool = False
    """labelled reports also tell how high masts stand, by tracing maps anew: thirteen by a tenth of all
    rays and one by all, some minutes"""
    columns: ColumnConfig = field(default_factory=ColumnConfig)
    """of a drive's table"""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    rescoring: RayRescoringConfig = field(default_factory=RayRescoringConfig)
    rays: RayTracingConfig = field(default_factory=RayTracingConfig)
    speed: float = 0.0
    """m/s at which the phone moved between its reports, which are then taken together (particles, on refined
    evidence): 1.4 on foot, 10 in a car. 0: every report by itself"""
    particles: int = 4000
    power: float = 0.5
    """of each report's evidence on a track: below 1, because the fading of neighbours is the same in part"""
    seed: int = 1
    """of the particles"""

    def __post_init__(self) -> None:
        if not 0 <= self.speed < 100 or self.particles < 1 or not 0 < self.power <= 1:
            raise UelError(
                "a phone moves at 0 to 100 m/s, by particles, on evidence to a power of at most 1",
                got=f"speed {self.speed}, particles {self.particles}, power {self.power}",
                do="give --speed 1.4, say",
            )
        if self.speed and self.refine != "map":
            raise UelError("reports of a track are taken together on the map", got=self.refine, do="give --refine map")
        if self.labelled_reports and self.refine == "none":
            got = f"--labelled-reports {self.labelled_reports} --refine none"
            raise UelError("a map put right is for refining fixes on", got=got, do="leave out one of them")
        if self.fit_mast_heights and not self.labelled_reports:
            raise UelError("--fit-mast-heights needs labelled reports", got="none", do="add --labelled-reports FILE")
        if self.restorer and not self.labelled_reports:
            raise UelError(
                "--restorer needs labelled reports to judge its map by", got="none", do="add --labelled-reports FILE"
            )
        if self.restorer and not (self.restorer / RESTORER).is_file():
            do = "give a run of a locator of mended maps: uel train --config train/small"
            raise UelError(f"no {RESTORER} here", got=str(self.restorer), do=do)


SimulatorFactory = Callable[[Tile, tuple[Site, ...], RayTracingConfig], Simulator]


@dataclass(frozen=True, eq=False)
class LocatedReport:
    """One report's answer."""

    time: float
    fix: Fix


def locate(config: LocateConfig, tracer: SimulatorFactory) -> Iterator[str]:
    """One line of text for each report: its position and how sure that is; `tracer` opens the ray tracer, if asked.

    Raises `UelError` for bad files.
    """
    run = Run.open(config.run)
    if not config.report.is_file():
        raise UelError(
            "no such report", got=str(config.report), do="give a JSON file, see uel/measurement/report_io.py"
        )
    maps = run.maps
    timeline = report_io.read(config.report.read_bytes(), len(maps.radio.gain))
    found = None
    for found in _track(config, run, timeline, tracer) if config.speed else _single(config, run, timeline, tracer):
        yield line(found.fix, found.time)
    if config.geojson and found:
        told = geojson.features(found.fix, run.tile, maps.radio.grid, time=round(found.time, 3))
        replace_file(config.geojson, as_json(told))


def _single(
    config: LocateConfig, run: Run, timeline: ReportSequence, tracer: SimulatorFactory
) -> Iterator[LocatedReport]:
    """Every report by itself."""
    learned = _learned(config, run, tracer)
    reports, refiner = _refining(config, run, learned, timeline.reports)
    simulator = tracer(run.tile, run.maps.radio.sites, config.rays) if config.refine == "rt" else None
    plan = config.rescoring
    if learned is not None and simulator is not None:
        plan = learned.rescoring(run.locator, plan, simulator)
        log.info("rays: %+g dB, off by %g dB, right with %g %%", plan.bias_db, plan.spread_db, 100 * plan.share)
    for n, time in enumerate(timeline.time.tolist()):
        yield LocatedReport(time, _fixed(config, refiner, reports[n : n + 1], simulator, plan))


@torch.no_grad()
def _fixed(
    config: LocateConfig,
    refiner: RefinedLocator,
    report: Reports,
    simulator: Simulator | None,
    plan: RayRescoringConfig,
) -> Fix:
    """A single report's fix, looked at again where that is asked for."""
    fix = refiner.locate(report)
    if config.refine == "none":
        return fix
    answer = refiner.again(fix, report)
    # Labelled reports may forbid second thoughts on the map, but not rays.
    sure = config.labelled_reports is None and not bool(answer.chosen)
    if simulator is None or sure:
        return answer.fix
    return rescore_with_rays(answer.fix, report, refiner.fine, refiner.right, refiner.model, simulator, plan)


@torch.no_grad()
def _learned(config: LocateConfig, run: Run, tracer: SimulatorFactory) -> SiteAdaptation | None:
    """What labelled reports teach, where there are some."""
    if config.labelled_reports is None:
        return None
    radio, model = run.maps.radio, run.locator.measurement
    place = LocalizationProblem(radio, run.maps.prior, model, *_labelled(config, run))
    masts = _map_tracer(config, run, tracer) if config.fit_mast_heights else None
    learned = SiteAdaptation(place, run.maps, masts, MapRestorer.load(config.restorer or run.folder))
    log.info("%s", learned)
    return learned


def _map_tracer(config: LocateConfig, run: Run, tracer: SimulatorFactory) -> MapFactory:
    """How maps of other masts are made of the run's tile."""
    grid, least = run.maps.radio.grid, (run.tile.standing(*site.position[:2]) for site in run.maps.radio.sites)

    def trace(masts: tuple[Site, ...], share: float) -> RadioMap:
        rays = replace(config.rays, map_rays=round(share * config.rays.map_rays))
        return tracer(run.tile, masts, rays).radio_map(grid)

    return MapFactory(trace, tuple(least))


@torch.no_grad()
def _refining(
    config: LocateConfig, run: Run, learned: SiteAdaptation | None, reports: Reports
) -> tuple[Reports, RefinedLocator]:
    """Reports as they are to be read, and what looks at their fixes again."""
    if learned is None:
        return reports, RefinedLocator.of(run.locator, run.maps, config.refinement)
    # Every fix: the map that made the locator sure is not the one that is believed.
    return learned.read(reports), learned.refiner(run.locator, replace(config.refinement, entropy=0.0))


def _labelled(config: LocateConfig, run: Run) -> tuple[Reports, Float[Tensor, "n 2"]]:
    """Reports with their places, out of a file."""
    assert config.labelled_reports is not None
    if not config.labelled_reports.is_file():
        raise UelError("no such labelled reports", got=str(config.labelled_reports), do="give a .json or .csv file")
    if config.labelled_reports.suffix != ".json":
        drive = read_drive(run.tile, config.labelled_reports, config.columns)
        return drive.reports, drive.position
    told = report_io.read(config.labelled_reports.read_bytes(), len(run.maps.radio.gain))
    if told.position is None:
        do = 'give each its "position": [x, y] in metres on the tile'
        raise UelError("labelled reports say where they were sent from", got="a report without a position", do=do)
    off = (told.position.abs() > run.tile.size / 2).any(-1).nonzero()[:, 0].tolist()
    if off:
        got = f"reports[{off[0]}] at {told.position[off[0]].tolist()}"
        raise UelError("a labelled report is off the tile", got=got, do=f"its sides are at ±{run.tile.size / 2:g} m")
    return told.reports, told.position


def _track(
    config: LocateConfig, run: Run, timeline: ReportSequence, tracer: SimulatorFactory
) -> Iterator[LocatedReport]:
    """All reports up to each, by particles that move as phones do."""
    maps, grid = run.maps, run.maps.radio.grid
    reports, refiner = _refining(config, run, _learned(config, run, tracer), timeline.reports)
    free = places_of(run.tile, maps.radio.sites, (0.0, 1e4), None, False, None)
    motion = MotionModel(free.grid, free.free, config.speed, wander=config.speed < DRIVES)
    evidence = RasterLikelihood(grid, _rasters(refiner, reports)[None], maps.prior, config.power)
    generator = torch.Generator().manual_seed(config.seed)
    clouds = followed(evidence, grid, motion, timeline.time[None], config.particles, generator)
    for time, cloud in zip(timeline.time.tolist(), clouds, strict=True):
        yield LocatedReport(time, _summed(cloud, grid, run.locator.config.patches))


@torch.no_grad()
def _rasters(refiner: RefinedLocator, reports: Reports) -> Float[Tensor, "report row column"]:
    """Log-probability of the pixels by each report."""
    answers = [refiner.always(reports[n : n + 1]) for n in range(len(reports))]
    return torch.cat([answer.pixels.probability for answer in answers]).clamp(min=LEAST).log()


def _summed(cloud: ParticleCloud, grid: Grid, patches: int) -> Fix:
    """A cloud of particles as one Gaussian per patch."""
    row, column = grid.pixel_of(cloud.position[0])
    share = torch.zeros(grid.count**2).index_add(0, row * grid.count + column, cloud.weight[0])
    return pooled(share.clamp(min=LEAST).log().view(1, *grid.shape), grid, patches)


def line(fix: Fix, time: float) -> str:
    """Position in metres, its covariance in m², and the likeliest candidates, as one line of JSON."""
    where, likely, _ = fix.candidates(geojson.CANDIDATES)
    candidates = [
        {"position": [round(v, 1) for v in xy], "probability": round(p, 4)}
        for xy, p in zip(where[0].tolist(), likely[0].tolist(), strict=True)
    ]
    told = {
        "time": round(time, 3),
        "position": [round(v, 1) for v in fix.position[0].tolist()],
        "covariance": [[round(v, 1) for v in row] for row in fix.covariance[0].tolist()],
        "candidates": candidates,
    }
    return json.dumps(told)
