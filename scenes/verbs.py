"""What the verbs that build places can be told, and what they do."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from scenes.custom_sites import MOST, read_sites
from scenes.folder import write_sites
from scenes.sites import place
from uel.errors import UelError
from uel.sites import Array, Carrier, Cell, Pattern
from uel.tile import Tile


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    """Masts on a tile: `uel place TILE --count 4 --sectors 3`."""

    tile: tyro.conf.Positional[Path]
    """folder of the tile"""
    kind: Literal["rooftop", "grid", "random", "farthest", "custom"] = "rooftop"
    """rooftop: roofs drawn evenly; grid: roofs nearest to a lattice; random: 10 m poles outdoors; farthest: roofs
    as far apart as can be; custom: from a file"""
    file: Path | None = None
    """with custom: .csv, .json or .geojson with a row for each site"""
    count: int = 4
    """sites, 1 to 8 (not for custom)"""
    seed: int = 0
    """of roofs, poles and azimuths"""
    mast: float = 3.0
    """m of the antenna above the roof (not for poles and custom)"""
    spacing: float | None = None
    """least horizontal distance between two sites in m, for rooftop and random; relaxed with a warning where there
    is no room"""
    sectors: int = 1
    """cells on each site, at evenly spaced azimuths (not for custom, whose file has azimuths)"""
    tilt_deg: float | None = None
    """downtilt in degrees; 0 for a lone cell and 6 for sectors unless given"""
    power_dbm: float = 46.0
    """transmit power of a cell in dBm"""
    rows: int = 1
    """elements of an array, one above the other"""
    columns: int = 1
    """elements of an array, side by side"""
    pattern: Pattern | None = None
    """of an element; iso for a lone cell and custom, tr38901 for sectors unless given"""
    polarization: Literal["V", "H", "VH", "cross"] = "V"
    """of the elements"""
    carrier: Carrier = field(default_factory=Carrier)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise UelError(f"a network has 1 to {MOST} sites", got=f"count {self.count}", do="give --count from 1 to 8")
        if (self.kind == "custom") != (self.file is not None):
            raise UelError(
                "kind custom and a file belong together",
                got=f"kind {self.kind}, file {self.file}",
                do="give both, --kind custom --file sites.csv, or neither",
            )

        if self.spacing is not None and self.kind not in ("rooftop", "random"):
            raise UelError(
                f"kind {self.kind} keeps its own distances",
                got=f"spacing {self.spacing:g} m",
                do="leave --spacing out, or choose rooftop or random",
            )

    @property
    def template(self) -> Cell:
        """What every cell is like, apart from its azimuth."""
        lone = self.sectors == 1
        pattern = self.pattern or ("iso" if lone else "tr38901")
        array = Array(rows=self.rows, columns=self.columns, pattern=pattern, polarization=self.polarization)
        tilt_deg = self.tilt_deg if self.tilt_deg is not None else (0.0 if lone else 6.0)
        return Cell(tilt_deg=tilt_deg, power_dbm=self.power_dbm, array=array, carrier=self.carrier)


def place_sites(config: PlaceConfig) -> Tile:
    """Place the sites and write them into the tile's folder. Raises `UelError` for whatever cannot be."""
    tile = Tile.open(config.tile)
    if config.kind == "custom":
        assert config.file is not None, "PlaceConfig refuses custom without a file"
        return write_sites(tile, read_sites(tile, config.file, config.template))
    sites = place(
        tile,
        config.count,
        config.seed,
        kind=config.kind,
        mast=config.mast,
        spacing=config.spacing,
        sectors=config.sectors,
        template=config.template,
    )
    return write_sites(tile, sites)
