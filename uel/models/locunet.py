"""Baseline of the LocUNet class: report and maps as planes of an image, and a plain U-Net over them.

After Yapar, Levie, Kutyniok and Caire, "Real-time Outdoor Localization Using Radio Maps: A Deep Learning Approach"
(IEEE Trans. Wireless Commun. 2023), whose U-Net reads radio maps, reported levels and buildings and whose heatmap's
centre of mass is the position. Here planes also hold ranges and angles, so that the input has the whole report,
and the heatmap is a density. As there, the input has no likelihoods, and nothing about cells that were not heard.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.core.constants import SPEED_OF_LIGHT
from uel.estimation.grid_posterior import PRIOR_FLOOR
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.equivariant_layers import u_net_pass, zero_initialised
from uel.models.inputs import BUILDING_CHANNELS, distance_channel, level_channel, normalise_level

PLANES_PER_CELL = 8  # of each cell, see `input_planes`
RANGE_UNIT = 100.0  # m, of a range's residual


class UNet(nn.Module):
    """Ronneberger et al., MICCAI 2015: `levels` of twice the channels at half the resolution, and back."""

    def __init__(self, cells: int, width: int, levels: int) -> None:
        super().__init__()
        self.cells = cells
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            _twice(a, b) for a, b in pairwise([PLANES_PER_CELL * cells + BUILDING_CHANNELS, *widths])
        )
        self.up = nn.ModuleList(_twice(a + b, a) for a, b in reversed(list(pairwise(widths))))
        self.logit = zero_initialised(nn.Conv2d(width, 1, 1))

    def forward(self, reports: Reports, maps: TileMaps, model: ObservationModel) -> Float[Tensor, "batch row column"]:
        """Log-weights of pixels; before training those of the prior, which every method knows."""
        x = u_net_pass(input_planes(reports, maps, model, self.cells), self.down, self.up, F.max_pool2d)
        return self.logit(x)[:, 0] + maps.prior.clamp(min=PRIOR_FLOOR).log()


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with a ReLU, initialised so that activations keep their variance (He et al. 2015)."""
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    for layer in (first, second):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def input_planes(
    reports: Reports, maps: TileMaps, model: ObservationModel, cells: int
) -> Float[Tensor, "batch channel row column"]:
    """`PLANES_PER_CELL` planes for each of the strongest reported cells in falling order, then the buildings.

    Planes of missing cells are zero.

    A cell's planes: its map's level, its reported level as path gain, distance, ones; the residual of each pixel's
    range to the time of arrival or timing advance, ones if there is one; cosine and sine of the angle from its reported
    azimuth to each pixel.
    """
    radio, strongest = maps.radio, _strongest(reports, cells)
    heard = reports.heard.gather(1, strongest)
    reported = normalise_level(reports.rsrp_dbm - maps.power_dbm).gather(1, strongest)
    distance, has_range = _range(reports, model, strongest)
    angle, has_angle = _angle(reports, strongest)
    residual = (radio.delay[strongest] * SPEED_OF_LIGHT - _broadcast(distance)) / RANGE_UNIT
    turn = (radio.azimuth_deg[strongest] - _broadcast(angle)) * (math.pi / 180)
    channels = [
        level_channel(radio)[strongest],
        _broadcast(reported).expand_as(turn),
        distance_channel(radio)[strongest],
        torch.ones_like(turn),
        residual.clamp(-3, 3) * _broadcast(has_range),
        _broadcast(has_range.float()).expand_as(turn),
        turn.cos() * _broadcast(has_angle),
        turn.sin() * _broadcast(has_angle),
    ]
    planes = (torch.stack(channels, 2) * _broadcast(heard).unsqueeze(2)).flatten(1, 2)
    padded = F.pad(planes, (0, 0, 0, 0, 0, PLANES_PER_CELL * cells - planes.shape[1]))
    return torch.cat([padded, maps.buildings.expand(planes.shape[0], -1, -1, -1)], 1)


def _strongest(reports: Reports, cells: int) -> Tensor:
    """Indices of the strongest reported cells (batch, slot); among equals the serving cell comes first."""
    index = torch.arange(reports.heard.shape[1], device=reports.heard.device)
    serving = (index == reports.serving[:, None]) * 0.01  # dB: levels come in far larger steps
    rank = torch.where(reports.heard, reports.rsrp_dbm + serving, -torch.inf)
    return rank.topk(min(cells, len(index)), 1).indices


def _range(reports: Reports, model: ObservationModel, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Reported range in metres to each of some cells, and whether there is one."""
    has_toa, serving = reports.has_toa.gather(1, cell), cell == reports.serving[:, None]
    advance = (reports.timing_advance[:, None] + 0.5) * model.range_step
    distance = torch.where(has_toa, reports.toa.gather(1, cell) * SPEED_OF_LIGHT, advance)
    return distance, has_toa | (serving & reports.has_timing_advance[:, None])


def _angle(reports: Reports, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Reported azimuth in degrees from each of some cells, and whether there is one."""
    has_aoa, serving = reports.has_aoa.gather(1, cell), cell == reports.serving[:, None]
    angle = torch.where(has_aoa, reports.aoa_deg.gather(1, cell), reports.azimuth_deg[:, None])
    return angle, has_aoa | (serving & reports.has_azimuth[:, None])


def _broadcast(values: Tensor) -> Tensor:
    """Values of reports and cells with axes for the pixels."""
    return values[..., None, None]
