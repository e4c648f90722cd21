"""Coarse, fine and physics losses of a fix."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from training.locator.config import LossFeature
from uel.core.grid import Grid
from uel.core.precision import full_precision
from uel.core.units import from_db, to_db
from uel.estimation.fix import Fix
from uel.measurement.distributions import log_unreported
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import MapSamples
from uel.radio.simulator import Paths

MAX_LINK_COST = 8.0  # nats, cap of the cost of one link, so that one missing path does not dominate the others


def patch_of(position: Float[Tensor, "batch 2"], grid: Grid, patches: int) -> Tensor:
    """Index of the patch that holds each position, row by row from the south-west."""
    side = grid.size / patches
    cell = ((position + grid.size / 2) / side).floor().long().clamp(0, patches - 1)
    return cell[:, 1] * patches + cell[:, 0]


def coarse_loss(fix: Fix, patch: Tensor) -> Tensor:
    """Cross-entropy of the heatmap against the true patch, in nats."""
    return F.nll_loss(fix.log_heatmap, patch)


def fine_loss(fix: Fix, patch: Tensor, position: Float[Tensor, "batch 2"], scale: float) -> Tensor:
    """Gaussian negative log-likelihood of the true offset in the true patch, in nats; `scale` in metres."""
    density = fix.component_log_density(position).gather(1, patch.unsqueeze(1))
    # Density per scale² and bounded: an outlier at a patch's edge must not dominate the batch.
    return -(density + 2 * torch.log(torch.tensor(scale, device=density.device))).clamp(min=-10.0).mean()


def link_cost(
    gain: Float[Tensor, "batch candidate cell"],
    reports: Reports,
    power_dbm: Float[Tensor, " cell"],
    model: ObservationModel,
) -> Float[Tensor, "batch candidate"]:
    """Mean negative log-likelihood per link of the reported levels, at given path gains.

    A heard cell costs its squared residual, a silent one the negative log-probability of not being heard (it is
    censored, not absent). A link without a path costs a constant when it was heard, nothing when not; all costs are
    capped.
    """
    has_path = gain > 0
    level = to_db(torch.where(has_path, gain, 1.0)) + power_dbm
    heard = reports.heard.unsqueeze(1)
    residual = (level - reports.rsrp_dbm.unsqueeze(1)) / model.shadowing_db
    limit = (model.sensitivity_dbm - model.rsrp_step_db / 2 - level) / model.shadowing_db
    cost = torch.where(heard, residual.square() / 2, -log_unreported(limit, model.cell_dropout))
    cost = torch.where(has_path, cost, torch.where(heard, MAX_LINK_COST, 0.0))
    # A smooth cap: slope 1 for small costs, 0 for very large ones.
    return (MAX_LINK_COST * torch.tanh(cost / MAX_LINK_COST)).mean(-1)


def samples_of(truth: LinkTruth) -> MapSamples:
    """Link truth as map samples, a raster of one column that the likelihoods read."""
    gain = torch.where(truth.known, from_db(truth.gain_db), 0.0)
    values = (gain, torch.zeros_like(gain), truth.known, truth.los, truth.delay, truth.azimuth_deg)
    return MapSamples(*(value.T.unsqueeze(-1) for value in values))


def feature_nll(
    feature: LossFeature, truth: LinkTruth, reports: Reports, model: ObservationModel
) -> Float[Tensor, "batch candidate"]:
    """Negative log-likelihood in nats of timing advances and times (`ta`) or azimuths (`aoa`) under `model`.

    `truth` holds the candidates of the first report, then those of the second, and so on.
    """
    samples = samples_of(truth)
    log_likelihood = model.range_log_likelihood if feature == "ta" else model.azimuth_log_likelihood
    every = log_likelihood(reports, samples)[..., 0].unflatten(1, (len(reports), -1))
    return -every.diagonal(dim1=0, dim2=1).T  # each report at its own candidates


def physics_cost(
    truth: LinkTruth,
    reports: Reports,
    power_dbm: Float[Tensor, " cell"],
    model: ObservationModel,
    features: Sequence[LossFeature],
    traced: bool,
) -> Float[Tensor, "batch candidate"]:
    """Cost of each report at its candidates in nats, summed over features, each capped; `truth` as in `feature_nll`.

    Traced paths contain their excess delay and their angle: reports of them are compared with the noise of a line of
    sight, and a serving cell without a path costs a constant.
    """
    candidates = (len(reports), -1)
    gain = torch.where(truth.known, from_db(truth.gain_db), 0.0).unflatten(0, candidates)
    total = (
        link_cost(gain, reports, power_dbm, model)
        if "rsrp" in features
        else torch.zeros(gain.shape[:2], device=gain.device)
    )
    sight_truth = replace(truth, los=torch.ones_like(truth.los)) if traced else truth
    has_feature = {"ta": reports.has_timing_advance, "aoa": reports.has_azimuth}
    for feature in features:
        if feature != "rsrp":
            reported = has_feature[feature]
            cost = MAX_LINK_COST * torch.tanh(feature_nll(feature, sight_truth, reports, model) / MAX_LINK_COST)
            total = total + torch.where(
                _lacks_serving_path(truth, reports) & reported.unsqueeze(1) & traced, MAX_LINK_COST, cost
            )
    return total


def _lacks_serving_path(truth: LinkTruth, reports: Reports) -> Tensor:
    """Whether the serving cell has no path to each candidate."""
    known = truth.known.unflatten(0, (len(reports), -1))
    return ~known.gather(-1, reports.serving[:, None, None].expand(-1, known.shape[1], 1)).squeeze(-1)


@full_precision()
def physics_loss(
    fix: Fix,
    reports: Reports,
    source: Paths,
    grid: Grid,
    power_dbm: Float[Tensor, " cell"],
    model: ObservationModel,
    candidates: int,
    features: Sequence[LossFeature] = ("rsrp",),
    traced: bool = False,
) -> tuple[Tensor, Float[Tensor, "batch candidate 2"]]:
    """Expected physics cost over the most likely candidates, and their positions (which carry the gradient).

    `source` is a radio map (lookup) or a simulator (ray tracing, then `traced`): both answer `paths(position)`.
    """
    position, probability, _ = fix.candidates(candidates)
    edge = grid.size / 2 - 1e-3
    position = position.clamp(-edge, edge)
    cost = physics_cost(source.paths(position.flatten(0, 1)), reports, power_dbm, model, features, traced)
    weight = probability / probability.sum(-1, keepdim=True)
    return (weight * cost).sum(-1).mean(), position
