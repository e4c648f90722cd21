"""What is to be learned of a world: one number each for antennas and materials, physical whatever a step does to it.

Numbers are fitted in units of what was believed of them: 0 is the believed value, 1 a standard deviation of the belief.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Site, cells_of

CELL = ("azimuth_deg", "tilt_deg", "power_db")
MATERIAL = ("relative_permittivity", "conductivity", "scattering_coefficient")
KINDS = (*CELL, "height", *MATERIAL)
UNITS = {"azimuth_deg": "°", "tilt_deg": "°", "power_db": "dB", "height": "m", "conductivity": "S/m"}
CLEAR = 0.5  # m above the roof: where no mast's height is drawn or fitted below
CONDUCTOR = 1e3  # S/m: of metal nothing can be learned from reflections, nor need it be
LEAST_SHARE = 0.02  # of a scattering coefficient that is believed to be 0


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """How far off the tile may be, as standard deviations; 0 takes the tile's word and learns nothing."""

    azimuth_deg: float = 10.0
    """of each cell's azimuth"""
    tilt_deg: float = 3.0
    """of each cell's tilt"""
    power_db: float = 4.0
    """of each cell's transmit power, which takes in what else is the same on all its links"""
    height: float = 2.0
    """m, of each mast"""
    relative_permittivity: float = 0.25
    """of the logarithm of each material's permittivity less 1"""
    conductivity: float = 0.7
    """of the logarithm of each material's conductivity"""
    scattering_coefficient: float = 0.0
    """of the logit of each material's scattering coefficient: what reflections lose to scattering"""

    def __post_init__(self) -> None:
        if not all(0 <= getattr(self, f.name) < math.inf for f in fields(self)):
            raise UelError("beliefs are standard deviations", got=self, do="give numbers that are not negative")
        if not any(getattr(self, f.name) for f in fields(self)):
            raise UelError("nothing is to be learned", got=self, do="give something a deviation, azimuth_deg 10 say")


@dataclass(frozen=True, eq=False)
class CalibrationParameters:
    """Parameters in a row; `theta` holds their numbers, standard normal under the belief."""

    kind: tuple[str, ...]
    owner: tuple[int, ...]
    """cell, mast or material, by its number"""
    believed: Float[Tensor, " parameter"]
    spread: Float[Tensor, " parameter"]
    floor: Float[Tensor, " parameter"]
    """least elevation of a mast in m; 0 elsewhere"""
    sites: tuple[Site, ...]
    materials: tuple[str, ...]

    @staticmethod
    def of(
        tile: Tile, sites: tuple[Site, ...], materials: Mapping[str, Mapping[str, float]], beliefs: PriorConfig
    ) -> "CalibrationParameters":
        """All parameters with a belief of a scene; `materials` are values by name and property."""
        names = tuple(sorted(name for name, of in materials.items() if of["conductivity"] < CONDUCTOR))
        rows = [
            row
            for kind in KINDS
            if (spread := getattr(beliefs, kind))
            for row in _rows(kind, spread, tile, sites, names, materials)
        ]
        kind, owner, believed, spread, floor = zip(*rows, strict=True)
        wide = lambda values: torch.tensor(values, dtype=torch.float64)  # noqa: E731
        return CalibrationParameters(kind, owner, wide(believed), wide(spread), wide(floor), sites, names)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def names(self) -> list[str]:
        """As tables have them: `azimuth_deg of cell 3`."""
        return [f"{kind} of {self.owner_name(kind, owner)}" for kind, owner in zip(self.kind, self.owner, strict=True)]

    def owner_name(self, kind: str, owner: int) -> str:
        return self.materials[owner] if kind in MATERIAL else f"mast {owner}" if kind == "height" else f"cell {owner}"

    def rows(self, kind: str) -> list[int]:
        """Where the parameters of a kind are, in the order of their owners."""
        return [row for row, other in enumerate(self.kind) if other == kind]

    @property
    def mast_of_cell(self) -> list[int]:
        return [number for number, site in enumerate(self.sites) for _ in site.cells]

    def value(self, theta: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """Physical values: permittivity above 1, conductivity above 0, masts above their roofs; differentiable."""
        shift, parts = self.spread * theta, []
        for row, kind in enumerate(self.kind):
            parts.append(_physical(kind, self.believed[row], shift[row], self.floor[row]))
        return torch.stack(parts)

    def slope(self, theta: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """Derivative of each value by its own number."""
        theta = theta.detach().clone().requires_grad_()
        return torch.autograd.grad(self.value(theta).sum(), theta)[0]

    def given(self, theta: Float[Tensor, " parameter"]) -> dict[str, Tensor]:
        """The values as `Sionna.trace` takes them; the power is not its business, see `power_db`."""
        value, told = self.value(theta).float(), {}
        for kind in ("azimuth_deg", "tilt_deg"):
            if rows := self.rows(kind):
                told[kind] = value[rows]
        if rows := self.rows("height"):
            told["cell_height"] = value[rows][self.mast_of_cell]
        for row, kind in enumerate(self.kind):
            if kind in MATERIAL:
                told[f"material/{self.materials[self.owner[row]]}/{kind}"] = value[row]
        return told

    def power_db(self, theta: Float[Tensor, " parameter"]) -> Float[Tensor, " cell"]:
        """What every cell is stronger than its site says, in dB."""
        rows = self.rows("power_db")
        return self.value(theta)[rows] if rows else torch.zeros(len(self.mast_of_cell), dtype=torch.float64)

    def sites_at(self, theta: Float[Tensor, " parameter"]) -> tuple[Site, ...]:
        """The masts with these values."""
        value = {(k, o): v for k, o, v in zip(self.kind, self.owner, self.value(theta).tolist(), strict=True)}
        cells = [cell for _, cell in cells_of(self.sites)]
        turned = [
            replace(
                cell,
                azimuth_deg=value.get(("azimuth_deg", n), cell.azimuth_deg) % 360.0,
                tilt_deg=value.get(("tilt_deg", n), cell.tilt_deg),
                power_dbm=cell.power_dbm + value.get(("power_db", n), 0.0),
            )
            for n, cell in enumerate(cells)
        ]
        sites, first = [], 0
        for number, site in enumerate(self.sites):
            x, y, z = site.position
            mine = tuple(turned[first : first + len(site.cells)])
            sites.append(Site(position=(x, y, value.get(("height", number), z)), cells=mine))
            first += len(mine)
        return tuple(sites)

    def materials_at(self, theta: Float[Tensor, " parameter"]) -> dict[str, dict[str, float]]:
        """Values of materials by name and property."""
        told: dict[str, dict[str, float]] = {}
        for kind, owner, value in zip(self.kind, self.owner, self.value(theta).tolist(), strict=True):
            if kind in MATERIAL:
                told.setdefault(self.materials[owner], {})[kind] = value
        return told


def _rows(kind: str, spread: float, tile: Tile, sites: tuple[Site, ...], names: tuple[str, ...], materials: Mapping):
    """(kind, owner, believed, spread, floor) of all owners of a kind."""
    if kind == "height":
        return [(kind, n, site.position[2], spread, _floor(tile, site)) for n, site in enumerate(sites)]
    if kind in CELL:
        said = [0.0 if kind == "power_db" else getattr(cell, kind) for _, cell in cells_of(sites)]
        return [(kind, n, value, spread, 0.0) for n, value in enumerate(said)]
    return [(kind, n, _believed(kind, materials[name][kind]), spread, 0.0) for n, name in enumerate(names)]


def _believed(kind: str, value: float) -> float:
    return max(value, LEAST_SHARE) if kind == "scattering_coefficient" else value


def _floor(tile: Tile, site: Site) -> float:
    row, column = tile.pixel_of(torch.tensor(site.position[:2]))
    return min(float(tile.rasters["height"][row, column]) + CLEAR, site.position[2] - 0.1)


def _physical(kind: str, believed: Tensor, shift: Tensor, floor: Tensor) -> Tensor:
    """A value that is `shift` away from what is believed, by the scale of its kind."""
    if kind == "relative_permittivity":
        return 1 + (believed - 1) * shift.exp()
    if kind == "conductivity":
        return believed * shift.exp()
    if kind == "scattering_coefficient":
        return torch.sigmoid(torch.logit(believed) + shift)
    if kind == "height":
        above = believed - floor
        return floor + softplus(above + torch.log(-torch.expm1(-above)) + shift)
    return believed + shift
