"""The parameters of a calibration: one number each for antennas and materials, physical for every step.

Numbers are in units of the prior: 0 is the prior mean, 1 a prior standard deviation above it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from training.calibration.config import PriorConfig
from uel.geo.tile import Tile
from uel.radio.sites import Site, cells_of

CELL_KINDS = ("azimuth_deg", "tilt_deg", "power_db")
MATERIAL_KINDS = ("relative_permittivity", "conductivity", "scattering_coefficient")
PARAMETER_KINDS = (*CELL_KINDS, "height", *MATERIAL_KINDS)
PARAMETER_UNITS = {"azimuth_deg": "°", "tilt_deg": "°", "power_db": "dB", "height": "m", "conductivity": "S/m"}
MIN_ROOF_CLEARANCE = 0.5  # m above the roof, lower bound of antenna heights
MIN_METAL_CONDUCTIVITY = 1e3  # S/m, materials from here on are metals: their reflections do not depend on it
MIN_SCATTERING_COEFFICIENT = 0.02  # prior mean of a scattering coefficient of 0


@dataclass(frozen=True, eq=False)
class CalibrationParameters:
    """All parameters in a row; `theta` holds their numbers, standard normal under the prior."""

    kind: tuple[str, ...]
    owner: tuple[int, ...]
    """number of the cell, site or material"""
    prior_mean: Float[Tensor, " parameter"]
    prior_std: Float[Tensor, " parameter"]
    min_value: Float[Tensor, " parameter"]
    """m, lowest elevation of an antenna; 0 for other kinds"""
    sites: tuple[Site, ...]
    materials: tuple[str, ...]

    @staticmethod
    def of(
        tile: Tile, sites: tuple[Site, ...], materials: Mapping[str, Mapping[str, float]], priors: PriorConfig
    ) -> "CalibrationParameters":
        """All parameters of a scene with a prior; `materials` are values by name and property."""
        names = tuple(sorted(name for name, of in materials.items() if of["conductivity"] < MIN_METAL_CONDUCTIVITY))
        rows = [
            row
            for kind in PARAMETER_KINDS
            if (prior_std := getattr(priors, kind))
            for row in _rows(kind, prior_std, tile, sites, names, materials)
        ]
        kind, owner, prior_mean, prior_std, min_value = zip(*rows, strict=True)

        def as_double(values: tuple[float, ...]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device="cpu")

        return CalibrationParameters(
            kind, owner, as_double(prior_mean), as_double(prior_std), as_double(min_value), sites, names
        )

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def names(self) -> list[str]:
        """Names as in tables: `azimuth_deg of cell 3`."""
        return [f"{kind} of {self.owner_name(kind, owner)}" for kind, owner in zip(self.kind, self.owner, strict=True)]

    def owner_name(self, kind: str, owner: int) -> str:
        """The name of a cell, mast or material."""
        return (
            self.materials[owner]
            if kind in MATERIAL_KINDS
            else f"mast {owner}"
            if kind == "height"
            else f"cell {owner}"
        )

    def rows(self, kind: str) -> list[int]:
        """Rows of the parameters of a kind, in the order of their owners."""
        return [row for row, other in enumerate(self.kind) if other == kind]

    @property
    def site_of_cell(self) -> list[int]:
        """Number of the site of each cell."""
        return [number for number, site in enumerate(self.sites) for _ in site.cells]

    def value(self, theta: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """Physical values: permittivity above 1, conductivity above 0, antennas above their roofs; differentiable."""
        shift, parts = self.prior_std * theta, []
        for row, kind in enumerate(self.kind):
            parts.append(_physical(kind, self.prior_mean[row], shift[row], self.min_value[row]))
        return torch.stack(parts)

    def derivative(self, theta: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """Derivative of each value by its own number."""
        theta = theta.detach().clone().requires_grad_()
        return torch.autograd.grad(self.value(theta).sum(), theta)[0]

    def trace_arguments(self, theta: Float[Tensor, " parameter"]) -> dict[str, Tensor]:
        """The values as arguments of `Sionna.trace`; without the power, see `power_db`."""
        value, result = self.value(theta).float(), {}
        for kind in ("azimuth_deg", "tilt_deg"):
            if rows := self.rows(kind):
                result[kind] = value[rows]
        if rows := self.rows("height"):
            result["cell_height"] = value[rows][self.site_of_cell]
        for row, kind in enumerate(self.kind):
            if kind in MATERIAL_KINDS:
                result[f"material/{self.materials[self.owner[row]]}/{kind}"] = value[row]
        return result

    def power_db(self, theta: Float[Tensor, " parameter"]) -> Float[Tensor, " cell"]:
        """Power of every cell above its site's, in dB."""
        rows = self.rows("power_db")
        return (
            self.value(theta)[rows]
            if rows
            else torch.zeros(len(self.site_of_cell), dtype=torch.float64, device=theta.device)
        )

    def sites_at(self, theta: Float[Tensor, " parameter"]) -> tuple[Site, ...]:
        """The sites with these values."""
        value = {(k, o): v for k, o, v in zip(self.kind, self.owner, self.value(theta).tolist(), strict=True)}
        cells = [cell for _, cell in cells_of(self.sites)]
        moved_cells = [
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
            own_cells = tuple(moved_cells[first : first + len(site.cells)])
            sites.append(Site(position=(x, y, value.get(("height", number), z)), cells=own_cells))
            first += len(own_cells)
        return tuple(sites)

    def materials_at(self, theta: Float[Tensor, " parameter"]) -> dict[str, dict[str, float]]:
        """Values of materials by name and property."""
        result: dict[str, dict[str, float]] = {}
        for kind, owner, value in zip(self.kind, self.owner, self.value(theta).tolist(), strict=True):
            if kind in MATERIAL_KINDS:
                result.setdefault(self.materials[owner], {})[kind] = value
        return result


def _rows(kind: str, prior_std: float, tile: Tile, sites: tuple[Site, ...], names: tuple[str, ...], materials: Mapping):
    """(kind, owner, prior mean, prior std, lowest value) of all owners of a kind."""
    if kind == "height":
        return [(kind, n, site.position[2], prior_std, _min_height(tile, site)) for n, site in enumerate(sites)]
    if kind in CELL_KINDS:
        values = [0.0 if kind == "power_db" else getattr(cell, kind) for _, cell in cells_of(sites)]
        return [(kind, n, value, prior_std, 0.0) for n, value in enumerate(values)]
    return [(kind, n, _prior_mean(kind, materials[name][kind]), prior_std, 0.0) for n, name in enumerate(names)]


def _prior_mean(kind: str, value: float) -> float:
    return max(value, MIN_SCATTERING_COEFFICIENT) if kind == "scattering_coefficient" else value


def _min_height(tile: Tile, site: Site) -> float:
    row, column = tile.pixel_of(torch.tensor(site.position[:2], device="cpu"))
    return min(float(tile.rasters["height"][row, column]) + MIN_ROOF_CLEARANCE, site.position[2] - 0.1)


def _physical(kind: str, prior_mean: Tensor, shift: Tensor, min_value: Tensor) -> Tensor:
    """The value `shift` away from the prior mean on the scale of its kind."""
    if kind == "relative_permittivity":
        return 1 + (prior_mean - 1) * shift.exp()
    if kind == "conductivity":
        return prior_mean * shift.exp()
    if kind == "scattering_coefficient":
        return torch.sigmoid(torch.logit(prior_mean) + shift)
    if kind == "height":
        clearance = prior_mean - min_value
        return min_value + softplus(clearance + torch.log(-torch.expm1(-clearance)) + shift)
    return prior_mean + shift
