"""Metadata of a tile (`tile.json`) as they are read: structure, ranges and their own checksum."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NotRequired

from annotated_types import Ge, Gt, Le, Len
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from uel.core.outside.checksums import require_checksum
from uel.core.outside.json_text import read_json_object
from uel.core.outside.structure import require_structure
from uel.errors import UelError, brief

TILE_FILE = "tile.json"
MAX_TILE_SIDE = 1e5  # m
Metres = Annotated[float, Gt(0), Le(MAX_TILE_SIDE)]
Coordinate = Annotated[float, Ge(-1e9), Le(1e9)]
Text = Annotated[str, Len(1, 255)]


class TileMetadata(TypedDict):
    """The entries that are read; writers add others."""

    schema: int
    name: Text
    size: Metres
    pixel: Metres
    materials: list[Text]
    covers: NotRequired[list[Text]]
    files: dict[Text, Annotated[str, Len(64, 64)]]
    bands: NotRequired[dict[str, list[Annotated[list[Annotated[float, Ge(0)]], Len(2, 2)]]]]
    crs: NotRequired[str | None]
    origin: NotRequired[Annotated[list[Coordinate], Len(2, 2)]]
    center: NotRequired[Annotated[list[Coordinate], Len(2, 2)]]
    bbox: NotRequired[Annotated[list[Coordinate], Len(4, 4)]]
    buildings: NotRequired[dict[str, Any]]
    provenance: NotRequired[dict[str, Any]]


def read_tile_metadata(folder: Path, schema: int) -> dict[str, Any]:
    """The content of `tile.json` without its checksum.

    Raises `UelError` for one of another schema, and for a damaged one: it cannot be read, changed since it was written,
    lacks an entry, has one of another type or out of its range, or names a file outside the folder.
    """
    file = folder / TILE_FILE
    try:
        metadata = read_json_object(file)
        if metadata.get("schema") == schema:  # another version's checksum may be another one
            metadata = require_checksum(metadata, TILE_FILE)
            require_structure(metadata, TileMetadata, TILE_FILE)
            _require_inside(metadata["files"])
    except UelError as error:
        raise damaged_tile(folder, error) from error
    if metadata.get("schema") != schema:
        raise UelError(f"the tile's schema is not {schema}", got=metadata.get("schema"), do="build it again")
    return metadata


def damaged_tile(folder: Path, fault: Exception | str) -> UelError:
    """The error of a tile whose files are not those that were written."""
    got = f"{folder}: {fault if isinstance(fault, str) else brief(fault)}"
    return UelError("this tile is damaged", got=got, do="copy it again, or build it again: uel build")


def _require_inside(names: Iterable[str]) -> None:
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise UelError("a file outside the tile's folder is named", got=name, do="build the tile again")
