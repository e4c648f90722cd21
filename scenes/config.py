"""Configurations of `uel build` and `uel place`. No framework is imported here."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import tyro

from scenes.perturbation import Perturbation, parse_perturbation
from uel.core.io import data_folder
from uel.errors import UelError
from uel.radio.config import Carrier, Pattern

MAX_SITES = 8


@dataclass(frozen=True, kw_only=True)
class TileBuildConfig:
    """How a map becomes a tile."""

    size: float | None = None
    """side of the square in m; 512, or the larger side of a box, unless given"""
    margin: float = 128.0
    """m around the square in which buildings are kept, so that rays do not fall off its edge"""
    pixel: float = 1.0
    """m, side of a raster's pixel"""
    dem: Path | None = None
    """GeoTIFF with the terrain; flat ground at 0 m without it"""
    seed: int = 0
    """of everything that is drawn"""
    draw_heights: bool = False
    """draw heights that are not tagged from their uncertainty, instead of taking the best estimate"""
    materials: str = "itu"
    """itu: the classes that the tags suggest; drawn: each building's own, drawn around its class"""
    frequency: float = 3.5e9
    """Hz, for which drawn materials hold"""
    ground: str = "concrete"
    """concrete: all of it, defined from 1 to 100 GHz; cover: concrete, soil and water by the map, from 1 to 10 GHz"""
    sites: int = 0
    """rooftop masts to put on the tile"""
    sectors: int = 1
    """cells on each of them"""
    perturb: str = ""
    """how wrong the tile is to be: heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m, or some of it"""

    def __post_init__(self) -> None:
        if self.materials not in ("itu", "drawn"):
            raise UelError("unknown kind of materials", got=self.materials, do="choose itu or drawn")
        if self.ground not in ("concrete", "cover"):
            raise UelError("unknown kind of ground", got=self.ground, do="choose concrete or cover")
        self.wrong  # noqa: B018  (refuses a text that says nothing)

    @property
    def wrong(self) -> Perturbation:
        """What `perturb_map` says."""
        return parse_perturbation(self.perturb) if self.perturb else Perturbation()


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
        if not 1 <= self.count <= MAX_SITES:
            raise UelError(
                f"a network has 1 to {MAX_SITES} sites", got=f"count {self.count}", do="give --count from 1 to 8"
            )
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
