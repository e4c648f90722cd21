"""How probable a report of each cell is at a place: indicators of labels, kriged around what is expected without them.

Label i reports a cell (r_i = 1) or not (r_i = 0). With the probability q that is expected before its neighbours are
asked, p(x) = q(x) + k(x)ᵀ (K + ν I)⁻¹ (r - q): simple kriging with varying local means (Goovaerts, Geostatistics for
Natural Resources Evaluation, 1997, section 6.1.2) of an indicator. K and k hold correlations exp(-distance / length), ν
is the part that is white beside the part that is correlated. All cells share one factor of K + ν I.

q is logistic in features of the link: the law of distance and sector (`link_features`), or the log-odds of a learned
map. Its coefficients have a prior from other districts, and the district's own labels correct them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import DetectionParameters, ReportLaw
from uel.prediction.level_covariance import distance_between

POINTS_PER_CHUNK = 4096  # bounds memory
MAX_ITERATIONS = 50  # of the fit of the law


def map_features(log_odds: Float[Tensor, "cell point"]) -> Float[Tensor, "cell point 2"]:
    """Features of the law around a learned map: 1, and the map's log-odds of a report."""
    return torch.stack([torch.ones_like(log_odds), log_odds], -1)


def district_law(
    features: Float[Tensor, "cell label feature"], is_reported: Bool[Tensor, "label cell"], law: ReportLaw
) -> Float[Tensor, " feature"]:
    """Coefficients of a district's own log-odds of reports: logistic regression on its labels with a prior, at the mode
    of the posterior; without labels the prior's mean."""
    mean, std = (torch.tensor(values, dtype=torch.float64, device="cpu") for values in (law.mean, law.std))
    x, reported = features.double(), is_reported.T.double()
    coefficient = mean.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([coefficient], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        fit = F.binary_cross_entropy_with_logits(x @ coefficient, reported, reduction="sum")
        total = fit + ((coefficient - mean) / std).square().sum() / 2
        total.backward()
        return total

    optimizer.step(cost)
    return coefficient.detach().float()


def detection_probability(
    labels: MeasuredNetwork,
    position: Float[Tensor, "point 2"],
    features_at_labels: Float[Tensor, "cell label feature"],
    features: Float[Tensor, "cell point feature"],
    law: ReportLaw,
    parameters: DetectionParameters,
) -> Float[Tensor, "cell point"]:
    """Probability that a phone at each place reports each cell, from `floor` to 1 - `floor`.

    Args:
        labels: a network with the labelled squares alone.
        position: m, of the places.
        features_at_labels: what the law needs at the labels.
        features: the same at the places.
        law: learned from other districts.
        parameters: likewise.
    """
    coefficient = district_law(features_at_labels, labels.is_reported, law)
    probability = (features @ coefficient).sigmoid()
    surprise = labels.is_reported.float() - (features_at_labels @ coefficient).sigmoid().T
    correlation = (-distance_between(labels.position, labels.position) / parameters.length).exp()
    correlation.diagonal().add_(parameters.white_part)
    weight = torch.cholesky_solve(surprise, torch.linalg.cholesky(correlation))
    for start in range(0, len(position), POINTS_PER_CHUNK):
        part = slice(start, start + POINTS_PER_CHUNK)
        near = (-torch.cdist(position[part], labels.position) / parameters.length).exp()
        probability[:, part] += (near @ weight).T
    return probability.clamp(parameters.floor, 1 - parameters.floor)
