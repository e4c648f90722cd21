"""What is true of a link, and what a phone says of it."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Item = TypeVar("Item", bound="_Batch")  # beartype knows no `Self` in methods it decorates one by one


class _Batch:
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
class Truth(_Batch):
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


@dataclass(frozen=True, eq=False)
class Reports(_Batch):
    """A phone's report: levels of the cells it hears, and the serving cell's timing advance and azimuth.

    Absent = mask False and value 0. A cell that is not `heard` is censored, which is information.
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

    def tier(self, name: str) -> "Reports":
        """What a phone of a feature tier reports: T0 levels, T1 and timing advance, T2 and azimuth."""
        none = torch.zeros_like(self.has_azimuth)
        keep_ta, keep_azimuth = name in ("T1", "T2"), name == "T2"
        ta = self.has_timing_advance if keep_ta else none
        azimuth = self.has_azimuth if keep_azimuth else none
        return replace(
            self,
            has_timing_advance=ta,
            timing_advance=self.timing_advance * ta,
            has_azimuth=azimuth,
            azimuth_deg=self.azimuth_deg * azimuth,
        )

    def at_serving(self, values: Float[Tensor, "*n cell"]) -> Float[Tensor, "*n"]:
        """The serving cell's entry of a per-cell value."""
        return values.gather(-1, self.serving.unsqueeze(-1)).squeeze(-1)


TIERS = ("T0", "T1", "T2")
