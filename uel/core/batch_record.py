"""Base class of dataclasses whose fields are tensors with the same leading axes."""

from dataclasses import fields, replace
from typing import TypeVar

import torch

from uel.core.display.short_repr import ShortRepr

Item = TypeVar("Item", bound="BatchRecord")  # beartype knows no `Self` in methods it decorates one by one


class BatchRecord(ShortRepr):
    """A dataclass of tensors that share their leading axes."""

    def __getitem__(self: Item, index: object) -> Item:
        """The record with `index` applied to the leading axes of every tensor."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})  # type: ignore[type-var]

    def __len__(self) -> int:
        """A plain number, which `torch.export` would fix: a forward pass takes `shape[0]` of a tensor instead."""
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    @classmethod
    def stack(cls: type[Item], items: list[Item]) -> Item:
        """One record of many, along a new leading axis."""
        return cls(**{f.name: torch.stack([getattr(i, f.name) for i in items]) for f in fields(cls)})  # type: ignore[arg-type]

    @classmethod
    def cat(cls: type[Item], items: list[Item]) -> Item:
        """One record of many, joined along the leading axis."""
        return cls(**{f.name: torch.cat([getattr(i, f.name) for i in items]) for f in fields(cls)})  # type: ignore[arg-type]
