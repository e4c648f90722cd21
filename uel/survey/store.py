"""Survey storage: a Zarr v3 group for each tile, and in each of its arrays a shard for each unit of work.

A unit is done once its record exists, which is written last. A worker that is killed leaves shards without a record,
which are written again; two workers that write the same unit write the same bytes.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uel.core.files.write_errors import explain_write_errors
from uel.core.io import file_hash, replace_file, staged_folder
from uel.core.outside.checksums import json_with_checksum, read_checked_json
from uel.errors import UelError
from uel.radio.sites import cells_of
from uel.survey.feature_schema import Feature
from uel.survey.manifest import MANIFEST_NAME, Manifest, TileEntry, WorkUnit
from uel.survey.statistics import StreamingStatistics

TRACKS_PER_CHUNK = 128  # tracks read at once; fewer speed up random access, more speed up reading everything


@dataclass(frozen=True)
class UnitRecord:
    """Record of a finished unit, in `units/UNIT.json`."""

    unit: str
    reports: int
    """valid reports"""
    links: int
    """reports times cells"""
    seconds: float
    files: dict[str, tuple[int, str]]
    """bytes and SHA-256 of the shards, by path in the survey"""
    moments: dict[str, StreamingStatistics]
    """statistics of each feature's known values"""

    def save(self, folder: Path) -> None:
        replace_file(record_path(folder, self.unit), json_with_checksum(asdict(self)))

    @staticmethod
    def load(folder: Path, unit: WorkUnit) -> "UnitRecord | None":
        """Record of a unit; None where the unit is not done or its record cannot be read."""
        try:
            stored = read_checked_json(record_path(folder, unit.name))
            files = {name: (size, key) for name, (size, key) in stored["files"].items()}
            moments = {name: StreamingStatistics(**value) for name, value in stored["moments"].items()}
            record = UnitRecord(**{**stored, "files": files, "moments": moments})
            return record if record._is_of(unit) else None
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return None

    def _is_of(self, unit: WorkUnit) -> bool:
        """Whether the record is of this unit, and its files are of the tile's group: no path leads out of it."""
        paths = [PurePosixPath(name) for name in self.files]
        is_inside = all(path.parts[0] == f"{unit.tile}.zarr" and ".." not in path.parts for path in paths)
        return self.unit == unit.name and is_inside

    def missing_files(self, folder: Path) -> list[str]:
        """Shards that are missing or not of the recorded size."""
        return [name for name, (size, _) in self.files.items() if _size(folder / name) != size]

    def corrupt_files(self, folder: Path) -> list[str]:
        """Shards that are missing or differ from the recorded hash; reads all of them."""
        missing = self.missing_files(folder)
        return missing + [n for n, (_, key) in self.files.items() if n not in missing and file_hash(folder / n) != key]


def record_path(folder: Path, unit: str) -> Path:
    return folder / "units" / f"{unit}.json"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


# ---- writing ------------------------------------------------------------------------------------------


def prepare_folder(folder: Path, manifest: Manifest) -> None:
    """Create or continue a survey's folder: the manifest, and every tile's Zarr group without its shards.

    Raises `UelError` when the folder holds a survey of another plan or other files, and when it cannot be written.
    """
    with explain_write_errors("the survey", folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST_NAME).exists():
            manifest.require_same(Manifest.load(folder))
        elif any(path.name[0] != "." for path in folder.iterdir()):
            raise UelError(
                "the survey's folder holds other files", got=folder, do="choose a new or empty folder (--out)"
            )
        else:
            manifest.save(folder)
        for tile in manifest.tiles:
            if not (group_path(folder, tile) / "zarr.json").is_file():
                _create(folder, manifest, tile)


def group_path(folder: Path, tile: str) -> Path:
    """The Zarr group of a tile."""
    return folder / f"{tile}.zarr"


def _create(folder: Path, manifest: Manifest, tile: str) -> None:
    """Create a tile's Zarr group, complete or not at all."""
    import zarr

    with staged_folder(group_path(folder, tile)) as staged:
        group = zarr.open_group(staged, mode="w", zarr_format=3, attributes=_attributes(manifest, tile))
        for name, feature in manifest.arrays.items():
            group.create_array(
                name, attributes=_array_attributes(feature), **_array_format(manifest, tile, name, manifest.tracks)
            )
        for name, (axes, unit, values) in _coordinates(manifest.tiles[tile]).items():
            array = group.create_array(name, data=values, chunks=values.shape, dimension_names=axes)
            array.attrs["units"] = unit


def _attributes(manifest: Manifest, tile: str) -> dict[str, Any]:
    stored = manifest.as_dict()
    return {"schema": stored["schema"], "tile": tile, **stored["tiles"][tile], "plan": stored["plan"]}


def _array_attributes(feature: Feature) -> dict[str, Any]:
    """Zarr attributes of an array, with the names of the CF conventions where they have one."""
    # No _FillValue: a value is known where its mask is True, and 0 elsewhere.
    attributes = {
        "units": feature.unit,
        "long_name": feature.description,
        "references": feature.clause,
        "layer": feature.layer,
        "ancillary_variables": feature.mask,
    }
    return {name: value for name, value in attributes.items() if value}


def _coordinates(entry: TileEntry) -> dict[str, tuple[tuple[str, ...], str, np.ndarray]]:
    """Axes, unit and values of the arrays that describe the cells."""
    cells = cells_of(entry.sites)
    return {
        "cell_site": (("cell",), "1", np.array([entry.sites.index(site) for site, _ in cells], np.int16)),
        "cell_position": (("cell", "xyz"), "m", np.array([site.position for site, _ in cells])),
        "cell_azimuth_deg": (("cell",), "degree", np.array([cell.azimuth_deg for _, cell in cells])),
    }


def _array_format(manifest: Manifest, tile: str, name: str, tracks: int) -> dict[str, Any]:
    """Layout of an array of `tracks` tracks: one shard for each unit, chunks of some tracks in it."""
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

    Raises `UelError` on a full disk or a folder that cannot be written; the unit is then not done.
    """
    files = {}
    with explain_write_errors("the survey", folder):
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
    """The file of a unit's shard of an array."""
    rest = ["0"] * (1 + len(manifest.feature(name).axes))
    return group_path(folder, unit.tile).joinpath(name, "c", str(unit.index), *rest)


def _encoded(manifest: Manifest, unit: WorkUnit, name: str, values: Tensor) -> bytes:
    """The bytes of a shard, as the only shard of an array that is as long as the unit."""
    import zarr
    from zarr.storage import MemoryStore

    layout = _array_format(manifest, unit.tile, name, unit.count)
    assert tuple(values.shape) == layout["shape"], f"{name}: {tuple(values.shape)} instead of {layout['shape']}"
    stored: dict[str, Any] = {}
    array: zarr.Array = zarr.create_array(MemoryStore(store_dict=stored), **layout)
    array[...] = values.numpy()
    return stored["/".join(["c", *["0"] * values.ndim])].to_bytes()


def _moments(manifest: Manifest, values: Mapping[str, Tensor]) -> dict[str, StreamingStatistics]:
    return {
        name: StreamingStatistics.from_values(known_values(values, name, feature))
        for name, feature in manifest.arrays.items()
    }


def known_values(values: Mapping[str, Tensor], name: str, feature: Feature) -> Tensor:
    """A feature's known values, flat: those of valid reports where the feature's mask is True."""
    feature_values, mask = values[name], values["valid"]
    if feature.mask and feature.mask in values:
        feature_mask = values[feature.mask]
        mask = mask.view(*mask.shape, *[1] * (feature_mask.ndim - 2)) & feature_mask
    mask = mask.view(*mask.shape, *[1] * (feature_values.ndim - mask.ndim))
    return feature_values[mask.expand(feature_values.shape)]


def empty_values(manifest: Manifest, tile: str, tracks: int) -> dict[str, Tensor]:
    """Zeros and False for all features of `tracks` tracks."""
    return {
        name: torch.zeros(
            tracks, manifest.reports, *manifest.shape(tile, name), dtype=getattr(torch, feature.dtype), device="cpu"
        )
        for name, feature in manifest.arrays.items()
    }
