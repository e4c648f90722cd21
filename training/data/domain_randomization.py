"""Phones as they may be: what stands between truth and report is drawn anew for every batch."""

from dataclasses import dataclass, fields, replace

import torch

from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.measurement.tiers import TIERS, Tier, features_of

ValueRange = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class DomainRandomizationConfig:
    """Which phones a locator learns from. Pairs are the least and the greatest of an even draw."""

    shadowing_db: ValueRange = (8.0, 8.0)
    """standard deviation of shadow fading"""
    cell_correlation: ValueRange = (0.0, 0.0)
    """of the fading of two cells at one place"""
    level_noise_db: ValueRange = (0.0, 0.0)
    """standard deviation of a level's own error"""
    feature_dropout: ValueRange = (0.0, 0.0)
    """share of timing advances, times and azimuths that are missing"""
    cell_dropout: ValueRange = (0.0, 0.0)
    """share of cells that are heard and not reported"""
    report_dropout: ValueRange = (0.0, 0.0)
    """share of reports that are lost as a whole"""
    cells_max: tuple[int, ...] = (8,)
    """strongest cells that a report holds, one of these"""
    tiers: tuple[Tier, ...] = TIERS
    """feature tiers, in turn"""
    told: tuple[str, ...] = ("cells_max",)
    """which of these the locator is told, as the network that configures a phone's reports knows them; of the others
    it believes what its own measurement model says"""

    def __post_init__(self) -> None:
        if not self.cells_max or not self.tiers:
            raise UelError(
                "phones report cells, in some tier",
                got=self,
                do="give cells_max 8 and tiers rsrp rsrp_ta rsrp_ta_azimuth, say",
            )
        for tier in self.tiers:
            features_of(tier)
        if unknown := [name for name in self.told if name not in DRAWN_FIELDS]:
            raise UelError("the locator cannot be told this", got=unknown[0], do=f"choose from {', '.join(DRAWN_FIELDS)}")
        if falling := [name for name in RANGE_FIELDS if getattr(self, name)[0] > getattr(self, name)[1]]:
            raise UelError("a range runs from the least up", got=f"{falling[0]} {getattr(self, falling[0])}")
        for end in (0, 1):  # the model has the last word on what can be
            for count in self.cells_max:
                ObservationModel(cells_max=count, **{name: getattr(self, name)[end] for name in RANGE_FIELDS})

    def draw(self, model: ObservationModel, generator: torch.Generator) -> ObservationModel:
        """`model` with everything that is drawn."""
        shares = torch.rand(len(RANGE_FIELDS), generator=generator).tolist()
        pairs = (getattr(self, name) for name in RANGE_FIELDS)
        drawn = {n: low + s * (high - low) for n, s, (low, high) in zip(RANGE_FIELDS, shares, pairs, strict=True)}
        which = int(torch.randint(len(self.cells_max), (), generator=generator))
        return replace(model, cells_max=self.cells_max[which], **drawn)

    def believed(self, model: ObservationModel, drawn: ObservationModel) -> ObservationModel:
        """What the locator, whose own model is `model`, takes the realism of drawn phones to be."""
        return replace(model, **{name: getattr(drawn, name) for name in self.told})


RANGE_FIELDS = tuple(f.name for f in fields(DomainRandomizationConfig) if f.type == ValueRange)
DRAWN_FIELDS = (*RANGE_FIELDS, "cells_max")
