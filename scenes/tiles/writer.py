"""Writing a tile folder: all of it or nothing."""

import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scenes.mesh.mesh_parts import Array, MeshPart
from scenes.tiles.mitsuba_xml import bsdf_bands, scene_xml
from uel.core.io import file_hash
from uel.errors import UelError
from uel.geo.tile import RASTER_UNITS, SCHEMA, Tile, file_hashes
from uel.radio.sites import Site, sites_to_json

STAGE_SUFFIX = ".part"  # how the hidden folder ends in which a tile grows


def write_tile(
    folder: Path,
    parts: list[MeshPart],
    bsdfs: Mapping[str, ElementTree.Element],
    rasters: Mapping[str, Array],
    meta: Mapping[str, Any],
    sites: tuple[Site, ...] = (),
) -> Tile:
    """Write and open a tile; `bsdfs` are Mitsuba's materials by name, `meta` what `tile.json` is to hold.

    `tile.json` also gets the schema, the bands of the materials (`bands` in `meta` adds to them) and the SHA-256
    of every other file. Written beside `folder` and renamed into place, so nobody ever sees half a tile; a tile
    that is there already is replaced. The same input gives the same bytes.

    Raises `UelError` when `folder` holds something else.
    """
    assert len({part.name for part in parts}) == len(parts), "parts of one name would overwrite each other"
    with staged_folder(folder) as new:
        _write_meshes(new / "meshes", parts)
        (new / "scene.xml").write_text(scene_xml(parts, bsdfs), encoding="utf-8")
        _write_rasters(new / "rasters.zarr", rasters)
        if sites:
            (new / "sites.json").write_bytes(_sites_json(sites))
        used = {part.material for part in parts}
        bands = bsdf_bands({name: bsdf for name, bsdf in bsdfs.items() if name in used}) | meta.get("bands", {})
        full = {"schema": SCHEMA, **meta, "bands": bands, "files": file_hashes(new)}
        (new / "tile.json").write_bytes(json_bytes(full))
    return Tile.open(folder)


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that becomes `folder` when all went well; otherwise nothing is left of it.

    Raises `UelError` when `folder` holds something that is no tile.
    """
    _require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    stages = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-", suffix=STAGE_SUFFIX)
    with stages as stage, _locked(Path(stage)):
        new = Path(stage) / "new"
        new.mkdir()
        yield new
        _swap(new, folder, Path(stage) / "old")


def _sweep(folder: Path) -> None:
    """Remove what builds of `folder` left that were killed: nobody holds the lock of theirs any more."""
    for stage in folder.parent.glob(f".{glob.escape(folder.name)}-????????{STAGE_SUFFIX}"):
        with suppress(OSError), _locked(stage):
            shutil.rmtree(stage)


@contextmanager
def _locked(stage: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process at the latest. Raises `OSError` when somebody else has it."""
    handle = os.open(stage, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def write_sites(tile: Tile, sites: tuple[Site, ...]) -> Tile:
    """Put masts into a tile folder (`sites.json`), in place of those that are there. Raises as `require_sites`."""
    tile.require_sites(sites)
    return update_files(tile, {"sites.json": _sites_json(sites)})


def update_files(tile: Tile, files: Mapping[str, bytes], meta: Mapping[str, Any] | None = None) -> Tile:
    """Add or replace files of a tile (by their path inside it) and their hashes in `tile.json`; opens it again.

    `meta` adds to `tile.json`.

    Each file is written aside and renamed, `tile.json` last: a crash in between is seen by `Tile.verify`.
    """
    hashes = dict(tile.meta["files"])
    for name, content in sorted(files.items()):
        path = tile.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
        hashes[name] = file_hash(path)
    _replace(
        tile.folder / "tile.json", json_bytes({**tile.meta, **(meta or {}), "files": dict(sorted(hashes.items()))})
    )
    return Tile.open(tile.folder)


def json_bytes(value: Any) -> bytes:
    """As the tile's files hold it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _sites_json(sites: tuple[Site, ...]) -> bytes:
    return json_bytes(sites_to_json(sites))


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(content)
    os.replace(aside, path)


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Rename `new` to `folder`; what was there goes to `old`, and comes back when that fails."""
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def _write_meshes(folder: Path, parts: list[MeshPart]) -> None:
    folder.mkdir(parents=True)
    for part in parts:
        (folder / f"{part.name}.ply").write_bytes(part.ply())


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
            compressors=[ZstdCodec(level=9, checksum=True)],  # a flipped bit is noticed
            config={"write_empty_chunks": True},  # a missing chunk is damage, no block of zeros
        )
        array.attrs["units"] = RASTER_UNITS[name]


def _require_free(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not _is_tile(folder)):
        raise UelError(
            "there is something else where the tile is to go",
            got=str(folder),
            do="choose a new or an empty folder",
        )


def _is_tile(folder: Path) -> bool:
    """Ours: other programs write a `tile.json`, too, without our schema."""
    try:
        meta = json.loads((folder / "tile.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(meta, dict) and "schema" in meta
