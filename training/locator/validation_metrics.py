"""Scores of fixes on validation phones: error, negative log-likelihood and HPD level of the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.fix import Fix
from uel.estimation.metrics import position_error

SAMPLES_PER_FIX = 128  # samples of each fix: HPD levels in steps of less than 1 %


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """Scores of the phones of one map condition."""

    condition: str
    error: Float[Tensor, " phone"]
    """m"""
    nll: Float[Tensor, " phone"]
    """negative log-density at the truth, nats for densities per m²"""
    hpd_level: Float[Tensor, " phone"]
    """probability of the smallest (highest-density) region that holds the truth: uniform if the fixes are calibrated"""


def score_validation(
    fix: Fix, position: Float[Tensor, "phone 2"], condition: str, generator: torch.Generator
) -> ValidationScores:
    """Scores of fixes at known positions."""
    hpd_level = fix.hpd_level(position, generator, SAMPLES_PER_FIX)
    return ValidationScores(condition, position_error(fix.position, position), -fix.log_density(position), hpd_level)


def merge_scores(parts: Sequence[ValidationScores], condition: str | None = None) -> ValidationScores:
    """The scores of all phones, or of those of one condition."""
    chosen = [part for part in parts if condition in (None, part.condition)]
    values = (torch.cat([getattr(part, name) for part in chosen]) for name in ("error", "nll", "hpd_level"))
    return ValidationScores(condition or "all", *values)


def conditions_of(parts: Sequence[ValidationScores]) -> list[str]:
    """Map conditions in the order of their first scores."""
    return list(dict.fromkeys(part.condition for part in parts))


def summarise_scores(all_scores: ValidationScores) -> dict[str, Tensor]:
    """p50_m, p95_m, mean_m, nll, and the fractions of phones inside the 50 % and 90 % regions."""
    return {
        "p50_m": all_scores.error.median(),
        "p95_m": all_scores.error.quantile(0.95),
        "mean_m": all_scores.error.mean(),
        "nll": all_scores.nll.mean(),
        "cover50": (all_scores.hpd_level <= 0.5).float().mean(),
        "cover90": (all_scores.hpd_level <= 0.9).float().mean(),
    }
