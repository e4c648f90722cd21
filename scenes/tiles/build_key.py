"""Build key of a tile: reuses a tile of the same key, and refuses rebuilds that would lose placed sites."""

import json
from collections.abc import Mapping, Set
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scenes.osm import reader
from scenes.osm.files.formats import SHAPEFILE_PARTS
from scenes.osm.queries import parse_source
from scenes.tiles import metadata, sionna_cities
from uel import __version__
from uel.core.io import file_hash
from uel.errors import UelError
from uel.geo.tile import Tile

KEY_LIBRARIES = sorted({"sionna-rt", *reader.READER_LIBRARIES, *metadata.TILE_LIBRARIES})
SITES_FILE = "sites.json"


def build_key(
    source: str | Path, center: tuple[float, float] | None, name: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that determines the content of a tile, for `tile.json`: files by their hashes, not by their paths.

    `options` are the fields of `scenes.config.TileBuildConfig`. An online source counts by its query: another answer of
    the server gives the same key.

    Raises `UelError` for an invalid source, and for an elevation raster that does not exist.
    """
    query = str(source) if source in sionna_cities.BUNDLED_CITIES else parse_source(source)
    origin = query if isinstance(query, str) else _map_file(query.file) if query.kind == "file" else query.text
    options = {**options, "dem": _file(options["dem"]) if options["dem"] else None}
    versions = {"uel": __version__, **{library: version(library) for library in KEY_LIBRARIES}}
    return {"source": origin, "center": center and list(center), "name": name, "plan": options, "versions": versions}


def key_metadata(key: Mapping[str, Any], tile: Tile) -> dict[str, Any]:
    """Entries of `tile.json` of a finished tile: its build key, and the hash of the sites that it was built with."""
    return {"recipe": key, "built_sites": tile.meta["files"].get(SITES_FILE)}


def reusable_tile(folder: Path, key: Mapping[str, Any], files: Set[str]) -> Tile | None:
    """The tile in `folder` if it has this build key, all of `files`, and no damaged file; else None."""
    try:
        tile = Tile.open(folder)
    except UelError:
        return None
    is_same = tile.meta.get("recipe") == json.loads(json.dumps(key))
    return tile if is_same and files <= tile.meta["files"].keys() and not tile.verify() else None


def require_no_placed_sites(folder: Path) -> None:
    """Raise `UelError` when sites were placed on the tile in `folder` after it was built; a rebuild would lose them."""
    try:
        meta = Tile.open(folder).meta
    except UelError:
        return
    sites = folder / SITES_FILE
    if "built_sites" in meta and sites.is_file() and file_hash(sites) != meta["built_sites"]:
        raise UelError(
            "sites were placed on this tile after it was built, and a rebuild would lose them",
            got=str(sites),
            do="choose another --out or --name, or move the tile or its sites.json away",
        )


def _map_file(path: Path) -> dict[str, Any]:
    """A map file by its hash; a shapefile with its parts, of which one holds the heights."""
    parts = sorted(file for file in path.parent.glob(f"{path.stem}.*") if file.suffix.lower() in SHAPEFILE_PARTS)
    is_shapefile = path.suffix.lower() == ".shp"
    return _file(path) | ({"parts": [_file(part) for part in parts]} if is_shapefile else {})


def _file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise UelError("the file does not exist", got=str(path), do="check the path")
    return {"file": path.name, "sha256": file_hash(path)}
