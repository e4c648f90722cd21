"""Coarse, fine and physics: what a fix pays for being wrong."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from uel.core.grid import Grid
from uel.core.units import from_db, to_db
from uel.estimation.fix import Fix
from uel.measurement.distributions import log_unreported
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import MapSamples
from uel.radio.simulator import Paths

LossFeature = Literal["rsrp", "ta", "aoa"]
"""What a physics loss compares: levels; timing advances and times of arrival; azimuths."""
MAX_LINK_COST = 8.0  # nats: what one impossible link costs, so that one missing path does not drown the others


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
    # Density per scale² and bounded: an outlier at a patch's rim must not rule the batch.
    return -(density + 2 * torch.log(torch.tensor(scale))).clamp(min=-10.0).mean()


def link_cost(
    gain: Float[Tensor, "batch candidate cell"],
    reports: Reports,
    power_dbm: Float[Tensor, " cell"],
    model: ObservationModel,
) -> Float[Tensor, "batch candidate"]:
    """Mean negative log-likelihood per link of the reported levels, at given path gains.

    A heard cell pays its squared residual; a silent one the improbability of not being heard (it is censored,
    not absent). A link without a path costs a constant when it was heard, nothing when not; all are capped.
    """
    has_path = gain > 0
    level = to_db(torch.where(has_path, gain, 1.0)) + power_dbm
    heard = reports.heard.unsqueeze(1)
    residual = (level - reports.rsrp_dbm.unsqueeze(1)) / model.shadowing_db
    limit = (model.sensitivity_dbm - model.rsrp_step_db / 2 - level) / model.shadowing_db
    cost = torch.where(heard, residual.square() / 2, -log_unreported(limit, model.cell_dropout))
    cost = torch.where(has_path, cost, torch.where(heard, MAX_LINK_COST, 0.0))
    # A smooth cap: slope 1 for small costs, none for hopeless ones.
    return (MAX_LINK_COST * torch.tanh(cost / MAX_LINK_COST)).mean(-1)


def samples_of(truth: LinkTruth) -> MapSamples:
    """What is true at some places, as the raster of one column that likelihoods read."""
    column = lambda values: values.T.unsqueeze(-1)  # noqa: E731
    gain = torch.where(truth.known, from_db(truth.gain_db), 0.0)
    values = (gain, torch.zeros_like(gain), truth.known, truth.los, truth.delay, truth.azimuth_deg)
    return MapSamples(*(column(value) for value in values))


def feature_nll(
    feature: LossFeature, truth: LinkTruth, reports: Reports, model: ObservationModel
) -> Float[Tensor, "batch candidate"]:
    """Negative log-likelihood in nats of timing advances and times (`ta`) or azimuths (`aoa`) by `model`'s own laws.

    `truth` holds the candidates of the first report, then those of the second, and so on.
    """
    spots = samples_of(truth)
    law = model.range_log_likelihood if feature == "ta" else model.azimuth_log_likelihood
    every = law(reports, spots)[..., 0].unflatten(1, (len(reports), -1))
    return -every.diagonal(dim1=0, dim2=1).T  # each report at its own candidates


def physics_cost(
    truth: LinkTruth,
    reports: Reports,
    power_dbm: Float[Tensor, " cell"],
    model: ObservationModel,
    features: Sequence[LossFeature],
    traced: bool,
) -> Float[Tensor, "batch candidate"]:
    """What each report costs at its candidates in nats, summed over features, each capped; `truth` as in `feature_nll`.

    Traced paths bring their excess delay and their angle: what is said of them has the noise of a line of sight, and
    a serving cell without a path costs a constant.
    """
    candidates = (len(reports), -1)
    gain = torch.where(truth.known, from_db(truth.gain_db), 0.0).unflatten(0, candidates)
    total = link_cost(gain, reports, power_dbm, model) if "rsrp" in features else torch.zeros(gain.shape[:2])
    said = replace(truth, los=torch.ones_like(truth.los)) if traced else truth
    has_said = {"ta": reports.has_timing_advance, "aoa": reports.has_azimuth}
    for feature in features:
        if feature != "rsrp":
            has = has_said[feature]
            cost = MAX_LINK_COST * torch.tanh(feature_nll(feature, said, reports, model) / MAX_LINK_COST)
            total = total + torch.where(_lost(truth, reports) & has.unsqueeze(1) & traced, MAX_LINK_COST, cost)
    return total


def _lost(truth: LinkTruth, reports: Reports) -> Tensor:
    """Candidates to which the serving cell has no path."""
    known = truth.known.unflatten(0, (len(reports), -1))
    return ~known.gather(-1, reports.serving[:, None, None].expand(-1, known.shape[1], 1)).squeeze(-1)


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
    """Expected physics cost over the likeliest candidates, and their positions (whose gradient is the point).

    `source` is a radio map (lookup) or a simulator (ray tracing, then `traced`): both answer `paths(position)`.
    """
    position, probability, _ = fix.candidates(candidates)
    edge = grid.size / 2 - 1e-3
    position = position.clamp(-edge, edge)
    cost = physics_cost(source.paths(position.flatten(0, 1)), reports, power_dbm, model, features, traced)
    weight = probability / probability.sum(-1, keepdim=True)
    return (weight * cost).sum(-1).mean(), position
