"""A network that predicts the level of a link with its error bar, and whether a report names the cell at all.

It reads the features of a link (`link_features`) and the raster of heights around the square, turned so that the
antenna lies ahead: what it learns holds in every direction and on any network. Several such networks together know
unseen districts better than one (`LinkEnsemble`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.core.batch_record import BatchRecord
from uel.measurement.measured_network import MeasuredNetwork
from uel.models.config import LinkNetworkConfig
from uel.prediction.learned_maps.candidates import Candidates
from uel.prediction.learned_maps.link_features import LINK_FEATURES, LINKS_PER_CHUNK, PATCH_SIZE, LinkFeatures

MEAN_LEVEL_DBM, LEVEL_UNIT_DB = -92.0, 12.0
MIN_STD_DB, STD_UNIT_DB = 1.0, 5.0
MEAN_LOG_ODDS = -3.0  # of a cell's being named
MEAN_CELLS, LOG_ODDS_PER_CELL = 4.5, 0.3  # of a report
CLIPPED_DEVIATIONS = 4.0  # standard deviations beyond which features count alike


@dataclass(frozen=True, eq=False, repr=False)
class LinkPrediction(BatchRecord):
    """Predictions for links."""

    mean_dbm: Float[Tensor, "*link"]
    std_db: Float[Tensor, "*link"]
    log_odds: Float[Tensor, "*link"]
    """that a report of `MEAN_CELLS` cells names the cell"""
    log_odds_per_cell: Float[Tensor, "*link"]
    """by which they rise with each cell more"""


class LinkNetwork(nn.Module):
    """Residual layers over the features of a link and the heights around its square."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: LinkNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(len(LINK_FEATURES), device="cpu"))
        self.register_buffer("std", torch.ones(len(LINK_FEATURES), device="cpu"))
        self.entry = nn.Linear(len(LINK_FEATURES) + PATCH_SIZE, config.width)
        self.layers = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(config.depth))
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.depth + 1))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, 4)

    def standardise(self, features: Float[Tensor, "link feature"]) -> None:
        """Take mean and standard deviation of the features from a sample of links."""
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0).clamp(min=1e-3))

    def forward(self, features: Float[Tensor, "link feature"], heights: Float[Tensor, "link point"]) -> LinkPrediction:
        """Predict links from their features and the heights around their squares."""
        deviation = ((features - self.mean) / self.std).clamp(-CLIPPED_DEVIATIONS, CLIPPED_DEVIATIONS)
        x = self.norms[0](F.gelu(self.entry(torch.cat([deviation, heights], 1))))
        for layer, norm in zip(self.layers, list(self.norms)[1:], strict=True):
            x = norm(x + self.dropout(F.gelu(layer(x))))
        level, spread, log_odds, slope = self.head(x).unbind(1)
        return LinkPrediction(
            MEAN_LEVEL_DBM + LEVEL_UNIT_DB * level,
            MIN_STD_DB + STD_UNIT_DB * F.softplus(spread + 1.0),
            MEAN_LOG_ODDS + log_odds,
            LOG_ODDS_PER_CELL + slope,
        )


class LinkEnsemble(nn.Module):
    """Networks that learned the same links from different draws: their predictions are averaged."""

    def __init__(self, members: Sequence[LinkNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Float[Tensor, "link feature"], heights: Float[Tensor, "link point"]) -> LinkPrediction:
        """The mean of all members' predictions."""
        every = LinkPrediction.stack([member(features, heights) for member in self.members])
        return LinkPrediction(*(getattr(every, field.name).mean(0) for field in fields(every)))

    @torch.no_grad()
    def predict_maps(self, network: MeasuredNetwork, places: Candidates) -> LinkPrediction:
        """Maps (cell, place) of all cells of a network, which should be those that any of its reports names."""
        links, cells = LinkFeatures(network), len(network.cells)
        places_per_chunk = max(1, LINKS_PER_CHUNK // cells)
        parts = []
        for row, column in zip(places.row.split(places_per_chunk), places.column.split(places_per_chunk), strict=True):
            cell = torch.arange(cells, device="cpu").repeat(len(row))
            link = cell, row.repeat_interleave(cells), column.repeat_interleave(cells)
            parts.append(self(links.of(*link), links.heights_around(*link)))
        every = LinkPrediction.cat(parts)
        return LinkPrediction(*(getattr(every, f.name).view(-1, cells).T.contiguous() for f in fields(every)))


def link_log_odds(maps: LinkPrediction, cells: int | Tensor) -> Float[Tensor, "*link"]:
    """Log-odds that a report of as many cells names a cell; `cells` broadcasts over links."""
    return maps.log_odds + maps.log_odds_per_cell * (cells - MEAN_CELLS)
