"""Writes a tile folder, completely or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scenes.mesh.mesh_parts import Array, MeshPart
from scenes.tiles.mitsuba_xml import bsdf_bands, scene_xml
from uel.core.files.own_folders import has_json_entry
from uel.core.io import file_hash, fill_file, replace_file, staged_folder
from uel.core.outside.checksums import with_checksum
from uel.geo.tile import RASTER_UNITS, SCHEMA, Tile, file_hashes
from uel.radio.sites import Site, network_to_json

is_tile = has_json_entry("tile.json", "schema")  # a `tile.json` of another program has no schema


def write_tile(
    folder: Path,
    parts: list[MeshPart],
    bsdfs: Mapping[str, ElementTree.Element],
    rasters: Mapping[str, Array],
    metadata: Mapping[str, Any],
    sites: tuple[Site, ...] = (),
) -> Tile:
    """Write a tile and open it.

    `bsdfs` are Mitsuba materials by name, `metadata` the content of `tile.json`, which also gets the schema, the bands
    of the materials (in addition to `bands` in `metadata`) and the SHA-256 of every other file. The tile is written
    beside `folder` and renamed, so an incomplete tile is never visible; an older tile is replaced. The same input gives
    the same bytes.

    Raises `UelError` when `folder` holds something that is not a tile.
    """
    assert len({part.name for part in parts}) == len(parts), "parts of the same name would overwrite each other"
    with staged_folder(folder, is_tile, "tile") as new:
        _write_meshes(new / "meshes", parts)
        fill_file(new / "scene.xml", scene_xml(parts, bsdfs).encode())
        _write_rasters(new / "rasters.zarr", rasters)
        if sites:
            fill_file(new / "sites.json", _sites_json(sites))
        used = {part.material for part in parts}
        bands = bsdf_bands({name: bsdf for name, bsdf in bsdfs.items() if name in used}) | metadata.get("bands", {})
        full = {"schema": SCHEMA, **metadata, "bands": bands, "files": file_hashes(new)}
        fill_file(new / "tile.json", json_bytes(with_checksum(full)))
    return Tile.open(folder)


def write_sites(tile: Tile, sites: tuple[Site, ...]) -> Tile:
    """Write sites into a tile folder (`sites.json`), replacing older ones. Raises as
    `Tile.require_site_positions`: a carrier at which a material is not defined is refused where it is simulated."""
    tile.require_site_positions(sites)
    return update_files(tile, {"sites.json": _sites_json(sites)})


def update_files(tile: Tile, files: Mapping[str, bytes], metadata: Mapping[str, Any] | None = None) -> Tile:
    """Add or replace files of a tile (by their path inside it) and their hashes in `tile.json`; opens it again.

    `metadata` adds entries to `tile.json`.

    Each file is written aside and renamed, `tile.json` last: a crash in between is seen by `Tile.verify`.
    """
    hashes = dict(tile.meta["files"])
    for name, content in sorted(files.items()):
        path = tile.folder / name
        replace_file(path, content)
        hashes[name] = file_hash(path)
    entries = {**tile.meta, **(metadata or {}), "files": dict(sorted(hashes.items()))}
    replace_file(tile.folder / "tile.json", json_bytes(with_checksum(entries)))
    return Tile.open(tile.folder)


def json_bytes(value: Any) -> bytes:
    """JSON in the format of the tile's files."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _sites_json(sites: tuple[Site, ...]) -> bytes:
    return json_bytes(network_to_json(sites))


def _write_meshes(folder: Path, parts: list[MeshPart]) -> None:
    folder.mkdir(parents=True)
    for part in parts:
        fill_file(folder / f"{part.name}.ply", part.to_ply())


def _write_rasters(folder: Path, rasters: Mapping[str, Array]) -> None:
    """A Zarr v3 group with one array for each raster, in one chunk; no date, so the same bytes each time."""
    import zarr
    from zarr.codecs import ZstdCodec

    group = zarr.open_group(folder, mode="w", zarr_format=3)
    for name, values in rasters.items():
        array = group.create_array(
            name,
            data=np.ascontiguousarray(values),
            chunks=values.shape,
            dimension_names=("row", "column"),
            compressors=[ZstdCodec(level=9, checksum=True)],  # detects a flipped bit
            config={"write_empty_chunks": True},  # a missing chunk is damage, not zeros
        )
        array.attrs["units"] = RASTER_UNITS[name]


def raster_type(raster: str) -> type:
    """Type of a raster's values: floats for metres, integers for the rest, as in `scenes.mesh.rasters`."""
    return np.float32 if RASTER_UNITS[raster] == "m" else np.uint8
