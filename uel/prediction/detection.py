"""How probable a report of each cell is at a place: by labels near it, and by the predicted level.

With labels i at distances d_i that do (r_i = 1) or do not (0) report a cell, and weights w_i = exp(-d_i / length),
p = (Σ w_i r_i + a q) / (Σ w_i + a): the mean of a beta distribution after weighted observations, whose prior has the
mean q, a logistic function of the predicted level, and the weight `prior_labels` a.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import DetectionParameters
from uel.prediction.district_levels import POINTS_PER_CHUNK, LevelPrediction

PROBABILITY_LIMITS = (1e-3, 1 - 1e-3)  # no report is impossible


def detection_probability(
    labels: MeasuredNetwork,
    position: Float[Tensor, "point 2"],
    prediction: LevelPrediction,
    parameters: DetectionParameters,
    expected: Float[Tensor, "cell point"] | None = None,
) -> Float[Tensor, "cell point"]:
    """Probability that a phone at each place reports each cell, within `PROBABILITY_LIMITS`.

    Args:
        labels: a network with the labelled squares alone.
        position: m, of the places.
        prediction: levels there.
        parameters: learned from other districts.
        expected: probabilities before any label, of a learned map; None: by the predicted level.
    """
    if expected is None:
        expected = parameters.ceiling * ((prediction.mean - parameters.threshold_dbm) / parameters.width_db).sigmoid()
    total = parameters.prior_labels * expected
    weight = torch.full((len(position),), parameters.prior_labels, device="cpu")
    reported = labels.is_reported.float()
    for start in range(0, len(position), POINTS_PER_CHUNK):
        part = slice(start, start + POINTS_PER_CHUNK)
        near = (-torch.cdist(position[part], labels.position) / parameters.length).exp()
        total[:, part] += (near @ reported).T
        weight[part] += near.sum(1)
    return (total / weight).clamp(*PROBABILITY_LIMITS)
