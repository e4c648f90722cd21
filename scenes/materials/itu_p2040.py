"""Electrical properties of building materials (ITU-R P.2040-4) and slabs of them as a ray tracer uses them."""

import cmath
import difflib
import math
from dataclasses import dataclass
from typing import NamedTuple

from uel.core.constants import SPEED_OF_LIGHT as LIGHT
from uel.errors import UelError


class Band(NamedTuple):
    """Coefficients of ε_r = a·f^b and σ = c·f^d S/m for f in GHz, valid from `low` to `high` GHz."""

    low: float
    high: float
    a: float
    b: float
    c: float
    d: float


# ITU-R P.2040-4, annex 1, clause 2.1.4, table 3; the first of overlapping bands counts, as in Sionna RT.
ITU_CLASSES: dict[str, tuple[Band, ...]] = {
    "concrete": (Band(1, 100, 5.24, 0, 0.0462, 0.7822), Band(110, 330, 5.17, 0, 0.0145, 1.09)),
    "brick": (Band(1, 40, 3.91, 0, 0.0238, 0.16), Band(110, 330, 4.15, 0, 0.0006, 1.5712)),
    "plasterboard": (
        Band(1, 100, 2.73, 0, 0.0085, 0.9395),
        Band(110, 330, 2.56, 0, 0.0001, 1.7799),
        Band(100, 400, 2.65, 0, 0.0002, 1.598),
    ),
    "wood": (
        Band(0.001, 100, 1.99, 0, 0.0047, 1.0718),
        Band(110, 330, 1.82, 0, 0.004, 1.0761),
        Band(100, 400, 2.1183, 0, 0.0055, 1.1113),
    ),
    "glass": (
        Band(0.1, 100, 6.31, 0, 0.0036, 1.3394),
        Band(220, 450, 5.79, 0, 0.0004, 1.658),
        Band(100, 400, 6.5767, 0, 0.0012, 1.4697),
    ),
    "ceiling_board": (
        Band(1, 100, 1.48, 0, 0.0011, 1.075),
        Band(220, 450, 1.52, 0, 0.0029, 1.029),
        Band(100, 400, 1.2567, 0, 0.00013, 1.454),
    ),
    "chipboard": (Band(1, 100, 2.58, 0, 0.0217, 0.78), Band(100, 200, 2.16, 0, 0.0023, 1.359)),
    "plywood": (
        Band(1, 40, 2.71, 0, 0.33, 0),
        Band(110, 330, 1.94, 0, 0.0067, 0.9982),
        Band(100, 400, 2.17, 0, 0.0063, 1.045),
    ),
    "marble": (
        Band(1, 60, 7.074, 0, 0.0055, 0.9262),
        Band(110, 330, 7.94, 0, 0.0001, 1.733),
        Band(100, 400, 8.62, 0, 0.0027, 1.15),
    ),
    "floorboard": (
        Band(50, 100, 3.66, 0, 0.0044, 1.3515),
        Band(220, 300, 5.27, 0, 2.22e-17, 7.3413),
        Band(300, 400, 5.27, 0, 0.0003, 2.0298),
        Band(400, 450, 5.27, 0, 49.8726, 0),
        Band(100, 400, 3.1575, 0, 0.001675, 1.32775),
    ),
    "metal": (Band(1, 100, 1, 0, 1e7, 0),),
    "very_dry_ground": (Band(1, 10, 3, 0, 0.00015, 2.52),),
    "medium_dry_ground": (Band(1, 10, 15, -0.1, 0.035, 1.63),),
    "wet_ground": (Band(1, 10, 30, -0.4, 0.15, 1.3),),
}

SLAB_THICKNESSES = {
    "metal": 0.005,
    "glass": 0.03,
    "wood": 0.08,
    "plasterboard": 0.03,
    "ceiling_board": 0.02,
    "floorboard": 0.03,
}
SLAB_THICKNESSES |= {"plywood": 0.02, "chipboard": 0.02}
VACUUM_PERMITTIVITY = 8.8541878188e-12  # F/m, permittivity of free space, CODATA 2022
MASONRY_THICKNESS = 0.25  # m: masonry and concrete; also ground, behind which there is no receiver


@dataclass(frozen=True, kw_only=True)
class RadioMaterial:
    """A slab with the properties that a ray tracer needs. Raises `UelError` for values that no passive slab has."""

    relative_permittivity: float
    """real part of ε_r, 1 or more"""
    conductivity: float
    """σ in S/m, 0 or more"""
    thickness: float
    """thickness of the slab in metres"""
    scattering_coefficient: float = 0.0
    """fraction S of the reflected field that is scattered diffusely, 0 to 1"""
    xpd: float = 0.0
    """fraction K_x of the scattered power that changes polarization, 0 to 1"""

    def __post_init__(self) -> None:
        limits = {
            "relative_permittivity": (1 <= self.relative_permittivity < math.inf, "of 1 or more, and finite"),
            "conductivity": (self.conductivity >= 0, "of 0 or more"),
            "thickness": (self.thickness > 0, "above 0"),
            "scattering_coefficient": (0 <= self.scattering_coefficient <= 1, "from 0 to 1"),
            "xpd": (0 <= self.xpd <= 1, "from 0 to 1"),
        }
        for name, (is_valid, limit) in limits.items():
            if not is_valid:
                got = getattr(self, name)
                raise UelError(f"radio material: {name} is out of range", got=got, do=f"give a number {limit}")


def frequency_bands(name: str) -> list[tuple[float, float]]:
    """Lowest and highest frequency in Hz of each band in which a class is defined.

    Raises `UelError` for an unknown class.
    """
    return [(band.low * 1e9, band.high * 1e9) for band in _bands_of_class(name)]


def itu_properties(name: str, frequency: float) -> tuple[float, float]:
    """Relative permittivity and conductivity (S/m) of a class at `frequency` (Hz).

    Raises `UelError` for an unknown class, and at frequencies for which the Recommendation does not define it: values
    are not extrapolated (those of ground end at 10 GHz).
    """
    f = frequency / 1e9
    band = next((band for band in _bands_of_class(name) if band.low <= f <= band.high), None)
    if band is None:
        known = ", ".join(f"{band.low:g}-{band.high:g} GHz" for band in _bands_of_class(name))
        raise UelError(
            f"ITU-R P.2040 does not define {name} at this frequency",
            got=f"{f:g} GHz",
            do=f"choose a frequency in {known}, or another material such as concrete",
        )
    return band.a * f**band.b, band.c * f**band.d


def slab_thickness(name: str) -> float:
    """Typical thickness in metres of a slab of a class, as walls, panes and boards have it; not from a standard."""
    return SLAB_THICKNESSES.get(name, MASONRY_THICKNESS)


def _bands_of_class(name: str) -> tuple[Band, ...]:
    if name not in ITU_CLASSES:
        close = difflib.get_close_matches(name, ITU_CLASSES, n=1)
        hint = f"perhaps you meant {close[0]}; " if close else ""
        raise UelError(
            "unknown material class of ITU-R P.2040", got=name, do=f"{hint}known are {', '.join(ITU_CLASSES)}"
        )
    return ITU_CLASSES[name]


def reflection_coefficients(material: RadioMaterial, frequency: float, angle_deg: float = 45.0) -> tuple[float, float]:
    """Magnitudes of the reflection coefficients of a slab in air for the TE and the TM wave.

    ITU-R P.2040-4, annex 1, equations 31 to 37; `frequency` in Hz, `angle_deg` is the angle of incidence.
    """
    wave, loss = 2 * math.pi * frequency, material.conductivity / (2 * math.pi * frequency * VACUUM_PERMITTIVITY)
    eta = complex(material.relative_permittivity, -loss)
    cos, root = math.cos(math.radians(angle_deg)), cmath.sqrt(eta - math.sin(math.radians(angle_deg)) ** 2)
    phase = cmath.exp(-2j * wave * material.thickness / LIGHT * root)
    faces = ((cos - root) / (cos + root), (eta * cos - root) / (eta * cos + root))
    te, tm = (abs(face * (1 - phase) / (1 - face**2 * phase)) for face in faces)
    return te, tm
