"""Numbers of the fit of antennas to levels, learned from other districts. No framework is imported here."""

import math
from dataclasses import dataclass

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class AntennaFitConfig:
    """What is believed of antennas and of levels before the fit.

    Raises:
        UelError: for a standard deviation that is not positive.

    Example:
        >>> AntennaFitConfig(azimuth_std_deg=10.0).azimuth_step_deg
        5.0
    """

    azimuth_std_deg: float = 20.0
    """of the true azimuth around the believed one"""
    tilt_std_deg: float = 4.0
    """of the true tilt around the believed one"""
    azimuth_range_deg: float = 60.0
    """offsets that are tried, in both directions"""
    azimuth_step_deg: float = 5.0
    tilt_range_deg: float = 12.0
    tilt_step_deg: float = 1.5
    intercept: tuple[float, float] = (-20.0, 15.0)
    """level minus the power of the reference signal at 1 m on the boresight: expectation and standard deviation, dB"""
    slope: tuple[float, float] = (-35.0, 8.0)
    """dB a decade of distance: expectation and standard deviation"""
    horizontal_strength: tuple[float, float] = (0.7, 0.3)
    """fitted dB for each dB of the pattern's horizontal attenuation: reflections fill what the pattern attenuates"""
    vertical_strength: tuple[float, float] = (0.4, 0.3)
    """the same of the vertical attenuation"""
    field_std_db: float = 6.0
    """of the smooth field around the law, a Gaussian process with a squared-exponential kernel"""
    field_length: float = 100.0
    """m, of the kernel exp(-d² / (2 length²))"""
    noise_std_db: float = 7.0
    """of one level around law and field"""
    threshold_dbm: float = -85.0
    """level from which a cell is reported: half of the phones that could do"""
    threshold_width_db: float = 6.0
    """standard deviation of that level"""
    ceiling: float = 0.8
    """probability that a strong cell is reported"""
    evidence_exponent: float = 0.1
    """of the evidence of the squares: they are more alike than the model knows"""
    place_exponent: float = 0.5
    """of the likelihood of a report whose place is not known: fields of cells are alike"""
    max_squares: int = 300
    """squares that a cell is fitted to, drawn at random"""

    def __post_init__(self) -> None:
        require_numbers(
            self,
            azimuth_range_deg=(0, 180),
            azimuth_step_deg=(0.01, 180),
            tilt_range_deg=(0, 90),
            tilt_step_deg=(0.01, 90),
            threshold_width_db=(1e-6, 1e3),
            ceiling=(0, 1),
            evidence_exponent=(0, 10),
            place_exponent=(0, 10),
            max_squares=(1, 1e9),
        )
        for name in ("azimuth_std_deg", "tilt_std_deg", "field_std_db", "field_length", "noise_std_db"):
            if not 0 < getattr(self, name) < math.inf:
                raise UelError(f"{name} is not positive", got=getattr(self, name), do="give a number above 0")
