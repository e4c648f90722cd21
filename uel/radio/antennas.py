"""What a cell's antennas add in a direction, in closed form: direct paths of any ray tracer are judged by it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import math_angle, to_db
from uel.radio.sites import Array, Cell, Site, cells_of

MIN_ARRAY_GAIN = 1e-12  # -120 dB: a null of an array


def antenna_gain_db(sites: tuple[Site, ...], direction: Float[Tensor, "*n cell 3"]) -> Float[Tensor, "*n cell"]:
    """Gain in dB over an isotropic antenna, towards unit vectors from the cells (x east, y north, z up).

    All antennas of a cell radiate in phase and share the power of one, in both polarisations together.
    """
    cells = enumerate(cell for _, cell in cells_of(sites))
    return torch.stack([_gain_db(cell, direction[..., index, :].double()) for index, cell in cells], -1)


def _gain_db(cell: Cell, direction: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    ahead, left, up = (direction @ axis for axis in _axes(cell))
    element = _ELEMENTS[cell.array.pattern](torch.atan2(left, ahead), up.clamp(-1, 1))
    return to_db((element * _in_phase(cell.array, left, up)).clamp(min=MIN_ARRAY_GAIN))


def _axes(cell: Cell) -> tuple[Float[Tensor, "3"], ...]:
    """The boresight, and what is left of it and above: Rz(azimuth) Ry(tilt) of TR 38.901, equation 7.1-4."""
    turn, tilt = math_angle(cell.azimuth_deg), math.radians(cell.tilt_deg)
    east, north, down = math.cos(turn), math.sin(turn), math.sin(tilt)
    level = math.cos(tilt)
    rows = ((level * east, level * north, -down), (-north, east, 0.0), (down * east, down * north, level))
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)


def _in_phase(array: Array, left: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Power of a planar array over that of an element."""
    field = _row(array.columns, array.spacing, left) * _row(array.rows, array.spacing, up)
    return field.square() / (array.rows * array.columns)


def _row(count: int, spacing: float, along: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Field of a row of elements around its middle."""
    place = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * spacing
    return (2 * math.pi * place * along.unsqueeze(-1)).cos().sum(-1)


def _iso(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    return torch.ones_like(up)


def _dipole(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """A short dipole (Balanis, Antenna Theory, equation 4-26a), as Sionna has it by this name."""
    return 1.5 * (1 - up.square())


def _sector(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """8 dBi, 65° wide either way, 30 dB down at most (TR 38.901, table 7.3-1)."""
    vertical = (12 * (torch.rad2deg(torch.asin(up)) / 65).square()).clamp(max=30)
    horizontal = (12 * (torch.rad2deg(azimuth) / 65).square()).clamp(max=30)
    return 10 ** ((8 - (vertical + horizontal).clamp(max=30)) / 10)


_ELEMENTS = {"iso": _iso, "dipole": _dipole, "tr38901": _sector}
