"""What a tile was made from, so that the same tile is not built twice, and no masts are lost that somebody placed."""

import json
from collections.abc import Mapping, Set
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scenes.osm import reader
from scenes.osm.queries import parse_source
from scenes.tiles import metadata, sionna_cities
from uel import __version__
from uel.core.io import file_hash
from uel.errors import UelError
from uel.geo.tile import Tile

KEY_LIBRARIES = sorted({"sionna-rt", *reader.READER_LIBRARIES, *metadata.TILE_LIBRARIES})
SITES_FILE = "sites.json"


def build_key(
    source: str | Path, center: tuple[float, float] | None, name: str | None, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that decides what is in a tile, for `tile.json`: files by their hashes, never by their paths.

    `plan` are the fields of `scenes.config.TileBuildConfig`. What is asked for online counts by the question: another
    answer of the server makes no other recipe.
    Raises `UelError` for a source that means nothing, and for an elevation raster that is not there.
    """
    read = str(source) if source in sionna_cities.BUNDLED_CITIES else parse_source(source)
    made_of = read if isinstance(read, str) else _file(read.file) if read.kind == "file" else read.text
    chosen = {**plan, "dem": _file(plan["dem"]) if plan["dem"] else None}
    versions = {"uel": __version__, **{library: version(library) for library in KEY_LIBRARIES}}
    return {"source": made_of, "center": center and list(center), "name": name, "plan": chosen, "versions": versions}


def key_metadata(made_from: Mapping[str, Any], tile: Tile) -> dict[str, Any]:
    """What to add to `tile.json` of a finished tile: its recipe, and the masts that it was built with."""
    return {"recipe": made_from, "built_sites": tile.meta["files"].get(SITES_FILE)}


def reusable_tile(folder: Path, made_from: Mapping[str, Any], files: Set[str]) -> Tile | None:
    """The tile in `folder` if it has this recipe, all of these files, and every one as its hash says."""
    try:
        tile = Tile.open(folder)
    except UelError:
        return None
    same = tile.meta.get("recipe") == json.loads(json.dumps(made_from))
    return tile if same and files <= tile.meta["files"].keys() and not tile.verify() else None


def require_no_placed_sites(folder: Path) -> None:
    """Raise `UelError` when `folder` is a tile whose masts are not those that it was built with: they would be lost."""
    try:
        meta = Tile.open(folder).meta
    except UelError:
        return
    sites = folder / SITES_FILE
    if "built_sites" in meta and sites.is_file() and file_hash(sites) != meta["built_sites"]:
        raise UelError(
            "masts were placed on this tile since it was built, and building it anew would lose them",
            got=str(sites),
            do="choose another --out or --name, or move the tile or its sites.json away",
        )


def _file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise UelError("no such file", got=str(path), do="check the path")
    return {"file": path.name, "sha256": file_hash(path)}
