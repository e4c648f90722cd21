"""Configurations of refinement and of ray re-scoring; no framework is imported here."""

import math
from dataclasses import dataclass

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class RefinementConfig:
    """Which fixes are refined on the finest grid, and how much the locator's heatmap counts then."""

    entropy: float = 1.0
    """nats of the heatmap's entropy from which on a fix is refined: below, the locator is decided; 0: always"""
    trust: float = 0.5
    """exponent of the locator's patch probabilities: 1 keeps them, 0 is grid Bayes"""
    mass: float = 0.999
    """probability of the likeliest patches that are refined together; the others stay as they are"""
    map_error: bool = True
    """the map's error bar counts as fading"""
    doubt: float = 0.0
    """probability that the map is wrong at a position as a whole, see
    `uel.estimation.grid_posterior.log_posterior`"""

    def __post_init__(self) -> None:
        require_numbers(self, entropy=(-math.inf, math.inf))  # infinite: no fix is refined
        if not 0 <= self.trust <= 1:
            raise UelError("refinement.trust must lie between 0 and 1", got=self.trust, do="give 0.5, say")
        if not 0 < self.mass < 1:
            raise UelError("refinement.mass must lie between 0 and 1, exclusively", got=self.mass, do="give 0.999, say")
        if not 0 <= self.doubt < 1:
            raise UelError("refinement.doubt must be a probability below 1", got=self.doubt, do="give 0.3, say")
        if not self.entropy >= 0:
            do = "give 0 to refine every fix"
            raise UelError("refinement.entropy must not be negative", got=self.entropy, do=do)


@dataclass(frozen=True, kw_only=True)
class RayRescoringConfig:
    """How many hypotheses are traced, and the errors that traced levels are taken to have."""

    hypotheses: int = 32
    """likeliest patches that are traced"""
    bias_db: float = 0.0
    """added to traced levels"""
    spread_db: float = 4.0
    """standard deviation of traced levels' remaining error, beside fading"""
    share: float = 0.5
    """probability that traced paths are right rather than the map; 1 uses traced paths alone"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 <= self.share <= 1:
            raise UelError("rescoring.share must be a probability", got=self.share, do="give 0.5, say")
        if not 0 <= self.spread_db < math.inf:
            raise UelError("rescoring.spread_db must be finite and not negative", got=self.spread_db, do="give 4, say")
        if not math.isfinite(self.bias_db):
            raise UelError("rescoring.bias_db must be finite", got=self.bias_db, do="give 0, say")
        if self.hypotheses < 2:
            raise UelError("rescoring.hypotheses must be at least 2", got=self.hypotheses, do="give 32, say")
