"""Random materials: values for each building and surface, drawn around the class that the map suggests."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from scenes.materials.itu_p2040 import RadioMaterial, itu_properties, slab_thickness
from scenes.materials.osm_materials import SurfaceMaterials
from scenes.osm.map_features import Building
from uel.errors import UelError

PERMITTIVITY_RANGE = (2.0, 15.0)
CONDUCTIVITY_RANGE = (1e-3, 10.0)  # S/m
WAVE_COUNT = 512  # plane waves of the random field; the excess kurtosis of its marginals is about 1/WAVE_COUNT


@dataclass(frozen=True, kw_only=True)
class MaterialSpread:
    """Ranges of drawn materials around their class, and the correlation of neighbouring buildings."""

    within: Literal["class", "any"] = "class"
    """class: around the values of the class; any: over the whole range, for every class"""
    permittivity: float = 0.4
    """relative half-width of the uniform draw around the class's permittivity; the result stays in 2 to 15"""
    conductivity: float = 1.0
    """half-width in decades of the log-uniform draw around the class's conductivity; the result stays in 0.001 to 10
    S/m"""
    scattering: float = 0.6
    """largest scattering coefficient, which is drawn uniformly from 0"""
    thickness: float = 0.5
    """relative half-width of the uniform draw around the class's thickness"""
    length: float = 100.0
    """correlation length in metres: the covariance of the random field is exp(-d²/(2·length²))"""
    shared: float = 0.5
    """fraction of the variance that comes from the random field; the rest is independent for each surface"""

    def __post_init__(self) -> None:
        limits = {
            "permittivity": (0 <= self.permittivity <= 1, "from 0 to 1"),
            "scattering": (0 <= self.scattering <= 1, "from 0 to 1"),
            "thickness": (0 <= self.thickness < 1, "from 0 to below 1"),
            "shared": (0 <= self.shared <= 1, "from 0 to 1"),
            "conductivity": (self.conductivity >= 0, "of 0 or more"),
            "length": (self.length > 0, "above 0, in metres"),
        }
        for name, (is_valid, limit) in limits.items():
            if not is_valid:
                got = getattr(self, name)
                raise UelError(f"random materials: {name} is out of range", got=got, do=f"give a number {limit}")


@dataclass(frozen=True, kw_only=True)
class RandomMaterials:
    """Materials drawn for a carrier `frequency` (Hz): `materials` by name, `surfaces` by building with their names."""

    materials: Mapping[str, RadioMaterial]
    surfaces: Mapping[str, SurfaceMaterials]
    frequency: float
    seed: int
    spread: MaterialSpread = field(default_factory=MaterialSpread)

    @property
    def bands(self) -> dict[str, list[tuple[float, float]]]:
        """Band in Hz in which the drawn constants hold: within an octave of `frequency`."""
        return {"drawn materials": [(self.frequency / 2, self.frequency * 2)]}

    def record(self) -> dict[str, object]:
        """The entry in `tile.json`."""
        return {"frequency": self.frequency, "seed": self.seed, "spread": asdict(self.spread)}


def draw_materials(
    buildings: Iterable[Building],
    surfaces: Mapping[str, SurfaceMaterials],
    seed: int,
    *,
    frequency: float = 3.5e9,
    spread: MaterialSpread | None = None,
    donors: Mapping[str, Building] | None = None,
) -> RandomMaterials:
    """Draw the wall and roof materials of every building.

    A draw depends on `seed`, the building's id, its classes and its position on the tile, not on the number or order of
    the buildings. Each property is a Gaussian variable, mapped to a uniform number: the sum of a random field over the
    tile (`MaterialSpread.length`, `shared`), common to walls and roofs, and an independent term of the surface. Metal
    keeps its permittivity and conductivity; only its thickness and scattering are drawn. Classes below ε_r = 2 or above
    15 get that end of the range.

    Args:
        buildings: to draw for.
        surfaces: classes of wall and roof by building id.
        seed: of all draws.
        frequency: carrier frequency in Hz.
        spread: ranges and correlation of the draws.
        donors: for a building id, the building whose draws it gets instead of its own.

    Raises:
        UelError: when a class is not defined at `frequency`.
    """
    spread, donors = spread or MaterialSpread(), donors or {}
    random_field = _RandomField(seed, spread.length)
    materials: dict[str, RadioMaterial] = {}
    names_by_building: dict[str, SurfaceMaterials] = {}
    for building in buildings:
        classes = surfaces[building.id]
        number = _uniform_numbers(donors.get(building.id, building), random_field, seed, spread.shared)
        names = {side: f"{file_slug(building.id)}-{side}-{getattr(classes, side)}" for side in ("wall", "roof")}
        for row, (side, name) in enumerate(names.items()):
            materials[name] = _draw_material(getattr(classes, side), number[row], spread, frequency)
        names_by_building[building.id] = SurfaceMaterials(
            **names, wall_origin=classes.wall_origin, roof_origin=classes.roof_origin
        )
    return RandomMaterials(
        materials=materials, surfaces=names_by_building, frequency=frequency, seed=seed, spread=spread
    )


def file_slug(identity: str) -> str:
    """An OSM id in a form fit for files, XML and `material/NAME/PROPERTY`: `way/12#1` → `way-12-1`."""
    return identity.replace("/", "-").replace("#", "-")


def building_generator(seed: int, purpose: str, identity: str) -> np.random.Generator:
    """The random generator of one building and purpose; pieces of a multipolygon (`…#1`, `…#2`) share one."""
    digest = hashlib.sha256(f"{purpose} {identity.partition('#')[0]}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


class _RandomField:
    """A Gaussian random field for each of four properties, from random Fourier features."""

    def __init__(self, seed: int, length: float) -> None:
        random = np.random.default_rng([seed, 0])
        self.wave = random.normal(size=(4, WAVE_COUNT, 2)) / length
        self.phase = random.uniform(0, 2 * math.pi, size=(4, WAVE_COUNT))

    def at(self, x: float, y: float) -> Float[np.ndarray, "4"]:
        """The four values at (x, y) in metres, of zero mean and unit variance."""
        return math.sqrt(2 / WAVE_COUNT) * np.cos(self.wave @ np.array([x, y]) + self.phase).sum(axis=1)


def _uniform_numbers(
    building: Building, random_field: _RandomField, seed: int, shared: float
) -> Float[np.ndarray, "2 4"]:
    """Uniform numbers in [0, 1], wall and roof by property."""
    center = building.footprint.centroid
    independent = building_generator(seed, "materials", building.id).normal(size=(2, 4))
    return ndtr(math.sqrt(shared) * random_field.at(center.x, center.y) + math.sqrt(1 - shared) * independent)


def _draw_material(
    name: str, number: Float[np.ndarray, "4"], spread: MaterialSpread, frequency: float
) -> RadioMaterial:
    permittivity, conductivity = itu_properties(name, frequency)
    if name != "metal":
        permittivity = _interpolate(_permittivity_range(permittivity, spread), number[0])
        conductivity = 10 ** _interpolate(_log_conductivity_range(conductivity, spread), number[1])
    nominal = slab_thickness(name)
    return RadioMaterial(
        relative_permittivity=permittivity,
        conductivity=conductivity,
        thickness=_interpolate((nominal * (1 - spread.thickness), nominal * (1 + spread.thickness)), number[2]),
        scattering_coefficient=spread.scattering * float(number[3]),
    )


def _permittivity_range(nominal: float, spread: MaterialSpread) -> tuple[float, float]:
    if spread.within == "any":
        return PERMITTIVITY_RANGE
    low, high = np.clip([nominal * (1 - spread.permittivity), nominal * (1 + spread.permittivity)], *PERMITTIVITY_RANGE)
    return float(low), float(high)


def _log_conductivity_range(nominal: float, spread: MaterialSpread) -> tuple[float, float]:
    limits = np.log10(CONDUCTIVITY_RANGE)
    if spread.within == "any":
        return float(limits[0]), float(limits[1])
    middle = math.log10(nominal)
    low, high = np.clip([middle - spread.conductivity, middle + spread.conductivity], *limits)
    return float(low), float(high)


def _interpolate(limits: tuple[float, float], fraction: float) -> float:
    return float(limits[0] + (limits[1] - limits[0]) * fraction)
