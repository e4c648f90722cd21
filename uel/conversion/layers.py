"""Rasters of a tile and quantities of a radio map with their names and units, not yet in any format."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from uel.errors import UelError
from uel.geo.tile import RASTER_UNITS, Tile
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.radio_map_io import CHANNEL_ARRAYS, MAP_ARRAYS, SERVICE_ARRAYS
from uel.radio.sites import cells_of

DERIVED_UNITS = {"path_gain_db": "dB", "rsrp_dbm": "dBm"}


@dataclass(frozen=True, eq=False)
class CellLayer:
    """One quantity of a radio map for every cell."""

    name: str
    unit: str
    description: str
    values: Float[np.ndarray, "cell row column"]
    """row 0 in the south; NaN where no ray met the pixel"""


def cell_names(radio: RadioMap) -> list[str]:
    """A name for each cell, unique in the map: the operator's name or identity, else the numbers of site and cell."""
    names = []
    for site, cell in cells_of(radio.sites):
        plain = f"site {radio.sites.index(site)} azimuth {cell.azimuth_deg:g}"
        given = cell.name or (f"cell_id {cell.cell_id}" if cell.cell_id is not None else "")
        names.append(given or (f"PCI {cell.pci}" if cell.pci is not None else "") or plain)
    return [n if names.count(n) == 1 else f"{n} ({number})" for number, n in enumerate(names)]


def layer_names(folder: Path) -> tuple[str, ...]:
    """Names of the layers that the radio map in a folder has."""
    present = radio_map_io.read_service(folder)
    return (*DERIVED_UNITS, "relative_error", "los", "first_arrival", "delay_spread", *present)


def cell_layer(folder: Path, name: str) -> tuple[RadioMap, CellLayer]:
    """The radio map in a folder, and one of its quantities.

    Raises `UelError` for a quantity that the map does not have, and for a map that cannot be read.
    """
    radio = radio_map_io.load(folder)
    return radio, layers_of(radio, radio_map_io.read_service(folder), (name,))[0]


def layers_of(
    radio: RadioMap, service: Mapping[str, torch.Tensor], names: tuple[str, ...] | None = None
) -> list[CellLayer]:
    """Quantities of a radio map, all that it has unless named. Raises `UelError` for one that it does not have."""
    tensors = {
        "path_gain_db": radio.level_db,
        "rsrp_dbm": radio.rsrp_dbm,
        **{name: getattr(radio, name) for name in ("gain", "relative_error", "los")},
    }
    if radio.channels is not None:
        tensors |= {name: getattr(radio.channels, name) for name in ("first_arrival", "delay_spread", "sight")}
    tensors |= dict(service)
    missing = [name for name in names or () if name not in tensors]
    if missing:
        raise UelError("the radio map has no such layer", got=missing[0], do=f"choose from {', '.join(tensors)}")
    return [_layer(name, tensors[name], radio.known) for name in names or tensors]


def _layer(name: str, values: torch.Tensor, known: torch.Tensor) -> CellLayer:
    spec = (MAP_ARRAYS | CHANNEL_ARRAYS | SERVICE_ARRAYS).get(name)
    described = {"path_gain_db": "path gain", "rsrp_dbm": "reference signal received power"}
    unit = spec.unit if spec else DERIVED_UNITS[name]
    masked = torch.where(known, values.float(), torch.nan)
    return CellLayer(name, unit, spec.description if spec else described[name], masked.numpy())


def tile_rasters(tile: Tile) -> dict[str, tuple[str, Float[np.ndarray, "row column"]]]:
    """Unit and values of a tile's rasters by name, and the heights above the ground; row 0 in the south."""
    rasters = {name: (RASTER_UNITS[name], values.numpy()) for name, values in tile.rasters.items()}
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()
    return {**rasters, "height_above_ground": ("m", above)}
