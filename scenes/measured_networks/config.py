"""Configuration of `uel network`. No framework is imported here."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scenes.config import HeightRasterConfig
from uel.core.io import data_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A measured network as a tile with sites and reports: `uel network FOLDER`.

    Raises:
        UelError: for lengths that are none.

    Example:
        >>> from pathlib import Path
        >>> from scenes.measured_networks.config import NetworkConfig
        >>> NetworkConfig(folder=Path("district")).pixel
        1.0
    """

    folder: tyro.conf.Positional[Path]
    """with cells.csv (the operator's list), reports.csv or reports.csv.gz (easting, northing, cell_id, rsrp_dbm), and
    building_height.tif and terrain.tif where there are some"""
    heights: Path | None = None
    """raster of heights (.tif) or map file (.osm, .osm.gz, .osm.pbf, .geojson, …) of the buildings; default: the
    folder's building_height.tif"""
    dem: Path | None = None
    """GeoTIFF with the ground's elevation; default: the folder's terrain.tif, else flat ground at 0 m"""
    out: Path = field(default_factory=lambda: data_folder() / "tiles")
    """folder of the tiles; the tile gets a subfolder of its name"""
    name: str | None = None
    """name of the tile; default: the folder's"""
    size: float | None = None
    """side of the tile in m; default: the largest multiple of 128 m that the folder's rasters hold"""
    pixel: float = 1.0
    """side of a raster pixel in m"""
    vegetation: bool = False
    """keep the trees and woods of a map file (--heights MAP), as `uel build --vegetation` does"""
    unknown_mast: float = 10.0
    """m above the ground of antennas whose height the list gives as 0"""
    carrier_tolerance: float = 0.02
    """relative difference of frequencies up to which cells get one carrier, that of most of them, so that one radio map
    holds all of them; 0: every cell keeps its own"""
    seed: int = 1
    """of the blocks of 64 m from which labelled and judged reports come"""
    raster: HeightRasterConfig = field(default_factory=HeightRasterConfig)

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in ("size", "pixel", "unknown_mast"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                option = f"--{name.replace('_', '-')}"
                raise UelError(f"{option} is no length", got=value, do=f"give metres: {option} 10")
        if not 0 <= self.carrier_tolerance < 1:
            do = "give 0.02, say"
            raise UelError("--carrier-tolerance is not from 0 to 1", got=self.carrier_tolerance, do=do)
