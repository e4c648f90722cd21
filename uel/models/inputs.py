"""Inputs of networks: one token for each cell, and channels for each pixel."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from uel.geo.tile_maps import HEIGHT_UNIT, MATERIAL_CLASSES, TileMaps
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cells_of

EVIDENCE_CHANNELS = 3  # RSRP, timing advance, azimuth
RADIO_CHANNELS = EVIDENCE_CHANNELS + 1 + 6
BUILDING_CHANNELS = 2 + len(MATERIAL_CLASSES)
CELL_FEATURES = 9


def cell_tokens(reports: Reports, maps: TileMaps) -> Float[Tensor, "batch cell feature"]:
    """One token per cell: its reported features and its pose, nothing that depends on the coordinate frame."""
    serving = F.one_hot(reports.serving, reports.heard.shape[-1]).float()
    reported = [
        normalise_level(reports.rsrp_dbm) * reports.heard,
        reports.heard.float(),
        serving,
        serving * reports.timing_advance.unsqueeze(-1) / 5.0,
        serving * reports.has_timing_advance.unsqueeze(-1),
        serving * reports.has_azimuth.unsqueeze(-1),
    ]
    pose = torch.tensor(
        [
            [site.position[2] / HEIGHT_UNIT, cell.tilt_deg / 10.0, math.log10(cell.carrier.frequency / 3.5e9)]
            for site, cell in cells_of(maps.radio.sites)
        ],
        device=reports.rsrp_dbm.device,
    )
    return torch.cat([torch.stack(reported, -1), pose.expand(*reports.serving.shape, -1, -1)], -1)


def pixel_channels(
    evidence: Float[Tensor, "batch feature row column"], reports: Reports, maps: TileMaps
) -> Float[Tensor, "batch channel row column"]:
    """Log-likelihoods, the serving cell's and the strongest cell's maps, then the buildings, at full resolution."""
    radio = maps.radio
    total = evidence.sum(1, keepdim=True)
    relative = torch.cat([evidence, total], 1)
    relative = (relative - relative.amax((-2, -1), keepdim=True)).clamp(min=-20.0) / 5.0
    level, cell = level_channel(radio), reports.serving
    error = error_channel(radio)[cell]
    serving = torch.stack(
        [level[cell], radio.known[cell].float(), error, radio.los[cell].float(), distance_channel(radio)[cell]], 1
    )
    fixed = torch.cat([level.amax(0)[None], maps.buildings])
    return torch.cat([relative, serving, fixed.expand(*cell.shape, -1, -1, -1)], 1)


def level_channel(radio: RadioMap) -> Float[Tensor, "cell row column"]:
    """Normalised path gain; -3 where it is unknown."""
    return torch.where(radio.known, normalise_level(radio.level_db), -3.0)


def error_channel(radio: RadioMap) -> Float[Tensor, "cell row column"]:
    """Relative error bars, clipped at twice the gain."""
    return radio.relative_error.clamp(max=2.0)


def normalise_level(level_db: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Levels or path gains (dBm, dB) on the scale of a network's inputs."""
    return (level_db + 100.0) / 15.0


def denormalise_level(normalised: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Levels in dB, the inverse of `normalise_level`."""
    return normalised * 15.0 - 100.0


def distance_channel(radio: RadioMap) -> Float[Tensor, "cell row column"]:
    """Distance on the ground from each antenna, in units of the tile's side."""
    return radio.distance / radio.grid.size
