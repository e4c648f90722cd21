"""Levels that phones reported, without their places."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.measurement.measured_network import MeasuredNetwork


@dataclass(frozen=True, eq=False, repr=False)
class LevelReports(ShortRepr):
    """What methods that locate in a measured network are asked: levels in dBm, and the make of each phone."""

    level_dbm: Float[Tensor, "report cell"]
    is_reported: Bool[Tensor, "report cell"]
    device: Int[Tensor, " report"]

    def __len__(self) -> int:
        return len(self.level_dbm)

    def __getitem__(self, index: slice) -> "LevelReports":
        return LevelReports(self.level_dbm[index], self.is_reported[index], self.device[index])

    @staticmethod
    def of(network: MeasuredNetwork) -> "LevelReports":
        """The reports of a network's measured squares."""
        return LevelReports(network.level_dbm, network.is_reported, network.device)

    def filled(self, silent_dbm: float) -> Float[Tensor, "report cell"]:
        """Levels with `silent_dbm` where a cell is not reported."""
        return torch.where(self.is_reported, self.level_dbm, silent_dbm)

    @property
    def strongest(self) -> Int[Tensor, " report"]:
        """The cell of the highest level of each report."""
        return self.filled(-torch.inf).argmax(1)
