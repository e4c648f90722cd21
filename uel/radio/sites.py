"""Masts, the sectors on them and the carrier they transmit: what a network is made of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from uel.errors import UelError
from uel.radio.config import Carrier, Pattern


@dataclass(frozen=True, kw_only=True)
class Array:
    """A planar antenna array of identical elements."""

    rows: int = 1
    columns: int = 1
    spacing: float = 0.5
    """element spacing in wavelengths"""
    pattern: Pattern = "iso"
    """element pattern: isotropic, short dipole, or the sector element of TR 38.901"""
    polarization: Literal["V", "H", "VH", "cross"] = "V"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise UelError("an array needs elements", got=f"{self.rows} × {self.columns}", do="give at least 1 × 1")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One sector of a site."""

    azimuth_deg: float = 0.0
    """boresight, degrees clockwise from north"""
    tilt_deg: float = 0.0
    """downtilt of the boresight in degrees"""
    power_dbm: float = 46.0
    """transmit power over the whole carrier"""
    array: Array = field(default_factory=Array)
    carrier: Carrier = field(default_factory=Carrier)

    @property
    def omnidirectional(self) -> bool:
        """Whether nothing but the angles that it measures depends on its azimuth."""
        return self.array.pattern in ("iso", "dipole") and self.array.columns == 1 and not self.tilt_deg

    @property
    def reference_power_dbm(self) -> float:
        """Power per resource element, to which RSRP refers (TS 38.215, clause 5.1.1): 10.8 dBm by default."""
        return self.power_dbm - 10 * float(torch.log10(torch.tensor(float(self.carrier.resource_elements))))


@dataclass(frozen=True, kw_only=True)
class Site:
    """A mast with one or more cells."""

    position: tuple[float, float, float]
    """x east, y north, z up in metres from the tile's centre and height datum"""
    cells: tuple[Cell, ...] = (Cell(),)

    def __post_init__(self) -> None:
        if not self.cells:
            raise UelError("a site without cells transmits nothing", got="cells=()", do="give it at least one Cell")


def require_sites(sites: tuple[Site, ...]) -> Carrier:
    """The one carrier that all cells share; `UelError` when there is no site, or more than one carrier."""
    if not sites:
        raise UelError("a network needs at least one site", got="0 sites", do="place some: scenes.place(tile, count=4)")
    carriers = {cell.carrier for site in sites for cell in site.cells}
    arrays = {cell.array for site in sites for cell in site.cells}
    if len(carriers) > 1 or len(arrays) > 1:
        raise UelError(
            "one simulation holds one carrier and one kind of array",
            got=f"{len(carriers)} carriers, {len(arrays)} arrays",
            do="simulate each carrier and array by itself",
        )
    return carriers.pop()


def cells_of(sites: tuple[Site, ...]) -> list[tuple[Site, Cell]]:
    """All cells with their sites, in the order that every `cell` axis has."""
    return [(site, cell) for site in sites for cell in site.cells]


def with_azimuth_offsets(sites: tuple[Site, ...], by_deg: Sequence[float]) -> tuple[Site, ...]:
    """Masts whose cells look elsewhere, each by so many degrees clockwise."""
    by = iter(by_deg)
    look = lambda cell, angle: replace(cell, azimuth_deg=(cell.azimuth_deg + angle) % 360.0) if angle else cell  # noqa: E731
    return tuple(replace(site, cells=tuple(look(cell, next(by)) for cell in site.cells)) for site in sites)


def cell_positions(sites: tuple[Site, ...]) -> Float[Tensor, "cell 3"]:
    """Antenna positions in metres."""
    return torch.tensor([site.position for site, _ in cells_of(sites)], dtype=torch.float32)


def reference_power_dbm(sites: tuple[Site, ...]) -> Float[Tensor, " cell"]:
    """Power per resource element of every cell in dBm."""
    return torch.tensor([cell.reference_power_dbm for _, cell in cells_of(sites)], dtype=torch.float32)


def sites_to_json(sites: tuple[Site, ...]) -> list[dict[str, Any]]:
    """Plain lists and dictionaries, for metadata files."""
    return [asdict(site) for site in sites]


def sites_from_json(data: list[dict[str, Any]]) -> tuple[Site, ...]:
    """Inverse of `sites_to_json`; `UelError` when a field is unknown or missing."""
    try:
        return tuple(
            Site(position=tuple(s["position"]), cells=tuple(_cell_from_json(c) for c in s["cells"])) for s in data
        )
    except (KeyError, TypeError) as error:
        raise UelError("this is not a list of sites", got=repr(error), do="write it with sites_to_json") from error


def _cell_from_json(data: dict[str, Any]) -> Cell:
    return Cell(**{**data, "array": Array(**data["array"]), "carrier": Carrier(**data["carrier"])})
