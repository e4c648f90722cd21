"""Attenuation of a sector antenna at places, for many azimuths or tilts at once."""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import wrap_deg
from uel.prediction.link_trend import MIN_DISTANCE, UE_HEIGHT, horizontal_attenuation_db, vertical_attenuation_db


def attenuation_by_azimuth_db(
    offset: Float[Tensor, "point 2"], azimuth_deg: Float[Tensor, " candidate"]
) -> Float[Tensor, "candidate point"]:
    """Horizontal attenuation in dB at places `offset` metres east and north of antennas of these azimuths."""
    bearing = torch.rad2deg(torch.atan2(offset[:, 0], offset[:, 1]))
    return horizontal_attenuation_db(wrap_deg(bearing - azimuth_deg[:, None]))


def attenuation_by_tilt_db(
    offset: Float[Tensor, "point 2"], height: float, tilt_deg: Float[Tensor, " candidate"]
) -> Float[Tensor, "candidate point"]:
    """Vertical attenuation in dB at phones `offset` metres from antennas `height` metres above the ground."""
    horizontal = offset.norm(dim=1).clamp(min=1e-3)
    depression = torch.rad2deg(torch.atan2(torch.full_like(horizontal, height - UE_HEIGHT), horizontal))
    return vertical_attenuation_db(depression - tilt_deg[:, None])


def log_distance(offset: Float[Tensor, "point 2"], height: float) -> Float[Tensor, " point"]:
    """log10 of the distance in metres from the antenna to phones, at least `MIN_DISTANCE`."""
    squares = offset.square().sum(1) + (height - UE_HEIGHT) ** 2
    return squares.sqrt().clamp(min=MIN_DISTANCE).log10()
