"""What the verbs that build places can be told, and what they do."""

import json
import logging
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import track

from scenes.builder import TileBuildConfig, TileInspection, build
from scenes.osm.reader import name_of, require_name
from scenes.sites.placement import place
from scenes.sites.site_files import MOST, read_sites
from scenes.tiles.build_key import recipe, reusable
from scenes.tiles.writer import write_sites
from uel.core.io import data_folder
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Array, Carrier, Cell, Pattern

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    """Masts on a tile: `uel place TILE --count 4 --sectors 3`."""

    tile: tyro.conf.Positional[Path]
    """folder of the tile"""
    kind: Literal["rooftop", "grid", "random", "farthest", "custom"] = "rooftop"
    """rooftop: roofs drawn evenly; grid: roofs nearest to a lattice; random: 10 m poles outdoors; farthest: roofs
    as far apart as can be; custom: from a file"""
    file: Path | None = None
    """with custom: .csv, .json or .geojson with a row for each site"""
    count: int = 4
    """sites, 1 to 8 (not for custom)"""
    seed: int = 0
    """of roofs, poles and azimuths"""
    mast: float = 3.0
    """m of the antenna above the roof (not for poles and custom)"""
    spacing: float | None = None
    """least horizontal distance between two sites in m, for rooftop and random; relaxed with a warning where there
    is no room"""
    sectors: int = 1
    """cells on each site, at evenly spaced azimuths (not for custom, whose file has azimuths)"""
    tilt_deg: float | None = None
    """downtilt in degrees; 0 for a lone cell and 6 for sectors unless given"""
    power_dbm: float = 46.0
    """transmit power of a cell in dBm"""
    rows: int = 1
    """elements of an array, one above the other"""
    columns: int = 1
    """elements of an array, side by side"""
    pattern: Pattern | None = None
    """of an element; iso for a lone cell and custom, tr38901 for sectors unless given"""
    polarization: Literal["V", "H", "VH", "cross"] = "V"
    """of the elements"""
    carrier: Carrier = field(default_factory=Carrier)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise UelError(f"a network has 1 to {MOST} sites", got=f"count {self.count}", do="give --count from 1 to 8")
        if (self.kind == "custom") != (self.file is not None):
            raise UelError(
                "kind custom and a file belong together",
                got=f"kind {self.kind}, file {self.file}",
                do="give both, --kind custom --file sites.csv, or neither",
            )

        if self.spacing is not None and self.kind not in ("rooftop", "random"):
            raise UelError(
                f"kind {self.kind} keeps its own distances",
                got=f"spacing {self.spacing:g} m",
                do="leave --spacing out, or choose rooftop or random",
            )

    @property
    def template(self) -> Cell:
        """What every cell is like, apart from its azimuth."""
        lone = self.sectors == 1
        pattern = self.pattern or ("iso" if lone else "tr38901")
        array = Array(rows=self.rows, columns=self.columns, pattern=pattern, polarization=self.polarization)
        tilt_deg = self.tilt_deg if self.tilt_deg is not None else (0.0 if lone else 6.0)
        return Cell(tilt_deg=tilt_deg, power_dbm=self.power_dbm, array=array, carrier=self.carrier)


def place_sites(config: PlaceConfig) -> Tile:
    """Place the sites and write them into the tile's folder. Raises `UelError` for whatever cannot be."""
    tile = Tile.open(config.tile)
    if config.kind == "custom":
        assert config.file is not None, "PlaceConfig refuses custom without a file"
        return write_sites(tile, read_sites(tile, config.file, config.template))
    sites = place(
        tile,
        config.count,
        config.seed,
        kind=config.kind,
        mast=config.mast,
        spacing=config.spacing,
        sectors=config.sectors,
        template=config.template,
    )
    return write_sites(tile, sites)


@dataclass(frozen=True, kw_only=True)
class BuildConfig(TileBuildConfig):
    """Tiles out of maps: `uel build paris.osm.gz "48.87,2.33" munich`."""

    sources: tyro.conf.Positional[tuple[str, ...]]
    """map files (.osm, .osm.gz, .osm.bz2, .osm.pbf, .geojson), points "48.87,2.33", boxes "west,south,east,north",
    names of places, or bundled cities; with --check the tile folders to verify"""
    out: Path = field(default_factory=lambda: data_folder() / "tiles")
    """folder for the tiles, one in each folder of its name"""
    name: str | None = None
    """of the tile, when there is one source; the source's own unless given"""
    center: tuple[float, float] | None = None
    """latitude and longitude of the tile's centre (metres in a bundled city); the source's own unless given"""
    render: bool = True
    """render a picture with Mitsuba, too"""
    check: bool = False
    """build nothing: compare the files of tile folders with their hashes"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise UelError("nothing to build", got="no source", do="name a file, a point, a box, a place or a city")
        if len(self.sources) > 1 and (self.name or self.center):
            raise UelError(
                "one name or centre for several sources", got=f"{len(self.sources)} sources", do="build one at a time"
            )

    @property
    def plan(self) -> TileBuildConfig:
        """What does not differ from source to source."""
        return TileBuildConfig(**{f.name: getattr(self, f.name) for f in fields(TileBuildConfig)})


def build_tiles(config: BuildConfig, inspect: TileInspection) -> list[tuple[str, Tile | UelError, float]]:
    """Build every source that is not there yet; what cannot be built does not keep the others.

    A tile of the same recipe, whole and with the pictures that are asked for, is reused with the masts that it has.
    Returns source, tile or error, seconds.
    """
    built, names = [], dict[str, str]()
    for source in track(config.sources, "tiles", console=Console(stderr=True), disable=len(config.sources) < 2):
        start = time.perf_counter()
        try:
            name = name_of(source) if config.name is None else config.name
            require_name(name)
            _require_once(name, source, names)
            result: Tile | UelError = _build_or_reuse(config, source, name, inspect)
        except UelError as error:
            result = error
        built.append((source, result, time.perf_counter() - start))
    return built


def _require_once(name: str, source: str, names: dict[str, str]) -> None:
    """The first tile of this name in this run; a second one would replace it."""
    if names.setdefault(name, source) != source:
        raise UelError(
            "two sources make tiles of one name", got=f"{names[name]} and {source}", do="build one of them with --name"
        )


def _build_or_reuse(config: BuildConfig, source: str, name: str, inspect: TileInspection) -> Tile:
    folder, pictures = config.out / name, {"report.png", *(["render.png"] if config.render else [])}
    tile = reusable(folder, recipe(source, config.center, name, asdict(config.plan)), pictures)
    if tile:
        log.info("%s: reusing %s", source, folder)
        return tile
    return build(source, folder, config.plan, name=name, center=config.center, inspect=inspect)


def problems_of(tile: Tile) -> list[str]:
    """What its report says is wrong."""
    return json.loads((tile.folder / "build_report.json").read_text(encoding="utf-8"))["problems"]


def check_tiles(folders: tuple[str, ...]) -> dict[str, list[str]]:
    """By folder, the files that are not as they were built. Raises `UelError` where there is no tile."""
    return {folder: Tile.open(folder).verify() for folder in folders}
