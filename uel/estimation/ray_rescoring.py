"""Hypotheses put to a simulator: the likeliest patches weighed anew by what rays say of them, and moved uphill.

A heatmap holds what the map says. Who is right, the map or rays that were really traced, is not known: the map's
evidence is replaced by that of a mixture, log-weight + log((1 - share) L(map, mean over the patch) + share L(traced, at
the patch's mean)) - log L(map). Rays are off by a bias and a spread of their own: a search that misses scattered power
is too quiet, and one place does not speak for its patch. Labelled reports tell these three numbers. Patches that
nothing was traced for keep their probability.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.grid import Grid
from uel.core.units import SPEED_OF_LIGHT, bearing_deg, from_db
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.estimation.refinement import PatchSortedMap
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import DB_PER_NEPER, ObservationModel
from uel.measurement.reports import LinkTruth, Reports
from uel.radio.radio_map import MapSamples
from uel.radio.simulator import PathGain, Simulator

Objective = Callable[[Float[Tensor, "n 2"]], Float[Tensor, " n"]]
EDGE = 1e-3  # m, that hypotheses stay away from the tile's edge
BIASES = (-6.0, -3.0, 0.0, 3.0, 6.0)  # dB
SPREADS = (0.0, 2.0, 4.0, 6.0, 8.0, 11.0, 15.0)  # dB
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True)
class RayRescoringConfig:
    """How many hypotheses are traced, and how far they are moved."""

    hypotheses: int = 32
    """likeliest patches that are traced"""
    starts: int = 4
    """of them that are moved uphill by the simulator's gradient, the likeliest ones after tracing"""
    steps: int = 0
    """uphill, each a trace with its gradient; 0 moves nothing"""
    stride: float = 4.0
    """m, the first step; halved where it does not lead higher"""
    bias_db: float = 0.0
    """added to traced levels"""
    spread_db: float = 4.0
    """standard deviation of what they are then still off by, beside fading"""
    share: float = 0.5
    """chance that rays know better than the map; 1 asks rays alone"""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 <= self.spread_db < math.inf or not math.isfinite(self.bias_db):
            raise UelError("rays are off by decibels, and right by a chance", got=self, do="leave the defaults")
        if min(self.hypotheses - 1, self.starts, self.steps + 1) < 1 or not self.stride > 0:
            raise UelError("re-scoring needs two hypotheses, a start, and steps that lead on", got=self)


def rescore_with_rays(
    fix: Fix,
    reports: Reports,
    fine: PatchSortedMap,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
    plan: RayRescoringConfig,
) -> Fix:
    """Fixes whose likeliest patches were put to a simulator; `model` is the realism that reports are believed to have.

    The simulator must be of the same sites as the maps, in their order. What it finds no path for the map may know.
    """
    index = fix.log_heatmap.topk(min(plan.hypotheses, fix.log_heatmap.shape[1]), dim=-1).indices
    at = fix.mean.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))
    score = _scores(at, reports, maps, model, simulator, plan)
    before = torch.cat([_on_map(reports[n : n + 1], fine, row, model) for n, row in enumerate(index)])
    heat = fix.log_heatmap.gather(1, index)
    weighed = (heat + _either(before, score, plan.share) - before).log_softmax(-1) + heat.logsumexp(-1, keepdim=True)
    mean = fix.mean
    if plan.steps:
        moved = torch.stack([
            _polished(at[n], weighed[n], score[n], reports[n : n + 1], maps, model, simulator, plan)
            for n in range(len(at))
        ])  # fmt: skip
        mean = mean.scatter(1, index.unsqueeze(-1).expand(-1, -1, 2), moved)
    return Fix(fix.log_heatmap.scatter(1, index, weighed), mean, fix.component_covariance)


def fit_ray_noise(
    plan: RayRescoringConfig,
    reports: Reports,
    position: Float[Tensor, "n 2"],
    fine: PatchSortedMap,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
) -> RayRescoringConfig:
    """The plan with the bias, spread and share of rays under which reports of known places (m) are likeliest.

    As for hypotheses, rays are traced to the middle of each report's patch.
    """
    coarse = Grid(size=fine.grid.size, pixel=fine.grid.size / fine.patches)
    row, column = coarse.pixel_of(position)
    truth, patch = simulator.paths(coarse.centres()[row, column]), row * fine.patches + column
    by_map = _on_map(reports, fine, patch, model).diagonal()
    best, chosen = -math.inf, plan
    for bias, spread in itertools.product(BIASES, SPREADS):
        off = replace(plan, bias_db=bias, spread_db=spread)
        by_rays = _traced(reports, truth, maps, model, off).diagonal()
        for share in SHARES:
            score = float(_either(by_map, by_rays, share).sum())
            if score > best:
                best, chosen = score, replace(off, share=share)
    return chosen


def _either(by_map: Tensor, by_rays: Tensor, share: float) -> Tensor:
    """Log-likelihood in nats of a mixture."""
    chance = torch.tensor([1 - share, share]).log()
    return torch.logaddexp(chance[0] + by_map, chance[1] + by_rays)


def descended(
    fix: Fix, reports: Reports, maps: TileMaps, model: ObservationModel, steps: int = 8, stride: float = 4.0
) -> Float[Tensor, "n 2"]:
    """Positions (m) moved uphill on the map's own likelihood from where the fixes are: an ablation, see LOG.md."""

    def objective(position: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        # Every phone by itself: a spot of another one is of no interest.
        return torch.cat([
            _along_lines(reports[n : n + 1], position[n : n + 1], maps, model, maps.radio)[0]
            for n in range(len(position))
        ])  # fmt: skip

    return climb(objective, fix.position, lambda there: _free(there, maps), steps, stride)


def climb(
    objective: Objective,
    start: Float[Tensor, "n 2"],
    allowed: Callable[[Float[Tensor, "n 2"]], Bool[Tensor, " n"]],
    steps: int,
    stride: float,
) -> Float[Tensor, "n 2"]:
    """Positions moved along the gradient, a stride at a time; back, and half as far, where that leads down or out."""
    best, (value, slope) = start, _slope(objective, start)
    length = torch.full_like(value, stride).unsqueeze(1)
    for _ in range(steps):
        ahead = best + length * torch.nn.functional.normalize(slope, dim=-1)
        inside = allowed(ahead)
        ahead = torch.where(inside.unsqueeze(1), ahead, best)
        high, turn = _slope(objective, ahead)
        up = ((high > value) & inside).unsqueeze(1)
        best, slope = torch.where(up, ahead, best), torch.where(up, turn, slope)
        value, length = torch.where(up[:, 0], high, value), torch.where(up, length, length / 2)
    return best


def _slope(objective: Objective, position: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 2"]]:
    with torch.enable_grad():
        at = position.detach().clone().requires_grad_()
        value = objective(at)
        (slope,) = torch.autograd.grad(value.sum(), at)
    return value.detach(), slope


def _polished(
    at: Float[Tensor, "k 2"],
    weight: Float[Tensor, " k"],
    score: Float[Tensor, " k"],
    report: Reports,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
    plan: RayRescoringConfig,
) -> Float[Tensor, "k 2"]:
    """The likeliest hypotheses moved uphill, those that tracing then finds to be higher indeed."""
    first = weight.topk(min(plan.starts, len(weight))).indices
    objective = lambda there: _along_lines(report, there, maps, model, simulator)[0]  # noqa: E731
    ahead = climb(objective, at[first], lambda there: _free(there, maps), plan.steps, plan.stride)
    higher = _scores(ahead[None], report, maps, model, simulator, plan)[0] > score[first]
    return at.index_put((first,), torch.where(higher.unsqueeze(1), ahead, at[first]))


# ---- likelihoods ---------------------------------------------------------------------------------------


def _scores(
    at: Float[Tensor, "n k 2"],
    reports: Reports,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
    plan: RayRescoringConfig,
) -> Float[Tensor, "n k"]:
    """Log-likelihood in nats of each report at its hypotheses, by tracing: all of them at once."""
    edge = maps.radio.grid.size / 2 - EDGE
    truth = simulator.paths(at.flatten(0, 1).clamp(-edge, edge))
    count = at.shape[1]
    parts = [truth[n * count : (n + 1) * count] for n in range(len(at))]
    return torch.cat([_traced(reports[n : n + 1], part, maps, model, plan) for n, part in enumerate(parts)])


def _traced(
    reports: Reports, truth: LinkTruth, maps: TileMaps, model: ObservationModel, plan: RayRescoringConfig
) -> Float[Tensor, "n k"]:
    """Log-likelihood of each report at all traced places.

    Ranges and azimuths are either those of the paths, or those of the direct line with the model's own excess, with
    equal chances: what a phone measures of many paths is not known beforehand.
    """
    there, column = maps.radio.spots(truth.position), lambda values: values.T.unsqueeze(-1)
    found = column(truth.known)
    level = MapSamples(
        gain=torch.where(found, from_db(column(truth.gain_db) + plan.bias_db), there.gain),
        relative_error=torch.where(found, plan.spread_db / DB_PER_NEPER, there.relative_error),
        known=found | there.known,
        los=torch.where(found, column(truth.los), there.los),
        delay=torch.where(found, column(truth.delay), there.delay),
        azimuth_deg=torch.where(found, column(truth.azimuth_deg), there.azimuth_deg),
    )
    direct = replace(level, delay=there.delay, azimuth_deg=there.azimuth_deg)
    total = model.level_log_likelihood(reports, level, maps.power_dbm, map_error=True)
    for law in (ObservationModel.range_log_likelihood, ObservationModel.azimuth_log_likelihood):
        either = torch.logaddexp(law(model, reports, direct), law(model.for_traced, reports, level))
        total = total + either - math.log(2)
    return total[..., 0]


def _on_map(reports: Reports, fine: PatchSortedMap, patch: Tensor, model: ObservationModel) -> Float[Tensor, "n k"]:
    """Log of the mean of each report's likelihood over each patch, as the map has it."""
    evidence = fine.evidence(reports, patch, model, map_error=True)
    return evidence.logsumexp(-1) - fine.log_prior[patch].logsumexp(-1)


def _along_lines(
    report: Reports, position: Float[Tensor, "k 2"], maps: TileMaps, model: ObservationModel, source: PathGain
) -> Float[Tensor, "1 k"]:
    """Log-likelihood of a report, differentiable in the places: levels by a source, ranges and azimuths by lines."""
    radio = maps.radio
    there = radio.spots(position.detach())
    gain = source.path_gain(position).T.unsqueeze(-1)
    found = gain > 0
    row, column = radio.grid.pixel_of(position.detach())
    point = torch.cat([position, radio.elevation[row, column].unsqueeze(1)], 1)
    away = (point - radio.cell_position[:, None]).norm(dim=-1, keepdim=True)
    spots = replace(
        there,
        gain=torch.where(found, gain, there.gain),
        known=found | there.known,
        delay=away / SPEED_OF_LIGHT,
        azimuth_deg=bearing_deg(radio.cell_position[:, None, :2], position).unsqueeze(-1),
    )
    return model.log_likelihood(report, spots, maps.power_dbm, map_error=True).sum(1)[..., 0]


def _free(position: Float[Tensor, "k 2"], maps: TileMaps) -> Bool[Tensor, " k"]:
    """Where a phone can be."""
    grid = maps.radio.grid
    edge = grid.size / 2 - EDGE
    row, column = grid.pixel_of(position)
    return (position.abs() <= edge).all(-1) & (maps.prior[row, column] > 0)
