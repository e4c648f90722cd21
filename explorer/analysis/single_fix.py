"""One report explained: the locator's fix before and after refinement, grid Bayes' posterior, evidence by feature."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.credible_regions import hpd_threshold, pixel_probability
from uel.estimation.estimates import GridEstimate
from uel.estimation.fix import Fix
from uel.estimation.grid_posterior import log_posterior
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.refinement import PatchSortedMap, refine_fix
from uel.geo.tile_maps import TileMaps
from uel.inference.geojson import CANDIDATE_COUNT
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.radio.simulator import Simulator

RefinementMode = Literal["none", "map", "rt"]
ALWAYS_REFINE = RefinementConfig(entropy=0.0)  # refine at any entropy, because the visitor asked for it
WIDE_REGION = 0.9  # probability of the region that a refined fix is expected in
EVIDENCE_LABELS = ("levels (RSRP)", "range (timing advance, ToA)", "azimuth")


@dataclass(frozen=True, eq=False)
class TimedFix:
    """A fix (a batch of one) and the time that it took."""

    fix: Fix
    seconds: float
    """from report to fix, or from fix to refined fix"""
    grid: Grid

    @cached_property
    def heatmap(self) -> Float[Tensor, "row column"]:
        """The fix as probabilities of pixels."""
        return pixel_probability(self.fix, self.grid)

    @property
    def position(self) -> list[float]:
        return self.fix.position[0].tolist()

    @property
    def candidates(self) -> list[tuple[list[float], float, float]]:
        """(position in m, probability, standard deviation in m) of the likeliest candidates."""
        position, candidate_probability, index = self.fix.candidates(CANDIDATE_COUNT)
        std = self.fix.component_covariance[0, index[0]].diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
        return [*zip(position[0].tolist(), candidate_probability[0].tolist(), std.tolist(), strict=True)]

    @property
    def std(self) -> float:
        """Root of the covariance's trace, in m."""
        return float(self.fix.std[0])


@dataclass(frozen=True, eq=False)
class ExplainedFix:
    """The fixes of a report, and the evidence behind them."""

    initial: TimedFix
    """the locator's"""
    refined: TimedFix | None
    """refined, if asked for"""
    evidence: Mapping[str, Float[np.ndarray, "row column"] | None]
    """log-likelihood of every pixel in nats, by feature; None for a feature that the report lacks"""
    posterior: Float[Tensor, "row column"]
    """of grid Bayes, which uses no network"""
    limit: list[float]
    """m, grid Bayes' position"""

    @property
    def final(self) -> TimedFix:
        return self.refined or self.initial

    @property
    def moved(self) -> float:
        """Distance in m that refinement moved the fix."""
        return math.dist(self.initial.position, self.final.position)

    @property
    def is_outside(self) -> bool:
        """Refinement moved the fix out of the locator's own 90 % region: from inside, or by more than its uncertainty
        (the median of several modes may lie outside by itself)."""
        before, after = (self._is_likely(fix.position) for fix in (self.initial, self.final))
        return not after and (before or self.moved > self.initial.std)

    def _is_likely(self, position: list[float]) -> bool:
        pixels, (row, column) = self.initial.heatmap, self.initial.grid.pixel_of(torch.tensor(position))
        return bool(pixels[row, column] >= hpd_threshold(pixels, WIDE_REGION))


def explain_report(
    locator: Locator,
    maps: TileMaps,
    report: Reports,
    model: ObservationModel,
    fine: PatchSortedMap | None = None,
    simulator: Simulator | None = None,
) -> ExplainedFix:
    """Locate and explain one report; with a fine map its fix is refined, with a simulator also re-scored.

    `model` is how the phone is assumed to report: the locator's, or the log's where more is known.
    """
    with torch.no_grad():
        start = time.perf_counter()
        fix = locator(report, maps, model)
        initial = _timed(fix, start, maps.radio.grid)
        refined = None if fine is None else refine_timed(fix, report, maps, model, fine, simulator)
        evidence = model.log_likelihood(report, maps.radio, maps.power_dbm)[0]
        posterior = log_posterior(evidence[None], maps.prior.log()).exp()
    limit = GridEstimate(maps.radio.grid, posterior).position[0].tolist()
    parts = zip(EVIDENCE_LABELS, evidence, _reported(report), strict=True)
    by_feature = {name: part.numpy() if reported else None for name, part, reported in parts}
    return ExplainedFix(initial, refined, by_feature, posterior[0], limit)


def _reported(report: Reports) -> tuple[bool, bool, bool]:
    """Whether a report holds levels, a range and an angle."""
    has_range = bool(report.has_timing_advance.any() or report.has_toa.any())
    has_angle = bool(report.has_azimuth.any() or report.has_aoa.any())
    return bool(report.heard.any()), has_range, has_angle


def refine_timed(
    fix: Fix,
    report: Reports,
    maps: TileMaps,
    model: ObservationModel,
    fine: PatchSortedMap,
    simulator: Simulator | None,
) -> TimedFix:
    """A fix refined as by `uel locate --refine map`, and with a simulator as by `--refine rt`."""
    with torch.no_grad():
        start = time.perf_counter()
        refined = refine_fix(fix, report, fine, model, ALWAYS_REFINE).fix
        if simulator is not None:
            refined = rescore_with_rays(refined, report, fine, maps, model, simulator, RayRescoringConfig())
        return _timed(refined, start, maps.radio.grid)


def _timed(fix: Fix, start: float, grid: Grid) -> TimedFix:
    fix.position  # noqa: B018  (computed on first use, which belongs to the time)
    return TimedFix(fix, time.perf_counter() - start, grid)
