"""A tile as measurements say it is: the same walls of other values, and the masts as they were found to be."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scenes.materials.itu_p2040 import ITU_CLASSES, RadioMaterial
from scenes.mesh.mesh_parts import merge_parts
from scenes.tiles.mitsuba_xml import material_bsdfs, read_tile_scene
from scenes.tiles.writer import write_tile
from scenes.variants.mesh_perturbation import VARIANT_OWN_FIELDS
from uel.errors import UelError
from uel.geo.tile import RASTER_UNITS, Tile
from uel.radio.sites import Site

FITTED_SUFFIX = (
    "-fitted"  # ends the name of a class whose values are no longer those of P.2040: Sionna keeps the names for itself
)


def write_calibrated_tile(
    tile: Tile, folder: Path | str, materials: Mapping[str, RadioMaterial], sites: tuple[Site, ...], said: Any = None
) -> Tile:
    """Write a tile to `folder` whose `materials` have explicit values and which holds `sites`.

    A class of P.2040 gets another name with its other values: `marble-fitted`. Meshes and rasters stay; `said` goes
    into `tile.json` as `calibration`. Explicit values are those of one frequency: whoever maps another carrier gets the
    same ones.

    Raises `UelError` for a material that the tile does not have, and for sites that cannot stand.
    """
    parts, bsdfs = read_tile_scene(tile)
    if unknown := set(materials) - set(bsdfs):
        raise UelError("the tile has no such material", got=", ".join(sorted(unknown)), do=f"known: {', '.join(bsdfs)}")
    tile.require_sites(sites)
    name_of = {name: f"{name}{FITTED_SUFFIX}" if name in ITU_CLASSES else name for name in materials}
    parts = merge_parts(replace(part, material=name_of.get(part.material, part.material)) for part in parts)
    explicit = material_bsdfs(name_of.values(), {name_of[name]: slab for name, slab in materials.items()})
    meta = {name: value for name, value in tile.meta.items() if name not in VARIANT_OWN_FIELDS}
    bands = {name: of for name, of in tile.meta.get("bands", {}).items() if name not in materials}
    meta |= {"materials": [name_of.get(name, name) for name in tile.materials]}
    meta |= {"bands": bands, "calibration": {"of": tile.fingerprint, **(said or {})}}
    rasters = {name: values.numpy().astype(_raster_type(name)) for name, values in tile.rasters.items()}
    return write_tile(Path(folder), parts, bsdfs | explicit, rasters, meta, sites)


def _raster_type(raster: str) -> type:
    """As `scenes.mesh.rasters` has them: metres are floats, the rest are numbers of things."""
    return np.float32 if RASTER_UNITS[raster] == "m" else np.uint8
