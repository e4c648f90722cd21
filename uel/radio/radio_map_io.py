"""Radio maps on disk: one Zarr v3 group each, readable by `xarray.open_zarr(…, consolidated=False)`.

A pixel where `known` is 0 is 0 in every array and must not be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uel.core.grid import Grid
from uel.core.io import read_whole_array, staged_folder
from uel.errors import UelError
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.sites import sites_from_json, sites_to_json

SCHEMA = "uel-radiomap-2"
FOLDER_NAME = "radiomap.zarr"
_PIXELS = ("row", "column")


@dataclass(frozen=True)
class ArraySpec:
    """Unit, description and axes of one array of the group."""

    unit: str
    description: str
    axes: tuple[str, ...] = ("cell", *_PIXELS)


MAP_ARRAYS = {
    "gain": ArraySpec("1", "path gain, linear, averaged over the pixel"),
    "relative_error": ArraySpec("1", "Monte-Carlo standard error of the gain over the gain"),
    "known": ArraySpec("1", "whether a ray met the pixel"),
    "los": ArraySpec("1", "whether the pixel's centre sees the antenna"),
    "elevation": ArraySpec("m", "height of the UE antenna above the datum", _PIXELS),
}
CHANNEL_ARRAYS = {
    "first_arrival": ArraySpec("s", "delay of the earliest path"),
    "delay_spread": ArraySpec("s", "RMS delay spread, weighted by power"),
    "arrival": ArraySpec("1", "mean direction to where the power comes from", ("cell", "axis", *_PIXELS)),
    "departure": ArraySpec("1", "mean direction in which the power leaves the cell", ("cell", "axis", *_PIXELS)),
    "sight": ArraySpec("1", "share of the pixel that the antenna sees"),
}
SERVICE_ARRAYS = {
    "snr_db": ArraySpec("dB", "power of the cell over thermal noise, per resource element"),
    "sinr_db": ArraySpec("dB", "power of the cell over noise and the other cells, per resource element"),
    "mcs": ArraySpec("1", "modulation and coding scheme, TS 38.214 table 5.1.3.1-1; -1 where unknown"),
    "bler": ArraySpec("1", "error rate of transport blocks"),
    "throughput": ArraySpec("bit/s", "delivered bits of a phone alone in the cell"),
}


def save(
    radio: RadioMap,
    folder: str | Path,
    service: Mapping[str, Tensor] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write `radiomap.zarr` into a folder; an existing one is replaced when the new one is complete.

    `service` holds arrays of `SERVICE_ARRAYS`; `provenance` adds attributes that tell what the map was made from.
    """
    import zarr

    meta = {"schema": SCHEMA, "size": radio.grid.size, "pixel": radio.grid.pixel, "sites": sites_to_json(radio.sites)}
    arrays = {name: getattr(radio, name) for name in MAP_ARRAYS}
    arrays |= vars(radio.channels) if radio.channels else {}
    centre = radio.grid.centres()[0, :, 0]
    axes = {
        "x": ArraySpec("m", "east of the tile's centre", _PIXELS[1:]),
        "y": ArraySpec("m", "north of it", _PIXELS[:1]),
    }
    with staged_folder(Path(folder) / FOLDER_NAME) as staged:
        group = zarr.open_group(staged, mode="w", zarr_format=3)
        group.attrs.update({**meta, **(provenance or {})})
        for name, values in {**arrays, **(service or {}), "x": centre, "y": centre}.items():
            _write_array(group, name, values.numpy(), (MAP_ARRAYS | CHANNEL_ARRAYS | SERVICE_ARRAYS | axes)[name])


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

    Raises `UelError` when it is absent, damaged or of another schema.
    """
    group = _open(folder)
    channels = None
    try:
        size, pixel, sites = (group.attrs[name] for name in ("size", "pixel", "sites"))
        arrays = [torch.from_numpy(read_whole_array(group[name])) for name in MAP_ARRAYS]
        if all(name in group for name in CHANNEL_ARRAYS):
            channels = PropagationChannels(
                *(torch.from_numpy(read_whole_array(group[f.name])) for f in fields(PropagationChannels))
            )
    except Exception as error:  # zarr's codecs raise what their compressor raises
        raise UelError("this radio map is damaged", got=f"{folder}: {error}", do="make it again") from error
    return RadioMap(Grid(size=size, pixel=pixel), sites_from_json(sites), *arrays, channels=channels)  # type: ignore[arg-type]


def read_provenance(folder: str | Path) -> dict[str, Any]:
    """The attributes of the map in a folder: schema, size, pixel, sites, and what it was made from.

    Raises `UelError` without a readable map.
    """
    return dict(_open(folder).attrs)


def read_service(folder: str | Path) -> dict[str, Tensor]:
    """Those arrays of `SERVICE_ARRAYS` that the map in a folder has. Raises `UelError` without a readable map."""
    group = _open(folder)
    return {name: torch.from_numpy(read_whole_array(group[name])) for name in SERVICE_ARRAYS if name in group}


def _open(folder: str | Path) -> Any:
    import zarr

    try:
        group = zarr.open_group(Path(folder) / FOLDER_NAME, mode="r", zarr_format=3)
        schema = group.attrs.get("schema")
    except (OSError, ValueError, KeyError) as error:
        raise UelError(
            "no readable radio map in this folder", got=f"{folder}: {error}", do="make the map again"
        ) from error
    if schema != SCHEMA:
        raise UelError(f"this radio map has another schema than {SCHEMA}", got=schema, do="make it again")
    return group
