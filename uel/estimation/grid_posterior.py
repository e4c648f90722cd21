"""Bayes on a grid: the exact posterior over pixels, and the point that answers it best."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap

COST_ROUNDING = 1e-6  # of a cost in single precision
DOUBT_EXPONENTS = (0.35, 0.5, 0.5)  # powers of levels, ranges and angles where a map is wrong for all cells at once


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
    see `log_posterior`.
    """
    evidence = model.log_likelihood(reports, radio, power_dbm, map_error)
    return log_posterior(evidence, prior.log(), doubt).exp()


def log_posterior(
    evidence: Float[Tensor, "batch feature row column"], log_prior: Float[Tensor, "row column"], doubt: float = 0.0
) -> Float[Tensor, "batch row column"]:
    """Log-probability of every pixel given the log-likelihoods of a report's features, normalised.

    `doubt` is the chance that the map is wrong here for all cells at once, where cells are no independent witnesses:
    the posterior is then mixed with one in which features count by the powers `DOUBT_EXPONENTS` (generalised Bayes:
    Holmes and Walker, Biometrika 2017; the powers did best on wrong maps of Florence, see LOG.md).
    """
    believed = normalise_log_probability(evidence.sum(1) + log_prior)
    if not doubt:
        return believed
    power = torch.tensor(DOUBT_EXPONENTS, device=evidence.device)[:, None, None]
    doubted = normalise_log_probability((power * evidence).sum(1) + log_prior)
    return torch.logaddexp(math.log1p(-doubt) + believed, math.log(doubt) + doubted)


def normalise_log_probability(log_p: Float[Tensor, "batch row column"]) -> Float[Tensor, "batch row column"]:
    """Log-probability of each pixel among all."""
    return log_p.flatten(1).log_softmax(-1).view_as(log_p)


def geometric_median(
    points: Float[Tensor, "*#batch point 2"],
    weight: Float[Tensor, "batch point"],
    spread: Float[Tensor, "batch point"] | float | None = None,
    iterations: int = 30,
    smooth: float = 0.1,
) -> Float[Tensor, "batch 2"]:
    """The point with the least expected distance to a weighted cloud, in metres: the optimal answer for the mean error.

    `spread` is each component's variance in m² (its trace): the distance to a component is then taken as
    sqrt(d² + spread). Without it distances below `smooth` metres count as that: where the answer is one of the points
    it misses it by a few times as much, and takes the more iterations the less that is. Newton's steps, and Weiszfeld's
    (Kuhn, Mathematical Programming 1973) wherever those do not descend; `iterations` at most.
    """
    if spread is None:
        spread = smooth**2
    floor = torch.as_tensor(spread, dtype=weight.dtype, device=weight.device).clamp(min=smooth**2)
    best = asked = (weight.unsqueeze(-1) * points).sum(-2)
    least, careful = torch.full_like(best[:, 0], torch.inf), best
    for _ in range(iterations):
        cost, plain, newton = _steps(points - asked.unsqueeze(-2), weight, floor)
        lower = (cost <= least * (1 + COST_ROUNDING)).unsqueeze(-1)
        best, least = torch.where(lower, asked, best), torch.where(lower[:, 0], cost, least)
        careful = torch.where(lower, asked + plain, careful)
        asked = torch.where(lower, asked + newton, careful)
        if not torch.compiler.is_compiling() and float((asked - best).detach().abs().amax()) < smooth / 100:
            break
    return asked


def _steps(
    off: Float[Tensor, "batch point 2"], weight: Float[Tensor, "batch point"], floor: Tensor
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 2"], Float[Tensor, "batch 2"]]:
    """Expected distance to points that are `off` metres away, and Weiszfeld's and Newton's steps from here."""
    x, y = off.unbind(-1)
    square = x * x + y * y + floor
    pull = weight * square.rsqrt()
    bend = pull / square
    total, cost = pull.sum(-1), (pull * square).sum(-1)
    along = torch.stack([(pull * x).sum(-1), (pull * y).sum(-1)], -1)
    bend_x = bend * x
    a, b, d = total - (bend_x * x).sum(-1), -(bend_x * y).sum(-1), total - (bend * y * y).sum(-1)
    determinant = (a * d - b * b).clamp(min=1e-12)
    gx, gy = along.unbind(-1)
    newton = torch.stack([d * gx - b * gy, a * gy - b * gx], -1) / determinant.unsqueeze(-1)
    return cost, along / total.unsqueeze(-1), newton
