"""Zarr groups from outside: metadata are checked before Zarr reads them, chunks before they are unpacked."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.registry import register_codec

from uel.core.outside.json_text import read_json_object
from uel.errors import UelError, brief

CODEC_NAMES = {"bytes", "zstd", "crc32c"}  # of the chunks that this project writes
ROWS_IN_ANY_CHUNK = 4096  # a chunk may be longer than its array, whose last one is filled up
DATA_TYPES = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float32", "float64"}
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
METADATA_NAME = "zarr.json"


class BoundedZstdCodec(ZstdCodec):
    """Zarr's codec, which refuses a frame that says that it unpacks to more than its chunk."""

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        _require_bounded_frame(chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)


register_codec("zstd", BoundedZstdCodec)


def open_arrays(folder: Path) -> tuple[dict[str, zarr.Array], dict[str, Any]]:
    """The arrays of a Zarr group by name, and the group's attributes. Nothing but metadata is read.

    Raises:
        UelError: for a folder without readable metadata, an array of another codec or type than this project writes,
            and one whose chunks are larger than itself. While values are read, Zarr raises what its codecs raise;
            `ValueError` for a frame that unpacks to more than its chunk.
    """
    attributes = read_json_object(folder / METADATA_NAME).get("attributes", {})
    files = sorted(folder.glob(f"*/{METADATA_NAME}"))
    for file in files:
        _require_known_array(read_json_object(file), file)
    codec = f"{BoundedZstdCodec.__module__}.{BoundedZstdCodec.__qualname__}"
    with zarr.config.set({"codecs.zstd": codec}):
        try:
            group = zarr.open_group(folder, mode="r", zarr_format=3, use_consolidated=False)
            arrays = {file.parent.name: group[file.parent.name] for file in files}
        except Exception as error:  # zarr raises what it raises
            got = f"{folder}: {brief(error)[:300]}"
            raise UelError("a group of arrays is damaged", got=got, do="make it again") from error
    return arrays, attributes if isinstance(attributes, dict) else {}  # type: ignore[return-value]


def _require_known_array(metadata: Mapping[str, Any], file: Path) -> None:
    """Raise `UelError` unless metadata are of an array as this project writes them."""
    try:
        shape, grid = metadata["shape"], metadata["chunk_grid"]
        chunk, codecs = grid["configuration"]["chunk_shape"], metadata["codecs"]
        if codecs[0]["name"] == "sharding_indexed":  # of a shard, its chunks are unpacked one by one
            inside = codecs[0]["configuration"]
            chunk, codecs = inside["chunk_shape"], [*inside["codecs"], *inside["index_codecs"], *codecs[1:]]
        is_sound = (
            metadata["node_type"] == "array"
            and metadata["data_type"] in DATA_TYPES
            and grid["name"] == "regular"
            and len(chunk) == len(shape)
            and all(type(side) is int and side >= 0 for side in [*shape, *chunk])
            and {codec["name"] for codec in codecs} <= CODEC_NAMES
            and math.prod(chunk) <= max(*shape[:1], ROWS_IN_ANY_CHUNK) * max(math.prod(shape[1:]), 1)
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _unknown_array(file, repr(error)) from error
    if not is_sound:
        raise _unknown_array(file, f"shape {shape}, chunks {chunk}, {metadata['data_type']}"[:200])


def _unknown_array(file: Path, got: str) -> UelError:
    return UelError("an array's metadata are damaged", got=f"{file}: {got}", do="make the file again")


def _require_bounded_frame(chunk_bytes: Buffer, chunk_spec: ArraySpec) -> None:
    """Raise `ValueError` for a Zstandard frame (RFC 8878, clause 3.1.1) that does not say its size, or more than its
    chunk's."""
    frame = bytes(chunk_bytes.as_numpy_array()[:18].tobytes())
    limit = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
    size = _content_size(frame)
    if size is None or size > limit:
        raise ValueError(f"a chunk of {limit} bytes would unpack to {'an unknown number' if size is None else size}")


def _content_size(frame: bytes) -> int | None:
    """Frame_Content_Size of a Zstandard frame in bytes; None where it is not given."""
    if not frame.startswith(ZSTD_MAGIC) or len(frame) < 6:
        return None
    descriptor = frame[4]
    single_segment = bool(descriptor & 0x20)
    length = {0: int(single_segment), 1: 2, 2: 4, 3: 8}[descriptor >> 6]
    first = 5 + (not single_segment) + {0: 0, 1: 1, 2: 2, 3: 4}[descriptor & 3]
    if length == 0 or len(frame) < first + length:
        return None
    return int.from_bytes(frame[first : first + length], "little") + (256 if length == 2 else 0)
