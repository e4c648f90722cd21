"""Links of a measured district to learn from: all that reports name, and some that they do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.batch_record import BatchRecord
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.evidence import MAX_COUNTED_CELLS
from uel.prediction.learned_maps.link_features import LinkFeatures


@dataclass(frozen=True, eq=False)
class LinkSamples(BatchRecord):
    """Links of judged squares, in half precision to keep those of many districts in memory."""

    features: Float[Tensor, "link feature"]
    heights: Float[Tensor, "link point"]
    level_dbm: Float[Tensor, " link"]
    """0 where the report does not name the cell"""
    is_reported: Bool[Tensor, " link"]
    count: Float[Tensor, " link"]
    """cells that the report names, `MAX_COUNTED_CELLS` at most"""
    weight: Float[Tensor, " link"]
    """how many links of the district this one stands for"""

    @staticmethod
    def of(network: MeasuredNetwork, silent_links: int, seed: int) -> "LinkSamples":
        """Links of a network whose cells are those that its reports name."""
        judged = network.select(network.is_judged)
        generator = torch.Generator().manual_seed(seed)
        square, cell = judged.is_reported.nonzero().unbind(1)
        silent = (~judged.is_reported).nonzero()
        drawn = silent[torch.randperm(len(silent), generator=generator, device=generator.device)[:silent_links]]
        weight = torch.cat(
            [
                torch.ones(len(cell), device="cpu"),
                torch.full((len(drawn),), len(silent) / max(len(drawn), 1), device="cpu"),
            ]
        )
        square, cell = torch.cat([square, drawn[:, 0]]), torch.cat([cell, drawn[:, 1]])
        links, place = LinkFeatures(judged), (cell, judged.row[square], judged.column[square])
        count = judged.is_reported.sum(1).clamp(max=MAX_COUNTED_CELLS)
        return LinkSamples(
            links.of(*place).half(), links.heights_around(*place).half(), judged.level_dbm[square, cell],
            judged.is_reported[square, cell], count[square].float(), weight,
        )  # fmt: skip


def join_samples(districts: Sequence[LinkSamples]) -> LinkSamples:
    """The links of several districts."""
    return LinkSamples.cat(list(districts))
