"""How well each place explains a report by predicted maps: levels of the cells that it names, silence of the others.

Errors of predicted levels have heavy tails and are alike between the cells of a report: standardised errors have a
multivariate Student distribution with one correlation. Whether a report names a cell depends on how many it names.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from uel.core.display.short_repr import ShortRepr
from uel.prediction.learned_maps.link_network import LinkPrediction, link_log_odds

REPORTED_CELLS = 12  # strongest cells of a report that count
MAX_COUNTED_CELLS = 10  # reports of more cells count as such of so many


@dataclass(frozen=True, eq=False, repr=False)
class PaddedReports(ShortRepr):
    """The strongest cells of each report, strongest first."""

    cell: Int[Tensor, "batch rank"]
    level_dbm: Float[Tensor, "batch rank"]
    is_reported: Bool[Tensor, "batch rank"]

    @staticmethod
    def of(level_dbm: Float[Tensor, "batch cell"], is_reported: Bool[Tensor, "batch cell"]) -> "PaddedReports":
        """Sort the cells of reports."""
        count = max(1, min(REPORTED_CELLS, int(is_reported.sum(1).amax())))
        level, cell = level_dbm.masked_fill(~is_reported, -torch.inf).topk(count, dim=1)
        return PaddedReports(cell, level.clamp(min=-200.0), level.isfinite())

    @property
    def count(self) -> Int[Tensor, " batch"]:
        return self.is_reported.sum(1)


class Evidence(nn.Module):
    """Log-likelihood of reports at places, with weights that are learned from districts not learned from before."""

    def __init__(self) -> None:
        super().__init__()
        self.log_std_factor = nn.Parameter(torch.zeros((), device="cpu"))
        self.log_dof = nn.Parameter(torch.tensor(6.0, device="cpu").log())
        self.correlation_logit = nn.Parameter(torch.tensor(0.2, device="cpu").logit())
        self.log_weight = nn.Parameter(torch.zeros(3, device="cpu"))
        """of levels, of named cells, of silent cells"""

    def forward(
        self, maps: LinkPrediction, reports: PaddedReports
    ) -> tuple[Float[Tensor, "batch place"], Float[Tensor, "batch rank place"]]:
        """Log-likelihoods up to a constant, and the standardised errors of the levels, 0 for cells that pad.

        Args:
            maps: predictions, (cell, place).
            reports: of the maps' cells.
        """
        mask = reports.is_reported.unsqueeze(-1)
        std = maps.std_db[reports.cell] * self.log_std_factor.exp()
        error = torch.where(mask, (reports.level_dbm.unsqueeze(-1) - maps.mean_dbm[reports.cell]) / std, 0.0)
        level = self._student_log_density(error, reports.count) - torch.where(mask, std.log(), 0.0).sum(1)
        silence, named = self._presence(maps, reports)
        weight = self.log_weight.exp()
        return weight[0] * level + weight[1] * named + weight[2] * silence, error

    def _student_log_density(
        self, error: Float[Tensor, "batch rank place"], count: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch place"]:
        """Multivariate Student density of equally correlated errors, up to a constant."""
        dof, correlation, n = self.log_dof.exp(), self.correlation_logit.sigmoid(), count[:, None]
        shared = correlation * error.sum(1).square() / (1 + (n - 1) * correlation)
        distance = (error.square().sum(1) - shared) / (1 - correlation)
        return -(dof + n) / 2 * torch.log1p(distance / dof)

    def _presence(
        self, maps: LinkPrediction, reports: PaddedReports
    ) -> tuple[Float[Tensor, "batch place"], Float[Tensor, "batch place"]]:
        """Log-probability that every cell is silent, and log-odds that the named cells are not."""
        counted = reports.count.clamp(max=MAX_COUNTED_CELLS)
        silence = {n: F.logsigmoid(-link_log_odds(maps, n)).sum(0) for n in counted.unique().tolist()}
        chosen = maps[reports.cell]
        log_odds = link_log_odds(chosen, counted[:, None, None])
        named = torch.where(reports.is_reported.unsqueeze(-1), log_odds, 0.0).sum(1)
        return torch.stack([silence[n] for n in counted.tolist()]), named
