"""How fixes on validation phones turned out: error, surprise, and how much of the density is above the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.fix import Fix
from uel.estimation.metrics import position_error

SAMPLES = 128  # of each fix: levels come in steps of less than 1 %


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """Phones of one map condition."""

    condition: str
    error: Float[Tensor, " phone"]
    """m"""
    nll: Float[Tensor, " phone"]
    """negative log-density at the truth, nats per m²"""
    level: Float[Tensor, " phone"]
    """probability of the smallest region that holds the truth: evenly spread if the fixes are honest"""


def score_validation(
    fix: Fix, position: Float[Tensor, "phone 2"], condition: str, generator: torch.Generator
) -> ValidationScores:
    """What is to be said of fixes whose truth is known."""
    level = fix.hpd(position, generator, SAMPLES)
    return ValidationScores(condition, position_error(fix.position, position), -fix.log_density(position), level)


def merged(parts: Sequence[ValidationScores], condition: str | None = None) -> ValidationScores:
    """All phones, or those of one condition."""
    chosen = [part for part in parts if condition in (None, part.condition)]
    values = (torch.cat([getattr(part, name) for part in chosen]) for name in ("error", "nll", "level"))
    return ValidationScores(condition or "all", *values)


def conditions(parts: Sequence[ValidationScores]) -> list[str]:
    return list(dict.fromkeys(part.condition for part in parts))


def scores(judged: ValidationScores) -> dict[str, Tensor]:
    """p50_m, p95_m, mean_m, nll and the shares that the regions of 50 and 90 % cover."""
    return {
        "p50_m": judged.error.median(),
        "p95_m": judged.error.quantile(0.95),
        "mean_m": judged.error.mean(),
        "nll": judged.nll.mean(),
        "cover50": (judged.level <= 0.5).float().mean(),
        "cover90": (judged.level <= 0.9).float().mean(),
    }
