"""Locates phones in a district from labelled squares: kriged levels, probabilities of reports, and Bayes on squares."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import Answer, PredictionParameters, ReportLikelihood
from uel.prediction.detection import detection_probability, map_features
from uel.prediction.district_levels import DistrictKriging, LevelPrediction
from uel.prediction.level_reports import LevelReports
from uel.prediction.link_trend import link_features
from uel.prediction.report_likelihood import level_log_likelihood, silence_log_likelihood
from uel.prediction.square_posterior import SquareEstimate, Squares


@dataclass(frozen=True, eq=False, repr=False)
class DriftMaps(ShortRepr):
    """Maps of a district that come from elsewhere: what labels are compared with."""

    level_dbm: Float[Tensor, "cell square"]
    log_odds: Float[Tensor, "cell square"] | None = None
    """of a report of each cell; None: by the law of distance and sector"""


@dataclass(frozen=True, eq=False, repr=False)
class LabelLocator(ShortRepr):
    """Bayes' rule on the squares of a district, with everything that does not depend on the report computed once."""

    squares: Squares
    log_prior: Float[Tensor, " square"]
    prediction: LevelPrediction
    device_offset: Float[Tensor, " device"]
    log_odds: Float[Tensor, "cell square"]
    log_silent: Float[Tensor, " square"]
    mast: Int[Tensor, " cell"]
    likelihood: ReportLikelihood
    answer: Answer = "median"

    @staticmethod
    def fit(
        labels: MeasuredNetwork,
        squares: Squares,
        prior: Float[Tensor, " square"],
        parameters: PredictionParameters,
        drift: DriftMaps | None = None,
        answer: Answer = "median",
    ) -> "LabelLocator":
        """Learn a district from labelled squares.

        Args:
            labels: a network with the labelled squares alone.
            squares: where phones can be; labels outside them count for the levels all the same.
            prior: probability of each square, need not be normalised.
            parameters: learned from other districts, with this drift.
            drift: maps of the squares; labels outside the squares are then left out. None: a law of distance.
            answer: what `SquareEstimate.position` is.
        """
        level = label_level = None
        if drift is not None:
            level, number = drift.level_dbm, squares.number[labels.row, labels.column]
            labels, number = labels.select(number >= 0), number[number >= 0]
            label_level = level[:, number].T
        kriging = DistrictKriging.fit(labels, parameters, label_level)
        prediction, detection = kriging.predict(squares.position, level), parameters.detection
        if drift is not None and drift.log_odds is not None:
            law, features = detection.map_law, map_features(drift.log_odds)
            at_labels = features[:, number]
        else:
            law, features = detection.law, link_features(labels.cells, squares.position)
            at_labels = link_features(labels.cells, labels.position)
        probability = detection_probability(labels, squares.position, at_labels, features, law, detection)
        return LabelLocator.of(
            squares,
            prior,
            prediction,
            kriging.device_offset,
            probability,
            labels.cells.mast,
            parameters.likelihood,
            answer,
        )

    @staticmethod
    def of(
        squares: Squares,
        prior: Float[Tensor, " square"],
        prediction: LevelPrediction,
        device_offset: Float[Tensor, " device"],
        probability: Float[Tensor, "cell square"],
        mast: Int[Tensor, " cell"],
        likelihood: ReportLikelihood,
        answer: Answer = "median",
    ) -> "LabelLocator":
        """A locator by predictions that were made otherwise.

        Args:
            squares: where phones can be.
            prior: probability of each square, need not be normalised.
            prediction: levels on the squares.
            device_offset: dB, of each make of phones.
            probability: of a report of each cell on each square, neither 0 nor 1.
            mast: number of each cell's mast.
            likelihood: how a whole report weighs.
            answer: what `SquareEstimate.position` is.
        """
        log_silent = (1 - probability).log()
        return LabelLocator(
            squares, (prior / prior.sum()).log(), prediction, device_offset, probability.log() - log_silent,
            log_silent.sum(0), mast, likelihood, answer,
        )  # fmt: skip

    def __call__(self, reports: LevelReports) -> SquareEstimate:
        """The posteriors of some reports. A report without any cell has what its silence says."""
        log_p = torch.stack([self._log_posterior(reports, number) for number in range(len(reports))])
        return SquareEstimate(self.squares, log_p.softmax(-1), self.answer)

    def _log_posterior(self, reports: LevelReports, number: int) -> Float[Tensor, " square"]:
        likelihood, reported = self.likelihood, reports.is_reported[number]
        cells = reported.nonzero()[:, 0]
        silence = silence_log_likelihood(reported, self.log_odds, self.log_silent)
        log_p = self.log_prior + likelihood.silence_exponent * silence
        if len(cells):
            level = reports.level_dbm[number, cells] - self.device_offset[reports.device[number]]
            residual = level[:, None] - self.prediction.mean[cells]
            levels = level_log_likelihood(residual, self.prediction.std[cells], self.mast[cells], likelihood)
            log_p = log_p + likelihood.level_exponent * levels
        return log_p
