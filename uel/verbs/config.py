"""Configurations of `uel convert` and `uel verify`, of which parts belong to several packages; they import no
framework."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from sim_bridge.deepmimo.config import DeepMimoConfig
from uel.errors import UelError

OUTPUT_SUFFIXES = {"geotiff": ".tif", "geopackage": ".gpkg", "kml": ".kml", "zarr": ".zarr", "deepmimo": ""}


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """A tile or a radio map in another format: `uel convert data/maps/paris-3.5GHz --to geotiff`."""

    source: tyro.conf.Positional[Path]
    """folder of a tile or of a radio map"""
    to: Literal["geotiff", "geopackage", "kml", "zarr", "deepmimo"] = "geotiff"
    """geotiff: rasters of a tile, or a layer of a radio map with a band a cell; zarr: all layers of a radio map by the
    CF conventions; geopackage: buildings, sites and cells of a tile; kml: the same for globes; deepmimo: paths from a
    tile's cells to a grid of positions, as DeepMIMO 4 loads them"""
    out: Path | None = None
    """file or folder to write; unless given, beside the source, or in deepmimo_scenarios, where DeepMIMO looks"""
    tile: Path | None = None
    """folder of a radio map's tile, which has the georeference; unless given, the one in the data folder"""
    layer: str = "rsrp_dbm"
    """of a radio map, for geotiff: rsrp_dbm, path_gain_db, sinr_db, throughput, first_arrival, …"""
    deepmimo: DeepMimoConfig = field(default_factory=DeepMimoConfig)

    @property
    def target(self) -> Path:
        """The file or folder to write."""
        if self.out is not None:
            return self.out
        source = self.source.resolve()
        name = f"{source.name}{OUTPUT_SUFFIXES[self.to]}"
        return Path("deepmimo_scenarios") / name.lower() if self.to == "deepmimo" else source.parent / name


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Artefacts that are read whole and compared with what was written: `uel verify data runs/demo`."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """folders of tiles, radio maps, surveys, atlases, runs, evaluations, stages or learned maps; or folders of these"""

    def __post_init__(self) -> None:
        if not self.paths:
            raise UelError("uel verify needs a folder", got="none", do="give data, runs, or the folder of an artefact")
