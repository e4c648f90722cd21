"""Attenuation of a sector antenna at places, for many azimuths or tilts at once."""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import wrap_deg

HORIZONTAL_WIDTH_DEG, HORIZONTAL_LIMIT_DB = 70.0, 25.0  # TR 36.814, table A.2.1.1-2: a macro cell's sector
VERTICAL_WIDTH_DEG, VERTICAL_LIMIT_DB = 10.0, 20.0
UE_HEIGHT = 1.5  # m
MIN_DISTANCE = 10.0  # m


def horizontal_attenuation_db(
    offset: Float[Tensor, "point 2"], azimuth_deg: Float[Tensor, " candidate"]
) -> Float[Tensor, "candidate point"]:
    """12 (angle / 70°)² dB, at most 25, of places `offset` metres east and north of the antenna."""
    bearing = torch.rad2deg(torch.atan2(offset[:, 0], offset[:, 1]))
    off = wrap_deg(bearing - azimuth_deg[:, None])
    return (12 * (off / HORIZONTAL_WIDTH_DEG).square()).clamp(max=HORIZONTAL_LIMIT_DB)


def vertical_attenuation_db(
    offset: Float[Tensor, "point 2"], height: float, tilt_deg: Float[Tensor, " candidate"]
) -> Float[Tensor, "candidate point"]:
    """12 (angle / 10°)² dB, at most 20, of phones `offset` metres from an antenna `height` metres above the ground."""
    horizontal = offset.norm(dim=1).clamp(min=1e-3)
    depression = torch.rad2deg(torch.atan2(torch.full_like(horizontal, height - UE_HEIGHT), horizontal))
    off = depression - tilt_deg[:, None]
    return (12 * (off / VERTICAL_WIDTH_DEG).square()).clamp(max=VERTICAL_LIMIT_DB)


def log_distance(offset: Float[Tensor, "point 2"], height: float) -> Float[Tensor, " point"]:
    """log10 of the distance in metres from the antenna to phones, at least `MIN_DISTANCE`."""
    squares = offset.square().sum(1) + (height - UE_HEIGHT) ** 2
    return squares.sqrt().clamp(min=MIN_DISTANCE).log10()
