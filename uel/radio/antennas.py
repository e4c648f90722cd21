"""Antenna gain of a cell in a direction, in closed form; ray-traced direct paths are checked against it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import math_angle, to_db
from uel.radio.sites import Array, Cell, Site, cells_of

MIN_ARRAY_GAIN = 1e-12  # -120 dB: gain is cut here in a null of an array


def antenna_gain_db(sites: tuple[Site, ...], direction: Float[Tensor, "*n cell 3"]) -> Float[Tensor, "*n cell"]:
    """Gain in dB over an isotropic antenna, towards unit vectors from the cells (x east, y north, z up).

    All antennas of a cell radiate in phase and share the power of one, in both polarisations together.
    """
    cells = enumerate(cell for _, cell in cells_of(sites))
    return torch.stack([_gain_db(cell, direction[..., index, :].double()) for index, cell in cells], -1)


def _gain_db(cell: Cell, direction: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    ahead, left, up = (direction @ axis for axis in _axes(cell))
    element = _ELEMENTS[cell.array.pattern](torch.atan2(left, ahead), up.clamp(-1, 1))
    return to_db((element * _array_factor(cell.array, left, up)).clamp(min=MIN_ARRAY_GAIN))


def _axes(cell: Cell) -> tuple[Float[Tensor, "3"], ...]:
    """Unit vectors ahead, left and up of the antenna: Rz(azimuth) Ry(tilt) of TR 38.901, equation 7.1-4."""
    azimuth, tilt = math_angle(cell.azimuth_deg), math.radians(cell.tilt_deg)
    east, north, down = math.cos(azimuth), math.sin(azimuth), math.sin(tilt)
    horizontal = math.cos(tilt)
    rows = (
        (horizontal * east, horizontal * north, -down),
        (-north, east, 0.0),
        (down * east, down * north, horizontal),
    )
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)


def _array_factor(array: Array, left: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Power of a planar array relative to one element, all elements in phase."""
    field = _row(array.columns, array.spacing, left) * _row(array.rows, array.spacing, up)
    return field.square() / (array.rows * array.columns)


def _row(count: int, spacing: float, along: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Field of a row of in-phase elements centred on its middle."""
    offset = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * spacing
    return (2 * math.pi * offset * along.unsqueeze(-1)).cos().sum(-1)


def _iso(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    return torch.ones_like(up)


def _dipole(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """A short dipole (Balanis, Antenna Theory, equation 4-26a), Sionna's pattern "dipole"."""
    return 1.5 * (1 - up.square())


def _sector(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Sector element: 8 dBi, 65° beam width both ways, 30 dB front-to-back ratio (TR 38.901, table 7.3-1)."""
    vertical = (12 * (torch.rad2deg(torch.asin(up)) / 65).square()).clamp(max=30)
    horizontal = (12 * (torch.rad2deg(azimuth) / 65).square()).clamp(max=30)
    return 10 ** ((8 - (vertical + horizontal).clamp(max=30)) / 10)


_ELEMENTS = {"iso": _iso, "dipole": _dipole, "tr38901": _sector}
