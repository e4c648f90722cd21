"""How fixes on validation phones turned out: error, surprise, and how much of the density is above the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.fix import Fix
from uel.metrics import position_error

SAMPLES = 128  # of each fix: levels come in steps of less than 1 %


@dataclass(frozen=True, eq=False)
class Judged:
    """Phones of one map condition."""

    condition: str
    error: Float[Tensor, " phone"]
    """m"""
    nll: Float[Tensor, " phone"]
    """negative log-density at the truth, nats per m²"""
    level: Float[Tensor, " phone"]
    """probability of the smallest region that holds the truth: evenly spread if the fixes are honest"""


def judge(fix: Fix, position: Float[Tensor, "phone 2"], condition: str, generator: torch.Generator) -> Judged:
    """What is to be said of fixes whose truth is known."""
    log_density = fix.log_density(position)
    return Judged(condition, position_error(fix.position, position), -log_density, level(fix, log_density, generator))


def level(fix: Fix, log_density: Float[Tensor, " phone"], generator: torch.Generator) -> Float[Tensor, " phone"]:
    """Probability that a draw from each fix lies where it is denser than `log_density`."""
    draws = samples(fix, SAMPLES, generator)
    return torch.stack([fix.log_density(draw) > log_density for draw in draws]).float().mean(0)


def samples(fix: Fix, count: int, generator: torch.Generator) -> Float[Tensor, "count phone 2"]:
    """Positions in metres drawn from each fix."""
    device = fix.mean.device
    which = torch.multinomial(fix.log_heatmap.exp().cpu(), count, replacement=True, generator=generator).to(device)
    white = torch.randn(*which.shape, 2, generator=generator).to(device)
    row = torch.arange(len(which), device=device).unsqueeze(1)
    root = torch.linalg.cholesky(fix.component_covariance[row, which])
    return (fix.mean[row, which] + (root @ white.unsqueeze(-1))[..., 0]).transpose(0, 1)


def merged(parts: Sequence[Judged], condition: str | None = None) -> Judged:
    """All phones, or those of one condition."""
    chosen = [part for part in parts if condition in (None, part.condition)]
    values = (torch.cat([getattr(part, name) for part in chosen]) for name in ("error", "nll", "level"))
    return Judged(condition or "all", *values)


def conditions(parts: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(part.condition for part in parts))


def scores(judged: Judged) -> dict[str, Tensor]:
    """p50_m, p95_m, mean_m, nll and the shares that the regions of 50 and 90 % cover."""
    return {
        "p50_m": judged.error.median(),
        "p95_m": judged.error.quantile(0.95),
        "mean_m": judged.error.mean(),
        "nll": judged.nll.mean(),
        "cover50": (judged.level <= 0.5).float().mean(),
        "cover90": (judged.level <= 0.9).float().mean(),
    }
