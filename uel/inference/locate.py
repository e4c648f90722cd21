"""`uel locate RUN LOG`: fixes for the reports of a log."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapFactory
from uel.adaptation.site_adaptation import RefinedLocator, SiteAdaptation
from uel.core.display.progress import progress_bar
from uel.core.files.write_errors import require_writable_file
from uel.core.grid import Grid
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.config import RayRescoringConfig
from uel.estimation.estimates import MIN_PIXEL_PROBABILITY
from uel.estimation.fix import Fix, pool_to_patches
from uel.estimation.particle_filter import MotionModel, ParticleCloud, filter_steps
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.scoring import error_summary
from uel.estimation.track_likelihood import RasterLikelihood
from uel.geo.tile import Tile
from uel.inference.answers import AnswerFormat
from uel.inference.config import LocateConfig
from uel.inference.fix_files import open_fix_files, require_formats
from uel.inference.geojson import open_features
from uel.inference.report_source import ReportStream, open_reports, read_labelled_reports, read_track, require_file
from uel.inference.run_folder import Run
from uel.inference.tile_choice import RadioMapTracer, chosen_deployment
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejections
from uel.measurement.reports import Reports
from uel.mobility.outdoor_area import outdoor_area
from uel.models.map_restorer import MapRestorer
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

log = logging.getLogger(__name__)

REPORTS_PER_BATCH = 16  # located at once
MIN_CAR_SPEED = 3.0  # m/s from which on a phone is taken to be in a car, which does not wander


SimulatorFactory = Callable[[Tile, tuple[Site, ...], TracingConfig], Simulator]


@dataclass(frozen=True, eq=False)
class LocatedReports:
    """The fixes of some reports."""

    part: LogPart
    fix: Fix


def locate(config: LocateConfig, open_simulator: SimulatorFactory, trace_radio_map: RadioMapTracer) -> Iterator[str]:
    """Yield one line of JSON for each report: tile, network, position in degrees and metres, covariance, candidates.

    Reports are read, located and written part by part, so that memory does not grow with the log. `open_simulator`
    opens the simulator where the config needs one, `trace_radio_map` makes the radio map of a tile that has none.
    Raises `UelError` for bad files, and for a log of which nothing can be located.
    """
    run = Run.open(config.run)
    require_file(config.report)  # before a radio map is traced
    require_writable_file(*config.out, *([config.geojson] if config.geojson else []), config.rejected_file)
    run = replace(run, chosen=chosen_deployment(run, config, trace_radio_map, config.tracing.backend))
    require_formats(config.out, bool(run.tile.meta.get("crs")))
    answers = AnswerFormat.of(run.tile, run.maps.radio.sites)
    sites, rejected = run.maps.radio.sites, config.rejected_file
    with ExitStack() as stack:
        files = stack.enter_context(open_fix_files(config.out))
        features = stack.enter_context(open_features(config.geojson, run.tile, run.maps.radio.grid))
        rejections = stack.enter_context(Rejections(rejected))
        step = run.locator.measurement.range_step
        source = stack.enter_context(open_reports(run.tile, sites, config.report, config.columns, rejections, step))
        model = source.observation_model(run.locator.measurement, config.cells_max)
        if model != run.locator.measurement:
            expected = model.cells_max, run.locator.measurement.cells_max
            log.info("a report lists at most %d cells (--cells-max; the locator's is %d)", *expected)
            run.locator.measurement = model
        # Answers go to stdout: a bar on the same terminal would stand between them.
        bar = stack.enter_context(progress_bar(source.count, "reports", shown=not sys.stdout.isatty()))
        locate_all = _locate_track if config.speed else _locate_single
        for located in locate_all(config, run, source, open_simulator):
            for n, answer in enumerate(answers.answers(located.fix, located.part)):
                line = json.dumps(answer.line)
                files.write(answer.row, line)
                features(located.fix[n : n + 1], report=answer.row["report"], time=answer.row["time"])
                yield line
            bar.update(len(located.part))
    rejections.report(source.count, rejected)
    if answers.distances:
        summary = error_summary(torch.tensor(answers.distances, device="cpu"))
        log.info("%(n)d reports with positions: median %(p50_m).1f m, 95 %% below %(p95_m).1f m", summary)


def _locate_single(
    config: LocateConfig, run: Run, source: ReportStream, open_simulator: SimulatorFactory
) -> Iterator[LocatedReports]:
    """Fixes of all reports, each by itself."""
    adaptation = _site_adaptation(config, run, open_simulator)
    refined_locator = _refined_locator(config, run, adaptation)
    simulator = open_simulator(run.tile, run.maps.radio.sites, config.tracing) if config.refine == "rt" else None
    rescoring = config.rescoring
    if adaptation is not None and simulator is not None:
        rescoring = adaptation.fit_ray_rescoring(run.locator, rescoring, simulator)
        numbers = rescoring.bias_db, rescoring.spread_db, 100 * rescoring.share
        log.info("rays: bias %+g dB, standard deviation %g dB, right with %g %%", *numbers)
    batch = REPORTS_PER_BATCH if simulator is None else 1
    for part in source.parts:
        reports = part.reports if adaptation is None else adaptation.correct_angles(part.reports)
        for start in range(0, len(part), batch):
            chosen = slice(start, start + batch)
            fix = _fix_reports(config, refined_locator, reports[chosen], simulator, rescoring)
            yield LocatedReports(part[chosen], fix)


@torch.no_grad()
def _fix_reports(
    config: LocateConfig,
    refined_locator: RefinedLocator,
    reports: Reports,
    simulator: Simulator | None,
    rescoring: RayRescoringConfig,
) -> Fix:
    """Fixes of reports, refined and re-scored as the config says; rays re-score one report at a time."""
    fix = refined_locator.locate(reports)
    if config.refine == "none":
        return fix
    result = refined_locator.refine(fix, reports)
    if simulator is None:
        return result.fix
    # Labelled reports may rule out refinement on the map, but not rays.
    if config.labelled_reports is None and not bool(result.is_refined):
        return result.fix
    return rescore_with_rays(
        result.fix,
        reports,
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
def _refined_locator(config: LocateConfig, run: Run, adaptation: SiteAdaptation | None) -> RefinedLocator:
    """The locator with refinement, on the corrected map where there is an adaptation."""
    if adaptation is None:
        return RefinedLocator.of(run.locator, run.maps, config.refinement)
    # Every fix is refined: the map on which the locator was decided is not the corrected one.
    return adaptation.refined_locator(run.locator, replace(config.refinement, entropy=0.0))


def _read_labelled_reports(config: LocateConfig, run: Run) -> tuple[Reports, Float[Tensor, "n 2"]]:
    """The labelled reports and their positions."""
    file, rejected = config.labelled_reports, config.rejected_file
    assert file is not None
    drive = read_labelled_reports(
        run.tile,
        run.maps.radio.sites,
        file,
        config.columns,
        rejected.with_name(f"labelled_{rejected.name}"),
        run.locator.measurement.range_step,
    )
    return drive.reports, drive.position


def _locate_track(
    config: LocateConfig, run: Run, source: ReportStream, open_simulator: SimulatorFactory
) -> Iterator[LocatedReports]:
    """Fixes of all reports as one track, each from the reports up to it, by a particle filter."""
    maps, grid = run.maps, run.maps.radio.grid
    track = read_track(source, config.report)
    adaptation = _site_adaptation(config, run, open_simulator)
    refined_locator = _refined_locator(config, run, adaptation)
    reports = track.reports if adaptation is None else adaptation.correct_angles(track.reports)
    area = outdoor_area(run.tile, maps.radio.sites, (0.0, 1e4), None, False, None)
    motion = MotionModel(area.grid, area.free, config.speed, wander=config.speed < MIN_CAR_SPEED)
    rasters = _log_probability_rasters(refined_locator, reports)[None]
    likelihood = RasterLikelihood(grid, rasters, maps.prior, config.likelihood_exponent)
    generator = torch.Generator().manual_seed(config.seed)
    time = torch.from_numpy(track.seconds - track.seconds[0]).float()[None]
    clouds = filter_steps(likelihood, grid, motion, time, config.particles, generator)
    for n, cloud in enumerate(clouds):
        yield LocatedReports(track[n : n + 1], _fix_of_cloud(cloud, grid, run.locator.config.patches))


@torch.no_grad()
def _log_probability_rasters(refined_locator: RefinedLocator, reports: Reports) -> Float[Tensor, "report row column"]:
    """Log-probability of the pixels by each report."""
    results = [refined_locator.without_entropy_gate(reports[n : n + 1]) for n in range(len(reports))]
    probability = torch.cat([result.refined_pixels.probability for result in results])
    return probability.clamp(min=MIN_PIXEL_PROBABILITY).log()


def _fix_of_cloud(cloud: ParticleCloud, grid: Grid, patches: int) -> Fix:
    """A cloud of particles as one Gaussian per patch."""
    row, column = grid.pixel_of(cloud.position[0])
    probability = torch.zeros(grid.count**2, device=cloud.weight.device).index_add(
        0, row * grid.count + column, cloud.weight[0]
    )
    return pool_to_patches(probability.clamp(min=MIN_PIXEL_PROBABILITY).log().view(1, *grid.shape), grid, patches)
