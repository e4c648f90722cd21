"""Radio maps on disk: one Zarr v3 group each, readable by `xarray.open_zarr(…, consolidated=False)`.

A pixel where `known` is 0 is 0 in every array and must not be read. What is read is held against itself: the shape of
each array against the cells of the sites and the grid, values against what their quantity can be, and arrays against
the hashes that `save` wrote beside them.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
import torch
from annotated_types import Gt, Le
from torch import Tensor
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from uel.core.files.own_folders import has_json_entry, require_own
from uel.core.grid import Grid
from uel.core.io import read_whole_array, staged_folder
from uel.core.outside.checksums import require_checksum, with_checksum
from uel.core.outside.structure import require_structure
from uel.core.tile_reference import TileReference
from uel.errors import UelError, brief
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.sites import Site, cells_of, sites_from_json, sites_to_json

SCHEMA = "uel-radiomap-2"
FOLDER_NAME = "radiomap.zarr"
is_radio_map = has_json_entry("zarr.json", "attributes", "schema", begins="uel-radiomap-")
MAX_MAP_SIDE = 1e5  # m
GREATEST_FRACTION = 1.0001  # of an average in single precision, which rounds
_PIXELS = ("row", "column")


@dataclass(frozen=True)
class ArraySpec:
    """Unit, description, axes and possible values of one array of the group."""

    unit: str
    description: str
    axes: tuple[str, ...] = ("cell", *_PIXELS)
    least: float = -math.inf
    greatest: float = math.inf


MAP_ARRAYS = {
    "gain": ArraySpec("1", "path gain, linear, averaged over the pixel", least=0.0, greatest=1.0),
    "relative_error": ArraySpec("1", "Monte-Carlo standard error of the gain over the gain", least=0.0),
    "known": ArraySpec("1", "whether a ray met the pixel"),
    "los": ArraySpec("1", "whether the pixel's centre sees the antenna"),
    "elevation": ArraySpec("m", "height of the UE antenna above the datum", _PIXELS),
}
CHANNEL_ARRAYS = {
    "first_arrival": ArraySpec("s", "delay of the earliest path", least=0.0),
    "delay_spread": ArraySpec("s", "RMS delay spread, weighted by power", least=0.0),
    "arrival": ArraySpec("1", "mean direction to where the power comes from", ("cell", "axis", *_PIXELS)),
    "departure": ArraySpec("1", "mean direction in which the power leaves the cell", ("cell", "axis", *_PIXELS)),
    "sight": ArraySpec("1", "share of the pixel that the antenna sees", least=0.0, greatest=GREATEST_FRACTION),
}
SERVICE_ARRAYS = {
    "snr_db": ArraySpec("dB", "power of the cell over thermal noise, per resource element"),
    "sinr_db": ArraySpec("dB", "power of the cell over noise and the other cells, per resource element"),
    "mcs": ArraySpec("1", "modulation and coding scheme, TS 38.214 table 5.1.3.1-1; -1 where unknown"),
    "bler": ArraySpec("1", "error rate of transport blocks", least=0.0, greatest=GREATEST_FRACTION),
    "throughput": ArraySpec("bit/s", "delivered bits of a phone alone in the cell", least=0.0),
}


AXIS_ARRAYS = {
    "x": ArraySpec("m", "east of the tile's centre", _PIXELS[1:]),
    "y": ArraySpec("m", "north of it", _PIXELS[:1]),
}
_ALL_ARRAYS = MAP_ARRAYS | CHANNEL_ARRAYS | SERVICE_ARRAYS | AXIS_ARRAYS


class MapAttributes(TypedDict):
    """The attributes of a map that are read; writers add where it came from."""

    size: Annotated[float, Gt(0), Le(MAX_MAP_SIDE)]
    pixel: Annotated[float, Gt(0), Le(MAX_MAP_SIDE)]
    sites: list[dict[str, Any]]
    tile: NotRequired[str]
    fingerprint: NotRequired[str]
    backend: NotRequired[str]
    sha256: NotRequired[dict[str, str]]


@dataclass(frozen=True)
class MapHeader:
    """What a radio map's metadata say of it."""

    grid: Grid
    sites: tuple[Site, ...]
    attributes: dict[str, Any]

    @property
    def made_on(self) -> TileReference | None:
        """The tile that the map was made on; None where it names none."""
        if "fingerprint" not in self.attributes:
            return None
        return TileReference(str(self.attributes.get("tile", "unknown")), str(self.attributes["fingerprint"]))

    def shape(self, spec: ArraySpec) -> tuple[int, ...]:
        """The shape that an array of this map must have."""
        sizes = {"cell": len(cells_of(self.sites)), "axis": 3, **dict.fromkeys(_PIXELS, self.grid.count)}
        return tuple(sizes[axis] for axis in spec.axes)


def save(
    radio: RadioMap,
    folder: str | Path,
    service: Mapping[str, Tensor] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write `radiomap.zarr` into a folder; an existing one is replaced when the new one is complete.

    `service` holds arrays of `SERVICE_ARRAYS`; `provenance` adds attributes that tell what the map was made from. The
    tile and the simulator are named by the map itself (`RadioMap.made_on`, `RadioMap.backend`). Raises `UelError` where
    something else has the place of `radiomap.zarr`.
    """
    import zarr

    meta = {"schema": SCHEMA, "size": radio.grid.size, "pixel": radio.grid.pixel, "sites": sites_to_json(radio.sites)}
    made_on = {"tile": radio.made_on.name, "fingerprint": radio.made_on.fingerprint} if radio.made_on else {}
    made_on |= {"backend": radio.backend} if radio.backend else {}
    tensors = {name: getattr(radio, name) for name in MAP_ARRAYS}
    tensors |= vars(radio.channels) if radio.channels else {}
    centre = radio.grid.centres()[0, :, 0]
    arrays = {name: v.numpy() for name, v in {**tensors, **(service or {}), "x": centre, "y": centre}.items()}
    hashes = {name: _hash(values) for name, values in arrays.items()}
    with staged_folder(Path(folder) / FOLDER_NAME, is_radio_map, "radio map") as staged:
        group = zarr.open_group(staged, mode="w", zarr_format=3)
        group.attrs.update(with_checksum({**meta, **made_on, **(provenance or {}), "sha256": hashes}))
        for name, values in arrays.items():
            _write_array(group, name, values, _ALL_ARRAYS[name])


def require_replaceable(folder: str | Path) -> None:
    """Raise `UelError` where `save` would refuse: something else has the place of `radiomap.zarr`."""
    require_own(Path(folder) / FOLDER_NAME, is_radio_map, "radio map")


def _hash(values: np.ndarray) -> str:
    """SHA-256 of an array's values: a chunk that was replaced by another whole one is noticed."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _write_array(group: Any, name: str, values: np.ndarray, spec: ArraySpec) -> None:
    from zarr.codecs import ZstdCodec

    chunks = (1, *values.shape[1:]) if spec.axes[0] == "cell" else values.shape
    array = group.create_array(
        name,
        data=np.ascontiguousarray(values),
        chunks=chunks,
        dimension_names=spec.axes,
        compressors=[ZstdCodec(level=3, checksum=True)],  # a flipped bit is noticed
        config={"write_empty_chunks": True},  # a missing chunk is damage, no block of zeros
    )
    array.attrs.update({"units": spec.unit, "long_name": spec.description})


def load(folder: str | Path) -> RadioMap:
    """Read the radio map that `save` wrote into a folder.

    Raises `UelError` when it is absent, damaged or of another schema: arrays or chunks are missing, an array's shape is
    not that of the sites' cells and the grid, a value is not finite or not possible for its quantity.
    """
    group, header = _open(folder)
    channels = None
    with _damage_named(folder):
        arrays = {name: _read_array(group, name, header) for name in MAP_ARRAYS}
        _require_known_gains(arrays["gain"], arrays["known"])
        if any(name in group for name in CHANNEL_ARRAYS):
            names = [f.name for f in fields(PropagationChannels)]
            channels = PropagationChannels(*(torch.from_numpy(_read_array(group, name, header)) for name in names))
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    names = {"made_on": header.made_on, "backend": header.attributes.get("backend")}
    return RadioMap(header.grid, header.sites, **tensors, channels=channels, **names)


def read_header(folder: str | Path) -> MapHeader:
    """What the metadata of the map in a folder say. Raises `UelError` without a readable map."""
    return _open(folder)[1]


def read_provenance(folder: str | Path) -> dict[str, Any]:
    """The attributes of the map in a folder: schema, size, pixel, sites, and what it was made from.

    Raises `UelError` without a readable map.
    """
    return read_header(folder).attributes


def read_service(folder: str | Path) -> dict[str, Tensor]:
    """Those arrays of `SERVICE_ARRAYS` that the map in a folder has. Raises `UelError` as `load` does."""
    group, header = _open(folder)
    with _damage_named(folder):
        return {name: torch.from_numpy(_read_array(group, name, header)) for name in SERVICE_ARRAYS if name in group}


def _open(folder: str | Path) -> tuple[Mapping[str, Any], MapHeader]:
    """The Zarr arrays of the map in a folder by name, and its header. Raises `UelError` where they cannot be read."""
    from uel.core.outside.zarr_groups import open_arrays

    try:
        arrays, attributes = open_arrays(Path(folder) / FOLDER_NAME)
    except UelError as error:
        got, do = f"{folder}: {brief(error)}", "copy it again, or make it again: uel map TILE"
        raise UelError("no readable radio map in this folder", got=got, do=do) from error
    if attributes.get("schema") != SCHEMA:
        got = f"{folder}: {attributes.get('schema')}"
        raise UelError(f"this radio map has another schema than {SCHEMA}", got=got, do="make it again: uel map TILE")
    with _damage_named(folder):
        attributes = require_checksum(attributes, "the map's metadata")
        require_structure(attributes, MapAttributes, "the map's metadata")
        grid = Grid(size=attributes["size"], pixel=attributes["pixel"])
        sites = sites_from_json(attributes["sites"])
        if not all(math.isfinite(part) for site in sites for part in site.position):
            raise ValueError("the position of a site is not finite")
        return arrays, MapHeader(grid, sites, attributes)


@contextmanager
def _damage_named(folder: str | Path) -> Iterator[None]:
    """Turn what is raised while a map is read into a `UelError` that names its folder."""
    try:
        yield
    except Exception as error:  # zarr's codecs raise what their compressor raises
        got = f"{folder}: {brief(error)}"
        do = "copy it again, or make it again: uel map TILE"
        raise UelError("this radio map is damaged", got=got, do=do) from error


def _read_array(group: Any, name: str, header: MapHeader) -> np.ndarray:
    """An array of a map. Raises `ValueError` where a chunk is missing, and for values that cannot be."""
    spec = _ALL_ARRAYS[name]
    if name not in group:
        raise ValueError(f"the array {name!r} is missing")
    array, expected = group[name], header.shape(spec)
    if tuple(array.shape) != expected:
        cells, count = len(cells_of(header.sites)), header.grid.count
        of = f"{cells} cells on {count} × {count} pixels of {header.grid.pixel:g} m have {expected}"
        raise ValueError(f"the array {name!r} is of shape {tuple(array.shape)}, and {of}")
    values = read_whole_array(array)
    if (name in ("known", "los")) != (values.dtype == np.bool_):
        raise ValueError(f"the array {name!r} is of type {values.dtype}")
    recorded = header.attributes.get("sha256", {}).get(name)  # maps of version 0.2 have none
    if recorded not in (None, _hash(values)):
        raise ValueError(f"the array {name!r} is not the one that was written with this map (SHA-256 differs)")
    _require_possible(name, values, spec)
    return values


def _require_possible(name: str, values: np.ndarray, spec: ArraySpec) -> None:
    """Raise `ValueError` for values that are not finite or that their quantity cannot have."""
    is_possible = np.isfinite(values) & (values >= spec.least) & (values <= spec.greatest)
    if not is_possible.all():
        place = tuple(int(i) for i in np.argwhere(~is_possible)[0])
        where = ", ".join(f"{axis} {index}" for axis, index in zip(spec.axes, place, strict=True))
        count, range_text = int((~is_possible).sum()), _range_text(spec)
        raise ValueError(f"{count} values of {name!r} are not {range_text}, the first is {values[place]} at {where}")


def _range_text(spec: ArraySpec) -> str:
    if math.isfinite(spec.greatest):
        return f"{spec.least:g} to {spec.greatest:g}"
    return f"finite and at least {spec.least:g}" if math.isfinite(spec.least) else "finite"


def _require_known_gains(gain: np.ndarray, known: np.ndarray) -> None:
    """Raise `ValueError` for a pixel that a ray met and that has no gain."""
    silent = known & (gain == 0)
    if silent.any():
        cell, row, column = (int(i) for i in np.argwhere(silent)[0])
        where = f"the first at cell {cell}, row {row}, column {column}"
        raise ValueError(f"{int(silent.sum())} pixels are known and have a gain of 0, {where}")
