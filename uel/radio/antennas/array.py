"""The antenna array of a cell, and its gain in the array's own frame."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.antennas.elements import ELEMENT_GAINS, row_factor
from uel.radio.antennas.measured_pattern import MeasuredPattern
from uel.radio.config import Pattern

MIN_ARRAY_GAIN = 1e-12  # -120 dB: gain is cut here in a null of an array
ELEMENT_RANGE = (1, 256)  # on a side
SPACING_RANGE = (1e-3, 1e3)  # wavelengths
MAX_ELECTRICAL_TILT = 30.0  # degrees either way


@dataclass(frozen=True, kw_only=True)
class Array:
    """A planar antenna array of identical elements.

    An electrical tilt acts in the array: it steers the rows by their phases, and where there is one row, it shifts the
    vertical cut of the element's pattern. A mechanical tilt is a property of the cell: it turns the whole array.

    Raises:
        UelError: for an array without elements, an electrical tilt beyond 30° or of an antenna that cannot be
            tilted, and a pattern `measured` without a measured pattern.

    Example:
        >>> import uel
        >>> uel.Array(rows=8, columns=4, pattern="tr38901", polarization="cross").spacing
        0.5
        >>> uel.Array(pattern="tr36814", electrical_tilt_deg=6.0).peak_gain_dbi  # 6° below the horizon
        14.0
    """

    rows: int = 1
    """elements one above the other"""
    columns: int = 1
    """elements side by side"""
    spacing: float = 0.5
    """element spacing in wavelengths"""
    pattern: Pattern = "iso"
    """element pattern: isotropic, short dipole, sector element of TR 38.901, sector of TR 36.814, or measured"""
    polarization: Literal["V", "H", "VH", "cross"] = "V"
    """of each element: vertical, horizontal, both, or slanted by ±45°"""
    electrical_tilt_deg: float = 0.0
    """electrical downtilt in degrees, beside the one that a measured pattern contains"""
    measured: MeasuredPattern | None = None
    """with pattern `measured`"""

    def __post_init__(self) -> None:
        require_numbers(self, rows=ELEMENT_RANGE, columns=ELEMENT_RANGE, spacing=SPACING_RANGE)
        if (self.pattern == "measured") != (self.measured is not None):
            raise UelError(
                "pattern measured needs a measured pattern, and a measured pattern needs pattern measured",
                got=f"pattern {self.pattern}",
                do="read one: uel.radio.antennas.pattern_files.read_pattern",
            )
        if not abs(self.electrical_tilt_deg) <= MAX_ELECTRICAL_TILT:
            raise UelError(
                f"an electrical tilt is not -{MAX_ELECTRICAL_TILT:g}° to {MAX_ELECTRICAL_TILT:g}°",
                got=f"{self.electrical_tilt_deg:g}°",
                do="give the downtilt in degrees",
            )
        if self.electrical_tilt_deg and self.rows == 1 and self.pattern in ("iso", "dipole"):
            raise UelError(
                f"an antenna of pattern {self.pattern} with one row has no electrical tilt",
                got=f"{self.electrical_tilt_deg:g}°",
                do="leave it out, or choose a sector's pattern or several rows",
            )

    @property
    def in_sionna(self) -> bool:
        """Whether Sionna RT has the pattern; otherwise the gain is this module's, times Sionna's isotropic element."""
        return self.pattern in ("iso", "dipole", "tr38901") and not self.electrical_tilt_deg

    @property
    def peak_gain_dbi(self) -> float:
        """Greatest gain in dBi over all directions, on a grid of a degree."""
        return _peak_gain_dbi(self)

    def gain(self, direction: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        """Linear gain over an isotropic antenna, all elements in phase sharing the power of one.

        Args:
            direction: unit vectors in the array's frame: ahead along boresight, left, up.
        """
        ahead, left, up = direction.double().unbind(-1)
        return self.gain_along(ahead, left, up)

    def gain_along(
        self, ahead: Float[Tensor, "*n"], left: Float[Tensor, "*n"], up: Float[Tensor, "*n"]
    ) -> Float[Tensor, "*n"]:
        """See `gain`."""
        steered = self.rows > 1
        shift = 0.0 if steered else self.electrical_tilt_deg
        azimuth, sine = torch.atan2(left, ahead), up.clamp(-1, 1)
        if self.measured is not None:
            element = 10 ** (self.measured.gain_dbi(azimuth, torch.asin(sine), shift) / 10)
        else:
            element = ELEMENT_GAINS[self.pattern](azimuth, sine, shift)
        steering = math.sin(math.radians(self.electrical_tilt_deg)) if steered else 0.0
        field = row_factor(self.columns, self.spacing, left) * row_factor(self.rows, self.spacing, up, steering)
        return (element * (field.square() / (self.rows * self.columns))).clamp(min=MIN_ARRAY_GAIN)


@lru_cache(maxsize=256)
def _peak_gain_dbi(array: Array) -> float:
    azimuth, elevation = (
        torch.deg2rad(torch.arange(a, b + 1, dtype=torch.float64, device="cpu")) for a, b in ((-180, 179), (-90, 90))
    )
    azimuth, elevation = torch.meshgrid(azimuth, elevation, indexing="ij")
    across = elevation.cos()
    direction = torch.stack([across * azimuth.cos(), across * azimuth.sin(), elevation.sin()], -1)
    return round(10 * math.log10(float(array.gain(direction).max())), 3)
