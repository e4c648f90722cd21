"""What is true of a link, and what a phone says of it."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from uel.core.batch_record import BatchRecord
from uel.measurement.tiers import FEATURE_MASKS, features_of
from uel.radio.sites import Site, cells_of

_UNSAID: Any = None  # filled in below: a report that is given without these fields does not say them


@dataclass(frozen=True, eq=False)
class Reports(BatchRecord):
    """A phone's report: levels of the cells it hears, and ranges and directions of the serving or of all of them.

    Absent = mask False and value 0. A cell that is not `heard` is censored, which is information; a report that
    was not `received` is none.
    """

    rsrp_dbm: Float[Tensor, "*n cell"]
    heard: Bool[Tensor, "*n cell"]
    serving: Int[Tensor, "*n"]
    """index of the strongest reported cell (0 when none is heard)"""
    timing_advance: Float[Tensor, "*n"]
    """whole steps of 16·64·Tc/2^µ, of the serving cell"""
    has_timing_advance: Bool[Tensor, "*n"]
    azimuth_deg: Float[Tensor, "*n"]
    """degrees clockwise from north, of the UE seen from the serving cell"""
    has_azimuth: Bool[Tensor, "*n"]
    received: Bool[Tensor, "*n"] = _UNSAID
    """all, unless given"""
    toa: Float[Tensor, "*n cell"] = _UNSAID
    """s, time of flight to each reported cell"""
    has_toa: Bool[Tensor, "*n cell"] = _UNSAID
    aoa_deg: Float[Tensor, "*n cell"] = _UNSAID
    """degrees clockwise from north, of the UE seen from each reported cell"""
    has_aoa: Bool[Tensor, "*n cell"] = _UNSAID

    def __post_init__(self) -> None:
        unsaid = {"received": torch.ones_like(self.has_azimuth)}
        unsaid |= dict.fromkeys(("toa", "aoa_deg"), torch.zeros_like(self.rsrp_dbm))
        unsaid |= dict.fromkeys(("has_toa", "has_aoa"), torch.zeros_like(self.heard))
        for name, value in unsaid.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def with_tier(self, name: str) -> "Reports":
        """The part that a phone of a feature tier reports. Raises `UelError` for an unknown tier."""
        absent = [FEATURE_MASKS[value] for value in set(FEATURE_MASKS) - set(features_of(name))]
        return self.with_masks(**{mask: torch.zeros_like(getattr(self, mask)) for mask in absent})

    def with_masks(self, **masks: Bool[Tensor, "..."]) -> "Reports":
        """With other masks (`has_timing_advance` and so on); what they leave out is 0."""
        values = {value: getattr(self, value) * masks[mask] for value, mask in FEATURE_MASKS.items() if mask in masks}
        return replace(self, **masks, **values)

    def rotate_angles(self, by_deg: Float[Tensor, " cell"]) -> "Reports":
        """As they would read if each cell's angles were so many degrees further clockwise."""
        azimuth = (self.azimuth_deg + by_deg[self.serving]) % 360.0 * self.has_azimuth
        return replace(self, azimuth_deg=azimuth, aoa_deg=(self.aoa_deg + by_deg) % 360.0 * self.has_aoa)

    def at_serving(self, values: Shaped[Tensor, "*n cell"]) -> Shaped[Tensor, "*n"]:
        """The serving cell's entry of a per-cell value."""
        return values.gather(-1, self.serving.unsqueeze(-1)).squeeze(-1)


def rotate_to_assumed_azimuths(reports: Reports, true: tuple[Site, ...], assumed: tuple[Site, ...]) -> Reports:
    """Reports as a locator reads them that assumes the antenna azimuths of `assumed` instead of the `true` ones.

    An antenna measures angles from its boresight, so an error of its assumed azimuth goes into every compass angle.
    Reports are returned as they are where the azimuths agree.
    """
    offset_deg = torch.tensor(
        [b.azimuth_deg - a.azimuth_deg for (_, a), (_, b) in zip(cells_of(true), cells_of(assumed), strict=True)]
    )
    return reports.rotate_angles(offset_deg) if offset_deg.any() else reports
