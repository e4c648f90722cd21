"""Writes a calibrated tile: the same meshes with fitted material values and fitted sites."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from scenes.materials.itu_p2040 import ITU_CLASSES, RadioMaterial
from scenes.mesh.mesh_parts import merge_parts
from scenes.tiles.mitsuba_xml import material_bsdfs, read_tile_scene
from scenes.tiles.writer import raster_type, write_tile
from scenes.variants.mesh_perturbation import VARIANT_OWN_FIELDS
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Site

# Ends the name of a class whose values are no longer those of P.2040: Sionna reserves the names of the classes.
FITTED_SUFFIX = "-fitted"


def write_calibrated_tile(
    tile: Tile, folder: Path | str, materials: Mapping[str, RadioMaterial], sites: tuple[Site, ...], record: Any = None
) -> Tile:
    """Write a tile to `folder` whose `materials` have explicit values and which holds `sites`.

    A class of P.2040 gets another name with its new values: `marble-fitted`. Meshes and rasters stay; `record` goes
    into `tile.json` as `calibration`. Explicit values are those of one frequency and are used for every carrier.

    Raises `UelError` for a material that the tile does not have, and for sites at impossible positions.
    """
    parts, bsdfs = read_tile_scene(tile)
    if unknown := set(materials) - set(bsdfs):
        raise UelError(
            "the tile does not have these materials", got=", ".join(sorted(unknown)), do=f"known: {', '.join(bsdfs)}"
        )
    tile.require_sites(sites)
    name_of = {name: f"{name}{FITTED_SUFFIX}" if name in ITU_CLASSES else name for name in materials}
    parts = merge_parts(replace(part, material=name_of.get(part.material, part.material)) for part in parts)
    explicit = material_bsdfs(name_of.values(), {name_of[name]: slab for name, slab in materials.items()})
    metadata = {name: value for name, value in tile.meta.items() if name not in VARIANT_OWN_FIELDS}
    bands = {name: values for name, values in tile.meta.get("bands", {}).items() if name not in materials}
    metadata |= {"materials": [name_of.get(name, name) for name in tile.materials]}
    metadata |= {"bands": bands, "calibration": {"of": tile.fingerprint, **(record or {})}}
    rasters = {name: values.numpy().astype(raster_type(name)) for name, values in tile.rasters.items()}
    return write_tile(Path(folder), parts, bsdfs | explicit, rasters, metadata, sites)
