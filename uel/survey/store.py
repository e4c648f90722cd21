"""Surveys as bytes: a Zarr v3 group for each tile, a shard of each of its arrays for each unit of work.

A unit is done once its record is there, which is written last. Whoever is killed leaves shards without a record, and
they are written again; two who write the same unit write the same bytes.
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uel.core.io import as_json, file_hash, replace_file
from uel.errors import UelError
from uel.radio.sites import cells_of
from uel.survey.feature_schema import Feature
from uel.survey.manifest import Manifest, TileEntry, WorkUnit
from uel.survey.statistics import StreamingStatistics

TRACKS_PER_CHUNK = 128  # tracks that are read at once at least: random access to fewer, or fewer reads of all
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR, errno.EEXIST)


@dataclass(frozen=True)
class UnitRecord:
    """A unit that is done."""

    unit: str
    reports: int
    """valid ones"""
    links: int
    """between them and the cells"""
    seconds: float
    files: dict[str, tuple[int, str]]
    """bytes and SHA-256 of the shards, by path in the survey"""
    moments: dict[str, StreamingStatistics]
    """of each feature where it is known"""

    def save(self, folder: Path) -> None:
        replace_file(record_path(folder, self.unit), as_json(asdict(self)))

    @staticmethod
    def load(folder: Path, unit: WorkUnit) -> "UnitRecord | None":
        """None where the unit is not done, or its record is no longer to be read."""
        try:
            stored = json.loads(record_path(folder, unit.name).read_text(encoding="utf-8"))
            files = {name: (size, key) for name, (size, key) in stored["files"].items()}
            moments = {name: StreamingStatistics(**value) for name, value in stored["moments"].items()}
            return UnitRecord(**{**stored, "files": files, "moments": moments})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def lacking(self, folder: Path) -> list[str]:
        """Shards that are not there with all their bytes."""
        return [name for name, (size, _) in self.files.items() if _size(folder / name) != size]

    def corrupt(self, folder: Path) -> list[str]:
        """Shards that are not what was written, which takes reading them."""
        gone = self.lacking(folder)
        return gone + [n for n, (_, key) in self.files.items() if n not in gone and file_hash(folder / n) != key]


def record_path(folder: Path, unit: str) -> Path:
    return folder / "units" / f"{unit}.json"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


# ---- writing ------------------------------------------------------------------------------------------


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Says in the user's words that a disk is full or a folder is not ours to write in."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise UelError(
            "the survey cannot be written",
            got=f"{folder}: {error.strerror}",
            do="make room or choose another folder (--out); what is done is kept, the same command goes on from there",
        ) from error


def prepare_folder(folder: Path, manifest: Manifest) -> None:
    """Make the folder of a survey, or go on with it: the manifest, and every tile's group without its shards.

    Raises `UelError` when a survey of another plan is there, and when nothing can be written.
    """
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "survey.json").exists():
            manifest.require_same(Manifest.load(folder))
        elif any(path.name[0] != "." for path in folder.iterdir()):
            raise UelError("this folder holds something else", got=folder, do="choose a new or an empty one (--out)")
        else:
            manifest.save(folder)
        for tile in manifest.tiles:
            if not (group_path(folder, tile) / "zarr.json").is_file():
                _create(folder, manifest, tile)


def group_path(folder: Path, tile: str) -> Path:
    """The Zarr group of a tile."""
    return folder / f"{tile}.zarr"


def _create(folder: Path, manifest: Manifest, tile: str) -> None:
    """A tile's group, made aside and renamed."""
    import zarr

    aside = folder / f".{tile}.{os.getpid()}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        group = zarr.open_group(aside, mode="w", zarr_format=3, attributes=_attributes(manifest, tile))
        for name, feature in manifest.arrays.items():
            group.create_array(name, attributes=_described(feature), **_format(manifest, tile, name, manifest.tracks))
        for name, (axes, unit, values) in _coordinates(manifest.tiles[tile]).items():
            array = group.create_array(name, data=values, chunks=values.shape, dimension_names=axes)
            array.attrs["units"] = unit
        if not group_path(folder, tile).exists():
            aside.rename(group_path(folder, tile))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _attributes(manifest: Manifest, tile: str) -> dict[str, Any]:
    stored = manifest.as_dict()
    return {"schema": stored["schema"], "tile": tile, **stored["tiles"][tile], "plan": stored["plan"]}


def _described(feature: Feature) -> dict[str, Any]:
    """What tells a reader about an array, in the words of the CF conventions where they have some."""
    told = {"units": feature.unit, "long_name": feature.text, "references": feature.clause, "layer": feature.layer}
    # No _FillValue: a value is known where its mask says so, and 0 elsewhere.
    return {k: v for k, v in {**told, "ancillary_variables": feature.mask}.items() if v}


def _coordinates(entry: TileEntry) -> dict[str, tuple[tuple[str, ...], str, np.ndarray]]:
    """Where the cells are: axes, unit and values."""
    cells = cells_of(entry.sites)
    return {
        "cell_site": (("cell",), "1", np.array([entry.sites.index(site) for site, _ in cells], np.int16)),
        "cell_position": (("cell", "xyz"), "m", np.array([site.position for site, _ in cells])),
        "cell_azimuth_deg": (("cell",), "degree", np.array([cell.azimuth_deg for _, cell in cells])),
    }


def _format(manifest: Manifest, tile: str, name: str, tracks: int) -> dict[str, Any]:
    """How an array of so many tracks is laid out: a unit to a shard, and some tracks to a chunk in it."""
    from zarr.codecs import ZstdCodec

    feature, rest = manifest.feature(name), (manifest.reports, *manifest.shape(tile, name))
    return {
        "shape": (tracks, *rest),
        "shards": (manifest.unit, *rest),
        "chunks": (math.gcd(manifest.unit, TRACKS_PER_CHUNK), *rest),
        "dtype": feature.dtype,
        "fill_value": np.zeros((), feature.dtype)[()],
        "dimension_names": ("track", "report", *feature.axes),
        "compressors": [ZstdCodec(level=3, checksum=True)],  # a flipped bit is noticed
        "config": {"write_empty_chunks": True},  # a missing chunk is damage, no block of zeros
    }


def write_unit(
    folder: Path, manifest: Manifest, unit: WorkUnit, values: Mapping[str, Tensor], seconds: float
) -> UnitRecord:
    """Write a unit's shards and then its record. `values` have axes (track, report, …) and the features' types.

    Raises `UelError` on a full disk or a folder that cannot be written; the unit is not done then.
    """
    files = {}
    with explain_write_errors(folder):
        record_path(folder, unit.name).unlink(missing_ok=True)
        for name in manifest.arrays:
            path, content = shard_path(folder, manifest, unit, name), _encoded(manifest, unit, name, values[name])
            replace_file(path, content)
            files[path.relative_to(folder).as_posix()] = (len(content), hashlib.sha256(content).hexdigest())
        reports = int(values["valid"].sum())
        links = reports * manifest.tiles[unit.tile].sizes["cell"]
        record = UnitRecord(unit.name, reports, links, round(seconds, 3), files, _moments(manifest, values))
        record.save(folder)
    return record


def shard_path(folder: Path, manifest: Manifest, unit: WorkUnit, name: str) -> Path:
    """The file that holds a unit's share of an array."""
    rest = ["0"] * (1 + len(manifest.feature(name).axes))
    return group_path(folder, unit.tile).joinpath(name, "c", str(unit.index), *rest)


def _encoded(manifest: Manifest, unit: WorkUnit, name: str, values: Tensor) -> bytes:
    """The bytes of a shard: the first one of an array that is as long as the unit."""
    import zarr
    from zarr.storage import MemoryStore

    form = _format(manifest, unit.tile, name, unit.count)
    assert tuple(values.shape) == form["shape"], f"{name}: {tuple(values.shape)} instead of {form['shape']}"
    stored: dict[str, Any] = {}
    array: zarr.Array = zarr.create_array(MemoryStore(store_dict=stored), **form)
    array[...] = values.numpy()
    return stored["/".join(["c", *["0"] * values.ndim])].to_bytes()


def _moments(manifest: Manifest, values: Mapping[str, Tensor]) -> dict[str, StreamingStatistics]:
    return {
        name: StreamingStatistics.of(known_values(values, name, feature)) for name, feature in manifest.arrays.items()
    }


def known_values(values: Mapping[str, Tensor], name: str, feature: Feature) -> Tensor:
    """A feature's values where they are known: on a valid report, and where its mask says so."""
    of, mask = values[name], values["valid"]
    if feature.mask and feature.mask in values:
        own = values[feature.mask]
        mask = mask.view(*mask.shape, *[1] * (own.ndim - 2)) & own
    mask = mask.view(*mask.shape, *[1] * (of.ndim - mask.ndim))
    return of[mask.expand(of.shape)]


def empty_values(manifest: Manifest, tile: str, tracks: int) -> dict[str, Tensor]:
    """Nothing known of so many tracks, feature by feature."""
    return {
        name: torch.zeros(tracks, manifest.reports, *manifest.shape(tile, name), dtype=getattr(torch, feature.dtype))
        for name, feature in manifest.arrays.items()
    }
