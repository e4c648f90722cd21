"""What `uel build` and `uel place` do."""

import logging
import time
from dataclasses import asdict

from scenes.builder import TileInspection, build
from scenes.config import BuildConfig, PlaceConfig
from scenes.sites.placement import place
from scenes.sites.site_files import CellListOptions, read_cell_list
from scenes.tiles.build_key import build_key, reusable_tile, source_name
from scenes.tiles.writer import write_sites
from uel.core.display.progress import with_progress
from uel.core.files.folder_names import require_folder_name
from uel.core.files.locks import folder_lock
from uel.core.files.write_errors import require_writable
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Array, Cell

log = logging.getLogger(__name__)


def cell_template(config: PlaceConfig) -> Cell:
    """The cell that every sector is a copy of, apart from its azimuth."""
    single = config.sectors == 1
    pattern = config.pattern or ("iso" if single and config.file is None else "tr38901")
    array = Array(
        rows=config.array_rows,
        columns=config.array_columns,
        pattern=pattern,
        polarization=config.polarization,
        electrical_tilt_deg=config.electrical_tilt_deg,
    )
    tilt_deg = config.tilt_deg if config.tilt_deg is not None else (0.0 if single else 6.0)
    return Cell(
        tilt_deg=tilt_deg,
        power_dbm=config.power_dbm,
        power_kind=config.power_kind,
        array=array,
        carrier=config.carrier,
    )


def _list_options(config: PlaceConfig) -> CellListOptions:
    """How the file of `uel place` is read."""
    columns = {own.strip(): theirs.strip() for own, _, theirs in (text.partition("=") for text in config.columns)}
    return CellListOptions(
        columns=columns,
        height=config.height,
        height_above_roof=config.mast,
        north=config.north,
        declination_deg=config.declination_deg,
        antennas=config.antennas,
    )


def place_sites(config: PlaceConfig) -> Tile:
    """Place sites on a tile and write them into its folder. Raises `UelError` for sites that cannot be placed."""
    with folder_lock(config.tile):
        return _place_sites(Tile.open(config.tile), config)


def _place_sites(tile: Tile, config: PlaceConfig) -> Tile:
    if config.kind == "custom":
        assert config.file is not None, "PlaceConfig refuses custom without a file"
        listed = read_cell_list(tile, config.file, cell_template(config), _list_options(config))
        for sentence in listed.summary():
            log.info("%s: %s", config.file.name, sentence)
        return write_sites(tile, listed.sites)
    sites = place(
        tile,
        config.count,
        config.seed,
        kind=config.kind,
        mast=3.0 if config.mast is None else config.mast,
        spacing=config.spacing,
        sectors=config.sectors,
        template=cell_template(config),
    )
    return write_sites(tile, sites)


def build_tiles(config: BuildConfig, inspect: TileInspection) -> list[tuple[str, Tile | UelError, float]]:
    """Build every source whose tile does not exist yet; a source that fails does not stop the others.

    An undamaged tile of the same build key, with the requested pictures, is reused together with its sites.
    Returns for each source: the source, its tile or its error, and the seconds that it took.
    """
    built, names = [], dict[str, str]()
    for source in with_progress(config.sources, "tiles", shown=len(config.sources) > 1):
        start = time.perf_counter()
        try:
            name = source_name(source) if config.name is None else config.name
            require_folder_name(name, "the tile's name (--name)")
            _require_once(name, source, names)
            result: Tile | UelError = _build_or_reuse(config, source, name, inspect)
        except UelError as error:
            result = error
        built.append((source, result, time.perf_counter() - start))
    return built


def _require_once(name: str, source: str, names: dict[str, str]) -> None:
    """Raise `UelError` for a second tile of this name in one run, which would replace the first."""
    if names.setdefault(name, source) != source:
        raise UelError(
            "two sources have the same tile name", got=f"{names[name]} and {source}", do="build one of them with --name"
        )


def _build_or_reuse(config: BuildConfig, source: str, name: str, inspect: TileInspection) -> Tile:
    folder, files = config.out / name, {"build_report.json", "report.png", *(["render.png"] if config.render else [])}
    require_writable(folder)
    with folder_lock(folder):
        tile = reusable_tile(folder, build_key(source, config.center, name, asdict(config.tile_config)), files)
        if tile:
            log.info("%s: reusing %s", source, folder)
            return tile
        return build(source, folder, config.tile_config, name=name, center=config.center, inspect=inspect)


def report_lines(tile: Tile) -> list[str]:
    """The problems that a tile's build report lists, and its notes: the map's edge, guessed heights, odd buildings."""
    report = read_json_object(tile.folder / "build_report.json")
    return [f"! {problem}" for problem in report["problems"]] + [f"note: {note}" for note in report["notes"]]


def check_tiles(folders: tuple[str, ...]) -> dict[str, list[str]]:
    """For each folder, the files that differ from the build. Raises `UelError` for a folder without a tile."""
    return {folder: Tile.open(folder).verify() for folder in folders}
