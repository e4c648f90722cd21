"""Numbers that belong to links, in compressed rows."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinkIndex:
    """Items of links: those of link l are `item[start[l] : start[l + 1]]`, each once, in rising order.

    Example:
        >>> import torch
        >>> index = LinkIndex.from_pairs(torch.tensor([2, 0, 2, 2]), torch.tensor([7, 5, 3, 7]), links=3)
        >>> index.start.tolist(), index.item.tolist()
        ([0, 1, 1, 3], [5, 3, 7])
        >>> [part.tolist() for part in index.items_around(torch.tensor([[0, 2], [1, 1]]))]  # none around link 1
        [[0, 0, 0], [3, 5, 7]]
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

    def is_empty(self, links: Int[Tensor, "*n"]) -> Bool[Tensor, "*n"]:
        """Whether links have no item."""
        return self.count(links) == 0

    def entries_of(self, links: Int[Tensor, "group link"]) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Groups, and the entries of the links of each."""
        first = self.start[links].flatten()
        count = self.start[links + 1].flatten() - first
        number = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        offset = torch.arange(len(number), device=count.device) - (count.cumsum(0) - count)[number]
        return number // links.shape[1], first[number] + offset

    def items_around(self, links: Int[Tensor, "group link"]) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Groups and their items: what the links of each group have, each item once a group."""
        group, entry = self.entries_of(links)
        return _unique_pairs(group, self.item[entry])


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
