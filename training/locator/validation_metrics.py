"""Scores of fixes on validation phones, by map condition."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.estimates import FixEstimate
from uel.estimation.fix import Fix
from uel.estimation.scoring import Scores, density_summary, error_summary, score_estimate

SAMPLES_PER_FIX = 128  # samples of each fix: HPD levels in steps of less than 1 %


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """Scores of the phones of one map condition."""

    condition: str
    scores: Scores


def score_validation(
    fix: Fix, position: Float[Tensor, "phone 2"], condition: str, generator: torch.Generator
) -> ValidationScores:
    """Scores of fixes at known positions."""
    return ValidationScores(condition, score_estimate(FixEstimate(fix, SAMPLES_PER_FIX), position, generator))


def merge_scores(parts: Sequence[ValidationScores], condition: str | None = None) -> Scores:
    """The scores of all phones, or of those of one condition."""
    return Scores.cat([part.scores for part in parts if condition in (None, part.condition)])


def conditions_of(parts: Sequence[ValidationScores]) -> list[str]:
    """Map conditions in the order of their first scores."""
    return list(dict.fromkeys(part.condition for part in parts))


def summarise_scores(scores: Scores) -> dict[str, float]:
    """p50_m, p95_m, mean_m, nll, and the fractions of phones inside the 50 % and 90 % regions."""
    statistics = error_summary(scores.error, lower_median=True)
    return {name: statistics[name] for name in ("p50_m", "p95_m", "mean_m")} | density_summary(scores)
