"""The joint law of a report's levels: shadow fading drawn along tracks, and its density at every pixel."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.measurement.distributions import log_normal_bin, log_unreported
from uel.measurement.reports import Reports

NEVER = -30.0  # nats: stands for log 0 where a map excludes a report, finite so that one bad pixel is no NaN
QUADRATURE_NODES = 12  # of Gauss and Hermite's rule over the common fading: 1e-4 nats beside what more of them give


def correlate_along_track(
    white: Float[Tensor, "*track report cell"], position: Float[Tensor, "*track report 2"], distance: float
) -> Float[Tensor, "*track report cell"]:
    """White noise of unit variance, correlated along each track as exp(-d / `distance`).

    d is the way walked between two reports in metres (Gudmundson, Electronics Letters 1991): a first-order
    autoregressive process whose coefficient follows the stride, so a phone that stands keeps its fading.
    """
    keep = (-position.diff(dim=-2).norm(dim=-1, keepdim=True) / distance).exp()
    fresh = (1 - keep**2).sqrt()
    field = [white[..., 0, :]]
    for report in range(1, white.shape[-2]):
        step = report - 1
        field.append(keep[..., step, :] * field[-1] + fresh[..., step, :] * white[..., report, :])
    return torch.stack(field, -2)


@dataclass(frozen=True, eq=False)
class RsrpLikelihood:
    """Levels in dB on a map: a mean, a fading of each link's own, and one that all links of a place share."""

    mean: Float[Tensor, "cell row column"]
    """dBm, to be read where `known`"""
    known: Bool[Tensor, "cell row column"]
    link_std: Float[Tensor, "cell row column"]
    """standard deviation of what is independent between cells"""
    common_std: float
    """standard deviation of what is common to all cells"""
    step: float
    """reporting step"""
    dropout: float
    """share of cells that do not report"""
    outlier_fraction: float = 0.0
    """share of levels whose own fading has `wide` dB more, without a common fading (Tukey's contaminated normal)"""
    outlier_std: float = 0.0

    def log_likelihood(
        self, reports: Reports, censor_dbm: Float[Tensor, "batch cell"]
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of which cells each report holds and of their levels.

        `censor_dbm`: levels below which a cell that is not held may lie; it may also have dropped out.
        """
        if self.common_std:
            return self._shared(reports, censor_dbm)
        total = torch.zeros(*reports.serving.shape, *self.mean.shape[1:])
        for cell in range(len(self.mean)):  # one cell at a time bounds the memory of a large batch
            total += self.cell_log_likelihood(reports, censor_dbm[:, cell], cell)
        return total

    def cell_log_likelihood(
        self, reports: Reports, censor_dbm: Float[Tensor, " batch"], cell: int
    ) -> Float[Tensor, "batch row column"]:
        """What the level of one cell, or its silence, adds; of cells without a common fading."""
        return self._cell_log_likelihood(reports, censor_dbm, cell).clamp(min=NEVER)

    def _cell_log_likelihood(self, reports: Reports, censor_dbm: Float[Tensor, " batch"], cell: int) -> Tensor:
        held, may_look = reports.heard[:, cell], not torch.compiler.is_compiling()
        if may_look and bool(held.all()):  # of one report a cell is either held or not
            return self._reported(reports, cell)
        # Few distinct censoring levels occur in a batch (one, unless reports are full): one table for each.
        levels, which = censor_dbm.unique(return_inverse=True)
        silent = self._silence(levels, cell)[which]
        if may_look and not bool(held.any()):
            return silent
        return torch.where(held[:, None, None], self._reported(reports, cell), silent)

    def _reported(self, reports: Reports, cell: int) -> Float[Tensor, "batch row column"]:
        """Log-probability that a cell is reported with the level that it has."""
        off = reports.rsrp_dbm[:, cell, None, None] - self.mean[cell]
        log_p = self._contaminated(lambda own: log_normal_bin(off, own, self.step), cell) + math.log1p(-self.dropout)
        return torch.where(self.known[cell], log_p, NEVER)

    def _silence(
        self, limit_dbm: Float[Tensor, " n"], cell: int, shift: Tensor | float = 0.0
    ) -> Float[Tensor, "n row column"]:
        """Log-probability that a cell is not reported, given the common fading `shift`; 0 where it has no path."""
        below = limit_dbm[:, None, None] - self.mean[cell] - shift
        log_p = self._contaminated(lambda own: log_unreported(below / own, self.dropout), cell)
        return torch.where(self.known[cell], log_p, 0.0)

    def _contaminated(self, law: Callable[[Tensor], Tensor], cell: int) -> Tensor:
        """A log-law of the spread of a cell's own fading, mixed with that of outliers."""
        own = self.link_std[cell]
        usual = law(own)
        if not self.outlier_fraction:
            return usual
        far = law((own**2 + self.outlier_std**2).sqrt())
        return torch.logaddexp(math.log1p(-self.outlier_fraction) + usual, math.log(self.outlier_fraction) + far)

    def _shared(self, reports: Reports, censor_dbm: Tensor) -> Float[Tensor, "batch row column"]:
        """With a common fading: the heard levels in closed form, the silent cells by quadrature given those.

        Given the heard levels the common part is normal. Rounding adds step²/12 to a level's variance (Sheppard).
        """
        precision, pull, log_p = self._heard(reports)
        centre, spread = pull / precision, precision.rsqrt()
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
        silence = torch.full_like(log_p, -torch.inf)
        for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
            term = torch.full_like(log_p, math.log(weight))
            for cell in (~reports.heard).any(0).nonzero()[:, 0].tolist():
                silent = self._silence(censor_dbm[:, cell], cell, self.common_std * (centre + spread * node))
                term += torch.where(reports.heard[:, cell, None, None], 0.0, silent.clamp(min=NEVER))
            silence = torch.logaddexp(silence, term)
        return (log_p + silence).clamp(min=NEVER * len(self.mean))

    def _heard(self, reports: Reports) -> tuple[Tensor, Tensor, Tensor]:
        """Precision and precision × mean of the common fading (in its sigma) given what is heard; its log-density."""
        shape = (len(reports), *self.mean.shape[1:])
        precision, pull, log_p = torch.ones(shape), torch.zeros(shape), torch.zeros(shape)
        for cell in range(len(self.mean)):
            variance = self.link_std[cell] ** 2 + self.step**2 / 12
            off = reports.rsrp_dbm[:, cell, None, None] - self.mean[cell]
            heard = reports.heard[:, cell, None, None]
            weight = heard * self.known[cell] / variance
            precision += self.common_std**2 * weight
            pull += self.common_std * weight * off
            peak = math.log(self.step) + math.log1p(-self.dropout) - (2 * math.pi * variance).log() / 2
            term = torch.where(self.known[cell], peak - weight * off**2 / 2, NEVER)
            log_p += torch.where(heard, term, 0.0)
        return precision, pull, log_p - precision.log() / 2 + pull**2 / precision / 2
