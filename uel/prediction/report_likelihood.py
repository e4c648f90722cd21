"""Likelihood of a whole report at many places: its levels together, heavy-tailed and alike between cells."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.prediction.config import ReportLikelihood


def level_log_likelihood(
    residual: Float[Tensor, "cell point"],
    std: Float[Tensor, "cell point"],
    mast: Int[Tensor, " cell"],
    parameters: ReportLikelihood,
) -> Float[Tensor, " point"]:
    """Log-density of the residuals in dB of one report's cells at each place: Student's multivariate t.

    Its correlation matrix has `mast_correlation` between cells of one mast, `cell_correlation` between others. Both the
    inverse and the determinant follow from the sums over masts (Woodbury's identity), so that no matrix is made.

    Args:
        residual: reported minus predicted level.
        std: standard deviation of the prediction of a measured level.
        mast: number of each cell's mast.
        parameters: the correlations and the degrees of freedom.

    Example:
        >>> import torch
        >>> from uel.prediction.config import ReportLikelihood
        >>> parameters = ReportLikelihood(degrees_of_freedom=1e9, cell_correlation=0.0, mast_correlation=0.0)
        >>> one = torch.ones(2, 1)
        >>> level_log_likelihood(0 * one, one, torch.tensor([0, 1]), parameters).round(decimals=4).tolist()
        [-1.8379]
    """
    count, freedom = len(residual), parameters.degrees_of_freedom
    between, within = parameters.cell_correlation, parameters.mast_correlation
    z = residual / std
    _, group = torch.unique(mast, return_inverse=True)
    size = torch.bincount(group).to(z)
    group_sum = z.new_zeros(len(size), z.shape[1]).index_add_(0, group, z)
    own, shared = 1 - within, within - between
    scale = own + shared * size  # eigenvalue of each mast's block for the sum of its cells
    coupling = 1 + between * float((size / scale).sum())
    quadratic = (z.square().sum(0) - (shared / scale) @ group_sum.square()) / own
    quadratic = quadratic - between * ((1 / scale) @ group_sum).square() / coupling
    log_det = float(((size - 1) * math.log(own) + scale.log()).sum()) + math.log(coupling) + 2 * std.log().sum(0)
    constant = math.lgamma((freedom + count) / 2) - math.lgamma(freedom / 2) - count / 2 * math.log(freedom * math.pi)
    return constant - log_det / 2 - (freedom + count) / 2 * (quadratic / freedom).log1p()


def silence_log_likelihood(
    is_reported: Bool[Tensor, " cell"], log_odds: Float[Tensor, "cell point"], log_silent: Float[Tensor, " point"]
) -> Float[Tensor, " point"]:
    """Log-probability of which cells were reported, cells independent of each other.

    Args:
        is_reported: of one report.
        log_odds: log(p / (1 - p)) of a report of each cell at each place.
        log_silent: sum of log(1 - p) over all cells.
    """
    return log_silent + log_odds[is_reported].sum(0)
