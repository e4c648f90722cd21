"""Grid Bayes for maps that may be wrong, and controls without a map: everything fitted on labelled reports of a place.

Each number is chosen among at most eight values on the same labelled reports, which is the tuning budget of every
method; those that kNN searches are the same ones.
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
from uel.estimation.metrics import position_error
from uel.measurement.model import DB_PER_NEPER, ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import MapSamples, RadioMap
from uel.radio.sites import cell_positions, reference_power_dbm

SCALE_FACTORS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)  # factors on what the model takes a spread to be
DROPS_DB = (0.0, 5.0, 10.0, 20.0, 30.0)  # dB below the law of distance, where the map knows no path
CELL_CORRELATIONS = (0.25, 0.5, 0.75)  # of fading between cells, beside the model's own
NEIGHBOUR_COUNTS = (1, 2, 4, 8, 16, 32)
MAX_LABELLED_REPORTS = 256  # of the place's fingerprints: more of them move no fitted number by a step
REPORTS_PER_CHUNK = 64  # reports compared with the pixels of all of them
LEVEL_FEATURE, RANGE_FEATURE, AZIMUTH_FEATURE = range(3)  # kinds of evidence
T = TypeVar("T")


@dataclass(frozen=True)
class PathLossModel:
    """Level = `at_one` - 10·`exponent`·log10(distance), a link's deviation from it being `spread` dB."""

    at_one: float
    """path gain in dB at 1 m"""
    exponent: float
    spread: float

    def gain_db(self, radio: RadioMap) -> Float[Tensor, "cell row column"]:
        """Path gain at every pixel of a map's grid."""
        centres = torch.cat([radio.grid.centres(), radio.elevation.unsqueeze(-1)], -1)
        distance = (centres - radio.cell_position[:, None, None]).norm(dim=-1)
        return self.at_one - 10 * self.exponent * distance.clamp(min=1.0).log10()


@dataclass(frozen=True, eq=False)
class RobustGridBayes:
    """Grid Bayes with fitted spreads, each pixel's own map error, and no pixel that excludes a cell for good."""

    radio: RadioMap
    model: ObservationModel
    doubt: float = 0.0
    """see `uel.estimation.grid_posterior.log_posterior`"""

    def posterior(self, reports: Reports, place: LocalizationProblem) -> Float[Tensor, "batch row column"]:
        """Probability of every pixel, as `grid_posterior`."""
        return grid_posterior(reports, self.radio, place.prior, self.model, place.power_dbm, True, self.doubt)


def fit_robust(place: LocalizationProblem, radio: RadioMap | None = None) -> RobustGridBayes:
    """Fit to a place's labelled reports, on its own map or another of the same cells, by greatest likelihood.

    Raises `UelError` where there are none.
    """
    if not len(place.fingerprints):
        do = "give some reports whose positions are known (fingerprints)"
        raise UelError("robust Bayes is fitted to labelled reports", got="none", do=do)
    radio = place.radio if radio is None else radio
    told = place.labelled(slice(MAX_LABELLED_REPORTS))
    law = fit_path_loss(told.fingerprints, told.fingerprint_position, radio, place.model)
    fitted = RobustGridBayes(fill_unknown_pixels(radio, law, DROPS_DB[2], place.model), place.model)
    fitted = best_candidate(
        [replace(fitted, model=_levels(place.model, k)) for k in SCALE_FACTORS],
        lambda b: labelled_log_likelihood(b, told, LEVEL_FEATURE),
    )
    fitted = best_candidate(
        [replace(fitted, model=model) for model in with_cell_correlations(fitted.model)],
        lambda b: labelled_log_likelihood(b, told, LEVEL_FEATURE),
    )
    if not bool(radio.known.all()):
        drops = [replace(fitted, radio=fill_unknown_pixels(radio, law, drop, place.model)) for drop in DROPS_DB]
        fitted = best_candidate(drops, lambda b: labelled_log_likelihood(b, told, LEVEL_FEATURE))
    return fit_noise_scales(fitted, place)


def fit_noise_scales(bayes: RobustGridBayes, place: LocalizationProblem) -> RobustGridBayes:
    """With the spreads of ranges and of angles that labelled reports are likeliest under."""
    told = place.labelled(slice(MAX_LABELLED_REPORTS))
    bayes = best_candidate(
        [replace(bayes, model=_ranges(bayes.model, k)) for k in SCALE_FACTORS],
        lambda b: labelled_log_likelihood(b, told, RANGE_FEATURE),
    )
    return best_candidate(
        [replace(bayes, model=_azimuths(bayes.model, k)) for k in SCALE_FACTORS],
        lambda b: labelled_log_likelihood(b, told, AZIMUTH_FEATURE),
    )


def no_map_control(place: LocalizationProblem) -> RobustGridBayes:
    """The control that knows where the masts are, and a law of distance fitted to the labelled reports."""
    told = place.labelled(slice(MAX_LABELLED_REPORTS))
    law = fit_path_loss(told.fingerprints, told.fingerprint_position, place.radio, place.model)
    return fit_robust(place, fill_unknown_pixels(place.radio.forgotten, law, 0.0, place.model))


def shuffled_map_control(radio: RadioMap) -> RadioMap:
    """The control of which every cell has another one's map: the next site's, its position too."""
    sectors = len(radio.gain) // len(radio.sites)
    turn = lambda values: values.roll(sectors, 0)  # noqa: E731
    return replace(
        radio,
        sites=(*radio.sites[-1:], *radio.sites[:-1]),
        gain=turn(radio.gain),
        relative_error=turn(radio.relative_error),
        known=turn(radio.known),
        los=turn(radio.los),
        channels=None,
    )


def fit_path_loss(
    reports: Reports, position: Float[Tensor, "n 2"], radio: RadioMap, model: ObservationModel
) -> PathLossModel:
    """The law of distance of greatest likelihood; silent cells are below the sensitivity (Tobin, Econometrica 1958)."""
    row, column = radio.grid.pixel_of(position)
    point = torch.cat([position, radio.elevation[row, column].unsqueeze(-1)], -1)
    far = (point.unsqueeze(1) - cell_positions(radio.sites)).norm(dim=-1).clamp(min=1.0).log10() * 10
    level = (reports.rsrp_dbm - reference_power_dbm(radio.sites)).double()
    silent = model.sensitivity_dbm - model.rsrp_step_db / 2 - reference_power_dbm(radio.sites).double()
    theta = torch.tensor([-40.0, 3.0, math.log(10.0)], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=100, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        mean, spread = theta[0] - theta[1] * far, theta[2].exp()
        heard = -((level - mean) / spread).square() / 2 - theta[2]
        log_p = torch.where(reports.heard, heard, torch.special.log_ndtr((silent - mean) / spread))
        loss = -log_p.mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(cost)  # type: ignore[arg-type]
    at_one, exponent, spread = theta.tolist()
    return PathLossModel(at_one, exponent, math.exp(spread))


def fill_unknown_pixels(radio: RadioMap, law: PathLossModel, drop_db: float, model: ObservationModel) -> RadioMap:
    """A map without holes: where no path is known the law less `drop_db`, with the error bar of its own spread.

    A ray that a coarse map missed must not exclude a place whose phone heard the cell.
    """
    excess = math.sqrt(max(law.spread**2 - model.shadowing_db**2, 0.0)) / DB_PER_NEPER
    return replace(
        radio,
        gain=torch.where(radio.known, radio.gain, from_db(law.gain_db(radio) - drop_db)),
        relative_error=torch.where(radio.known, radio.relative_error, excess),
        known=torch.ones_like(radio.known),
    )


def tune_neighbours(place: LocalizationProblem) -> dict[str, int]:
    """How many neighbours either kNN does best with; the survey's with half of the labelled reports as its survey."""
    half = len(place.fingerprints) // 2
    asked, at = (
        place.fingerprints[half:][:MAX_LABELLED_REPORTS],
        place.fingerprint_position[half:][:MAX_LABELLED_REPORTS],
    )
    known = place.labelled(slice(half))
    if not half or not len(asked):
        return {"knn_map": NEIGHBOUR_COUNTS[3], "knn_survey": NEIGHBOUR_COUNTS[3]}
    error = lambda method, k: -float(position_error(method(asked, known, k), at).mean())  # noqa: E731
    return {
        method.__name__: best_candidate(NEIGHBOUR_COUNTS, lambda k, method=method: error(method, k))
        for method in (knn_map, knn_survey)
    }


# ---- choosing ------------------------------------------------------------------------------------------


def best_candidate(candidates: Sequence[T], score: Callable[[T], float]) -> T:
    """The first of those with the greatest score."""
    return max(candidates, key=score)


def labelled_log_likelihood(bayes: RobustGridBayes, told: LocalizationProblem, *kinds: int) -> float:
    """Mean log-likelihood in nats of a place's labelled reports, by some kinds of evidence."""
    spots = bayes.radio.spots(told.fingerprint_position)
    scores = (mean_log_likelihood(bayes.model, told.fingerprints, spots, told.power_dbm, kind) for kind in kinds)
    return sum(scores)


def mean_log_likelihood(
    model: ObservationModel, reports: Reports, spots: MapSamples, power_dbm: Float[Tensor, " cell"], feature: int
) -> float:
    """Mean log-likelihood in nats of one kind of evidence (`LEVEL_FEATURE`, `RANGE_FEATURE`, `AZIMUTH_FEATURE`),
    each report at its spot."""
    total = 0.0
    for start in range(0, len(reports), REPORTS_PER_CHUNK):
        part = slice(start, start + REPORTS_PER_CHUNK)
        total += float(_evidence(model, reports[part], spots[part], power_dbm, feature)[..., 0].diagonal().sum())
    return total / len(reports)


def _evidence(
    model: ObservationModel, reports: Reports, spots: MapSamples, power_dbm: Tensor, feature: int
) -> Float[Tensor, "batch spot 1"]:
    if feature == LEVEL_FEATURE:
        return model.level_log_likelihood(reports, spots, power_dbm, map_error=True)
    return (
        model.range_log_likelihood(reports, spots)
        if feature == RANGE_FEATURE
        else model.azimuth_log_likelihood(reports, spots)
    )


def with_cell_correlations(model: ObservationModel) -> list[ObservationModel]:
    """The model, and what it is if levels of different cells fade together; then it knows no outliers."""
    return [model, *(replace(model, cell_correlation=share, level_outliers=0.0) for share in CELL_CORRELATIONS)]


def _levels(model: ObservationModel, factor: float) -> ObservationModel:
    return replace(model, shadowing_db=model.shadowing_db * factor)


def _ranges(model: ObservationModel, factor: float) -> ObservationModel:
    names = ("range_noise", "toa_noise", "nlos_excess")
    return replace(model, **{name: getattr(model, name) * factor for name in names})


def _azimuths(model: ObservationModel, factor: float) -> ObservationModel:
    names = ("azimuth_noise_deg", "azimuth_noise_nlos_deg")
    return replace(model, **{name: getattr(model, name) * factor for name in names})
