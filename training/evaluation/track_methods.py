"""Methods for whole tracks: each has the same particle filter; its likelihood of successive reports is tuned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from training.evaluation.methods import EvaluationCase, locate_method, with_corrected_azimuths
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.config import RefinementConfig
from uel.estimation.estimates import (
    MIN_PIXEL_PROBABILITY,
    Estimate,
    GridEstimate,
    PointEstimate,
    fix_raster,
)
from uel.estimation.grid_posterior import PRIOR_FLOOR
from uel.estimation.particle_filter import MotionModel, filter_track
from uel.estimation.robust_bayes import (
    RobustGridBayes,
    fit_robust,
)
from uel.estimation.scoring import position_error
from uel.estimation.track_likelihood import CorrelatedFadingLikelihood, RasterLikelihood, TrackLikelihood
from uel.measurement.reports import Reports
from uel.models.locator import Locator

LIKELIHOOD_EXPONENTS = (1.0, 0.7, 0.5, 0.25, 0.05)  # exponents of a report's likelihood on a track, or
FADING_LENGTHS = (10.0, 20.0, 40.0)  # m, correlation lengths of its fading: eight candidates for each method
TRACKS_PER_CALL = 8  # tracks filtered at once, of twenty rasters each


@dataclass(frozen=True, eq=False)
class TrackReports:
    """Reports along tracks, axes (track, report), with times in seconds and the last true positions in metres."""

    reports: Reports
    time: Float[Tensor, "track report"]
    position: Float[Tensor, "track 2"]

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, part: slice) -> "TrackReports":
        return TrackReports(self.reports[part], self.time[part], self.position[part])


TrackLikelihoodFactory = Callable[[TrackReports], TrackLikelihood]


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
        locate = with_corrected_azimuths(track_case.case, locate_method(locator, track_case.case))
        candidates[name] = _raster_likelihoods(
            problem, lambda r, locate=locate: fix_raster(locate(r).fix, problem.radio.grid)
        )  # type: ignore[attr-defined]
    refine = with_corrected_azimuths(
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
    return [tracks[start : start + TRACKS_PER_CALL] for start in range(0, len(tracks.time), TRACKS_PER_CALL)]


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
