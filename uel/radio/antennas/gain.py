"""Antenna gain of a cell in a direction of the world; ray-traced direct paths are checked against it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import math_angle, to_db
from uel.radio.sites import Cell, Site, cells_of


def antenna_gain_db(sites: tuple[Site, ...], direction: Float[Tensor, "*n cell 3"]) -> Float[Tensor, "*n cell"]:
    """Gain in dB over an isotropic antenna, towards unit vectors from the cells (x east, y north, z up).

    All antennas of a cell radiate in phase and share the power of one, in both polarisations together.
    """
    cells = enumerate(cell for _, cell in cells_of(sites))
    return torch.stack([_gain_db(cell, direction[..., index, :].double()) for index, cell in cells], -1)


def _gain_db(cell: Cell, direction: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    ahead, left, up = (direction @ axis for axis in _axes(cell, direction.device))
    return to_db(cell.array.gain_along(ahead, left, up))


def _axes(cell: Cell, device: torch.device) -> tuple[Float[Tensor, "3"], ...]:
    """Unit vectors ahead, left and up of the antenna: Rz(azimuth) Ry(tilt) of TR 38.901, equation 7.1-4."""
    azimuth, tilt = math_angle(cell.azimuth_deg), math.radians(cell.tilt_deg)
    east, north, down = math.cos(azimuth), math.sin(azimuth), math.sin(tilt)
    horizontal = math.cos(tilt)
    rows = (
        (horizontal * east, horizontal * north, -down),
        (-north, east, 0.0),
        (down * east, down * north, horizontal),
    )
    return tuple(torch.tensor(row, dtype=torch.float64, device=device) for row in rows)
