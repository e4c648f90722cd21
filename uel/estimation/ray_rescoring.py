"""Ray-traced re-scoring: the likeliest patches of a heatmap are weighed again by traced paths.

A heatmap holds what the map says. Who is right, the map or rays that were really traced, is not known: the map's
evidence is replaced by that of a mixture, log-weight + log((1 - share) L(map, mean over the patch) + share L(traced, at
the patch's mean)) - log L(map). Rays are off by a bias and a spread of their own: a search that misses scattered power
is too quiet, and one place does not speak for its patch. Labelled reports tell these three numbers. Patches that
nothing was traced for keep their probability.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.grid import Grid
from uel.core.units import from_db
from uel.estimation.config import RayRescoringConfig
from uel.estimation.fix import Fix
from uel.estimation.refinement import PatchSortedMap
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import DB_PER_NEPER, ObservationModel
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import MapSamples
from uel.radio.simulator import Simulator

Objective = Callable[[Float[Tensor, "n 2"]], Float[Tensor, " n"]]
EDGE_MARGIN = 1e-3  # m, that hypotheses stay away from the tile's edge
RAY_BIASES_DB = (-6.0, -3.0, 0.0, 3.0, 6.0)  # dB
RAY_STDS_DB = (0.0, 2.0, 4.0, 6.0, 8.0, 11.0, 15.0)  # dB
RAY_PROBABILITIES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


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
    return Fix(fix.log_heatmap.scatter(1, index, weighed), fix.mean, fix.component_covariance)


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
    for bias, spread in itertools.product(RAY_BIASES_DB, RAY_STDS_DB):
        off = replace(plan, bias_db=bias, spread_db=spread)
        by_rays = _traced(reports, truth, maps, model, off).diagonal()
        for share in RAY_PROBABILITIES:
            score = float(_either(by_map, by_rays, share).sum())
            if score > best:
                best, chosen = score, replace(off, share=share)
    return chosen


def _either(by_map: Tensor, by_rays: Tensor, share: float) -> Tensor:
    """Log-likelihood in nats of a mixture."""
    chance = torch.tensor([1 - share, share]).log()
    return torch.logaddexp(chance[0] + by_map, chance[1] + by_rays)


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
    edge = maps.radio.grid.size / 2 - EDGE_MARGIN
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
