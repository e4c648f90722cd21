"""Every method that is judged, prepared for one case: the same reports, maps and labelled reports for all of them.

Tuning budget: each number of a method is chosen among at most eight values on the same labelled reports of the place
(`uel.estimation.robust_bayes`; for tracks on labelled tracks, below). A locator was trained elsewhere; from the same
labelled reports it learns which way the place's antennas look (`uel.adaptation.azimuth_offsets`) and what is wrong with
the map (`uel.adaptation.map_correction`), which PROTOCOL's baselines do not. `grid_mended` is grid Bayes that knows
both: what a locator is better by is the network's. Fixes are refined on the map put right, trusted as far as labelled
reports say that were not kriged. On tracks every method has the same filter; how it reads reports that follow one
another is chosen on the same labelled tracks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapTracer
from uel.adaptation.site_adaptation import Learned
from uel.estimation.baselines import METHODS, Place, knn_map, knn_survey
from uel.estimation.estimates import LEAST, Estimate, Fixes, Pixels, Point, fix_raster
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.metrics import position_error
from uel.estimation.particle_filter import Motion, follow
from uel.estimation.ray_rescoring import Rescoring, descended, rescored
from uel.estimation.refinement import CERTAIN, Refinement
from uel.estimation.robust_bayes import RobustBayes, fit_robust, shuffled, tuned_neighbours, without_map
from uel.estimation.track_likelihood import Evidence, FadingEvidence, RasterEvidence
from uel.geo.tile_maps import Maps
from uel.measurement.model import MeasurementModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.models.map_restorer import Restorer
from uel.radio.simulator import Simulator

Method = Callable[[Reports], Estimate]
T = TypeVar("T")
POWERS = (1.0, 0.7, 0.5, 0.25, 0.05)  # of a report's evidence on a track, or
LENGTHS = (10.0, 20.0, 40.0)  # m after which its fading is alike by 1/e: eight ways to read a track
BATCH = 8  # tracks filtered at once: twenty rasters each


@dataclass(frozen=True, eq=False)
class Walks:
    """Reports along tracks, axes (track, report), with the last true position in metres and times in seconds."""

    reports: Reports
    time: Float[Tensor, "track report"]
    position: Float[Tensor, "track 2"]

    def __getitem__(self, part: slice) -> "Walks":
        return Walks(self.reports[part], self.time[part], self.position[part])


Way = Callable[[Walks], Evidence]


@dataclass(frozen=True, eq=False)
class Case:
    """One condition on one deployment."""

    place: Place
    """the map that methods are given, the realism they are told, labelled reports"""
    maps: Maps
    """the same map, for locators"""
    reports: Reports
    """as they read under the masts' believed azimuths"""
    position: Float[Tensor, "phone 2"]
    """m, the truth"""
    true_maps: Maps
    true_model: MeasurementModel
    true_reports: Reports
    map_error: bool
    """reports are traced: the true map, too, only estimates where they come from"""
    tracer: MapTracer | None = None
    """for methods that trace maps anew"""
    restorer: Restorer | None = None
    """the run's, which learned elsewhere how maps are wrong"""

    @cached_property
    def learned(self) -> Learned:
        """What labelled reports teach of the place."""
        return Learned(self.place, self.maps, self.tracer, self.restorer)


@dataclass(frozen=True, eq=False)
class TrackCase:
    """Tracks on one deployment; `case` holds their last reports."""

    case: Case
    motion: Motion
    walks: Walks
    """with their reports as they read under the masts' believed azimuths"""
    true_walks: Walks
    tuning: Walks
    """other tracks with known ends"""
    particles: int
    limit_particles: int


def methods_of(case: Case, locators: Mapping[str, Locator], controls: bool) -> dict[str, Method]:
    """Methods of single reports by name, tuned; `controls` adds those without a map and with a shuffled one."""
    place = case.place
    near = tuned_neighbours(place)
    found: dict[str, Method] = {
        "limit": lambda r: Pixels(place.radio.grid, _limit(case, r)),
        **{name: _point(METHODS[name], place) for name in ("tile_centre", "strongest_cell", "cell_ta")},
        "knn_map": lambda r: Point(knn_map(r, place, near["knn_map"])),
        "knn_survey": lambda r: Point(knn_survey(r, place, near["knn_survey"])),
        "grid_bayes": lambda r: Pixels(
            place.radio.grid, grid_posterior(r, place.radio, place.prior, place.model, place.power_dbm)
        ),
        "grid_robust": _bayes(fit_robust(place), place),
        "grid_mended": _mended(case),
    }
    if controls:
        found |= {
            "no_map": _bayes(without_map(place), place),
            "shuffled_map": _bayes(fit_robust(place, shuffled(place.radio)), place),
        }
    return found | {name: _reread(case, _located(locator, case)) for name, locator in locators.items()}


def _mended(case: Case) -> Method:
    """Grid Bayes that knows all that labelled reports teach."""
    place = case.place
    return _reread(case, lambda r: Pixels(place.radio.grid, case.learned.mended.bayes.posterior(r, place)))


def _point(method: Callable[[Reports, Place], Tensor], place: Place) -> Method:
    return lambda reports: Point(method(reports, place))


def _bayes(bayes: RobustBayes, place: Place) -> Method:
    return lambda reports: Pixels(place.radio.grid, bayes.posterior(reports, place))


def _limit(case: Case, reports: Reports) -> Float[Tensor, "n row column"]:
    """The exact grid posterior; `reports` are those of the true azimuths."""
    maps = case.true_maps
    return grid_posterior(reports, maps.radio, maps.prior, case.true_model, maps.power_dbm, case.map_error)


def _located(locator: Locator, case: Case) -> Callable[[Reports], Fixes]:
    # Every method is told the rules of reporting.
    return lambda reports: Fixes(case.learned.locate(locator, reports))


def _reread(case: Case, method: Callable[[Reports], T]) -> Callable[[Reports], T]:
    """A method of a locator, whose antennas' azimuths are put right first."""
    return lambda reports: method(case.learned.read(reports))


def blinded(case: Case, locator: Locator) -> dict[str, Method]:
    """The locator with either kind of map taken away from it, to see what that is worth to it."""
    maps, known = case.learned.shown(locator, case.learned.mended.bayes)
    left = {
        "locator-buildings": replace(maps, buildings=torch.zeros_like(maps.buildings)),
        "locator-radio": replace(maps, radio=maps.radio.forgotten),
    }
    return {name: _reread(case, lambda r, some=some: Fixes(locator(r, some, known))) for name, some in left.items()}


# ---- second thoughts -----------------------------------------------------------------------------------


def refining(case: Case, locator: Locator, plan: Refinement, descent: bool) -> dict[str, Method]:
    """The locator with its fixes refined on the map that it was given."""
    found: dict[str, Method] = {"locator+map": _reread(case, case.learned.refiner(locator, plan))}
    if descent:
        locate, model = _located(locator, case), case.place.model
        climb = lambda r: Point(descended(locate(r).fix, r, case.maps, model))  # noqa: E731
        found["locator+descent"] = _reread(case, climb)
    return found


def retraced(case: Case, locator: Locator, plan: Refinement, tracer: MapTracer) -> dict[str, Method]:
    """With masts at the heights that labelled reports speak for, and maps traced of these: grid Bayes and the locator.

    Whoever has a ray tracer and the place's buildings can do so; PROTOCOL's baselines have neither.
    """
    traced = replace(case, tracer=tracer)
    refined = _reread(traced, traced.learned.refiner(locator, plan))
    return {"grid_retraced": _mended(traced), "locator+retraced": refined}


def tracing(
    case: Case, locator: Locator, plan: Refinement, rescoring: Rescoring, simulator: Simulator
) -> dict[str, Method]:
    """The locator with its refined fixes re-scored by a simulator."""
    refiner = case.learned.refiner(locator, plan)
    known = case.learned.rescoring(locator, rescoring, simulator)

    def locate(reports: Reports) -> Fixes:
        fix = refiner(reports).fix
        return Fixes(rescored(fix, reports, refiner.fine, refiner.right, refiner.model, simulator, known))

    return {"locator+rt": _reread(case, locate)}


# ---- tracks --------------------------------------------------------------------------------------------


def tracked(
    tracks: TrackCase, locators: Mapping[str, Locator], plan: Refinement, seed: int
) -> dict[str, Callable[[Walks], Estimate]]:
    """Methods of whole tracks by name: where phones are at their last report."""
    place, learned, moves = tracks.case.place, tracks.case.learned, tracks.motion.speed > 0
    robust = fit_robust(place)
    ways = {
        "particle_filter": [*_as_rasters(place, lambda r: _evidence(robust, place, r)), *_fading(robust, place, moves)]
    }
    for name, locator in locators.items():
        locate = _reread(tracks.case, _located(locator, tracks.case))
        ways[name] = _as_rasters(place, lambda r, locate=locate: fix_raster(locate(r).fix, place.radio.grid))  # type: ignore[attr-defined]
    refine = _reread(tracks.case, learned.refiner(locators["locator"], plan).always)
    right = [_reread_walks(tracks.case, way) for way in _fading(learned.mended.bayes, place, moves)]
    ways["locator+map"] = [*_as_rasters(place, lambda r: refine(r).pixels.probability.clamp(min=LEAST).log()), *right]
    chosen = {name: _tuned(tracks, some, seed) for name, some in ways.items()}
    return {"limit": lambda w: _track_limit(tracks, w, seed)} | {
        name: lambda w, way=way: Point(_run(tracks, w, way, seed)) for name, way in chosen.items()
    }


def _reread_walks(case: Case, way: Way) -> Way:
    return lambda walks: way(replace(walks, reports=case.learned.read(walks.reports)))


def _evidence(bayes: RobustBayes, place: Place, reports: Reports) -> Float[Tensor, "n row column"]:
    return bayes.model.log_likelihood(reports, bayes.radio, place.power_dbm, map_error=True).sum(1)


def _as_rasters(place: Place, density: Callable[[Reports], Tensor]) -> list[Way]:
    """Reports one after the other, each to some power. Of locators the prior is in every raster: it counts once."""

    @lru_cache(maxsize=1)
    def rasters(walks: Walks) -> Float[Tensor, "track report row column"]:
        return torch.stack([density(walks.reports[i]) for i in range(len(walks.time))])

    return [lambda w, power=power: RasterEvidence(place.radio.grid, rasters(w), place.prior, power) for power in POWERS]


def _fading(bayes: RobustBayes, place: Place, moves: bool) -> list[Way]:
    """By levels whose fading, and what the map gets wrong, go along with the phone; one that stands keeps them."""
    prior = place.prior.clamp(min=CERTAIN)
    alone = replace(bayes.model, cell_correlation=0.0)  # the filter knows each cell's fading by itself
    models = [replace(alone, decorrelation_distance=length) for length in LENGTHS[: None if moves else 1]]
    return [
        lambda w, model=model: FadingEvidence(w.reports, bayes.radio, prior, model, map_error=True) for model in models
    ]


def _tuned(tracks: TrackCase, ways: Sequence[Way], seed: int) -> Way:
    """The way to read tracks that has the least mean error on the labelled ones."""
    errors = [
        [float(position_error(_run(tracks, walks, way, seed), walks.position).sum()) for way in ways]
        for walks in batches(tracks.tuning)
    ]
    total = [sum(of_way) for of_way in zip(*errors, strict=True)]
    return ways[total.index(min(total))]


def _run(tracks: TrackCase, walks: Walks, way: Way, seed: int) -> Float[Tensor, "track 2"]:
    generator = torch.Generator().manual_seed(seed)
    return follow(
        way(walks), tracks.case.place.radio.grid, tracks.motion, walks.time, tracks.particles, generator
    ).median


def batches(walks: Walks) -> list[Walks]:
    """Tracks as they are filtered, some at once."""
    return [walks[start : start + BATCH] for start in range(0, len(walks.time), BATCH)]


def _track_limit(tracks: TrackCase, walks: Walks, seed: int) -> Estimate:
    """Exact where phones stand; by particles that carry their fading where they move."""
    maps, model = tracks.case.true_maps, tracks.case.true_model
    evidence = FadingEvidence(walks.reports, maps.radio, maps.prior, model)
    if not tracks.motion.speed:
        return Pixels(maps.radio.grid, evidence.standing())
    generator = torch.Generator().manual_seed(seed)
    return Point(follow(evidence, maps.radio.grid, tracks.motion, walks.time, tracks.limit_particles, generator).median)
