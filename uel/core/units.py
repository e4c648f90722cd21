"""Physical constants and the few conversions that everything shares.

SI in memory; a suffix marks a departure (`_db`, `_dbm`, `_deg`). This is the only place where a
compass azimuth becomes the counter-clockwise-from-east angle that Sionna and `atan2` use.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def to_db(power: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """10·log10 of a strictly positive power ratio."""
    return 10.0 * torch.log10(power)


def from_db(value_db: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Power ratio of a value in decibels."""
    return 10.0 ** (value_db / 10.0)


def math_angle(azimuth_deg: float) -> float:
    """Angle in radians, counter-clockwise from east, of a compass azimuth (clockwise from north)."""
    return math.radians(90.0 - azimuth_deg)


def bearing_deg(origin: Float[Tensor, "*#n 2"], target: Float[Tensor, "*#n 2"]) -> Float[Tensor, "*n"]:
    """Compass azimuth in degrees, in [0, 360), of `target` seen from `origin` (both in metres)."""
    east, north = (target - origin).unbind(-1)
    return torch.rad2deg(torch.atan2(east, north)) % 360.0


def wrap_deg(angle_deg: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The same angle in [-180, 180)."""
    return (angle_deg + 180.0) % 360.0 - 180.0
