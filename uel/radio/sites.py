"""A network: sites, the cells on them, and their antenna arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.antennas.array import Array as Array
from uel.radio.antennas.measured_pattern import MeasuredPattern
from uel.radio.cells.identity import normal_cell_id, require_identity
from uel.radio.config import Carrier, PowerKind

AZIMUTH_RANGE, TILT_RANGE = (-720.0, 720.0), (-180.0, 180.0)  # degrees
POWER_RANGE_DBM = (-200.0, 200.0)
POSITION_RANGE = (-1e6, 1e6)  # m


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One sector of a site.

    Azimuths are compass bearings in degrees, clockwise from north; a positive tilt is a downtilt.

    Example:
        >>> import uel
        >>> cell = uel.Cell(azimuth_deg=120.0, tilt_deg=6.0, power_dbm=46.0, cell_id="262-01-26885121", pci=101)
        >>> cell.label
        'cell_id 262-01-26885121, PCI 101, nr 3500 MHz'
    """

    azimuth_deg: float = 0.0
    """boresight, degrees clockwise from north"""
    tilt_deg: float = 0.0
    """mechanical downtilt in degrees: it turns the whole array (the electrical one is `Array.electrical_tilt_deg`)"""
    power_dbm: float = 46.0
    """power in dBm: of what, `power_kind` says"""
    array: Array = field(default_factory=Array)
    """antenna"""
    carrier: Carrier = field(default_factory=Carrier)
    """frequency, bandwidth, technology"""
    cell_id: str | int | None = None
    """global identity (ECI, NCI, ECGI, NCGI) as `uel.radio.cells.identity.normal_cell_id` spells it; kept as a text"""
    pci: int | None = None
    """physical cell identity (BSIC for GSM)"""
    name: str = ""
    """the operator's name"""
    power_kind: PowerKind = "total"
    """total: transmit power over the whole carrier; eirp: the same times the antenna's greatest gain; reference: power
    of one resource element, to which RSRP refers"""

    def __post_init__(self) -> None:
        require_numbers(self, azimuth_deg=AZIMUTH_RANGE, tilt_deg=TILT_RANGE, power_dbm=POWER_RANGE_DBM)
        if isinstance(self.cell_id, int):
            object.__setattr__(self, "cell_id", normal_cell_id(self.cell_id))
        require_identity(None if self.cell_id is None else str(self.cell_id), self.pci, self.carrier.technology)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the cell from others, for reports and GeoJSON: `cell_id`, `pci`, `channel_number`, `technology`,
        `frequency_mhz`, `name`; only what is known."""
        known = {
            "cell_id": self.cell_id,
            "pci": self.pci,
            "channel_number": self.carrier.channel_number,
            "technology": self.carrier.technology,
            "frequency_mhz": round(self.carrier.frequency / 1e6, 4),
            "name": self.name or None,
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def label(self) -> str:
        """The cell in a few words, by the identity that it has."""
        parts = [
            *([self.name] if self.name else []),
            *([f"cell_id {self.cell_id}"] if self.cell_id is not None else []),
            *([f"PCI {self.pci}"] if self.pci is not None else []),
        ]
        return ", ".join([*parts, self.carrier.label])

    @property
    def omnidirectional(self) -> bool:
        """Whether the cell's gain does not depend on its azimuth (only the angles that it measures do)."""
        return self.array.pattern in ("iso", "dipole") and self.array.columns == 1 and not self.tilt_deg

    @property
    def reference_power_dbm(self) -> float:
        """Power per resource element, to which RSRP refers (TS 38.215, clause 5.1.1): 10.8 dBm by default.

        At the antenna: its gain is the pattern's. An EIRP has the pattern's greatest gain in it, which is taken out.
        """
        if self.power_kind == "reference":
            return self.power_dbm
        total = self.power_dbm - (self.array.peak_gain_dbi if self.power_kind == "eirp" else 0.0)
        return total - 10 * float(torch.log10(torch.tensor(float(self.carrier.resource_elements), device="cpu")))


@dataclass(frozen=True, kw_only=True)
class Site:
    """A mast that carries one or more cells.

    The position is in metres east, north and up from the tile's centre. A site without explicit cells has one
    isotropic cell.

    Example:
        >>> import uel
        >>> cells = tuple(uel.Cell(azimuth_deg=azimuth) for azimuth in (0.0, 120.0, 240.0))
        >>> site = uel.Site(position=(10.0, -5.0, 25.0), cells=cells)
        >>> len(site.cells)
        3
    """

    position: tuple[float, float, float]
    """x east, y north, z up in metres from the tile's centre and height datum"""
    cells: tuple[Cell, ...] = (Cell(),)
    """sectors of the mast, on any carriers"""

    def __post_init__(self) -> None:
        require_numbers(self, position=POSITION_RANGE)
        if not self.cells:
            raise UelError("a site has no cells", got="cells=()", do="give the site at least one Cell")
        if len(self.position) != 3:
            raise UelError("a site's position has three coordinates", got=self.position, do="give x, y, z in metres")


def require_sites(sites: tuple[Site, ...]) -> Carrier:
    """The carrier that all cells share; raises `UelError` without a site, and for several carriers or polarisations."""
    if not sites:
        raise UelError("there are no sites", got="0 sites", do="place some: scenes.place(tile, count=4)")
    carriers = {cell.carrier for site in sites for cell in site.cells}
    polarizations = {cell.array.polarization for site in sites for cell in site.cells}
    if len(carriers) > 1 or len(polarizations) > 1:
        names = sorted(carrier.label for carrier in carriers)
        raise UelError(
            "all cells must have one carrier and one polarization",
            got=f"{len(carriers)} carriers ({', '.join(names)}), polarization {' and '.join(sorted(polarizations))}",
            do="simulate each carrier by itself (uel.radio.sites.split_by_carrier; uel map makes one map each)",
        )
    return carriers.pop()


def split_by_carrier(sites: tuple[Site, ...]) -> dict[Carrier, tuple[Site, ...]]:
    """The network of each carrier: its cells on their sites, in the order of `sites`; carriers by frequency.

    Raises `UelError` without a site.

    Example:
        >>> import uel
        >>> from uel.radio.sites import split_by_carrier
        >>> low = uel.Carrier.from_channel_number(6200, "lte")
        >>> site = uel.Site(position=(0.0, 0.0, 25.0), cells=(uel.Cell(), uel.Cell(carrier=low), uel.Cell(carrier=low)))
        >>> {c.label: sum(len(s.cells) for s in sites) for c, sites in split_by_carrier((site,)).items()}
        {'lte 796 MHz (EARFCN 6200)': 2, 'nr 3500 MHz': 1}
    """
    if not sites:
        raise UelError("there are no sites", got="0 sites", do="place some: scenes.place(tile, count=4)")
    carriers = {cell.carrier: None for site in sites for cell in site.cells}
    networks = {}
    for carrier in sorted(carriers, key=lambda c: (c.frequency, c.label, c.bandwidth)):
        own = {site: tuple(cell for cell in site.cells if cell.carrier == carrier) for site in sites}
        networks[carrier] = tuple(replace(site, cells=cells) for site, cells in own.items() if cells)
    return networks


def cells_of(sites: tuple[Site, ...]) -> list[tuple[Site, Cell]]:
    """All cells with their sites, in the order of every `cell` axis."""
    return [(site, cell) for site in sites for cell in site.cells]


def select_cells(sites: tuple[Site, ...], cells: Sequence[int]) -> tuple[Site, ...]:
    """The sites with some of their cells, by ascending indices in the order of `cells_of`; sites without any go."""
    kept, first, network = set(cells), 0, list[Site]()
    for site in sites:
        own = tuple(cell for number, cell in enumerate(site.cells, first) if number in kept)
        network += [replace(site, cells=own)] if own else []
        first += len(site.cells)
    return tuple(network)


def with_frequency(sites: tuple[Site, ...], frequency: float) -> tuple[Site, ...]:
    """Sites whose cells transmit at another carrier frequency in Hz."""

    def moved(cell: Cell) -> Cell:
        return replace(cell, carrier=cell.carrier.at_frequency(frequency))

    return tuple(replace(site, cells=tuple(moved(cell) for cell in site.cells)) for site in sites)


def with_azimuth_offsets(sites: tuple[Site, ...], offsets_deg: Sequence[float]) -> tuple[Site, ...]:
    """Sites whose cells are rotated clockwise by one offset in degrees each."""
    offsets = iter(offsets_deg)
    return tuple(
        replace(site, cells=tuple(_rotated_cell(cell, next(offsets)) for cell in site.cells)) for site in sites
    )


def _rotated_cell(cell: Cell, offset_deg: float) -> Cell:
    return replace(cell, azimuth_deg=(cell.azimuth_deg + offset_deg) % 360.0) if offset_deg else cell


def cell_positions(sites: tuple[Site, ...], device: torch.device | str = "cpu") -> Float[Tensor, "cell 3"]:
    """Antenna positions in metres."""
    return torch.tensor([site.position for site, _ in cells_of(sites)], dtype=torch.float32, device=device)


def reference_power_dbm(sites: tuple[Site, ...]) -> Float[Tensor, " cell"]:
    """Power per resource element of every cell in dBm.

    A cell's power is shared by the resource elements of its carrier: P - 10·log10(N), as RSRP is defined (TS 38.215,
    clause 5.1.1), N by 3GPP's tables; see `Cell.power_kind`.

    Args:
        sites: whose cells, in the order of `cells_of`.

    Returns:
        A tensor of shape (cell,).

    Example:
        >>> import uel
        >>> uel.reference_power_dbm((uel.Site(position=(0.0, 0.0, 20.0)),)).shape
        torch.Size([1])
    """
    return torch.tensor([cell.reference_power_dbm for _, cell in cells_of(sites)], dtype=torch.float32, device="cpu")


FIELDS_OF_FORMAT_1 = {
    "cell": ("azimuth_deg", "tilt_deg", "power_dbm", "array", "carrier"),
    "array": ("rows", "columns", "spacing", "pattern", "polarization"),
    "carrier": ("frequency", "bandwidth", "subcarrier_spacing"),
}
"""always written, in this order; fields that came later are written where they differ from their default, so that keys
and files made of networks without them are what they were"""
SITES_FORMAT = 2  # of `sites.json`: 1 was the bare list of sites


def sites_to_json(sites: tuple[Site, ...]) -> list[dict[str, Any]]:
    """Sites as plain lists and dictionaries, for metadata files.

    A measured pattern is written once, with the first cell that has it; later cells name it by its digest.
    """
    written = set[str]()

    def plain(cell: Cell) -> dict[str, Any]:
        content, measured = _plain(cell, "cell"), cell.array.measured
        if measured is not None:
            content["array"]["measured"] = measured.digest if measured.digest in written else measured.to_json()
            written.add(measured.digest)
        return content

    return [{"position": list(site.position), "cells": [plain(cell) for cell in site.cells]} for site in sites]


def network_to_json(sites: tuple[Site, ...]) -> dict[str, Any]:
    """The content of `sites.json`: a format number and the sites."""
    return {"format": SITES_FORMAT, "sites": sites_to_json(sites)}


def sites_from_json(data: Any) -> tuple[Site, ...]:
    """Inverse of `sites_to_json` and `network_to_json`; `UelError` for a field that is unknown or missing, and for
    another format number than 1 (a bare list) or 2."""
    if isinstance(data, dict):
        if data.get("format") != SITES_FORMAT:
            do = "place the sites again with this version, or open the tile with a newer one"
            raise UelError("sites of an unknown format", got=f"format {data.get('format')!r}", do=do)
        data = data.get("sites")
    patterns = dict[str, MeasuredPattern]()
    try:
        return tuple(
            Site(position=tuple(s["position"]), cells=tuple(_cell_from_json(c, patterns) for c in s["cells"]))
            for s in data
        )
    except UelError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UelError("not a readable list of sites", got=repr(error), do="write it with sites_to_json") from error


def _plain(value: Cell | Array | Carrier, kind: str) -> dict[str, Any]:
    """The fields of a cell, an array or a carrier."""
    always, plain = FIELDS_OF_FORMAT_1[kind], {}
    for f in fields(value):
        content = getattr(value, f.name)
        if f.name in always or content != f.default:
            plain[f.name] = _plain(content, f.name) if f.name in FIELDS_OF_FORMAT_1 else content
    return plain


def _cell_from_json(data: dict[str, Any], patterns: dict[str, MeasuredPattern]) -> Cell:
    """A cell; `patterns` are the measured patterns of the cells before, by their digests."""
    array = dict(data["array"])
    if isinstance(array.get("measured"), dict):
        measured = MeasuredPattern.from_json(array["measured"])
        array["measured"] = patterns.setdefault(measured.digest, measured)
    elif "measured" in array:
        array["measured"] = patterns[array["measured"]]
    return Cell(**{**data, "array": Array(**array), "carrier": Carrier(**data["carrier"])})
