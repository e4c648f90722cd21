"""Numbers that belong to links, in compressed rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinkIndex:
    """Items of links: those of link l are `item[start[l] : start[l + 1]]`, each once, in rising order.

    Example:
        >>> import torch
        >>> index = LinkIndex.from_pairs(torch.tensor([2, 0, 2, 2]), torch.tensor([7, 5, 3, 7]), links=3)
        >>> index.start.tolist(), index.item.tolist()
        ([0, 1, 1, 3], [5, 3, 7])
        >>> [part.tolist() for part in index.items_of(torch.tensor([2, 1, 0]))]  # none at link 1
        [[0, 0, 2], [3, 7, 5]]
    """

    start: Int[Tensor, " link_1"]
    item: Int[Tensor, " entry"]

    @staticmethod
    def from_pairs(link: Int[Tensor, " entry"], item: Int[Tensor, " entry"], links: int) -> "LinkIndex":
        """Index pairs of a link and an item, which may come in any order and more than once."""
        link, item = _unique_pairs(link, item)
        return LinkIndex(torch.searchsorted(link, torch.arange(links + 1, device=link.device)), item)

    @property
    def link(self) -> Int[Tensor, " entry"]:
        """Link of each entry."""
        return torch.repeat_interleave(torch.arange(len(self.start) - 1, device=self.start.device), self.start.diff())

    def count(self, links: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Items of links."""
        return self.start[links + 1] - self.start[links]

    def entries_of(self, links: Int[Tensor, " n"]) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Numbers of links, as they are given, and their entries, link by link."""
        first, count = self.start[links], self.count(links)
        number = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        offset = torch.arange(len(number), device=count.device) - (count.cumsum(0) - count)[number]
        return number, first[number] + offset

    def items_of(self, links: Int[Tensor, " n"]) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Numbers of links, as they are given, and their items, link by link."""
        number, entry = self.entries_of(links)
        return number, self.item[entry]

    def around(self, count: int) -> "LinkIndex":
        """The index that gives each link what its pixel and the eight around it have, each item once.

        Links are mast · count² + pixel, pixels row · `count` + column.

        Example:
            >>> import torch
            >>> corner = LinkIndex.from_pairs(torch.tensor([0]), torch.tensor([4]), links=9)
            >>> corner.around(3).count(torch.arange(9)).view(3, 3).tolist()
            [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
        """
        if count not in self._around:
            self._around[count] = self._of_neighbourhoods(count)
        return self._around[count]

    @cached_property
    def _around(self) -> "dict[int, LinkIndex]":
        """What `around` has made."""
        return {}

    def __getstate__(self) -> dict[str, Tensor]:
        """Fields alone: another process makes neighbourhoods of its own."""
        return {"start": self.start, "item": self.item}

    def _of_neighbourhoods(self, count: int) -> "LinkIndex":
        pixels, step = count**2, torch.arange(-1, 2, device=self.start.device)
        starts, items, entries = [self.start[:1]], list[Tensor](), 0
        for first in range(0, len(self.start) - 1, pixels):  # mast by mast: nine times the entries of one
            start = self.start[first : first + pixels + 1]
            mast = LinkIndex(start - start[0], self.item[start[0] : start[-1]])
            rows, columns = (v[:, None] + step for v in (mast.link // count, mast.link % count))
            inside = [(v >= 0) & (v < count) for v in (rows, columns)]
            on_grid = inside[0][:, :, None] & inside[1][:, None]
            link = (rows[:, :, None] * count + columns[:, None])[on_grid]
            part = LinkIndex.from_pairs(link, mast.item[:, None, None].expand_as(on_grid)[on_grid], pixels)
            starts.append(part.start[1:] + entries)
            items.append(part.item)
            entries += len(part.item)
        return LinkIndex(torch.cat(starts), torch.cat(items))


def _unique_pairs(one: Int[Tensor, " n"], other: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Pairs of numbers, each once and in order."""
    span = int(other.max()) + 1 if len(other) else 1
    pairs = torch.unique(one * span + other)
    return pairs // span, pairs % span


def smallest_of_groups(group: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """Numbers, in rising order, of the entries that are among the `count` smallest of their group.

    Example:
        >>> import numpy as np
        >>> smallest_of_groups(np.array([1, 1, 0, 1]), np.array([3.0, 1.0, 9.0, 2.0]), 2).tolist()
        [1, 2, 3]
    """
    order = np.lexsort((value, group))
    ordered = group[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank < count])
