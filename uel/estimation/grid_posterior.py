"""Grid Bayes: the exact posterior over pixels, and the geometric median, the position of least expected error."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap

COST_ROUNDING = 1e-6  # relative rounding error of a cost in single precision
DOUBT_EXPONENTS = (0.35, 0.5, 0.5)  # of levels, ranges and angles where a map is wrong for all cells at once
# Prior of a pixel where no phone can be, for the networks and the refinement of their fixes: its logarithm must stay
# finite, and near enough to the others for gradients and for a locator's heatmap to outweigh it. Grid Bayes itself has
# no floor: a prior of 0 excludes a pixel.
PRIOR_FLOOR = 1e-6


def grid_posterior(
    reports: Reports,
    radio: RadioMap,
    prior: Float[Tensor, "row column"],
    model: ObservationModel,
    power_dbm: Float[Tensor, " cell"],
    map_error: bool = False,
    doubt: float = 0.0,
) -> Float[Tensor, "batch row column"]:
    """Probability of every pixel given each report. `prior` need not be normalised; 0 excludes a pixel.

    When the reports were drawn from this very map and model it is the limit: no method has more information. `doubt`:
    see `log_posterior`. Raises `UelError` for a prior that excludes every pixel.
    """
    possible = prior > 0
    if not bool(possible.any()):
        do = "give a prior with a pixel above 0: the outdoor fraction of a tile's pixels, say"
        raise UelError("no pixel is possible before any report", got="a prior of 0 everywhere", do=do)
    log_likelihood = model.log_likelihood(reports, radio.samples_of(possible), power_dbm, map_error)
    posterior = torch.zeros(len(reports), *prior.shape, dtype=log_likelihood.dtype, device=log_likelihood.device)
    posterior[:, possible] = log_posterior(log_likelihood, prior[possible].log().unsqueeze(-1), doubt).exp()[..., 0]
    return posterior


def log_posterior(
    log_likelihood: Float[Tensor, "batch feature row column"],
    log_prior: Float[Tensor, "row column"],
    doubt: float = 0.0,
) -> Float[Tensor, "batch row column"]:
    """Log-probability of every pixel given the log-likelihoods of a report's features, normalised.

    `doubt` is the probability that the map is wrong at this position for all cells at once, so that cells are no
    independent evidence: the posterior is then mixed with one in which features have the exponents `DOUBT_EXPONENTS`
    (generalised Bayes: Holmes and Walker, Biometrika 2017; these exponents did best on wrong maps of Florence, see the
    log).
    """
    trusting = normalise_log_probability(log_likelihood.sum(1) + log_prior)
    if not doubt:
        return trusting
    exponent = torch.tensor(DOUBT_EXPONENTS, device=log_likelihood.device)[:, None, None]
    doubting = normalise_log_probability((exponent * log_likelihood).sum(1) + log_prior)
    return torch.logaddexp(math.log1p(-doubt) + trusting, math.log(doubt) + doubting)


def normalise_log_probability(log_p: Float[Tensor, "batch row column"]) -> Float[Tensor, "batch row column"]:
    """Log-probability of each pixel from log-weights: a log-softmax over all pixels."""
    return log_p.flatten(1).log_softmax(-1).view_as(log_p)


def geometric_median(
    points: Float[Tensor, "*#batch point 2"],
    weight: Float[Tensor, "batch point"],
    variance: Float[Tensor, "batch point"] | float | None = None,
    iterations: int = 30,
    smooth: float = 0.1,
) -> Float[Tensor, "batch 2"]:
    """The position with the least expected distance to weighted points, in metres: it minimises the mean error.

    `variance` is each component's variance in m² (the trace of its covariance): the distance to a component is then
    taken as sqrt(d² + variance). Without it distances below `smooth` metres count as `smooth`: where the median is one
    of the points the result is off by a few times as much, and a smaller `smooth` takes more iterations. The mean
    distance is then convex and smooth: Newton's steps, a quarter as long after one that does not descend, twice as
    long after one that does; `iterations` at most.
    """
    if variance is None:
        variance = smooth**2
    floor = torch.as_tensor(variance, dtype=weight.dtype, device=weight.device).clamp(min=smooth**2)
    position = (weight.unsqueeze(-1) * points).sum(-2)
    cost, newton = _cost_and_step(points - position.unsqueeze(-2), weight, floor)
    scale = torch.ones_like(cost)
    for _ in range(iterations):
        step = scale.unsqueeze(-1) * newton
        is_moving = newton.detach().abs().amax(-1) >= smooth / 100
        if not torch.compiler.is_compiling() and not bool(is_moving.any()):
            break
        next_cost, next_newton = _cost_and_step(points - (position + step).unsqueeze(-2), weight, floor)
        is_lower = is_moving & (next_cost <= cost * (1 + COST_ROUNDING))
        position = torch.where(is_lower.unsqueeze(-1), position + step, position)
        newton = torch.where(is_lower.unsqueeze(-1), next_newton, newton)
        cost = torch.where(is_lower, next_cost, cost)
        scale = torch.where(is_lower, (2 * scale).clamp(max=1), scale / 4)
    return position


def _cost_and_step(
    offset: Float[Tensor, "batch point 2"], weight: Float[Tensor, "batch point"], floor: Tensor
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 2"]]:
    """Expected distance to points at `offset` metres, and Newton's step from the current position."""
    x, y = offset.unbind(-1)
    square = x * x + y * y + floor
    weight_by_distance = weight * square.rsqrt()
    curvature = weight_by_distance / square
    total, cost = weight_by_distance.sum(-1), (weight_by_distance * square).sum(-1)
    gx, gy = (weight_by_distance * x).sum(-1), (weight_by_distance * y).sum(-1)
    curvature_x = curvature * x
    # The Hessian is [[a, b], [b, d]].
    a, b, d = total - (curvature_x * x).sum(-1), -(curvature_x * y).sum(-1), total - (curvature * y * y).sum(-1)
    determinant = (a * d - b * b).clamp(min=1e-12)
    return cost, torch.stack([d * gx - b * gy, a * gy - b * gx], -1) / determinant.unsqueeze(-1)
