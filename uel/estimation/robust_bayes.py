"""Grid Bayes for maps that may be wrong, and controls without a map, fitted to the labelled reports of a site.

Each number is chosen among at most eight values on the same labelled reports: the tuning budget of every method. The
numbers of neighbours of kNN are chosen likewise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import from_db
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem, knn_map, knn_survey
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.scoring import position_error
from uel.measurement.model import DB_PER_NEPER, ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import MapSamples, RadioMap
from uel.radio.sites import cell_positions, reference_power_dbm

SCALE_FACTORS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)  # on the model's standard deviations
DROPS_DB = (0.0, 5.0, 10.0, 20.0, 30.0)  # below the path-loss model, where the map knows no path
DEFAULT_DROP_DB = DROPS_DB[2]
CELL_CORRELATIONS = (0.25, 0.5, 0.75)  # of fading between cells, beside the model's own
NEIGHBOUR_COUNTS = (1, 2, 4, 8, 16, 32)
DEFAULT_NEIGHBOUR_COUNT = NEIGHBOUR_COUNTS[3]
MAX_LABELLED_REPORTS = 256  # more of them change no fitted number by a step
REPORTS_PER_CHUNK = 64  # bounds the memory: each report is compared with the positions of all in its chunk
LEVEL_FEATURE, RANGE_FEATURE, AZIMUTH_FEATURE = range(3)
T = TypeVar("T")


@dataclass(frozen=True)
class PathLossModel:
    """Log-distance path loss: gain = `gain_at_1m_db` - 10·`exponent`·log10(distance), with deviations of `std_db`."""

    gain_at_1m_db: float
    exponent: float
    std_db: float

    def gain_db(self, radio: RadioMap) -> Float[Tensor, "cell row column"]:
        """Path gain at every pixel of a map's grid."""
        centres = torch.cat([radio.grid.centres(), radio.elevation.unsqueeze(-1)], -1)
        distance = (centres - radio.cell_position[:, None, None]).norm(dim=-1)
        return self.gain_at_1m_db - 10 * self.exponent * distance.clamp(min=1.0).log10()


@dataclass(frozen=True, eq=False)
class RobustGridBayes:
    """Grid Bayes with fitted standard deviations, each pixel's own map error, and a path to every cell everywhere."""

    radio: RadioMap
    model: ObservationModel
    doubt: float = 0.0
    """see `uel.estimation.grid_posterior.log_posterior`"""

    def posterior(self, reports: Reports, problem: LocalizationProblem) -> Float[Tensor, "batch row column"]:
        """Probability of every pixel, as `grid_posterior`."""
        return grid_posterior(reports, self.radio, problem.prior, self.model, problem.power_dbm, True, self.doubt)


def fit_robust(problem: LocalizationProblem, radio: RadioMap | None = None) -> RobustGridBayes:
    """Fit to a problem's labelled reports by maximum likelihood, on its own map or another of the same cells.

    Raises `UelError` without labelled reports.
    """
    if not len(problem.fingerprints):
        do = "give some reports whose positions are known (fingerprints)"
        raise UelError("robust grid Bayes needs labelled reports", got="none", do=do)
    radio = problem.radio if radio is None else radio
    labelled = problem.labelled(slice(MAX_LABELLED_REPORTS))
    path_loss = fit_path_loss(labelled.fingerprints, labelled.fingerprint_position, radio, problem.model)
    bayes = RobustGridBayes(fill_unknown_pixels(radio, path_loss, DEFAULT_DROP_DB, problem.model), problem.model)

    def level_score(candidate: RobustGridBayes) -> float:
        return labelled_log_likelihood(candidate, labelled, LEVEL_FEATURE)

    bayes = best_candidate([replace(bayes, model=_scale_levels(problem.model, k)) for k in SCALE_FACTORS], level_score)
    bayes = best_candidate([replace(bayes, model=model) for model in with_cell_correlations(bayes.model)], level_score)
    if not bool(radio.known.all()):
        filled = [replace(bayes, radio=fill_unknown_pixels(radio, path_loss, d, problem.model)) for d in DROPS_DB]
        bayes = best_candidate(filled, level_score)
    return fit_noise_scales(bayes, problem)


def fit_noise_scales(bayes: RobustGridBayes, problem: LocalizationProblem) -> RobustGridBayes:
    """Choose the standard deviations of ranges and azimuths under which labelled reports are likeliest."""
    labelled = problem.labelled(slice(MAX_LABELLED_REPORTS))
    for scale, feature in ((_scale_ranges, RANGE_FEATURE), (_scale_azimuths, AZIMUTH_FEATURE)):
        candidates = [replace(bayes, model=scale(bayes.model, k)) for k in SCALE_FACTORS]
        bayes = best_candidate(candidates, lambda b, feature=feature: labelled_log_likelihood(b, labelled, feature))
    return bayes


def no_map_control(problem: LocalizationProblem) -> RobustGridBayes:
    """Control that knows the sites and a path-loss model fitted to the labelled reports, but no map."""
    labelled = problem.labelled(slice(MAX_LABELLED_REPORTS))
    path_loss = fit_path_loss(labelled.fingerprints, labelled.fingerprint_position, problem.radio, problem.model)
    radio = fill_unknown_pixels(problem.radio.without_measurements, path_loss, 0.0, problem.model)
    return fit_robust(problem, radio)


def shuffled_map_control(radio: RadioMap) -> RadioMap:
    """Control in which every cell has another cell's map: the next site's, with that site's position."""
    sectors = len(radio.gain) // len(radio.sites)
    names = ("gain", "relative_error", "known", "los")
    shuffled = {name: getattr(radio, name).roll(sectors, 0) for name in names}
    return replace(radio, sites=(*radio.sites[-1:], *radio.sites[:-1]), channels=None, **shuffled)


def fit_path_loss(
    reports: Reports, position: Float[Tensor, "n 2"], radio: RadioMap, model: ObservationModel
) -> PathLossModel:
    """Path-loss model of maximum likelihood; silent cells are below the sensitivity (Tobin, Econometrica 1958)."""
    row, column = radio.grid.pixel_of(position)
    point = torch.cat([position, radio.elevation[row, column].unsqueeze(-1)], -1)
    distance_db = (point.unsqueeze(1) - cell_positions(radio.sites)).norm(dim=-1).clamp(min=1.0).log10() * 10
    gain = (reports.rsrp_dbm - reference_power_dbm(radio.sites)).double()
    limit = model.sensitivity_dbm - model.rsrp_step_db / 2 - reference_power_dbm(radio.sites).double()
    theta = torch.tensor([-40.0, 3.0, math.log(10.0)], dtype=torch.double, requires_grad=True, device="cpu")
    optimizer = torch.optim.LBFGS([theta], max_iter=100, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        mean, std = theta[0] - theta[1] * distance_db, theta[2].exp()
        heard = -((gain - mean) / std).square() / 2 - theta[2]
        log_p = torch.where(reports.heard, heard, torch.special.log_ndtr((limit - mean) / std))
        loss = -log_p.mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(cost)  # type: ignore[arg-type]
    gain_at_1m_db, exponent, log_std = theta.tolist()
    return PathLossModel(gain_at_1m_db, exponent, math.exp(log_std))


def fill_unknown_pixels(radio: RadioMap, path_loss: PathLossModel, drop_db: float, model: ObservationModel) -> RadioMap:
    """A map without holes: unknown pixels have the path-loss model's gain less `drop_db`, and its deviation.

    A ray that a coarse map missed must not exclude a position whose phone heard the cell.
    """
    excess = math.sqrt(max(path_loss.std_db**2 - model.shadowing_db**2, 0.0)) / DB_PER_NEPER
    return replace(
        radio,
        gain=torch.where(radio.known, radio.gain, from_db(path_loss.gain_db(radio) - drop_db)),
        relative_error=torch.where(radio.known, radio.relative_error, excess),
        known=torch.ones_like(radio.known),
    )


def tune_neighbours(problem: LocalizationProblem) -> dict[str, int]:
    """The number of neighbours with the least mean error for either kNN, by method name.

    The first half of the labelled reports serves as fingerprints for the second half.
    """
    half = len(problem.fingerprints) // 2
    reports = problem.fingerprints[half:][:MAX_LABELLED_REPORTS]
    position = problem.fingerprint_position[half:][:MAX_LABELLED_REPORTS]
    learning = problem.labelled(slice(half))
    if not half or not len(reports):
        return {"knn_map": DEFAULT_NEIGHBOUR_COUNT, "knn_survey": DEFAULT_NEIGHBOUR_COUNT}

    def score(method: Callable[..., Tensor], neighbours: int) -> float:
        return -float(position_error(method(reports, learning, neighbours), position).mean())

    return {
        method.__name__: best_candidate(NEIGHBOUR_COUNTS, lambda k, method=method: score(method, k))
        for method in (knn_map, knn_survey)
    }


# ---- selection -----------------------------------------------------------------------------------------


def best_candidate(candidates: Sequence[T], score: Callable[[T], float]) -> T:
    """The first of the candidates with the greatest score."""
    return max(candidates, key=score)


def labelled_log_likelihood(bayes: RobustGridBayes, problem: LocalizationProblem, *features: int) -> float:
    """Mean log-likelihood in nats of a problem's labelled reports, summed over some features."""
    samples = bayes.radio.samples_at(problem.fingerprint_position)
    reports, power_dbm = problem.fingerprints, problem.power_dbm
    return sum(mean_log_likelihood(bayes.model, reports, samples, power_dbm, feature) for feature in features)


def mean_log_likelihood(
    model: ObservationModel, reports: Reports, samples: MapSamples, power_dbm: Float[Tensor, " cell"], feature: int
) -> float:
    """Mean log-likelihood in nats of one feature, each report at its own map sample.

    `feature`: `LEVEL_FEATURE`, `RANGE_FEATURE` or `AZIMUTH_FEATURE`.
    """
    total = 0.0
    for start in range(0, len(reports), REPORTS_PER_CHUNK):
        part = slice(start, start + REPORTS_PER_CHUNK)
        log_p = _log_likelihood(model, reports[part], samples[part], power_dbm, feature)
        total += float(log_p[..., 0].diagonal().sum())
    return total / len(reports)


def _log_likelihood(
    model: ObservationModel, reports: Reports, samples: MapSamples, power_dbm: Tensor, feature: int
) -> Float[Tensor, "batch sample 1"]:
    if feature == LEVEL_FEATURE:
        return model.level_log_likelihood(reports, samples, power_dbm, map_error=True)
    if feature == RANGE_FEATURE:
        return model.range_log_likelihood(reports, samples)
    return model.azimuth_log_likelihood(reports, samples)


def with_cell_correlations(model: ObservationModel) -> list[ObservationModel]:
    """The model itself, and one for each of `CELL_CORRELATIONS`; with a correlation there are no outliers."""
    return [model, *(replace(model, cell_correlation=c, level_outliers=0.0) for c in CELL_CORRELATIONS)]


def _scale_levels(model: ObservationModel, factor: float) -> ObservationModel:
    return replace(model, shadowing_db=model.shadowing_db * factor)


def _scale_ranges(model: ObservationModel, factor: float) -> ObservationModel:
    names = ("range_noise", "toa_noise", "nlos_excess")
    return replace(model, **{name: getattr(model, name) * factor for name in names})


def _scale_azimuths(model: ObservationModel, factor: float) -> ObservationModel:
    names = ("azimuth_noise_deg", "azimuth_noise_nlos_deg")
    return replace(model, **{name: getattr(model, name) * factor for name in names})
