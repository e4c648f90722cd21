"""The methods of an evaluation, prepared for one case: the same reports, maps and labelled reports for all of them.

Tuning budget: each number of a method is chosen among at most eight values on the same labelled reports of the
deployment (`uel.estimation.robust_bayes`; for tracks see `training.evaluation.track_methods`). A locator was trained
on other tiles; the same labelled reports correct the antenna azimuths it assumes (`uel.adaptation.azimuth_offsets`)
and its map (`uel.adaptation.map_correction`), which the baselines of EVALUATION.md do without. `grid_bayes_corrected`
is grid Bayes with both corrections: a locator's lead over it comes from the network. Fixes are refined on the
corrected map, with an error bar from the labelled reports that were not kriged. On tracks every method has the same
filter; its likelihood of successive reports is chosen on the same labelled tracks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapFactory
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.estimates import FixEstimate, GridEstimate, PointEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.robust_bayes import (
    RobustGridBayes,
    fit_robust,
    no_map_control,
    shuffled_map_control,
    tune_neighbours,
)
from uel.estimation.scoring import EstimationMethod
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio.simulator import Simulator
from uel.results.methods import BASELINE_METHODS

T = TypeVar("T")


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
    has_limit: bool = True
    """whether the true map and model are known; False for measured reports"""

    @cached_property
    def adaptation(self) -> SiteAdaptation:
        """The adaptation to the deployment by its labelled reports."""
        return SiteAdaptation(self.problem, self.maps, self.map_factory, self.restorer)


def single_report_methods(
    case: EvaluationCase, locators: Mapping[str, Locator], controls: bool
) -> dict[str, EstimationMethod]:
    """Methods for single reports by name, tuned; `controls` adds those without a map and with a shuffled map."""
    problem = case.problem
    neighbours = tune_neighbours(problem)
    methods: dict[str, EstimationMethod] = {
        **({"limit": lambda r: GridEstimate(problem.radio.grid, _limit_posterior(case, r))} if case.has_limit else {}),
        **{
            name: _point_method(baseline, problem, **({"neighbours": neighbours[name]} if name in neighbours else {}))
            for name, baseline in BASELINE_METHODS.items()
        },
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
        name: with_corrected_azimuths(case, locate_method(locator, case)) for name, locator in locators.items()
    }


def _corrected_map_bayes(case: EvaluationCase) -> EstimationMethod:
    """Grid Bayes on the corrected map with corrected azimuths."""
    problem = case.problem
    return with_corrected_azimuths(
        case, lambda r: GridEstimate(problem.radio.grid, case.adaptation.correction.bayes.posterior(r, problem))
    )


def _point_method(method: Callable[..., Tensor], problem: LocalizationProblem, **tuned: int) -> EstimationMethod:
    return lambda reports: PointEstimate(method(reports, problem, **tuned))


def _bayes_method(bayes: RobustGridBayes, problem: LocalizationProblem) -> EstimationMethod:
    return lambda reports: GridEstimate(problem.radio.grid, bayes.posterior(reports, problem))


def _limit_posterior(case: EvaluationCase, reports: Reports) -> Float[Tensor, "n row column"]:
    """The exact grid posterior; `reports` are those with true azimuths."""
    maps = case.true_maps
    return grid_posterior(reports, maps.radio, maps.prior, case.true_model, maps.power_dbm, case.map_error)


def locate_method(locator: Locator, case: EvaluationCase) -> Callable[[Reports], FixEstimate]:
    # Every method is given the rules of reporting.
    return lambda reports: FixEstimate(case.adaptation.locate(locator, reports))


def with_corrected_azimuths(case: EvaluationCase, method: Callable[[Reports], T]) -> Callable[[Reports], T]:
    """A method for reports whose azimuths are corrected first."""
    return lambda reports: method(case.adaptation.correct_angles(reports))


def input_ablation_methods(case: EvaluationCase, locator: Locator) -> dict[str, EstimationMethod]:
    """The locator without buildings and without radio maps, to measure their value."""
    maps, observation_model = case.adaptation.locator_input(locator, case.adaptation.correction.bayes)
    reduced_maps = {
        "locator-buildings": replace(maps, buildings=torch.zeros_like(maps.buildings)),
        "locator-radio": replace(maps, radio=maps.radio.without_measurements),
    }
    return {
        name: with_corrected_azimuths(
            case, lambda r, reduced=reduced: FixEstimate(locator(r, reduced, observation_model))
        )
        for name, reduced in reduced_maps.items()
    }


# ---- refined fixes -----------------------------------------------------------------------------------


def refinement_methods(case: EvaluationCase, locator: Locator, config: RefinementConfig) -> dict[str, EstimationMethod]:
    """The locator with its fixes refined on its map."""
    return {"locator_refined": with_corrected_azimuths(case, case.adaptation.refined_locator(locator, config))}


def retraced_map_methods(
    case: EvaluationCase, locator: Locator, config: RefinementConfig, map_factory: MapFactory
) -> dict[str, EstimationMethod]:
    """Grid Bayes and the locator on maps traced anew, with antenna heights fitted to labelled reports.

    They need a ray tracer and the buildings; the baselines of EVALUATION.md have neither.
    """
    retraced = replace(case, map_factory=map_factory)
    refined = with_corrected_azimuths(retraced, retraced.adaptation.refined_locator(locator, config))
    return {"grid_bayes_retraced": _corrected_map_bayes(retraced), "locator_retraced": refined}


def ray_rescoring_methods(
    case: EvaluationCase,
    locator: Locator,
    config: RefinementConfig,
    rescoring: RayRescoringConfig,
    simulator: Simulator,
) -> dict[str, EstimationMethod]:
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

    return {"locator_ray_rescored": with_corrected_azimuths(case, locate)}
