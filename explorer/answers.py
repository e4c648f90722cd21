"""One report answered in full: the locator's density beside grid Bayes', and the evidence of each feature."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from uel.fix import Fix
from uel.geojson import CANDIDATES
from uel.grid import Grid
from uel.locator import Locator
from uel.maps import Maps
from uel.posterior import geometric_median
from uel.regions import probability
from uel.reports import Reports

EVIDENCE = ("levels (RSRP)", "range (timing advance, ToA)", "azimuth")


@dataclass(frozen=True, eq=False)
class Answer:
    """What can be said of a report (a batch of one)."""

    fix: Fix
    seconds: float
    """of the locator, from report to fix"""
    grid: Grid
    evidence: Mapping[str, Float[np.ndarray, "row column"]]
    """nats"""
    posterior: Float[Tensor, "row column"]
    """grid Bayes': evidence alone, before the network"""
    limit: list[float]
    """m, grid Bayes' position"""

    @cached_property
    def heatmap(self) -> Float[Tensor, "row column"]:
        """The fix as probabilities of pixels."""
        return probability(self.fix, self.grid)

    @property
    def position(self) -> list[float]:
        return self.fix.position[0].tolist()

    @property
    def candidates(self) -> list[tuple[list[float], float, float]]:
        """Places in m, probabilities, standard deviations in m."""
        where, likely, index = self.fix.candidates(CANDIDATES)
        std = self.fix.component_covariance[0, index[0]].diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
        return [*zip(where[0].tolist(), likely[0].tolist(), std.tolist(), strict=True)]

    @property
    def std(self) -> float:
        """m, root of the covariance's trace."""
        return float(self.fix.covariance[0].trace().sqrt())


def answer(locator: Locator, maps: Maps, report: Reports) -> Answer:
    """Locate a single report, and say why."""
    with torch.no_grad():
        start = time.perf_counter()
        fix = locator(report, maps)
        fix.position  # noqa: B018  (it is computed on use, and belongs to the time)
        seconds = time.perf_counter() - start
        parts = locator.measurement.log_likelihood(report, maps.radio, maps.power_dbm)[0]
        log_p = parts.sum(0) + maps.prior.clamp(min=1e-30).log()
    posterior = log_p.flatten().softmax(0)
    limit = geometric_median(maps.radio.grid.centres().reshape(1, -1, 2), posterior[None])[0].tolist()
    evidence = {name: part.numpy() for name, part in zip(EVIDENCE, parts, strict=True)}
    return Answer(fix, seconds, maps.radio.grid, evidence, posterior.view_as(log_p), limit)
