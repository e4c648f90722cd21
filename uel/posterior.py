"""Bayes on a grid: the exact posterior over pixels, and the point that answers it best."""

from jaxtyping import Float
from torch import Tensor

from uel.measurement import MeasurementModel
from uel.radiomap import RadioMap
from uel.reports import Reports


def grid_posterior(
    reports: Reports,
    radio: RadioMap,
    prior: Float[Tensor, "row column"],
    model: MeasurementModel,
    power_dbm: Float[Tensor, " cell"],
    map_error: bool = False,
) -> Float[Tensor, "batch row column"]:
    """Probability of every pixel given each report. `prior` need not be normalised; 0 excludes a pixel.

    When the reports were drawn from this very map and model it is the limit: no method has more information.
    """
    log_p = model.log_likelihood(reports, radio, power_dbm, map_error).sum(1) + prior.log()
    return log_p.flatten(1).softmax(-1).view_as(log_p)


def geometric_median(
    points: Float[Tensor, "*#batch point 2"],
    weight: Float[Tensor, "batch point"],
    spread: Float[Tensor, "batch point"] | None = None,
    iterations: int = 60,
    smooth: float = 0.1,
) -> Float[Tensor, "batch 2"]:
    """The point with the least expected distance to a weighted cloud (Weiszfeld's iteration), in metres.

    It is the optimal answer for the mean error. `spread` is each component's variance in m² (its trace): the
    distance to a component is then taken as sqrt(d² + spread), which also keeps the iteration smooth. Without it
    distances below `smooth` metres count as that: where the answer is one of the points it misses it by a few times as
    much, and takes the more iterations the less that is.
    """
    floor = smooth**2 if spread is None else spread.clamp(min=smooth**2)
    estimate = (weight.unsqueeze(-1) * points).sum(-2)
    for _ in range(iterations):
        distance = ((points - estimate.unsqueeze(-2)).square().sum(-1) + floor).sqrt()
        pull = weight / distance
        estimate = (pull.unsqueeze(-1) * points).sum(-2) / pull.sum(-1, keepdim=True)
    return estimate
