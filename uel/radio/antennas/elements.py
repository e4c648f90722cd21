"""Element patterns in closed form: gain over an isotropic antenna in a direction of the antenna's own frame."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

# All angles in radians; azimuth counts from boresight to the left, `up` is the sine of the elevation over boresight's
# plane. An electrical tilt shifts the vertical cut.


def iso(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"], tilt_deg: float = 0.0) -> Float[Tensor, "*n"]:
    """An isotropic antenna."""
    return torch.ones_like(up)


def dipole(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"], tilt_deg: float = 0.0) -> Float[Tensor, "*n"]:
    """A short dipole (Balanis, Antenna Theory, equation 4-26a), Sionna's pattern "dipole"."""
    return 1.5 * (1 - up.square())


def tr38901(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"], tilt_deg: float = 0.0) -> Float[Tensor, "*n"]:
    """Sector element: 8 dBi, 65° beam width both ways, 30 dB front-to-back ratio (TR 38.901, table 7.3-1)."""
    return _parabolic(azimuth, up, tilt_deg, gain=8.0, widths=(65.0, 65.0), limits=(30.0, 30.0), floor=30.0)


def tr36814(azimuth: Float[Tensor, "*n"], up: Float[Tensor, "*n"], tilt_deg: float = 0.0) -> Float[Tensor, "*n"]:
    """Macro-cell sector: 14 dBi, 70° and 10° beam widths, 25 and 20 dB at most, 25 dB in all (TR 36.814, table
    A.2.1.1-2)."""
    return _parabolic(azimuth, up, tilt_deg, gain=14.0, widths=(70.0, 10.0), limits=(25.0, 20.0), floor=25.0)


def parabolic_loss_db(angle_deg: Float[Tensor, "*n"], width_deg: float, limit_db: float) -> Float[Tensor, "*n"]:
    """Loss of a beam in one plane: 12 (angle / width)² dB for its 3 dB width, up to a limit (both reports' tables)."""
    return (12 * (angle_deg / width_deg).square()).clamp(max=limit_db)


def _parabolic(
    azimuth: Float[Tensor, "*n"],
    up: Float[Tensor, "*n"],
    tilt_deg: float,
    gain: float,
    widths: tuple[float, float],
    limits: tuple[float, float],
    floor: float,
) -> Float[Tensor, "*n"]:
    """Horizontal and vertical attenuation 12 (angle / width)² in dB, each and both limited."""
    elevation = torch.rad2deg(torch.asin(up))
    shifted = elevation + tilt_deg if tilt_deg else elevation
    vertical = parabolic_loss_db(shifted, widths[1], limits[1])
    horizontal = parabolic_loss_db(torch.rad2deg(azimuth), widths[0], limits[0])
    return 10 ** ((gain - (vertical + horizontal).clamp(max=floor)) / 10)


def row_factor(count: int, spacing: float, along: Float[Tensor, "*n"], steering: float = 0.0) -> Float[Tensor, "*n"]:
    """Field of a row of elements centred on its middle, whose phases steer it to the sine `-steering` of an angle.

    Elements are `spacing` wavelengths apart, `along` is the direction's component along the row. In phase for 0.
    """
    offset = (torch.arange(count, dtype=torch.float64, device=along.device) - (count - 1) / 2) * spacing
    shifted = along + steering if steering else along
    return (2 * math.pi * offset * shifted.unsqueeze(-1)).cos().sum(-1)


ELEMENT_GAINS = {"iso": iso, "dipole": dipole, "tr38901": tr38901, "tr36814": tr36814}
