"""Joint likelihood of a report's RSRP vector at every pixel; shadow fading correlated along tracks."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.measurement.distributions import log_normal_bin, log_unreported
from uel.measurement.reports import Reports

NEVER = -30.0  # nats, in place of log 0 where a map excludes a report; finite, so that no pixel becomes NaN
QUADRATURE_NODES = 12  # of the Gauss-Hermite rule over the common fading; more nodes change 1e-4 nats


def correlate_along_track(
    white: Float[Tensor, "*track report cell"], position: Float[Tensor, "*track report 2"], distance: float
) -> Float[Tensor, "*track report cell"]:
    """White noise of unit variance, correlated along each track as exp(-d / `distance`).

    d is the distance between two reports in metres (Gudmundson, Electronics Letters 1991): a first-order autoregressive
    process whose coefficient depends on the stride, so a stationary phone keeps its fading.
    """
    kept = (-position.diff(dim=-2).norm(dim=-1, keepdim=True) / distance).exp()
    innovation = (1 - kept**2).sqrt()
    field = [white[..., 0, :]]
    for report in range(1, white.shape[-2]):
        step = report - 1
        field.append(kept[..., step, :] * field[-1] + innovation[..., step, :] * white[..., report, :])
    return torch.stack(field, -2)


@dataclass(frozen=True, eq=False, repr=False)
class RsrpLikelihood(ShortRepr):
    """Distribution of levels on a map: a mean, a fading of each link, and one common to all links at a position."""

    mean: Float[Tensor, "cell row column"]
    """dBm, valid where `known`"""
    known: Bool[Tensor, "cell row column"]
    link_std: Float[Tensor, "cell row column"]
    """dB, standard deviation of the part that is independent between cells"""
    common_std: float
    """dB, standard deviation of the part that is common to all cells"""
    step: float
    """dB, reporting step"""
    dropout: float
    """probability that a heard cell is not reported"""
    outlier_fraction: float = 0.0
    """probability of an outlier, whose link fading has `outlier_std` more; only without a common fading (contaminated
    normal, Tukey 1960)"""
    outlier_std: float = 0.0

    def log_likelihood(
        self, reports: Reports, censor_dbm: Float[Tensor, "batch cell"]
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of the reported cells and their levels.

        `censor_dbm`: level below which a cell is not reported; a cell may also have dropped out.
        """
        if self.common_std:
            return self._log_likelihood_common(reports, censor_dbm)
        total = torch.zeros(*reports.serving.shape, *self.mean.shape[1:], device=self.mean.device)
        for cell in range(len(self.mean)):  # one cell at a time bounds the memory of a large batch
            total += self.cell_log_likelihood(reports, censor_dbm[:, cell], cell)
        return total

    def cell_log_likelihood(
        self, reports: Reports, censor_dbm: Float[Tensor, " batch"], cell: int
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability of one cell's level, or of its absence; only without a common fading."""
        return self._cell_log_likelihood(reports, censor_dbm, cell).clamp(min=NEVER)

    def _cell_log_likelihood(self, reports: Reports, censor_dbm: Float[Tensor, " batch"], cell: int) -> Tensor:
        heard, data_dependent = reports.heard[:, cell], not torch.compiler.is_compiling()
        if data_dependent and bool(heard.all()):  # always so for one report, or the case below
            return self._reported(reports, cell)
        # Few distinct censoring levels occur in a batch (one, unless reports are full): one table for each.
        levels, level_index = censor_dbm.unique(return_inverse=True)
        unreported = self._unreported(levels, cell)[level_index]
        if data_dependent and not bool(heard.any()):
            return unreported
        return torch.where(heard[:, None, None], self._reported(reports, cell), unreported)

    def _reported(self, reports: Reports, cell: int) -> Float[Tensor, "batch row column"]:
        """Log-probability that a cell is reported with its level."""
        offset = reports.rsrp_dbm[:, cell, None, None] - self.mean[cell]
        log_p = self._contaminated(lambda std: log_normal_bin(offset, std, self.step), cell) + math.log1p(-self.dropout)
        return torch.where(self.known[cell], log_p, NEVER)

    def _unreported(
        self, limit_dbm: Float[Tensor, " n"], cell: int, shift: Tensor | float = 0.0
    ) -> Float[Tensor, "n row column"]:
        """Log-probability that a cell is not reported, given the common fading `shift`; 0 where it has no path."""
        below = limit_dbm[:, None, None] - self.mean[cell] - shift
        log_p = self._contaminated(lambda std: log_unreported(below / std, self.dropout), cell)
        return torch.where(self.known[cell], log_p, 0.0)

    def _contaminated(self, log_p: Callable[[Tensor], Tensor], cell: int) -> Tensor:
        """A log-probability that depends on the standard deviation of a link's fading, mixed with that of outliers."""
        std = self.link_std[cell]
        regular = log_p(std)
        if not self.outlier_fraction:
            return regular
        outlier = log_p((std**2 + self.outlier_std**2).sqrt())
        return torch.logaddexp(math.log1p(-self.outlier_fraction) + regular, math.log(self.outlier_fraction) + outlier)

    def _log_likelihood_common(self, reports: Reports, censor_dbm: Tensor) -> Float[Tensor, "batch row column"]:
        """Log-likelihood with a common fading: heard levels in closed form, then unreported cells by quadrature.

        Given the heard levels, the common fading is normal. Rounding adds step²/12 to a level's variance (Sheppard).
        """
        precision, weighted_mean, log_p = self._heard(reports)
        mean, std = weighted_mean / precision, precision.rsqrt()
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
        unreported = torch.full_like(log_p, -torch.inf)
        for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
            term = torch.full_like(log_p, math.log(weight))
            for cell in (~reports.heard).any(0).nonzero()[:, 0].tolist():
                absent = self._unreported(censor_dbm[:, cell], cell, self.common_std * (mean + std * node))
                term += torch.where(reports.heard[:, cell, None, None], 0.0, absent.clamp(min=NEVER))
            unreported = torch.logaddexp(unreported, term)
        return (log_p + unreported).clamp(min=NEVER * len(self.mean))

    def _heard(self, reports: Reports) -> tuple[Tensor, Tensor, Tensor]:
        """Precision and precision × mean of the common fading (in units of its std) given the heard levels;
        log-density."""
        shape = (reports.heard.shape[0], *self.mean.shape[1:])
        precision, weighted_mean, log_p = (
            torch.ones(shape, device=self.mean.device),
            torch.zeros(shape, device=self.mean.device),
            torch.zeros(shape, device=self.mean.device),
        )
        for cell in range(len(self.mean)):
            variance = self.link_std[cell] ** 2 + self.step**2 / 12
            offset = reports.rsrp_dbm[:, cell, None, None] - self.mean[cell]
            heard = reports.heard[:, cell, None, None]
            weight = heard * self.known[cell] / variance
            precision += self.common_std**2 * weight
            weighted_mean += self.common_std * weight * offset
            peak = math.log(self.step) + math.log1p(-self.dropout) - (2 * math.pi * variance).log() / 2
            term = torch.where(self.known[cell], peak - weight * offset**2 / 2, NEVER)
            log_p += torch.where(heard, term, 0.0)
        return precision, weighted_mean, log_p - precision.log() / 2 + weighted_mean**2 / precision / 2
