"""Coarse, fine and physics: what a fix pays for being wrong."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from uel.fix import Fix
from uel.grid import Grid
from uel.laws import log_silence
from uel.measurement import MeasurementModel
from uel.reports import Reports
from uel.simulator import PathGain
from uel.units import to_db

CAP = 8.0  # nats: what one impossible link costs, so that one missing path does not drown the others


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
    model: MeasurementModel,
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
    cost = torch.where(heard, residual.square() / 2, -log_silence(limit, model.cell_dropout))
    cost = torch.where(has_path, cost, torch.where(heard, CAP, 0.0))
    # A smooth cap: slope 1 for small costs, none for hopeless ones.
    return (CAP * torch.tanh(cost / CAP)).mean(-1)


def physics_loss(
    fix: Fix,
    reports: Reports,
    source: PathGain,
    grid: Grid,
    power_dbm: Float[Tensor, " cell"],
    model: MeasurementModel,
    candidates: int,
) -> tuple[Tensor, Float[Tensor, "batch candidate 2"]]:
    """Expected physics cost over the likeliest candidates, and their positions (whose gradient is the point).

    `source` is a radio map (lookup) or a simulator (ray tracing): both answer `path_gain(position)`.
    """
    position, probability, _ = fix.candidates(candidates)
    edge = grid.size / 2 - 1e-3
    position = position.clamp(-edge, edge)
    cost = link_cost(source.path_gain(position), reports, power_dbm, model)
    weight = probability / probability.sum(-1, keepdim=True)
    return (weight * cost).sum(-1).mean(), position
