"""Every method that is judged, prepared for one case: the same reports, maps and labelled reports for all of them.

Tuning budget: each number of a method is chosen among at most eight values on the same labelled reports of the place
(`uel.estimation.robust_bayes`; for tracks on labelled tracks, below). A locator was trained elsewhere; from the same
labelled reports it learns which way the place's antennas look (`uel.adaptation.azimuth_offsets`) and what is wrong with
the map (`uel.adaptation.map_correction`), which PROTOCOL's baselines do not. `grid_bayes_corrected` is grid Bayes that
knows both: what a locator is better by is the network's. Fixes are refined on the map put right, trusted as far as
labelled reports say that were not kriged. On tracks every method has the same filter; how it reads reports that follow
one another is chosen on the same labelled tracks.
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
LIKELIHOOD_EXPONENTS = (1.0, 0.7, 0.5, 0.25, 0.05)  # of a report's evidence on a track, or
FADING_LENGTHS = (10.0, 20.0, 40.0)  # m after which its fading is alike by 1/e: eight ways to read a track
TRACKS_PER_BATCH = 8  # tracks filtered at once: twenty rasters each


@dataclass(frozen=True, eq=False)
class TrackReports:
    """Reports along tracks, axes (track, report), with the last true position in metres and times in seconds."""

    reports: Reports
    time: Float[Tensor, "track report"]
    position: Float[Tensor, "track 2"]

    def __getitem__(self, part: slice) -> "TrackReports":
        return TrackReports(self.reports[part], self.time[part], self.position[part])


TrackLikelihoodFactory = Callable[[TrackReports], TrackLikelihood]


@dataclass(frozen=True, eq=False)
class EvaluationCase:
    """One condition on one deployment."""

    place: LocalizationProblem
    """the map that methods are given, the realism they are told, labelled reports"""
    maps: TileMaps
    """the same map, for locators"""
    reports: Reports
    """as they read under the masts' believed azimuths"""
    position: Float[Tensor, "phone 2"]
    """m, the truth"""
    true_maps: TileMaps
    true_model: ObservationModel
    true_reports: Reports
    map_error: bool
    """reports are traced: the true map, too, only estimates where they come from"""
    tracer: MapFactory | None = None
    """for methods that trace maps anew"""
    restorer: MapRestorer | None = None
    """the run's, which learned elsewhere how maps are wrong"""

    @cached_property
    def learned(self) -> SiteAdaptation:
        """What labelled reports teach of the place."""
        return SiteAdaptation(self.place, self.maps, self.tracer, self.restorer)


@dataclass(frozen=True, eq=False)
class TrackEvaluationCase:
    """Tracks on one deployment; `case` holds their last reports."""

    case: EvaluationCase
    motion: MotionModel
    walks: TrackReports
    """with their reports as they read under the masts' believed azimuths"""
    true_walks: TrackReports
    tuning: TrackReports
    """other tracks with known ends"""
    particles: int
    limit_particles: int


def single_report_methods(
    case: EvaluationCase, locators: Mapping[str, Locator], controls: bool
) -> dict[str, EvaluationMethod]:
    """Methods of single reports by name, tuned; `controls` adds those without a map and with a shuffled one."""
    place = case.place
    near = tune_neighbours(place)
    found: dict[str, EvaluationMethod] = {
        "limit": lambda r: GridEstimate(place.radio.grid, _limit_posterior(case, r)),
        **{name: _point_method(BASELINE_METHODS[name], place) for name in ("prior_median", "cell_id", "cell_id_ta")},
        "knn_map": lambda r: PointEstimate(knn_map(r, place, near["knn_map"])),
        "knn_survey": lambda r: PointEstimate(knn_survey(r, place, near["knn_survey"])),
        "grid_bayes": lambda r: GridEstimate(
            place.radio.grid, grid_posterior(r, place.radio, place.prior, place.model, place.power_dbm)
        ),
        "grid_robust": _bayes_method(fit_robust(place), place),
        "grid_bayes_corrected": _corrected_map_bayes(case),
    }
    if controls:
        found |= {
            "no_map": _bayes_method(no_map_control(place), place),
            "shuffled_map": _bayes_method(fit_robust(place, shuffled_map_control(place.radio)), place),
        }
    return found | {name: _with_corrected_azimuths(case, _locate(locator, case)) for name, locator in locators.items()}


def _corrected_map_bayes(case: EvaluationCase) -> EvaluationMethod:
    """Grid Bayes that knows all that labelled reports teach."""
    place = case.place
    return _with_corrected_azimuths(
        case, lambda r: GridEstimate(place.radio.grid, case.learned.correction.bayes.posterior(r, place))
    )


def _point_method(
    method: Callable[[Reports, LocalizationProblem], Tensor], place: LocalizationProblem
) -> EvaluationMethod:
    return lambda reports: PointEstimate(method(reports, place))


def _bayes_method(bayes: RobustGridBayes, place: LocalizationProblem) -> EvaluationMethod:
    return lambda reports: GridEstimate(place.radio.grid, bayes.posterior(reports, place))


def _limit_posterior(case: EvaluationCase, reports: Reports) -> Float[Tensor, "n row column"]:
    """The exact grid posterior; `reports` are those of the true azimuths."""
    maps = case.true_maps
    return grid_posterior(reports, maps.radio, maps.prior, case.true_model, maps.power_dbm, case.map_error)


def _locate(locator: Locator, case: EvaluationCase) -> Callable[[Reports], FixEstimate]:
    # Every method is told the rules of reporting.
    return lambda reports: FixEstimate(case.learned.locate(locator, reports))


def _with_corrected_azimuths(case: EvaluationCase, method: Callable[[Reports], T]) -> Callable[[Reports], T]:
    """A method of a locator, whose antennas' azimuths are put right first."""
    return lambda reports: method(case.learned.correct_angles(reports))


def input_ablation_methods(case: EvaluationCase, locator: Locator) -> dict[str, EvaluationMethod]:
    """The locator with either kind of map taken away from it, to see what that is worth to it."""
    maps, known = case.learned.locator_input(locator, case.learned.correction.bayes)
    left = {
        "locator-buildings": replace(maps, buildings=torch.zeros_like(maps.buildings)),
        "locator-radio": replace(maps, radio=maps.radio.without_measurements),
    }
    return {
        name: _with_corrected_azimuths(case, lambda r, some=some: FixEstimate(locator(r, some, known)))
        for name, some in left.items()
    }


# ---- second thoughts -----------------------------------------------------------------------------------


def refinement_methods(case: EvaluationCase, locator: Locator, plan: RefinementConfig) -> dict[str, EvaluationMethod]:
    """The locator with its fixes refined on the map that it was given."""
    return {"locator_refined": _with_corrected_azimuths(case, case.learned.refined_locator(locator, plan))}


def retraced_map_methods(
    case: EvaluationCase, locator: Locator, plan: RefinementConfig, tracer: MapFactory
) -> dict[str, EvaluationMethod]:
    """With masts at the heights that labelled reports speak for, and maps traced of these: grid Bayes and the locator.

    Whoever has a ray tracer and the place's buildings can do so; PROTOCOL's baselines have neither.
    """
    traced = replace(case, tracer=tracer)
    refined = _with_corrected_azimuths(traced, traced.learned.refined_locator(locator, plan))
    return {"grid_bayes_retraced": _corrected_map_bayes(traced), "locator_retraced": refined}


def ray_rescoring_methods(
    case: EvaluationCase, locator: Locator, plan: RefinementConfig, rescoring: RayRescoringConfig, simulator: Simulator
) -> dict[str, EvaluationMethod]:
    """The locator with its refined fixes re-scored by a simulator."""
    refiner = case.learned.refined_locator(locator, plan)
    known = case.learned.fit_ray_rescoring(locator, rescoring, simulator)

    def locate(reports: Reports) -> FixEstimate:
        fix = refiner(reports).fix
        return FixEstimate(
            rescore_with_rays(
                fix, reports, refiner.patch_map, refiner.refinement_maps, refiner.refinement_model, simulator, known
            )
        )

    return {"locator_ray_rescored": _with_corrected_azimuths(case, locate)}


# ---- tracks --------------------------------------------------------------------------------------------


def track_methods(
    tracks: TrackEvaluationCase, locators: Mapping[str, Locator], plan: RefinementConfig, seed: int
) -> dict[str, Callable[[TrackReports], Estimate]]:
    """Methods of whole tracks by name: where phones are at their last report."""
    place, learned, moves = tracks.case.place, tracks.case.learned, tracks.motion.speed > 0
    robust = fit_robust(place)
    ways = {
        "particle_filter": [
            *_raster_likelihoods(place, lambda r: _log_likelihood(robust, place, r)),
            *_fading_likelihoods(robust, place, moves),
        ]
    }
    for name, locator in locators.items():
        locate = _with_corrected_azimuths(tracks.case, _locate(locator, tracks.case))
        ways[name] = _raster_likelihoods(place, lambda r, locate=locate: fix_raster(locate(r).fix, place.radio.grid))  # type: ignore[attr-defined]
    refine = _with_corrected_azimuths(
        tracks.case, learned.refined_locator(locators["locator"], plan).without_entropy_gate
    )
    right = [
        _tracks_with_corrected_azimuths(tracks.case, way)
        for way in _fading_likelihoods(learned.correction.bayes, place, moves)
    ]
    ways["locator_refined"] = [
        *_raster_likelihoods(
            place, lambda r: refine(r).refined_pixels.probability.clamp(min=MIN_PIXEL_PROBABILITY).log()
        ),
        *right,
    ]
    chosen = {name: _tune_likelihood(tracks, some, seed) for name, some in ways.items()}
    return {"limit": lambda w: _track_limit(tracks, w, seed)} | {
        name: lambda w, way=way: PointEstimate(_filter_positions(tracks, w, way, seed)) for name, way in chosen.items()
    }


def _tracks_with_corrected_azimuths(case: EvaluationCase, way: TrackLikelihoodFactory) -> TrackLikelihoodFactory:
    return lambda walks: way(replace(walks, reports=case.learned.correct_angles(walks.reports)))


def _log_likelihood(
    bayes: RobustGridBayes, place: LocalizationProblem, reports: Reports
) -> Float[Tensor, "n row column"]:
    return bayes.model.log_likelihood(reports, bayes.radio, place.power_dbm, map_error=True).sum(1)


def _raster_likelihoods(
    place: LocalizationProblem, density: Callable[[Reports], Tensor]
) -> list[TrackLikelihoodFactory]:
    """Reports one after the other, each to some power. Of locators the prior is in every raster: it counts once."""

    @lru_cache(maxsize=1)
    def rasters(walks: TrackReports) -> Float[Tensor, "track report row column"]:
        return torch.stack([density(walks.reports[i]) for i in range(len(walks.time))])

    return [
        lambda w, power=power: RasterLikelihood(place.radio.grid, rasters(w), place.prior, power)
        for power in LIKELIHOOD_EXPONENTS
    ]


def _fading_likelihoods(
    bayes: RobustGridBayes, place: LocalizationProblem, moves: bool
) -> list[TrackLikelihoodFactory]:
    """By levels whose fading, and what the map gets wrong, go along with the phone; one that stands keeps them."""
    prior = place.prior.clamp(min=PRIOR_FLOOR)
    alone = replace(bayes.model, cell_correlation=0.0)  # the filter knows each cell's fading by itself
    models = [replace(alone, decorrelation_distance=length) for length in FADING_LENGTHS[: None if moves else 1]]
    return [
        lambda w, model=model: CorrelatedFadingLikelihood(w.reports, bayes.radio, prior, model, map_error=True)
        for model in models
    ]


def _tune_likelihood(
    tracks: TrackEvaluationCase, ways: Sequence[TrackLikelihoodFactory], seed: int
) -> TrackLikelihoodFactory:
    """The way to read tracks that has the least mean error on the labelled ones."""
    errors = [
        [float(position_error(_filter_positions(tracks, walks, way, seed), walks.position).sum()) for way in ways]
        for walks in track_batches(tracks.tuning)
    ]
    total = [sum(of_way) for of_way in zip(*errors, strict=True)]
    return ways[total.index(min(total))]


def _filter_positions(
    tracks: TrackEvaluationCase, walks: TrackReports, way: TrackLikelihoodFactory, seed: int
) -> Float[Tensor, "track 2"]:
    generator = torch.Generator().manual_seed(seed)
    return filter_track(
        way(walks), tracks.case.place.radio.grid, tracks.motion, walks.time, tracks.particles, generator
    ).median


def track_batches(walks: TrackReports) -> list[TrackReports]:
    """Tracks as they are filtered, some at once."""
    return [walks[start : start + TRACKS_PER_BATCH] for start in range(0, len(walks.time), TRACKS_PER_BATCH)]


def _track_limit(tracks: TrackEvaluationCase, walks: TrackReports, seed: int) -> Estimate:
    """Exact where phones stand; by particles that carry their fading where they move."""
    maps, model = tracks.case.true_maps, tracks.case.true_model
    evidence = CorrelatedFadingLikelihood(walks.reports, maps.radio, maps.prior, model)
    if not tracks.motion.speed:
        return GridEstimate(maps.radio.grid, evidence.stationary_posterior())
    generator = torch.Generator().manual_seed(seed)
    return PointEstimate(
        filter_track(evidence, maps.radio.grid, tracks.motion, walks.time, tracks.limit_particles, generator).median
    )
