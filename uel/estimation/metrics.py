"""Statistics of position errors (m) and of credible regions, with bootstrap intervals."""

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
    """Probability of the smallest region of likeliest pixels that holds a given pixel.

    A pixel is a lump of probability. The part of the last pixel that belongs to the region is drawn at random, so that
    the level is uniform where the posterior is calibrated, as with a continuous density.
    """
    probability = posterior.gather(1, pixel.unsqueeze(1))
    above = (posterior * (posterior > probability)).sum(1)
    tied = (posterior * (posterior == probability)).sum(1)
    return (above + torch.rand(len(pixel), generator=generator) * tied).clamp(max=1.0)


def coverage(hpd_level: Float[Tensor, " n"], probability: float) -> float:
    """Fraction of true positions inside their region of a given probability.

    `hpd_level` comes from `grid_hpd_level` or `Fix.hpd_level`.
    """
    return float((hpd_level <= probability).double().mean())


def bootstrap(
    parts: Sequence[Tensor],
    statistic: Callable[[Tensor], float],
    seed: int = 0,
    draws: int = 200,
    confidence: float = 0.9,
) -> tuple[float, float]:
    """Percentile interval of a statistic when whole parts (deployments) are resampled (Efron 1979).

    Phones of one deployment have its sites and its map in common: they are no independent samples, deployments are.
    Parts are joined along their first axis. A single part has no interval: both ends are the statistic.
    """
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(parts), (draws, len(parts)), generator=generator).tolist()
    values = torch.tensor([statistic(torch.cat([parts[i] for i in pick])) for pick in picks], dtype=torch.double)
    low, high = values.quantile(torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.double)).tolist()
    return low, high
