"""The simple rival, as a short script does it: one field around the law of distance and sector, Gaussian levels of
independent cells, and silence by the nearest labels."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import Answer, PredictionParameters, ReportLikelihood, ResidualCovariance
from uel.prediction.detection import POINTS_PER_CHUNK
from uel.prediction.district_levels import DistrictKriging
from uel.prediction.label_locator import LabelLocator
from uel.prediction.square_posterior import Squares

FIELD_COVARIANCE = ResidualCovariance(long_std_db=7.0, long_length=30.0, short_std_db=0.1, short_length=30.0)
INDEPENDENT_GAUSSIAN = ReportLikelihood(
    degrees_of_freedom=1e6, cell_correlation=0.0, mast_correlation=0.0, level_exponent=1.0, silence_exponent=1.0
)
NEAR_LENGTH = 15.0  # m after which a label counts 1/e: the nearest few labels of two thousand
LEVEL_LABELS = 0.4  # labels at the same place that the level counts for
THRESHOLD_DBM, WIDTH_DB, CEILING_PROBABILITY = -83.0, 4.0, 0.95  # of the probability of a report by its kriged level
PROBABILITY_LIMITS = (1e-3, 1 - 1e-3)  # no report is impossible


def law_kriging(
    labels: MeasuredNetwork, squares: Squares, parameters: PredictionParameters, answer: Answer
) -> LabelLocator:
    """The rival, learned from labels; of `parameters` it uses the law and the prior of places."""
    kriging = DistrictKriging.fit(labels, replace(parameters, residual=FIELD_COVARIANCE))
    prediction = kriging.predict(squares.position)
    probability = near_label_share(labels, squares.position, prediction.mean)
    prior = squares.prior(labels, parameters.places)
    return LabelLocator.of(
        squares, prior, prediction, kriging.device_offset, probability, labels.cells.mast, INDEPENDENT_GAUSSIAN, answer
    )


def near_label_share(
    labels: MeasuredNetwork, position: Float[Tensor, "point 2"], level_dbm: Float[Tensor, "cell point"]
) -> Float[Tensor, "cell point"]:
    """Share of near labels that report each cell, weighted by exp(-distance / `NEAR_LENGTH`), within
    `PROBABILITY_LIMITS`; the kriged level counts for `LEVEL_LABELS` of them."""
    total = LEVEL_LABELS * CEILING_PROBABILITY * ((level_dbm - THRESHOLD_DBM) / WIDTH_DB).sigmoid()
    weight = torch.full((len(position),), LEVEL_LABELS, device="cpu")
    reported = labels.is_reported.float()
    for start in range(0, len(position), POINTS_PER_CHUNK):
        part = slice(start, start + POINTS_PER_CHUNK)
        near = (-torch.cdist(position[part], labels.position) / NEAR_LENGTH).exp()
        total[:, part] += (near @ reported).T
        weight[part] += near.sum(1)
    return (total / weight).clamp(*PROBABILITY_LIMITS)
