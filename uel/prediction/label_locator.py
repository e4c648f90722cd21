"""Locates phones in a district from labelled squares: kriged levels, probabilities of reports, and Bayes on squares."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import Answer, PredictionParameters
from uel.prediction.detection import detection_probability
from uel.prediction.district_levels import DistrictKriging, LevelPrediction
from uel.prediction.level_reports import LevelReports
from uel.prediction.report_likelihood import level_log_likelihood, silence_log_likelihood
from uel.prediction.square_posterior import SquareEstimate, Squares


@dataclass(frozen=True, eq=False)
class LabelLocator:
    """Bayes' rule on the squares of a district, with everything that does not depend on the report computed once."""

    squares: Squares
    log_prior: Float[Tensor, " square"]
    prediction: LevelPrediction
    device_offset: Float[Tensor, " device"]
    log_odds: Float[Tensor, "cell square"]
    log_silent: Float[Tensor, " square"]
    mast: Int[Tensor, " cell"]
    parameters: PredictionParameters
    answer: Answer = "median"

    @staticmethod
    def fit(
        labels: MeasuredNetwork,
        squares: Squares,
        prior: Float[Tensor, " square"],
        parameters: PredictionParameters,
        drift: Float[Tensor, "cell square"] | None = None,
        answer: Answer = "median",
        expected: Float[Tensor, "cell square"] | None = None,
    ) -> "LabelLocator":
        """Learn a district from labelled squares.

        Args:
            labels: a network with the labelled squares alone.
            squares: where phones can be; labels outside them count for the levels all the same.
            prior: probability of each square, need not be normalised.
            parameters: learned from other districts.
            drift: dBm, a predicted level of each cell on each square; labels outside the squares are then left out.
            answer: what `SquareEstimate.position` is.
            expected: probability of a report of each cell on each square before any label; None: by the level.
        """
        label_drift = None
        if drift is not None:
            number = squares.number[labels.row, labels.column]
            labels, number = labels.select(number >= 0), number[number >= 0]
            label_drift = drift[:, number].T
        kriging = DistrictKriging.fit(labels, parameters, label_drift)
        prediction = kriging.predict(squares.position, drift)
        probability = detection_probability(labels, squares.position, prediction, parameters.detection, expected)
        log_silent = (1 - probability).log()
        return LabelLocator(
            squares,
            (prior / prior.sum()).log(),
            prediction,
            kriging.device_offset,
            probability.log() - log_silent,
            log_silent.sum(0),
            labels.cells.mast,
            parameters,
            answer,
        )

    def __call__(self, reports: LevelReports) -> SquareEstimate:
        """The posteriors of some reports. A report without any cell has what its silence says."""
        log_p = torch.stack([self._log_posterior(reports, number) for number in range(len(reports))])
        return SquareEstimate(self.squares, log_p.softmax(-1), self.answer)

    def _log_posterior(self, reports: LevelReports, number: int) -> Float[Tensor, " square"]:
        likelihood, reported = self.parameters.likelihood, reports.is_reported[number]
        cells = reported.nonzero()[:, 0]
        silence = silence_log_likelihood(reported, self.log_odds, self.log_silent)
        log_p = self.log_prior + likelihood.silence_exponent * silence
        if len(cells):
            level = reports.level_dbm[number, cells] - self.device_offset[reports.device[number]]
            residual = level[:, None] - self.prediction.mean[cells]
            levels = level_log_likelihood(residual, self.prediction.std[cells], self.mast[cells], likelihood)
            log_p = log_p + likelihood.level_exponent * levels
        return log_p
