"""Materials drawn at random, one for each building and surface, around the class that the map suggests."""

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
WAVE_COUNT = 512  # plane waves that make up the random field: its marginals are normal to 1/WAVES in kurtosis


@dataclass(frozen=True, kw_only=True)
class MaterialSpread:
    """How far drawn materials stray from their class, and how alike neighbours are."""

    within: Literal["class", "any"] = "class"
    """class: around the class's values; any: over the whole range, whatever the class"""
    permittivity: float = 0.4
    """relative half-width of the uniform draw around the class's permittivity; the result stays in 2 to 15"""
    conductivity: float = 1.0
    """decades to either side of the class's conductivity, log-uniform; the result stays in 0.001 to 10 S/m"""
    scattering: float = 0.6
    """greatest scattering coefficient, drawn uniformly from 0"""
    thickness: float = 0.5
    """relative half-width of the uniform draw around the class's thickness"""
    length: float = 100.0
    """metres over which neighbours are alike: the random field's covariance is exp(-d²/2·length²)"""
    shared: float = 0.5
    """share of the variance that the field holds; the rest is each surface's own"""

    def __post_init__(self) -> None:
        shares = (self.permittivity, self.scattering, self.thickness, self.shared)
        sensible = all(0 <= x <= 1 for x in shares) and self.thickness < 1
        if not (sensible and self.conductivity >= 0 and self.length > 0):
            raise UelError("materials cannot spread like this", got=self, do="give shares from 0 to 1, a length in m")


@dataclass(frozen=True, kw_only=True)
class RandomMaterials:
    """What was drawn at `frequency` (Hz): `materials` by name, `surfaces` names them for each building."""

    materials: Mapping[str, RadioMaterial]
    surfaces: Mapping[str, SurfaceMaterials]
    frequency: float
    seed: int
    spread: MaterialSpread = field(default_factory=MaterialSpread)

    @property
    def bands(self) -> dict[str, list[tuple[float, float]]]:
        """Where the constants may stand for the class, Hz: within an octave of the frequency they were drawn for."""
        return {"drawn materials": [(self.frequency / 2, self.frequency * 2)]}

    def record(self) -> dict[str, object]:
        """For `tile.json`."""
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
    """Draw wall and roof of every building; `surfaces` are their classes by id, `donors` whose draws each one has.

    A draw depends on `seed`, the building's id, its classes and where it stands on the tile, not on the number
    or order of the buildings. Each property follows a Gaussian field over the tile (`MaterialSpread.length`, `shared`)
    that walls and roofs have in common, plus the surface's own share, through the normal distribution function
    to a uniform number. Metal stays metal: only its thickness and scattering are drawn. Classes below ε_r = 2
    or above 15 are drawn at that end of the range.

    Raises `UelError` when a class is not defined at `frequency` (Hz).
    """
    spread, donors = spread or MaterialSpread(), donors or {}
    waves = _RandomField(seed, spread.length)
    materials: dict[str, RadioMaterial] = {}
    named: dict[str, SurfaceMaterials] = {}
    for building in buildings:
        classes = surfaces[building.id]
        number = _uniform_numbers(donors.get(building.id, building), waves, seed, spread.shared)
        names = {side: f"{file_slug(building.id)}-{side}-{getattr(classes, side)}" for side in ("wall", "roof")}
        for row, (side, name) in enumerate(names.items()):
            materials[name] = _draw_material(getattr(classes, side), number[row], spread, frequency)
        named[building.id] = SurfaceMaterials(**names, wall_origin=classes.wall_origin, roof_origin=classes.roof_origin)
    return RandomMaterials(materials=materials, surfaces=named, frequency=frequency, seed=seed, spread=spread)


def file_slug(identity: str) -> str:
    """An id as files, XML and `material/NAME/PROPERTY` can hold it: `way/12#1` → `way-12-1`."""
    return identity.replace("/", "-").replace("#", "-")


def building_generator(seed: int, purpose: str, identity: str) -> np.random.Generator:
    """A building's own random numbers for one purpose; pieces of a multipolygon (`…#1`, `…#2`) are one building."""
    digest = hashlib.sha256(f"{purpose} {identity.partition('#')[0]}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


class _RandomField:
    """A Gaussian field for each of four properties: random Fourier features, the same wherever it is asked."""

    def __init__(self, seed: int, length: float) -> None:
        random = np.random.default_rng([seed, 0])
        self.wave = random.normal(size=(4, WAVE_COUNT, 2)) / length
        self.phase = random.uniform(0, 2 * math.pi, size=(4, WAVE_COUNT))

    def at(self, x: float, y: float) -> Float[np.ndarray, "4"]:
        """Zero mean and unit variance; x, y in metres."""
        return math.sqrt(2 / WAVE_COUNT) * np.cos(self.wave @ np.array([x, y]) + self.phase).sum(axis=1)


def _uniform_numbers(building: Building, waves: _RandomField, seed: int, shared: float) -> Float[np.ndarray, "2 4"]:
    """Numbers in [0, 1], wall and roof by property."""
    place = building.footprint.centroid
    own = building_generator(seed, "materials", building.id).normal(size=(2, 4))
    return ndtr(math.sqrt(shared) * waves.at(place.x, place.y) + math.sqrt(1 - shared) * own)


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


def _interpolate(ends: tuple[float, float], share: float) -> float:
    return float(ends[0] + (ends[1] - ends[0]) * share)
