"""The methods of an evaluation, prepared for one case: the same reports, maps and labelled reports for all of them.

Tuning budget: each number of a method is chosen among at most eight values on the same labelled reports of the
deployment (`uel.estimation.robust_bayes`; for tracks on labelled tracks, below). A locator was trained on other tiles;
the same labelled reports correct the antenna azimuths it assumes (`uel.adaptation.azimuth_offsets`) and its map
(`uel.adaptation.map_correction`), which the baselines of EVALUATION.md do without. `grid_bayes_corrected` is grid
Bayes with both corrections: a locator's lead over it comes from the network. Fixes are refined on the corrected map,
with an error bar from the labelled reports that were not kriged. On tracks every method has the same filter; its
likelihood of successive reports is chosen on the same labelled tracks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapFactory
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.estimation.baselines import BASELINE_METHODS, LocalizationProblem, knn_map, knn_survey
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.estimates import (
    MIN_PIXEL_PROBABILITY,
    Estimate,
    FixEstimate,
    GridEstimate,
    PointEstimate,
    fix_raster,
)
from uel.estimation.grid_posterior import PRIOR_FLOOR, grid_posterior
from uel.estimation.metrics import position_error
from uel.estimation.particle_filter import MotionModel, filter_track
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.robust_bayes import (
    RobustGridBayes,
    fit_robust,
    no_map_control,
    shuffled_map_control,
    tune_neighbours,
)
from uel.estimation.track_likelihood import CorrelatedFadingLikelihood, RasterLikelihood, TrackLikelihood
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio.simulator import Simulator

EvaluationMethod = Callable[[Reports], Estimate]
T = TypeVar("T")
LIKELIHOOD_EXPONENTS = (1.0, 0.7, 0.5, 0.25, 0.05)  # exponents of a report's likelihood on a track, or
FADING_LENGTHS = (10.0, 20.0, 40.0)  # m, correlation lengths of its fading: eight candidates for each method
TRACKS_PER_BATCH = 8  # tracks filtered at once, of twenty rasters each


@dataclass(frozen=True, eq=False)
class TrackReports:
    """Reports along tracks, axes (track, report), with times in seconds and the last true positions in metres."""

    reports: Reports
    time: Float[Tensor, "track report"]
    position: Float[Tensor, "track 2"]

    def __getitem__(self, part: slice) -> "TrackReports":
        return TrackReports(self.reports[part], self.time[part], self.position[part])


TrackLikelihoodFactory = Callable[[TrackReports], TrackLikelihood]


@dataclass(frozen=True, eq=False)
class EvaluationCase:
    """One condition on one deployment."""

    problem: LocalizationProblem
    """the map and observation model that methods are given, and labelled reports"""
    maps: TileMaps
    """the same map, for locators"""
    reports: Reports
    """reports as read with the assumed azimuths"""
    position: Float[Tensor, "phone 2"]
    """m, true positions"""
    true_maps: TileMaps
    true_model: ObservationModel
    true_reports: Reports
    map_error: bool
    """reports are ray-traced: the true map, too, only approximates their levels"""
    map_factory: MapFactory | None = None
    """for methods that trace maps anew"""
    restorer: MapRestorer | None = None
    """the run's map restorer"""

    @cached_property
    def adaptation(self) -> SiteAdaptation:
        """The adaptation to the deployment by its labelled reports."""
        return SiteAdaptation(self.problem, self.maps, self.map_factory, self.restorer)


@dataclass(frozen=True, eq=False)
class TrackEvaluationCase:
    """Tracks on one deployment; `case` holds their last reports."""

    case: EvaluationCase
    motion: MotionModel
    tracks: TrackReports
    """with reports as read with the assumed azimuths"""
    true_tracks: TrackReports
    tuning_tracks: TrackReports
    """other tracks with known ends"""
    particles: int
    limit_particles: int


def single_report_methods(
    case: EvaluationCase, locators: Mapping[str, Locator], controls: bool
) -> dict[str, EvaluationMethod]:
    """Methods for single reports by name, tuned; `controls` adds those without a map and with a shuffled map."""
    problem = case.problem
    neighbours = tune_neighbours(problem)
    methods: dict[str, EvaluationMethod] = {
        "limit": lambda r: GridEstimate(problem.radio.grid, _limit_posterior(case, r)),
        **{name: _point_method(BASELINE_METHODS[name], problem) for name in ("prior_median", "cell_id", "cell_id_ta")},
        "knn_map": lambda r: PointEstimate(knn_map(r, problem, neighbours["knn_map"])),
        "knn_survey": lambda r: PointEstimate(knn_survey(r, problem, neighbours["knn_survey"])),
        "grid_bayes": lambda r: GridEstimate(
            problem.radio.grid, grid_posterior(r, problem.radio, problem.prior, problem.model, problem.power_dbm)
        ),
        "grid_robust": _bayes_method(fit_robust(problem), problem),
        "grid_bayes_corrected": _corrected_map_bayes(case),
    }
    if controls:
        methods |= {
            "no_map": _bayes_method(no_map_control(problem), problem),
            "shuffled_map": _bayes_method(fit_robust(problem, shuffled_map_control(problem.radio)), problem),
        }
    return methods | {
        name: _with_corrected_azimuths(case, _locate(locator, case)) for name, locator in locators.items()
    }


def _corrected_map_bayes(case: EvaluationCase) -> EvaluationMethod:
    """Grid Bayes on the corrected map with corrected azimuths."""
    problem = case.problem
    return _with_corrected_azimuths(
        case, lambda r: GridEstimate(problem.radio.grid, case.adaptation.correction.bayes.posterior(r, problem))
    )


def _point_method(
    method: Callable[[Reports, LocalizationProblem], Tensor], problem: LocalizationProblem
) -> EvaluationMethod:
    return lambda reports: PointEstimate(method(reports, problem))


def _bayes_method(bayes: RobustGridBayes, problem: LocalizationProblem) -> EvaluationMethod:
    return lambda reports: GridEstimate(problem.radio.grid, bayes.posterior(reports, problem))


def _limit_posterior(case: EvaluationCase, reports: Reports) -> Float[Tensor, "n row column"]:
    """The exact grid posterior; `reports` are those with true azimuths."""
    maps = case.true_maps
    return grid_posterior(reports, maps.radio, maps.prior, case.true_model, maps.power_dbm, case.map_error)


def _locate(locator: Locator, case: EvaluationCase) -> Callable[[Reports], FixEstimate]:
    # Every method is given the rules of reporting.
    return lambda reports: FixEstimate(case.adaptation.locate(locator, reports))


def _with_corrected_azimuths(case: EvaluationCase, method: Callable[[Reports], T]) -> Callable[[Reports], T]:
    """A method for reports whose azimuths are corrected first."""
    return lambda reports: method(case.adaptation.correct_angles(reports))


def input_ablation_methods(case: EvaluationCase, locator: Locator) -> dict[str, EvaluationMethod]:
    """The locator without buildings and without radio maps, to measure their value."""
    maps, observation_model = case.adaptation.locator_input(locator, case.adaptation.correction.bayes)
    reduced_maps = {
        "locator-buildings": replace(maps, buildings=torch.zeros_like(maps.buildings)),
        "locator-radio": replace(maps, radio=maps.radio.without_measurements),
    }
    return {
        name: _with_corrected_azimuths(
            case, lambda r, reduced=reduced: FixEstimate(locator(r, reduced, observation_model))
        )
        for name, reduced in reduced_maps.items()
    }


# ---- refined fixes -----------------------------------------------------------------------------------


def refinement_methods(case: EvaluationCase, locator: Locator, config: RefinementConfig) -> dict[str, EvaluationMethod]:
    """The locator with its fixes refined on its map."""
    return {"locator_refined": _with_corrected_azimuths(case, case.adaptation.refined_locator(locator, config))}


def retraced_map_methods(
    case: EvaluationCase, locator: Locator, config: RefinementConfig, map_factory: MapFactory
) -> dict[str, EvaluationMethod]:
    """Grid Bayes and the locator on maps traced anew, with antenna heights fitted to labelled reports.

    They need a ray tracer and the buildings; the baselines of EVALUATION.md have neither.
    """
    retraced = replace(case, map_factory=map_factory)
    refined = _with_corrected_azimuths(retraced, retraced.adaptation.refined_locator(locator, config))
    return {"grid_bayes_retraced": _corrected_map_bayes(retraced), "locator_retraced": refined}


def ray_rescoring_methods(
    case: EvaluationCase,
    locator: Locator,
    config: RefinementConfig,
    rescoring: RayRescoringConfig,
    simulator: Simulator,
) -> dict[str, EvaluationMethod]:
    """The locator with its refined fixes re-scored by a simulator."""
    refiner = case.adaptation.refined_locator(locator, config)
    observation_model = case.adaptation.fit_ray_rescoring(locator, rescoring, simulator)

    def locate(reports: Reports) -> FixEstimate:
        fix = refiner(reports).fix
        return FixEstimate(
            rescore_with_rays(
                fix,
                reports,
                refiner.patch_map,
                refiner.refinement_maps,
                refiner.refinement_model,
                simulator,
                observation_model,
            )
        )

    return {"locator_ray_rescored": _with_corrected_azimuths(case, locate)}


# ---- tracks --------------------------------------------------------------------------------------------


def track_methods(
    track_case: TrackEvaluationCase, locators: Mapping[str, Locator], config: RefinementConfig, seed: int
) -> dict[str, Callable[[TrackReports], Estimate]]:
    """Methods for whole tracks by name; they estimate the position at the last report."""
    problem, adaptation, is_moving = track_case.case.problem, track_case.case.adaptation, track_case.motion.speed > 0
    robust = fit_robust(problem)
    candidates = {
        "particle_filter": [
            *_raster_likelihoods(problem, lambda r: _log_likelihood(robust, problem, r)),
            *_fading_likelihoods(robust, problem, is_moving),
        ]
    }
    for name, locator in locators.items():
        locate = _with_corrected_azimuths(track_case.case, _locate(locator, track_case.case))
        candidates[name] = _raster_likelihoods(
            problem, lambda r, locate=locate: fix_raster(locate(r).fix, problem.radio.grid)
        )  # type: ignore[attr-defined]
    refine = _with_corrected_azimuths(
        track_case.case, adaptation.refined_locator(locators["locator"], config).without_entropy_gate
    )
    corrected = [
        _tracks_with_corrected_azimuths(track_case.case, factory)
        for factory in _fading_likelihoods(adaptation.correction.bayes, problem, is_moving)
    ]
    candidates["locator_refined"] = [
        *_raster_likelihoods(
            problem, lambda r: refine(r).refined_pixels.probability.clamp(min=MIN_PIXEL_PROBABILITY).log()
        ),
        *corrected,
    ]
    tuned = {name: _tune_likelihood(track_case, factories, seed) for name, factories in candidates.items()}
    return {"limit": lambda tracks: _track_limit(track_case, tracks, seed)} | {
        name: lambda tracks, factory=factory: PointEstimate(_filter_positions(track_case, tracks, factory, seed))
        for name, factory in tuned.items()
    }


def _tracks_with_corrected_azimuths(case: EvaluationCase, factory: TrackLikelihoodFactory) -> TrackLikelihoodFactory:
    return lambda tracks: factory(replace(tracks, reports=case.adaptation.correct_angles(tracks.reports)))


def _log_likelihood(
    bayes: RobustGridBayes, problem: LocalizationProblem, reports: Reports
) -> Float[Tensor, "n row column"]:
    return bayes.model.log_likelihood(reports, bayes.radio, problem.power_dbm, map_error=True).sum(1)


def _raster_likelihoods(
    problem: LocalizationProblem, density: Callable[[Reports], Tensor]
) -> list[TrackLikelihoodFactory]:
    """Likelihoods of successive reports with an exponent each. A locator's rasters all contain the prior, which counts
    once.
    """

    @lru_cache(maxsize=1)
    def rasters(tracks: TrackReports) -> Float[Tensor, "track report row column"]:
        return torch.stack([density(tracks.reports[i]) for i in range(len(tracks.time))])

    return [
        lambda tracks, exponent=exponent: RasterLikelihood(problem.radio.grid, rasters(tracks), problem.prior, exponent)
        for exponent in LIKELIHOOD_EXPONENTS
    ]


def _fading_likelihoods(
    bayes: RobustGridBayes, problem: LocalizationProblem, is_moving: bool
) -> list[TrackLikelihoodFactory]:
    """Likelihoods of levels whose fading and map error are correlated along the track; constant for a phone that
    stands.
    """
    prior = problem.prior.clamp(min=PRIOR_FLOOR)
    own_fading_model = replace(bayes.model, cell_correlation=0.0)  # the filter has each cell's fading in its state
    models = [
        replace(own_fading_model, decorrelation_distance=length)
        for length in FADING_LENGTHS[: None if is_moving else 1]
    ]
    return [
        lambda tracks, model=model: CorrelatedFadingLikelihood(
            tracks.reports, bayes.radio, prior, model, map_error=True
        )
        for model in models
    ]


def _tune_likelihood(
    track_case: TrackEvaluationCase, candidates: Sequence[TrackLikelihoodFactory], seed: int
) -> TrackLikelihoodFactory:
    """The likelihood with the lowest mean error on labelled tracks."""
    errors = [
        [
            float(position_error(_filter_positions(track_case, tracks, factory, seed), tracks.position).sum())
            for factory in candidates
        ]
        for tracks in track_batches(track_case.tuning_tracks)
    ]
    total = [sum(by_candidate) for by_candidate in zip(*errors, strict=True)]
    return candidates[total.index(min(total))]


def _filter_positions(
    track_case: TrackEvaluationCase, tracks: TrackReports, factory: TrackLikelihoodFactory, seed: int
) -> Float[Tensor, "track 2"]:
    generator = torch.Generator().manual_seed(seed)
    return filter_track(
        factory(tracks),
        track_case.case.problem.radio.grid,
        track_case.motion,
        tracks.time,
        track_case.particles,
        generator,
    ).median


def track_batches(tracks: TrackReports) -> list[TrackReports]:
    """Tracks in batches that are filtered at once."""
    return [tracks[start : start + TRACKS_PER_BATCH] for start in range(0, len(tracks.time), TRACKS_PER_BATCH)]


def _track_limit(track_case: TrackEvaluationCase, tracks: TrackReports, seed: int) -> Estimate:
    """The limit: exact for standing phones; for moving ones by particles that carry their fading."""
    maps, model = track_case.case.true_maps, track_case.case.true_model
    likelihood = CorrelatedFadingLikelihood(tracks.reports, maps.radio, maps.prior, model)
    if not track_case.motion.speed:
        return GridEstimate(maps.radio.grid, likelihood.stationary_posterior())
    generator = torch.Generator().manual_seed(seed)
    return PointEstimate(
        filter_track(
            likelihood, maps.radio.grid, track_case.motion, tracks.time, track_case.limit_particles, generator
        ).median
    )
