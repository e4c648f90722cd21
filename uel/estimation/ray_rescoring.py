"""Ray-traced re-scoring: the likeliest patches of a heatmap are weighted again by traced paths.

A heatmap holds the map's evidence. Whether the map is right or rays that were really traced is not known, so the map's
likelihood is replaced by that of a mixture, L(mixture) = (1 - share) L(map, mean over the patch) + share L(traced, at
the patch's mean): a patch is weighted by prior · L(mixture) · min(1, heat / p(map)), where p(map) ∝ prior · L(map). The
heatmap counts where it doubts what the map believes. Where it believes more, a floor of small probabilities included,
the evidence alone counts: divided by the map's likelihood, an impossible patch would be rewarded without bound.
Traced levels have a bias and a standard deviation of their own: a search that misses scattered power is too quiet, and
one position does not represent its patch. Labelled reports give these three numbers. Patches that nothing was traced
for keep their probability.
"""

import itertools
import math
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

EDGE_MARGIN = 1e-3  # m, that hypotheses stay away from the tile's edge
RAY_BIASES_DB = (-6.0, -3.0, 0.0, 3.0, 6.0)
RAY_STDS_DB = (0.0, 2.0, 4.0, 6.0, 8.0, 11.0, 15.0)
RAY_PROBABILITIES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def rescore_with_rays(
    fix: Fix,
    reports: Reports,
    patch_map: PatchSortedMap,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
    config: RayRescoringConfig,
) -> Fix:
    """Fixes whose likeliest patches are weighted by traced paths; `model` is how reports are assumed to be observed.

    The simulator must have the maps' sites, in their order. Where it finds no path, the map's link is used.
    """
    index = fix.log_heatmap.topk(min(config.hypotheses, fix.log_heatmap.shape[1]), dim=-1).indices
    position = fix.mean.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))
    by_rays = _score_hypotheses(position, reports, maps, model, simulator, config)
    by_map = torch.cat([_map_score(reports[n : n + 1], patch_map, row, model) for n, row in enumerate(index)])
    heat, log_prior = fix.log_heatmap.gather(1, index), patch_map.log_prior.logsumexp(-1)[index]
    doubt = (heat.log_softmax(-1) - (log_prior + by_map).log_softmax(-1)).clamp(max=0)
    rescored = log_prior + _mixture(by_map, by_rays, config.share) + doubt
    rescored = rescored.log_softmax(-1) + heat.logsumexp(-1, keepdim=True)
    return Fix(fix.log_heatmap.scatter(1, index, rescored), fix.mean, fix.component_covariance)


def fit_ray_noise(
    config: RayRescoringConfig,
    reports: Reports,
    position: Float[Tensor, "n 2"],
    patch_map: PatchSortedMap,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
) -> RayRescoringConfig:
    """The config with the bias, deviation and share of rays under which reports at known positions (m) are likeliest.

    As for hypotheses, rays are traced to the centre of each report's patch.
    """
    coarse = Grid(size=patch_map.grid.size, pixel=patch_map.grid.size / patch_map.patches)
    row, column = coarse.pixel_of(position)
    truth, patch = simulator.paths(coarse.centres()[row, column]), row * patch_map.patches + column
    by_map = _map_score(reports, patch_map, patch, model).diagonal()
    best_score, best = -math.inf, config
    for bias, std in itertools.product(RAY_BIASES_DB, RAY_STDS_DB):
        candidate = replace(config, bias_db=bias, spread_db=std)
        by_rays = _ray_score(reports, truth, maps, model, candidate).diagonal()
        for share in RAY_PROBABILITIES:
            score = float(_mixture(by_map, by_rays, share).sum())
            if score > best_score:
                best_score, best = score, replace(candidate, share=share)
    return best


def _mixture(by_map: Tensor, by_rays: Tensor, share: float) -> Tensor:
    """Log-likelihood in nats of a mixture, `share` being the probability of the rays."""
    log_weight = torch.tensor([1 - share, share], device="cpu").log()
    return torch.logaddexp(log_weight[0] + by_map, log_weight[1] + by_rays)


# ---- likelihoods ---------------------------------------------------------------------------------------


def _score_hypotheses(
    position: Float[Tensor, "n k 2"],
    reports: Reports,
    maps: TileMaps,
    model: ObservationModel,
    simulator: Simulator,
    config: RayRescoringConfig,
) -> Float[Tensor, "n k"]:
    """Log-likelihood in nats of each report at its hypotheses by tracing, all hypotheses in one call."""
    edge = maps.radio.grid.size / 2 - EDGE_MARGIN
    truth = simulator.paths(position.flatten(0, 1).clamp(-edge, edge))
    count = position.shape[1]
    parts = [truth[n * count : (n + 1) * count] for n in range(len(position))]
    return torch.cat([_ray_score(reports[n : n + 1], part, maps, model, config) for n, part in enumerate(parts)])


def _ray_score(
    reports: Reports, truth: LinkTruth, maps: TileMaps, model: ObservationModel, config: RayRescoringConfig
) -> Float[Tensor, "n k"]:
    """Log-likelihood of each report at all traced positions.

    Ranges and azimuths are either those of the paths, or those of the direct line with the model's own excess, with
    equal probabilities: which of many paths a phone measures is not known beforehand.
    """
    on_map, column = maps.radio.samples_at(truth.position), lambda values: values.T.unsqueeze(-1)
    has_path = column(truth.known)
    traced = MapSamples(
        gain=torch.where(has_path, from_db(column(truth.gain_db) + config.bias_db), on_map.gain),
        relative_error=torch.where(has_path, config.spread_db / DB_PER_NEPER, on_map.relative_error),
        known=has_path | on_map.known,
        los=torch.where(has_path, column(truth.los), on_map.los),
        delay=torch.where(has_path, column(truth.delay), on_map.delay),
        azimuth_deg=torch.where(has_path, column(truth.azimuth_deg), on_map.azimuth_deg),
    )
    direct = replace(traced, delay=on_map.delay, azimuth_deg=on_map.azimuth_deg)
    total = model.level_log_likelihood(reports, traced, maps.power_dbm, map_error=True)
    for log_likelihood in (ObservationModel.range_log_likelihood, ObservationModel.azimuth_log_likelihood):
        by_direct, by_traced = (
            log_likelihood(model, reports, direct),
            log_likelihood(model.for_ray_tracing, reports, traced),
        )
        total = total + torch.logaddexp(by_direct, by_traced) - math.log(2)
    return total[..., 0]


def _map_score(
    reports: Reports, patch_map: PatchSortedMap, patch: Tensor, model: ObservationModel
) -> Float[Tensor, "n k"]:
    """Log of the mean of each report's likelihood over each patch of the map."""
    log_joint = patch_map.log_joint(reports, patch, model, map_error=True)
    return log_joint.logsumexp(-1) - patch_map.log_prior[patch].logsumexp(-1)
