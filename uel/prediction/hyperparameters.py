"""Numbers of the prediction of levels, learned from whole districts by the evidence of their labelled squares."""

from collections.abc import Sequence
from dataclasses import fields

import torch
from jaxtyping import Float
from torch import Tensor

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import ResidualCovariance, TrendPrior
from uel.prediction.district_levels import effect_posterior, whiten_cells
from uel.prediction.level_covariance import LevelPrior

LEARNING_RATE = 0.1  # of logarithms, and of the means in units of the standard deviations that they began with


def learn_level_prior(
    districts: Sequence[tuple[MeasuredNetwork, Float[Tensor, "label cell"] | None]],
    trend: TrendPrior,
    residual: ResidualCovariance,
    steps: int,
) -> tuple[TrendPrior, ResidualCovariance, list[float]]:
    """Maximise the evidence of districts together (Rasmussen and Williams, 2006, section 5.4.1) by Adam.

    Args:
        districts: the labelled squares of each, and the drift there in dBm (None: the power of the reference signal).
        trend: numbers to begin with.
        residual: numbers to begin with.
        steps: of Adam.

    Returns:
        The learned numbers, and the mean log-evidence of a level in nats at each step.
    """
    start = LevelPrior.of(trend, residual)
    scale = start.district_std.clone()
    mean = (start.mean / scale).requires_grad_()
    names = [field.name for field in fields(LevelPrior) if field.name != "mean"]
    logs = {name: getattr(start, name).clamp(min=1e-3).log().requires_grad_() for name in names}
    optimizer = torch.optim.Adam([mean, *logs.values()], LEARNING_RATE)
    levels, history = sum(int(labels.is_reported.sum()) for labels, _ in districts), []
    for _ in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for labels, drift in districts:  # one at a time: bounds memory
            prior = LevelPrior(mean * scale, **{name: value.exp() for name, value in logs.items()})
            evidence = _log_evidence(labels, drift, prior) / levels
            (-evidence).backward()
            total += float(evidence.detach())
        optimizer.step()
        history.append(total)
    with torch.no_grad():
        prior = LevelPrior(mean * scale, **{name: value.exp() for name, value in logs.items()})
    return *prior.parameters(), history


def _log_evidence(
    labels: MeasuredNetwork, drift: Float[Tensor, "label cell"] | None, prior: LevelPrior
) -> Float[Tensor, ""]:
    base = labels.cells.power_dbm.expand(len(labels), -1) if drift is None else drift
    white = whiten_cells(labels, base, prior)
    return effect_posterior(white, prior, int(labels.cells.mast.max()) + 1, len(labels.devices)).log_evidence
