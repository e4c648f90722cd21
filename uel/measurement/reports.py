"""What is true of a link, and what a phone says of it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from uel.errors import UelError

Item = TypeVar("Item", bound="_BatchRecord")  # beartype knows no `Self` in methods it decorates one by one


class _BatchRecord:
    """Dataclasses of tensors that share their leading axes."""

    def __getitem__(self: Item, index: object) -> Item:
        """The same selection along the leading axes of every tensor."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})  # type: ignore[type-var]

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    @classmethod
    def stack(cls: type[Item], items: list[Item]) -> Item:
        """One batch of many items, along a new leading axis."""
        return cls(**{f.name: torch.stack([getattr(i, f.name) for i in items]) for f in fields(cls)})  # type: ignore[arg-type]

    @classmethod
    def cat(cls: type[Item], items: list[Item]) -> Item:
        """Batches one after the other along the leading axis."""
        return cls(**{f.name: torch.cat([getattr(i, f.name) for i in items]) for f in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class LinkTruth(_BatchRecord):
    """The noiseless radio world at some places. A link without a path is not `known`, its gain 0."""

    position: Float[Tensor, "*n 2"]
    """m, east and north of the tile's centre"""
    gain_db: Float[Tensor, "*n cell"]
    """path gain in decibels, where `known`"""
    known: Bool[Tensor, "*n cell"]
    delay: Float[Tensor, "*n cell"]
    """s, first arrival"""
    azimuth_deg: Float[Tensor, "*n cell"]
    """compass azimuth of departure at the cell, of the strongest path"""
    los: Bool[Tensor, "*n cell"]


_UNSAID: Any = None  # filled in below: a report that is given without these fields does not say them


@dataclass(frozen=True, eq=False)
class Reports(_BatchRecord):
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

    def tier(self, name: str) -> "Reports":
        """The part that a phone of a feature tier reports. Raises `UelError` for an unknown tier."""
        absent = [_MASKS[value] for value in set(_MASKS) - set(features_of(name))]
        return self.saying(**{mask: torch.zeros_like(getattr(self, mask)) for mask in absent})

    def saying(self, **masks: Bool[Tensor, "..."]) -> "Reports":
        """With other masks (`has_timing_advance` and so on); what they leave out is 0."""
        values = {value: getattr(self, value) * masks[mask] for value, mask in _MASKS.items() if mask in masks}
        return replace(self, **masks, **values)

    def turned(self, by_deg: Float[Tensor, " cell"]) -> "Reports":
        """As they would read if each cell's angles were so many degrees further clockwise."""
        azimuth = (self.azimuth_deg + by_deg[self.serving]) % 360.0 * self.has_azimuth
        return replace(self, azimuth_deg=azimuth, aoa_deg=(self.aoa_deg + by_deg) % 360.0 * self.has_aoa)

    def at_serving(self, values: Shaped[Tensor, "*n cell"]) -> Shaped[Tensor, "*n"]:
        """The serving cell's entry of a per-cell value."""
        return values.gather(-1, self.serving.unsqueeze(-1)).squeeze(-1)


_MASKS = {
    "timing_advance": "has_timing_advance",
    "azimuth_deg": "has_azimuth",
    "toa": "has_toa",
    "aoa_deg": "has_aoa",
}
Tier = Literal["rsrp", "rsrp_ta", "rsrp_ta_azimuth", "rsrp_toa", "rsrp_toa_aoa"]
"""rsrp levels, rsrp_ta and timing advance, rsrp_ta_azimuth and azimuth, rsrp_toa and times of arrival of all
reported cells, rsrp_toa_aoa and angles."""
TIERS = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
"""Tiers that the demo is trained for and judged by."""


def features_of(tier: str) -> tuple[str, ...]:
    """What a tier reports beside levels. Raises `UelError` for an unknown one."""
    tiers = get_args(Tier)
    if tier not in tiers:
        raise UelError("no such feature tier", got=tier, do=f"choose one of {', '.join(tiers)}")
    return tuple(_MASKS)[: tiers.index(tier)]
