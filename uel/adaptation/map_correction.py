"""A map put right by labelled reports: what levels say of its errors is carried on to nearby pixels, its sight doubted.

The map is the drift and its errors are kriged, cell by cell (kriging with external drift: Wackernagel, Multivariate
Geostatistics, 2003, chapter 37); silent cells count as levels below the sensitivity. How large errors are, how far
they reach, how strong the fading is and how alike between cells, how many levels neither explains (outliers) and how
often the map's sight is wrong are each one of eight values at most: those under which labelled reports that were not
kriged are likeliest. How far the map is to be doubted as a whole is the value under which their places are.
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
from uel.estimation.grid_posterior import log_posterior
from uel.estimation.grid_posterior import PRIOR_FLOOR
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

ERROR_STDS_DB = (2.0, 4.0, 6.0, 8.0, 11.0, 15.0)  # dB of a map's errors
ERROR_LENGTHS = (10.0, 20.0, 40.0, 80.0)  # m after which errors are alike by 1/e
FADING_FACTORS = (0.85, 1.0, 1.2, 1.5, 2.0, 2.8)  # factors on the model's, beside errors that reach nowhere
OUTLIER_FRACTIONS = (0.0, 0.03, 0.1, 0.2)  # shares of levels that neither explains
SIGHT_ERROR_PROBABILITIES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)  # chances that the map's sight is wrong
ERROR_BAR_FRACTIONS = (0.0, 0.5, 0.8, 0.95)  # of error bars that hold more than noise
GIVEN_MAP_ERRORS = tuple(
    ErrorCovariance(spread=spread, length=length) for spread, length in itertools.product(ERROR_STDS_DB, ERROR_LENGTHS)
)
RESTORED_MAP_ERRORS = tuple(
    ErrorCovariance(spread=spread, length=length, share=share)
    for spread, length, share in itertools.product((0.0, 5.0), (*ERROR_LENGTHS[1:], 160.0), ERROR_BAR_FRACTIONS)
)
TYPICAL_FADING = (1.2, 0.1)  # fading and outliers under which errors are compared first
COVARIANCES_KEPT = 3  # of those, for which all are tried
DOUBT_PROBABILITIES = (0.0, 0.15, 0.3, 0.5, 0.7)  # see `uel.estimation.grid_posterior.log_posterior`
MIN_LOG_ODDS = math.log(9)  # nats by which all labelled reports must be likelier: nine to one, or it may be chance
MIN_REPORTS_PER_HALF = 32  # labelled reports in a half: of fewer errors are not kriged
PIXELS_PER_CHUNK = 4096  # pixels kriged at once
REPORTS_PER_BATCH = 64  # labelled reports whose likelihood maps are held at once
RANGE_AND_AZIMUTH = (RANGE_FEATURE, AZIMUTH_FEATURE)
FITTED_FIELDS = ("shadowing_db", "cell_correlation")  # to levels, of a map that is left alone
Raster = TypeVar("Raster", RadioMap, MapSamples)


@dataclass(frozen=True, eq=False)
class MapCorrection:
    """The map and the model that labelled reports leave, and what they found the map's errors to be."""

    given: RobustGridBayes
    """what errors are kriged of"""
    place: LocalizationProblem
    """with all labelled reports"""
    alike: ErrorCovariance | None
    """None where the map was best left alone"""
    gain: float
    """nats a report by which kriged errors made the reports of the other half likelier"""
    half: RobustGridBayes
    """the map and the model that half of the labelled reports leave"""
    judge: LocalizationProblem
    """the other half: what is still to be chosen has to be judged by reports that were not kriged"""
    likely: float
    """nats: how likely the places of the other half's reports are under `half`"""

    @cached_property
    def bayes(self) -> RobustGridBayes:
        """The map and the model that all of them leave."""
        if self.alike is None:
            return self.half
        return replace(self.half, radio=_corrected_map(self.given, self.place, self.alike))


def correct_map(place: LocalizationProblem, errors: Sequence[ErrorCovariance] = GIVEN_MAP_ERRORS) -> MapCorrection:
    """Learn from a place's labelled reports; half of them choose what the others are to be kriged by, then all are.

    A map without holes (as `fit_robust` patches it) with corrected levels, whose error bars hold what is not known of
    its errors. With fewer than `2 * LEAST` labelled reports, or where kriging does not surely help, levels are left
    alone; map and model come back as they were given unless labelled reports are surely likelier under others, and
    without error bars where their places are surely likelier so.
    `errors`: what is tried; `RESTORED_MAP_ERRORS` of maps whose error bars hold more than the noise of rays.
    """
    robust = fit_robust(place)
    doubting = _doubting(RobustGridBayes(robust.radio, place.model), place)
    alone = replace(
        doubting, model=replace(doubting.model, **{name: getattr(robust.model, name) for name in FITTED_FIELDS})
    )
    half = len(place.fingerprints) // 2
    learn, judge = place.labelled(slice(half)), place.labelled(slice(half, None))
    least = MIN_LOG_ODDS / len(judge.fingerprints)
    score = lambda bayes: labelled_log_likelihood(bayes, judge, LEVEL_FEATURE, *RANGE_AND_AZIMUTH)  # noqa: E731
    given = RobustGridBayes(place.radio, place.model)
    plain = alone if score(alone) - score(given) > least else given
    if half >= MIN_REPORTS_PER_HALF:
        alike, model, levels = _kriged(doubting, learn, judge, errors)
        gain = levels + labelled_log_likelihood(doubting, judge, *RANGE_AND_AZIMUTH) - score(plain)
        if gain > least:
            found, likely = _doubted(RobustGridBayes(_corrected_map(doubting, learn, alike), model), judge)
            return MapCorrection(doubting, place, alike, gain, found, judge, likely)
    found, likely = _doubted(plain, judge)
    exact, likelier = _doubted(replace(plain, radio=_exact(plain.radio)), judge)
    if likelier - likely > MIN_LOG_ODDS:
        found, likely = exact, likelier
    return MapCorrection(plain, place, None, 0.0, found, judge, likely)


def _kriged(
    bayes: RobustGridBayes, learn: LocalizationProblem, judge: LocalizationProblem, errors: Sequence[ErrorCovariance]
) -> tuple[ErrorCovariance, ObservationModel, float]:
    """How to krige, and how likely that makes the reports that judge.

    All fadings are tried for the likeliest errors, and for the likeliest of both whether cells fade together.
    """
    spots, position = bayes.radio.samples_at(judge.fingerprint_position), judge.fingerprint_position
    bars = spots.relative_error[..., 0]
    right = {alike: _corrected(spots, *_asked(_errors(bayes, learn, alike), position, bars)) for alike in errors}

    shares = OUTLIER_FRACTIONS[:1] if bayes.model.cell_correlation else OUTLIER_FRACTIONS  # correlated levels have none
    typical = (TYPICAL_FADING[0], min(TYPICAL_FADING[1], shares[-1]))

    def tried(alike: ErrorCovariance, model: ObservationModel) -> tuple[ErrorCovariance, ObservationModel, float]:
        score = mean_log_likelihood(model, judge.fingerprints, right[alike], judge.power_dbm, LEVEL_FEATURE)
        return alike, model, score

    def faded(factor: float, share: float) -> ObservationModel:
        return replace(bayes.model, shadowing_db=bayes.model.shadowing_db * factor, level_outliers=share)

    score = lambda found: found[2]  # noqa: E731
    first = sorted((tried(alike, faded(*typical)) for alike in errors), key=score)[-COVARIANCES_KEPT:]
    fadings = [faded(*both) for both in itertools.product(FADING_FACTORS, shares)]
    alike, model, _ = best_candidate([tried(alike, model) for alike, *_ in reversed(first) for model in fadings], score)
    return best_candidate([tried(alike, some) for some in with_cell_correlations(model)], score)


def _doubting(bayes: RobustGridBayes, place: LocalizationProblem) -> RobustGridBayes:
    """With the chances that the map's sight is wrong, and spreads of ranges and angles beside them."""
    told = place.labelled(slice(MAX_LABELLED_REPORTS))
    for name in ("false_sight", "missed_sight"):
        tried = [replace(bayes, model=replace(bayes.model, **{name: chance})) for chance in SIGHT_ERROR_PROBABILITIES]
        bayes = best_candidate(tried, lambda b: labelled_log_likelihood(b, told, *RANGE_AND_AZIMUTH))
    return fit_noise_scales(bayes, place)


def _exact(radio: RadioMap) -> RadioMap:
    """A map that is right to the last decibel: its rays' noise may be the world's own."""
    return replace(radio, relative_error=torch.zeros_like(radio.relative_error))


def _doubted(bayes: RobustGridBayes, judge: LocalizationProblem) -> tuple[RobustGridBayes, float]:
    """With the doubt under which the places of labelled reports are surely likelier than without any, and how likely
    they are in nats."""
    row, column = bayes.radio.grid.pixel_of(judge.fingerprint_position)
    log_prior = judge.prior.clamp(min=PRIOR_FLOOR).log()
    total = torch.zeros(len(DOUBT_PROBABILITIES))
    for part in torch.arange(len(row)).split(REPORTS_PER_BATCH):
        reports = judge.fingerprints[part]
        evidence = bayes.model.log_likelihood(reports, bayes.radio, judge.power_dbm, map_error=True)
        at = torch.arange(len(part)), row[part], column[part]
        total += torch.stack([log_posterior(evidence, log_prior, doubt)[at].sum() for doubt in DOUBT_PROBABILITIES])
    chosen = int(total.argmax()) if total.max() - total[0] > MIN_LOG_ODDS else 0
    return replace(bayes, doubt=DOUBT_PROBABILITIES[chosen]), float(total[chosen])


# ---- kriging -------------------------------------------------------------------------------------------


def _errors(bayes: RobustGridBayes, learn: LocalizationProblem, alike: ErrorCovariance) -> list[MapErrorKriging]:
    """What labelled reports say of the map's errors, by cell."""
    reports, position, model = learn.fingerprints, learn.fingerprint_position, bayes.model
    spots = bayes.radio.samples_at(position)
    limit = model.censoring_level(reports)
    level = torch.where(reports.heard, reports.rsrp_dbm, limit)
    off = level - spots.level_db[..., 0].T - learn.power_dbm
    bar, fading = DB_PER_NEPER * spots.relative_error[..., 0], model.shadowing_db
    return [
        MapErrorKriging.of(position, off[:, c], bar[c], fading, reports.heard[:, c], alike) for c in range(off.shape[1])
    ]


def _asked(
    errors: Sequence[MapErrorKriging], position: Float[Tensor, "n 2"], relative_error: Float[Tensor, "cell n"]
) -> tuple[Float[Tensor, "cell n"], Float[Tensor, "cell n"]]:
    """Means and standard deviations in dB of the map's errors at places."""
    bars = (DB_PER_NEPER * relative_error).split(PIXELS_PER_CHUNK, 1)
    parts = [
        [one.at(some, bar[cell]) for some, bar in zip(position.split(PIXELS_PER_CHUNK), bars, strict=True)]
        for cell, one in enumerate(errors)
    ]
    mean, spread = (torch.stack([torch.cat([part[k] for part in cell]) for cell in parts]).float() for k in (0, 1))
    return mean, spread


def _corrected(raster: Raster, mean: Float[Tensor, "cell n"], spread: Float[Tensor, "cell n"]) -> Raster:
    """A map, or spots of it, whose levels are put right; its error bars are what is not known of its errors."""
    gain, error = raster.gain * from_db(mean.view_as(raster.gain)), spread.view_as(raster.gain) / DB_PER_NEPER
    return replace(raster, gain=gain, relative_error=error)


def _corrected_map(bayes: RobustGridBayes, place: LocalizationProblem, alike: ErrorCovariance) -> RadioMap:
    """Put right where phones can be; elsewhere as it was."""
    there = place.prior.flatten() > 0
    error = bayes.radio.relative_error.flatten(1)
    mean, spread = torch.zeros_like(error), DB_PER_NEPER * error
    mean[:, there], spread[:, there] = _asked(_errors(bayes, place, alike), place.points[there], error[:, there])
    return _corrected(bayes.radio, mean, spread)
