"""Correction of a radio map by labelled reports: its errors are kriged from measured levels, its sight is doubted.

The map is the drift and its errors are kriged, cell by cell (kriging with external drift: Wackernagel, Multivariate
Geostatistics, 2003, chapter 37); silent cells count as levels below the sensitivity. The standard deviation and the
correlation length of the errors, the fading and its correlation between cells, the fraction of levels that neither
explains (outliers) and the probability that the map's line of sight is wrong are each one of eight values at most:
those under which labelled reports that were not kriged are likeliest. The doubt about the map as a whole is the value
under which the positions of those reports are likeliest.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.kriging import ErrorCovariance, MapErrorKriging
from uel.core.units import from_db
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.grid_posterior import PRIOR_FLOOR, log_posterior
from uel.estimation.robust_bayes import (
    AZIMUTH_FEATURE,
    LEVEL_FEATURE,
    MAX_LABELLED_REPORTS,
    RANGE_FEATURE,
    RobustGridBayes,
    best_candidate,
    fit_noise_scales,
    fit_robust,
    labelled_log_likelihood,
    mean_log_likelihood,
    with_cell_correlations,
)
from uel.measurement.model import DB_PER_NEPER, ObservationModel
from uel.radio.radio_map import MapSamples, RadioMap

ERROR_STDS_DB = (2.0, 4.0, 6.0, 8.0, 11.0, 15.0)
ERROR_LENGTHS = (10.0, 20.0, 40.0, 80.0)  # m after which the correlation of errors has fallen to 1/e
FADING_FACTORS = (0.85, 1.0, 1.2, 1.5, 2.0, 2.8)  # on the model's fading, which holds errors without correlation, too
OUTLIER_FRACTIONS = (0.0, 0.03, 0.1, 0.2)  # of levels
SIGHT_ERROR_PROBABILITIES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
ERROR_BAR_FRACTIONS = (0.0, 0.5, 0.8, 0.95)  # of error bars that are correlated
GIVEN_MAP_ERRORS = tuple(
    ErrorCovariance(std_db=std, length=length) for std, length in itertools.product(ERROR_STDS_DB, ERROR_LENGTHS)
)
RESTORED_MAP_ERRORS = tuple(
    ErrorCovariance(std_db=std, length=length, bar_fraction=fraction)
    for std, length, fraction in itertools.product((0.0, 5.0), (*ERROR_LENGTHS[1:], 160.0), ERROR_BAR_FRACTIONS)
)
TYPICAL_FADING = (1.2, 0.1)  # fading factor and outlier fraction under which covariances are compared first
COVARIANCES_KEPT = 3  # the likeliest, for which all fadings are tried
DOUBT_PROBABILITIES = (0.0, 0.15, 0.3, 0.5, 0.7)  # see `uel.estimation.grid_posterior.log_posterior`
MIN_LOG_ODDS = math.log(9)  # nats by which all labelled reports must be likelier: nine to one, or it may be chance
MIN_REPORTS_PER_HALF = 32  # labelled reports; with fewer, errors are not kriged
PIXELS_PER_CHUNK = 4096  # kriged at once
REPORTS_PER_BATCH = 64  # labelled reports whose likelihood maps are held at once
RANGE_AND_AZIMUTH = (RANGE_FEATURE, AZIMUTH_FEATURE)
FITTED_FIELDS = ("shadowing_db", "cell_correlation")  # fitted to levels where the map is left uncorrected
Raster = TypeVar("Raster", RadioMap, MapSamples)


@dataclass(frozen=True, eq=False)
class MapCorrection:
    """A map and a model corrected by labelled reports, and the errors that the reports show."""

    uncorrected: RobustGridBayes
    """map and model before kriging"""
    problem: LocalizationProblem
    """with all labelled reports"""
    covariance: ErrorCovariance | None
    """of the map's errors; None where levels are left uncorrected"""
    log_likelihood_gain: float
    """nats per report by which kriging made the reports of the held-out half likelier"""
    half_bayes: RobustGridBayes
    """map and model corrected by half of the labelled reports"""
    held_out: LocalizationProblem
    """with the other half: later choices must be scored on reports that were not kriged"""
    held_out_log_probability: float
    """nats: log-probability of the held-out reports' positions under `half_bayes`"""

    @cached_property
    def bayes(self) -> RobustGridBayes:
        """The map and the model corrected by all labelled reports."""
        if self.covariance is None:
            return self.half_bayes
        return replace(self.half_bayes, radio=_krige_map(self.uncorrected, self.problem, self.covariance))


def correct_map(problem: LocalizationProblem, errors: Sequence[ErrorCovariance] = GIVEN_MAP_ERRORS) -> MapCorrection:
    """Correct a map by a problem's labelled reports: one half chooses how the other is kriged, then all are kriged.

    The corrected map has no holes (`fill_unknown_pixels`), and its error bars hold what remains unknown of its errors.
    With fewer than `2 * MIN_REPORTS_PER_HALF` labelled reports, or where kriging does not surely help, levels are left
    alone: map and model are returned as given unless labelled reports are surely likelier under others, and without
    error bars where the reports' positions are surely likelier so.
    `errors`: the covariances that are tried; `RESTORED_MAP_ERRORS` for maps whose error bars are more than ray noise.
    """
    robust = fit_robust(problem)
    doubting = _fit_sight_errors(RobustGridBayes(robust.radio, problem.model), problem)
    fitted_values = {name: getattr(robust.model, name) for name in FITTED_FIELDS}
    refitted = replace(doubting, model=replace(doubting.model, **fitted_values))
    half = len(problem.fingerprints) // 2
    learning, held_out = problem.labelled(slice(half)), problem.labelled(slice(half, None))
    min_gain = MIN_LOG_ODDS / len(held_out.fingerprints)

    def score(bayes: RobustGridBayes) -> float:
        return labelled_log_likelihood(bayes, held_out, LEVEL_FEATURE, *RANGE_AND_AZIMUTH)

    given = RobustGridBayes(problem.radio, problem.model)
    plain = refitted if score(refitted) - score(given) > min_gain else given
    if half >= MIN_REPORTS_PER_HALF:
        covariance, model, level_score = _choose_covariance(doubting, learning, held_out, errors)
        gain = level_score + labelled_log_likelihood(doubting, held_out, *RANGE_AND_AZIMUTH) - score(plain)
        if gain > min_gain:
            kriged = RobustGridBayes(_krige_map(doubting, learning, covariance), model)
            bayes, log_probability = _fit_doubt(kriged, held_out)
            return MapCorrection(doubting, problem, covariance, gain, bayes, held_out, log_probability)
    bayes, log_probability = _fit_doubt(plain, held_out)
    exact, exact_log_probability = _fit_doubt(replace(plain, radio=_without_error_bars(plain.radio)), held_out)
    if exact_log_probability - log_probability > MIN_LOG_ODDS:
        bayes, log_probability = exact, exact_log_probability
    return MapCorrection(plain, problem, None, 0.0, bayes, held_out, log_probability)


Candidate = tuple[ErrorCovariance, ObservationModel, float]


def _choose_covariance(
    bayes: RobustGridBayes,
    learning: LocalizationProblem,
    held_out: LocalizationProblem,
    errors: Sequence[ErrorCovariance],
) -> Candidate:
    """The covariance and the model under which held-out levels are likeliest, and their mean log-likelihood.

    All fadings are tried for the likeliest covariances, and correlations between cells for the likeliest of both.
    """
    samples, position = bayes.radio.samples_at(held_out.fingerprint_position), held_out.fingerprint_position
    relative_error = samples.relative_error[..., 0]
    corrected = {
        covariance: _apply_correction(
            samples, *_predict_errors(_fit_kriging(bayes, learning, covariance), position, relative_error)
        )
        for covariance in errors
    }
    # With correlated levels there are no outliers.
    outlier_fractions = OUTLIER_FRACTIONS[:1] if bayes.model.cell_correlation else OUTLIER_FRACTIONS
    typical = (TYPICAL_FADING[0], min(TYPICAL_FADING[1], outlier_fractions[-1]))

    def candidate(covariance: ErrorCovariance, model: ObservationModel) -> Candidate:
        samples = corrected[covariance]
        score = mean_log_likelihood(model, held_out.fingerprints, samples, held_out.power_dbm, LEVEL_FEATURE)
        return covariance, model, score

    def with_fading(factor: float, outliers: float) -> ObservationModel:
        return replace(bayes.model, shadowing_db=bayes.model.shadowing_db * factor, level_outliers=outliers)

    def score(candidate: Candidate) -> float:
        return candidate[2]

    by_score = sorted((candidate(covariance, with_fading(*typical)) for covariance in errors), key=score)
    kept = by_score[-COVARIANCES_KEPT:]
    models = [with_fading(*fading) for fading in itertools.product(FADING_FACTORS, outlier_fractions)]
    covariance, model, _ = best_candidate(
        [candidate(covariance, model) for covariance, *_ in reversed(kept) for model in models], score
    )
    return best_candidate([candidate(covariance, correlated) for correlated in with_cell_correlations(model)], score)


def _fit_sight_errors(bayes: RobustGridBayes, problem: LocalizationProblem) -> RobustGridBayes:
    """Choose the probabilities that the map's line of sight is wrong, then the noise of ranges and azimuths."""
    labelled = problem.labelled(slice(MAX_LABELLED_REPORTS))
    for name in ("false_sight", "missed_sight"):
        candidates = [
            replace(bayes, model=replace(bayes.model, **{name: probability}))
            for probability in SIGHT_ERROR_PROBABILITIES
        ]
        bayes = best_candidate(candidates, lambda b: labelled_log_likelihood(b, labelled, *RANGE_AND_AZIMUTH))
    return fit_noise_scales(bayes, problem)


def _without_error_bars(radio: RadioMap) -> RadioMap:
    """The map taken as exact: where reports obey this very map, its ray noise is part of the truth."""
    return replace(radio, relative_error=torch.zeros_like(radio.relative_error))


def _fit_doubt(bayes: RobustGridBayes, held_out: LocalizationProblem) -> tuple[RobustGridBayes, float]:
    """Choose the doubt under which labelled positions are surely likelier than without; and their log-probability."""
    row, column = bayes.radio.grid.pixel_of(held_out.fingerprint_position)
    log_prior = held_out.prior.clamp(min=PRIOR_FLOOR).log()
    total = torch.zeros(len(DOUBT_PROBABILITIES), device="cpu")
    for part in torch.arange(len(row), device="cpu").split(REPORTS_PER_BATCH):
        reports = held_out.fingerprints[part]
        log_likelihood = bayes.model.log_likelihood(reports, bayes.radio, held_out.power_dbm, map_error=True)
        pixel = torch.arange(len(part), device="cpu"), row[part], column[part]
        total += torch.stack(
            [log_posterior(log_likelihood, log_prior, doubt)[pixel].sum() for doubt in DOUBT_PROBABILITIES]
        )
    chosen = int(total.argmax()) if total.max() - total[0] > MIN_LOG_ODDS else 0
    return replace(bayes, doubt=DOUBT_PROBABILITIES[chosen]), float(total[chosen])


# ---- kriging -------------------------------------------------------------------------------------------


def _fit_kriging(
    bayes: RobustGridBayes, learning: LocalizationProblem, covariance: ErrorCovariance
) -> list[MapErrorKriging]:
    """Kriging of the map's errors from labelled reports, one for each cell."""
    reports, position, model = learning.fingerprints, learning.fingerprint_position, bayes.model
    samples = bayes.radio.samples_at(position)
    limit = model.censoring_level(reports)
    level = torch.where(reports.heard, reports.rsrp_dbm, limit)
    error = level - samples.level_db[..., 0].T - learning.power_dbm
    bar, fading = DB_PER_NEPER * samples.relative_error[..., 0], model.shadowing_db
    return [
        MapErrorKriging.fit(position, error[:, c], bar[c], fading, reports.heard[:, c], covariance)
        for c in range(error.shape[1])
    ]


def _predict_errors(
    kriging: Sequence[MapErrorKriging], position: Float[Tensor, "n 2"], relative_error: Float[Tensor, "cell n"]
) -> tuple[Float[Tensor, "cell n"], Float[Tensor, "cell n"]]:
    """Means and standard deviations in dB of the map's errors at positions."""
    bars = (DB_PER_NEPER * relative_error).split(PIXELS_PER_CHUNK, 1)
    parts = [
        [of_cell.predict(chunk, bar[cell]) for chunk, bar in zip(position.split(PIXELS_PER_CHUNK), bars, strict=True)]
        for cell, of_cell in enumerate(kriging)
    ]
    mean, std = (torch.stack([torch.cat([part[k] for part in cell]) for cell in parts]).float() for k in (0, 1))
    return mean, std


def _apply_correction(raster: Raster, mean: Float[Tensor, "cell n"], std: Float[Tensor, "cell n"]) -> Raster:
    """A map, or samples of it, with corrected levels; its error bars are the standard deviation that remains."""
    gain, error = raster.gain * from_db(mean.view_as(raster.gain)), std.view_as(raster.gain) / DB_PER_NEPER
    return replace(raster, gain=gain, relative_error=error)


def _krige_map(bayes: RobustGridBayes, problem: LocalizationProblem, covariance: ErrorCovariance) -> RadioMap:
    """The map corrected where phones can be, and unchanged elsewhere."""
    outdoors = problem.prior.flatten() > 0
    error = bayes.radio.relative_error.flatten(1)
    mean, std = torch.zeros_like(error), DB_PER_NEPER * error
    kriging = _fit_kriging(bayes, problem, covariance)
    mean[:, outdoors], std[:, outdoors] = _predict_errors(kriging, problem.points[outdoors], error[:, outdoors])
    return _apply_correction(bayes.radio, mean, std)
