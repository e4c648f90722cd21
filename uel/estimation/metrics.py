"""Statistics of position errors in metres, of claimed regions, and how far they can be trusted."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def error_summary(error: Float[Tensor, " n"]) -> dict[str, float]:
    """Median, 67th and 95th percentile and mean of position errors in metres, and their number."""
    p50, p67, p95 = torch.quantile(error, torch.tensor([0.50, 0.67, 0.95], dtype=error.dtype)).tolist()
    return {"p50_m": p50, "p67_m": p67, "p95_m": p95, "mean_m": float(error.mean()), "n": len(error)}


def position_error(estimate: Float[Tensor, "n 2"], truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Horizontal distance in metres."""
    return (estimate - truth).norm(dim=-1)


def grid_hpd_level(
    posterior: Float[Tensor, "n pixel"], pixel: Int[Tensor, " n"], generator: torch.Generator
) -> Float[Tensor, " n"]:
    """The least share of probability whose region of likeliest pixels holds a given pixel.

    Pixels are lumps: which part of the last one belongs to a region is drawn, so that the share is uniform where the
    posterior is true, as with a continuous density.
    """
    there = posterior.gather(1, pixel.unsqueeze(1))
    above = (posterior * (posterior > there)).sum(1)
    level = (posterior * (posterior == there)).sum(1)
    return (above + torch.rand(len(pixel), generator=generator) * level).clamp(max=1.0)


def coverage(level: Float[Tensor, " n"], share: float) -> float:
    """How many truths lie in their region of so much probability; `level` is from `grid_hpd_level` or `Fix.hpd`."""
    return float((level <= share).double().mean())


def bootstrap(
    parts: Sequence[Tensor],
    statistic: Callable[[Tensor], float],
    seed: int = 0,
    draws: int = 200,
    share: float = 0.9,
) -> tuple[float, float]:
    """Percentile interval of a statistic when whole parts (deployments) are drawn anew (Efron 1979).

    Phones of one deployment share its sites and its map: they are no independent evidence, deployments are. Parts are
    joined along their first axis. One part has no interval: both ends are the statistic.
    """
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(parts), (draws, len(parts)), generator=generator).tolist()
    values = torch.tensor([statistic(torch.cat([parts[i] for i in pick])) for pick in picks], dtype=torch.double)
    low, high = values.quantile(torch.tensor([(1 - share) / 2, (1 + share) / 2], dtype=torch.double)).tolist()
    return low, high
