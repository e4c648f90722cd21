"""`uel locate RUN REPORT.json`: fixes for reports from a file."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapFactory
from uel.adaptation.site_adaptation import RefinedLocator, SiteAdaptation
from uel.core.grid import Grid
from uel.core.io import as_json, replace_file
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.config import RayRescoringConfig
from uel.estimation.estimates import MIN_PIXEL_PROBABILITY
from uel.estimation.fix import Fix, pool_to_patches
from uel.estimation.particle_filter import MotionModel, ParticleCloud, filter_steps
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.track_likelihood import RasterLikelihood
from uel.geo.tile import Tile
from uel.inference import geojson
from uel.inference.config import LocateConfig, RayTracingConfig
from uel.inference.run_folder import Run
from uel.measurement import report_io
from uel.measurement.drive_test import read_drive_test
from uel.measurement.report_io import ReportSequence
from uel.measurement.reports import Reports
from uel.mobility.outdoor_area import outdoor_area
from uel.models.map_restorer import MapRestorer
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sites import Site

log = logging.getLogger(__name__)

MIN_CAR_SPEED = 3.0  # m/s from which on a phone is taken to be in a car, which does not wander


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
    timeline = report_io.from_json(config.report.read_bytes(), len(maps.radio.gain))
    found = None
    for found in _track(config, run, timeline, tracer) if config.speed else _single(config, run, timeline, tracer):
        yield json_line(found.fix, found.time)
    if config.geojson and found:
        told = geojson.feature_collection(found.fix, run.tile, maps.radio.grid, time=round(found.time, 3))
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
    grid, least = run.maps.radio.grid, (run.tile.min_mast_z(*site.position[:2]) for site in run.maps.radio.sites)

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
        drive = read_drive_test(run.tile, config.labelled_reports, config.columns)
        return drive.reports, drive.position
    told = report_io.from_json(config.labelled_reports.read_bytes(), len(run.maps.radio.gain))
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
    free = outdoor_area(run.tile, maps.radio.sites, (0.0, 1e4), None, False, None)
    motion = MotionModel(free.grid, free.free, config.speed, wander=config.speed < MIN_CAR_SPEED)
    evidence = RasterLikelihood(grid, _rasters(refiner, reports)[None], maps.prior, config.power)
    generator = torch.Generator().manual_seed(config.seed)
    clouds = filter_steps(evidence, grid, motion, timeline.time[None], config.particles, generator)
    for time, cloud in zip(timeline.time.tolist(), clouds, strict=True):
        yield LocatedReport(time, _summed(cloud, grid, run.locator.config.patches))


@torch.no_grad()
def _rasters(refiner: RefinedLocator, reports: Reports) -> Float[Tensor, "report row column"]:
    """Log-probability of the pixels by each report."""
    answers = [refiner.always(reports[n : n + 1]) for n in range(len(reports))]
    return torch.cat([answer.pixels.probability for answer in answers]).clamp(min=MIN_PIXEL_PROBABILITY).log()


def _summed(cloud: ParticleCloud, grid: Grid, patches: int) -> Fix:
    """A cloud of particles as one Gaussian per patch."""
    row, column = grid.pixel_of(cloud.position[0])
    share = torch.zeros(grid.count**2).index_add(0, row * grid.count + column, cloud.weight[0])
    return pool_to_patches(share.clamp(min=MIN_PIXEL_PROBABILITY).log().view(1, *grid.shape), grid, patches)


def json_line(fix: Fix, time: float) -> str:
    """Position in metres, its covariance in m², and the likeliest candidates, as one line of JSON."""
    where, likely, _ = fix.candidates(geojson.CANDIDATE_COUNT)
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
