"""A network that weighs the evidence: it turns what predicted maps say about a report at each place into a posterior.

Each named cell gives a vector at each place from its level, prediction and error bar; their sums, the silence of the
other cells and the surroundings make the correction of the log-posterior. The network knows neither where a place is
nor which cell is which, so it holds in any district.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.models.config import EvidenceNetworkConfig
from uel.models.equivariant_layers import IsotropicConv, zero_initialised
from uel.prediction.learned_maps.candidates import SQUARES_PER_BLOCK, Candidates
from uel.prediction.learned_maps.evidence import Evidence, PaddedReports
from uel.prediction.learned_maps.link_network import LinkPrediction, link_log_odds
from uel.prediction.learned_maps.surroundings import Surroundings

CELL_CHANNELS, PLACE_CHANNELS, POOLED_CHANNELS = 8, 7, 5
MAX_ERROR = 4.0  # standard deviations, larger ones count alike
MAX_LOG_RATIO = 20.0  # nats below the likeliest place


class EvidenceNetwork(nn.Module):
    """Corrects the posterior of `Evidence`; before training it gives that posterior."""

    def __init__(self, config: EvidenceNetworkConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.evidence = Evidence()
        self.of_cell = nn.Sequential(nn.Linear(CELL_CHANNELS, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.of_place = nn.Sequential(
            nn.Linear(2 * width + POOLED_CHANNELS + PLACE_CHANNELS, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
        )
        self.around = nn.ModuleList(IsotropicConv(width, width) for _ in range(config.depth))
        self.head = zero_initialised(nn.Linear(2 * width, 1))

    def forward(
        self,
        maps: LinkPrediction,
        places: Candidates,
        surroundings: Float[Tensor, "place channel"],
        reports: PaddedReports,
    ) -> Float[Tensor, "batch place"]:
        """Log-posterior of reports, normalised over the places."""
        log_likelihood, error = self.evidence(maps, reports)
        log_posterior = (log_likelihood + places.squares.log()).log_softmax(1)
        x = self.of_place(self._place_input(maps, surroundings, reports, log_posterior, error))
        correction = self.head(torch.cat([x, self._look_around(x, places)], -1))[..., 0]
        return (log_posterior + correction).log_softmax(1)

    def grid_bayes(
        self, maps: LinkPrediction, places: Candidates, reports: PaddedReports
    ) -> Float[Tensor, "batch place"]:
        """The log-posterior without the network's correction."""
        return (self.evidence(maps, reports)[0] + places.squares.log()).log_softmax(1)

    def _place_input(
        self, maps: LinkPrediction, surroundings: Tensor, reports: PaddedReports, log_posterior: Tensor, error: Tensor
    ) -> Tensor:
        chosen, mask = maps[reports.cell], reports.is_reported[..., None, None].float()
        strongest, places = reports.level_dbm[:, :1, None], log_posterior.shape[1]
        best_mean = maps.mean_dbm.amax(0)
        channels = [
            error.clamp(-MAX_ERROR, MAX_ERROR) / 2,
            error.abs().clamp(max=MAX_ERROR) / 2,
            chosen.std_db.log() - 1.5,
            (chosen.mean_dbm + 92) / 12,
            (chosen.mean_dbm - best_mean) / 12,
            link_log_odds(chosen, reports.count[:, None, None]) / 4,
            ((reports.level_dbm.unsqueeze(-1) - strongest).clamp(min=-60) / 12).expand(-1, -1, places),
            ((reports.level_dbm.unsqueeze(-1) + 92).clamp(-60, 60) / 12).expand(-1, -1, places),
        ]
        of_cell = self.of_cell(torch.stack(channels, -1)) * mask
        total, count = of_cell.sum(1), reports.count[:, None, None].clamp(min=1)
        # What the silent cells say beside their likelihood: the strongest level expected of one.
        named = torch.zeros(len(reports.cell), len(maps.mean_dbm), dtype=torch.bool, device="cpu").scatter(
            1, reports.cell, reports.is_reported
        )
        silent_best = torch.stack([maps.mean_dbm.masked_fill(row[:, None], -torch.inf).amax(0) for row in named]).clamp(
            min=-130.0
        )
        pooled = [
            ((log_posterior - log_posterior.amax(1, keepdim=True)) / 5).clamp(min=-MAX_LOG_RATIO / 5),
            (silent_best - strongest[:, :, 0]) / 12,
            (silent_best + 92) / 12,
            (count[..., 0].float() - 5).expand(-1, places) / 3,
            (maps.log_odds.sigmoid().sum(0) / 5).expand(len(named), -1),
        ]
        return torch.cat(
            [total / count.sqrt(), total / count, torch.stack(pooled, -1), surroundings.expand(len(named), -1, -1)], -1
        )

    def _look_around(
        self, x: Float[Tensor, "batch place width"], places: Candidates
    ) -> Float[Tensor, "batch place width"]:
        """Vectors of the neighbourhood of places, from convolutions over the raster of blocks at half resolution."""
        rows, columns = places.raster_shape
        raster = x.new_zeros(len(x), rows * columns, x.shape[-1]).index_copy(1, places.raster_index, x)
        image = F.avg_pool2d(raster.transpose(1, 2).unflatten(2, (rows, columns)), 2, ceil_mode=True)
        for layer in self.around:
            image = image + F.gelu(layer(image))
        fine = F.interpolate(image, scale_factor=2)[:, :, :rows, :columns]
        return fine.flatten(2)[:, :, places.raster_index].transpose(1, 2)


def place_surroundings(around: Surroundings, places: Candidates) -> Float[Tensor, "place channel"]:
    """Channels of the surroundings of places for the network."""
    row, column = places.row, places.column
    channels = [
        *around.built[:3, row, column], around.height[1, row, column] / 20,
        around.free_length[:, row, column].mean(0) / 100, around.skyline_deg[:, row, column].mean(0) / 45,
        places.squares / SQUARES_PER_BLOCK**2,
    ]  # fmt: skip
    return torch.stack(channels, 1)
