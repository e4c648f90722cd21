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
from uel.inference.config import LocateConfig
from uel.inference.run_folder import Run
from uel.inference.tile_choice import RadioMapTracer, chosen_deployment
from uel.measurement import report_io
from uel.measurement.drive_test import read_drive_test
from uel.measurement.report_io import ReportSequence
from uel.measurement.reports import Reports
from uel.mobility.outdoor_area import outdoor_area
from uel.models.map_restorer import MapRestorer
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

log = logging.getLogger(__name__)

MIN_CAR_SPEED = 3.0  # m/s from which on a phone is taken to be in a car, which does not wander


SimulatorFactory = Callable[[Tile, tuple[Site, ...], TracingConfig], Simulator]


@dataclass(frozen=True, eq=False)
class LocatedReport:
    """The fix of one report."""

    time: float
    """s"""
    fix: Fix


def locate(config: LocateConfig, open_simulator: SimulatorFactory, trace_radio_map: RadioMapTracer) -> Iterator[str]:
    """Yield one line of JSON for each report: its position, covariance and candidates.

    `open_simulator` opens the simulator where the config needs one, `trace_radio_map` makes the radio map of a tile
    that has none. Raises `UelError` for bad files.
    """
    run = Run.open(config.run)
    if not config.report.is_file():
        raise UelError(
            "no such report file", got=str(config.report), do="give a JSON file, see uel/measurement/report_io.py"
        )
    run = replace(run, chosen=chosen_deployment(run, config, trace_radio_map, config.tracing.backend))
    grid = run.maps.radio.grid
    sequence = report_io.from_json(config.report.read_bytes(), len(run.maps.radio.gain))
    locate_all = _locate_track if config.speed else _locate_single
    located = None
    for located in locate_all(config, run, sequence, open_simulator):
        yield json_line(located.fix, located.time)
    if config.geojson and located:
        collection = geojson.feature_collection(located.fix, run.tile, grid, time=round(located.time, 3))
        replace_file(config.geojson, as_json(collection))


def _locate_single(
    config: LocateConfig, run: Run, sequence: ReportSequence, open_simulator: SimulatorFactory
) -> Iterator[LocatedReport]:
    """Fixes of all reports, each by itself."""
    adaptation = _site_adaptation(config, run, open_simulator)
    reports, refined_locator = _refined_locator(config, run, adaptation, sequence.reports)
    simulator = open_simulator(run.tile, run.maps.radio.sites, config.tracing) if config.refine == "rt" else None
    rescoring = config.rescoring
    if adaptation is not None and simulator is not None:
        rescoring = adaptation.fit_ray_rescoring(run.locator, rescoring, simulator)
        numbers = rescoring.bias_db, rescoring.spread_db, 100 * rescoring.share
        log.info("rays: bias %+g dB, standard deviation %g dB, right with %g %%", *numbers)
    for n, time in enumerate(sequence.time.tolist()):
        yield LocatedReport(time, _fix_report(config, refined_locator, reports[n : n + 1], simulator, rescoring))


@torch.no_grad()
def _fix_report(
    config: LocateConfig,
    refined_locator: RefinedLocator,
    report: Reports,
    simulator: Simulator | None,
    rescoring: RayRescoringConfig,
) -> Fix:
    """A single report's fix, refined and re-scored as the config says."""
    fix = refined_locator.locate(report)
    if config.refine == "none":
        return fix
    result = refined_locator.refine(fix, report)
    # Labelled reports may rule out refinement on the map, but not rays.
    is_decided = config.labelled_reports is None and not bool(result.is_refined)
    if simulator is None or is_decided:
        return result.fix
    return rescore_with_rays(
        result.fix,
        report,
        refined_locator.patch_map,
        refined_locator.refinement_maps,
        refined_locator.refinement_model,
        simulator,
        rescoring,
    )


@torch.no_grad()
def _site_adaptation(config: LocateConfig, run: Run, open_simulator: SimulatorFactory) -> SiteAdaptation | None:
    """The adaptation to labelled reports, None without them."""
    if config.labelled_reports is None:
        return None
    radio, model = run.maps.radio, run.locator.measurement
    problem = LocalizationProblem(radio, run.maps.prior, model, *_read_labelled_reports(config, run))
    factory = _map_factory(config, run, open_simulator) if config.fit_mast_heights else None
    adaptation = SiteAdaptation(problem, run.maps, factory, MapRestorer.load(config.restorer or run.folder))
    log.info("%s", adaptation)
    return adaptation


def _map_factory(config: LocateConfig, run: Run, open_simulator: SimulatorFactory) -> MapFactory:
    """The simulator as a factory of maps of the tile with other mast heights."""
    grid, min_mast_z = run.maps.radio.grid, (run.tile.min_mast_z(*s.position[:2]) for s in run.maps.radio.sites)

    def trace(sites: tuple[Site, ...], ray_fraction: float) -> RadioMap:
        tracing = replace(config.tracing, map_rays=round(ray_fraction * config.tracing.map_rays))
        return open_simulator(run.tile, sites, tracing).radio_map(grid)

    return MapFactory(trace, tuple(min_mast_z))


@torch.no_grad()
def _refined_locator(
    config: LocateConfig, run: Run, adaptation: SiteAdaptation | None, reports: Reports
) -> tuple[Reports, RefinedLocator]:
    """Reports with corrected angles, and the locator with refinement on the corrected map."""
    if adaptation is None:
        return reports, RefinedLocator.of(run.locator, run.maps, config.refinement)
    # Every fix is refined: the map on which the locator was decided is not the corrected one.
    refinement = replace(config.refinement, entropy=0.0)
    return adaptation.correct_angles(reports), adaptation.refined_locator(run.locator, refinement)


def _read_labelled_reports(config: LocateConfig, run: Run) -> tuple[Reports, Float[Tensor, "n 2"]]:
    """Labelled reports and their positions from a file."""
    file = config.labelled_reports
    assert file is not None
    if not file.is_file():
        raise UelError("no such file of --labelled-reports", got=str(file), do="give a .json or .csv file")
    if file.suffix != ".json":
        drive = read_drive_test(run.tile, file, config.columns)
        return drive.reports, drive.position
    sequence = report_io.from_json(file.read_bytes(), len(run.maps.radio.gain))
    if sequence.position is None:
        do = 'give each report its "position": [x, y] in metres on the tile'
        raise UelError("a labelled report has no position", got=str(file), do=do)
    off_tile = (sequence.position.abs() > run.tile.size / 2).any(-1).nonzero()[:, 0].tolist()
    if off_tile:
        got = f"reports[{off_tile[0]}] at {sequence.position[off_tile[0]].tolist()}"
        raise UelError("a labelled report is off the tile", got=got, do=f"its sides are at ±{run.tile.size / 2:g} m")
    return sequence.reports, sequence.position


def _locate_track(
    config: LocateConfig, run: Run, sequence: ReportSequence, open_simulator: SimulatorFactory
) -> Iterator[LocatedReport]:
    """Fixes of all reports as one track, each from the reports up to it, by a particle filter."""
    maps, grid = run.maps, run.maps.radio.grid
    adaptation = _site_adaptation(config, run, open_simulator)
    reports, refined_locator = _refined_locator(config, run, adaptation, sequence.reports)
    area = outdoor_area(run.tile, maps.radio.sites, (0.0, 1e4), None, False, None)
    motion = MotionModel(area.grid, area.free, config.speed, wander=config.speed < MIN_CAR_SPEED)
    rasters = _log_probability_rasters(refined_locator, reports)[None]
    likelihood = RasterLikelihood(grid, rasters, maps.prior, config.likelihood_exponent)
    generator = torch.Generator().manual_seed(config.seed)
    clouds = filter_steps(likelihood, grid, motion, sequence.time[None], config.particles, generator)
    for time, cloud in zip(sequence.time.tolist(), clouds, strict=True):
        yield LocatedReport(time, _fix_of_cloud(cloud, grid, run.locator.config.patches))


@torch.no_grad()
def _log_probability_rasters(refined_locator: RefinedLocator, reports: Reports) -> Float[Tensor, "report row column"]:
    """Log-probability of the pixels by each report."""
    results = [refined_locator.without_entropy_gate(reports[n : n + 1]) for n in range(len(reports))]
    probability = torch.cat([result.refined_pixels.probability for result in results])
    return probability.clamp(min=MIN_PIXEL_PROBABILITY).log()


def _fix_of_cloud(cloud: ParticleCloud, grid: Grid, patches: int) -> Fix:
    """A cloud of particles as one Gaussian per patch."""
    row, column = grid.pixel_of(cloud.position[0])
    probability = torch.zeros(grid.count**2).index_add(0, row * grid.count + column, cloud.weight[0])
    return pool_to_patches(probability.clamp(min=MIN_PIXEL_PROBABILITY).log().view(1, *grid.shape), grid, patches)


def json_line(fix: Fix, time: float) -> str:
    """Position in metres, its covariance in m², and the likeliest candidates, as one line of JSON."""
    position, probability, _ = fix.candidates(geojson.CANDIDATE_COUNT)
    candidates = [
        {"position": [round(v, 1) for v in xy], "probability": round(p, 4)}
        for xy, p in zip(position[0].tolist(), probability[0].tolist(), strict=True)
    ]
    fields = {
        "time": round(time, 3),
        "position": [round(v, 1) for v in fix.position[0].tolist()],
        "covariance": [[round(v, 1) for v in row] for row in fix.covariance[0].tolist()],
        "candidates": candidates,
    }
    return json.dumps(fields)
