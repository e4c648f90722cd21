"""Build key of a tile: reuses a tile of the same key, and refuses rebuilds that would lose placed sites."""

import json
import re
from collections.abc import Mapping, Set
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scenes.height_rasters.reader import is_height_raster
from scenes.osm import reader
from scenes.osm.files.formats import SHAPEFILE_PARTS
from scenes.osm.queries import parse_source
from scenes.scene_files.mitsuba_reader import is_scene_file
from scenes.tiles import metadata, sionna_cities
from scenes.tiles.scene_tile import scene_hashes
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
    origin = _origin(source)
    options = {**options, "dem": _file(options["dem"]) if options["dem"] else None}
    if not options["vegetation"]:  # tiles without it are those of before
        del options["vegetation"]
    versions = {"uel": __version__, **{library: version(library) for library in KEY_LIBRARIES}}
    return {"source": origin, "center": center and list(center), "name": name, "plan": options, "versions": versions}


def source_name(source: str | Path) -> str:
    """The default name of a source's tile, fit for a folder."""
    if is_scene_file(source) or is_height_raster(source):
        return re.sub(r"[^\w .,()+-]+", "_", Path(source).stem)[:80].rstrip(" .")
    return reader.tile_name(source)


def _origin(source: str | Path) -> Any:
    """What identifies a source: the name of a city, the text of a query, the hashes of files."""
    if source in sionna_cities.BUNDLED_CITIES:
        return str(source)
    if is_scene_file(source):
        return {"scene": Path(source).name, "sha256": scene_hashes(Path(source).expanduser())}
    if is_height_raster(source):
        return _file(Path(source).expanduser())
    query = parse_source(source)
    return _map_file(query.file) if query.kind == "file" else query.text


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
