"""Configurations of `uel build` and `uel place`. No framework is imported here."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import tyro

from scenes.perturbation import Perturbation, parse_perturbation
from uel.core.io import data_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.config import Carrier, Pattern, PowerKind

MIN_STOREY, MAX_STOREY = 2.0, 10.0  # m
SECTOR_RANGE = (1, 64)  # cells of a site


@dataclass(frozen=True, kw_only=True)
class SceneFileConfig:
    """How an existing Sionna or Mitsuba scene (.xml) is read."""

    unit: float = 1.0
    """length of one unit of the scene in m: 0.01 for centimetres"""
    up: Literal["z", "y"] = "z"
    """axis of the scene that points up"""
    materials: tuple[str, ...] = ()
    """ITU classes of materials whose names do not tell them: NAME=CLASS"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 < self.unit < math.inf:
            raise UelError("--scene.unit is no length", got=self.unit, do="give metres: --scene.unit 0.01")
        self.material_classes  # noqa: B018  (raises for an invalid text)

    @property
    def material_classes(self) -> dict[str, str]:
        """The ITU class of each named material."""
        pairs = {text: text.partition("=") for text in self.materials}
        wrong = [text for text, (name, sign, kind) in pairs.items() if not (name and sign and kind)]
        if wrong:
            do = "write NAME=CLASS: --scene.materials Material.001=brick"
            raise UelError("a material of --scene.materials is not understood", got=", ".join(wrong), do=do)
        return {name: kind for name, _, kind in pairs.values()}


@dataclass(frozen=True, kw_only=True)
class HeightRasterConfig:
    """How a raster of heights (.tif) becomes buildings."""

    content: Literal["ndsm", "dsm"] = "ndsm"
    """ndsm: heights above the ground; dsm: elevations of the surface, which need those of the ground, --dem"""
    unit: Literal["file", "m", "ft"] = "file"
    """unit of the raster's values; file: the one that the file names, else metres"""
    min_height: float = 2.5
    """height in m above the ground from which something is a building"""
    min_area: float = 25.0
    """area in m² of the smallest building"""
    step: float = 3.0
    """difference of height in m between neighbouring pieces of a building"""
    unknown: float | None = None
    """value of squares without a height, in the raster and in --dem, where a file does not declare it"""
    fill: float = 15.0
    """distance in m up to which a square without a height takes that of the nearest one; others are open ground"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in ("min_height", "min_area", "step"):
            if not 0 < getattr(self, name) < math.inf:
                got = getattr(self, name)
                raise UelError(
                    f"--raster.{name.replace('_', '-')} must be above 0", got=got, do="give a positive number"
                )
        if not 0 <= self.fill < math.inf:
            raise UelError("--raster.fill is no distance", got=self.fill, do="give metres: --raster.fill 15, or 0")


@dataclass(frozen=True, kw_only=True)
class TileBuildConfig:
    """Options of a tile that is built from a map or a bundled city.

    Raises:
        UelError: for unknown kinds of materials, ground or perturbation.

    Example:
        >>> import scenes
        >>> scenes.TileBuildConfig(size=256.0, perturb="heights=0.2,missing=0.1").margin
        128.0
    """

    size: float | None = None
    """side of the square in m; default: 512, or the larger side of a box"""
    margin: float = 128.0
    """width in m of the border around the square in which buildings are kept, so that rays do not leave at its edge"""
    pixel: float = 1.0
    """side of a raster pixel in m"""
    dem: Path | None = None
    """GeoTIFF with the terrain's elevation; default: flat ground at 0 m"""
    seed: int = 0
    """seed of every random draw"""
    draw_heights: bool = False
    """draw building heights that are not tagged from their uncertainty, instead of using the best estimate"""
    storey_height: float | None = None
    """height of a level in m; default: learned from buildings of the map with height and levels, else 3.6"""
    materials: str = "itu"
    """itu: the ITU classes that the tags suggest; drawn: values of its own for each building, drawn around its class"""
    frequency: float = 3.5e9
    """carrier frequency in Hz for which materials are drawn"""
    ground: str = "concrete"
    """concrete: all of it, defined from 1 to 100 GHz; cover: concrete, soil and water by the map, from 1 to 10 GHz"""
    vegetation: bool = False
    """keep the map's trees, rows of trees and woods, which attenuate waves (ITU-R P.833): rasters `canopy_base` and
    `canopy_top`"""
    sites: int = 0
    """number of rooftop sites to place on the tile; 0: none, `uel place` or a list of cells gives them"""
    sectors: int = 1
    """cells of each site"""
    origin: tuple[float, float] | None = None
    """latitude and longitude of the point (0, 0) of a Sionna scene (.xml), whose y is true north"""
    scene: SceneFileConfig = field(default_factory=SceneFileConfig)
    raster: HeightRasterConfig = field(default_factory=HeightRasterConfig)
    perturb: str = ""
    """errors to put into the tile: heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m, or some of it"""

    def __post_init__(self) -> None:
        metres, count = {"size": (1.0, 1e5), "margin": (0.0, 1e5), "pixel": (0.01, 1e3)}, {"sites": (0, 1000)}
        require_numbers(self, **metres, **count, sectors=SECTOR_RANGE, frequency=(1e8, 1e12))
        if self.materials not in ("itu", "drawn"):
            raise UelError("unknown value of materials", got=self.materials, do="choose itu or drawn")
        if self.ground not in ("concrete", "cover"):
            raise UelError("unknown value of ground", got=self.ground, do="choose concrete or cover")
        if self.storey_height is not None and not MIN_STOREY <= self.storey_height <= MAX_STOREY:
            raise UelError(
                f"--storey-height is not {MIN_STOREY:g} to {MAX_STOREY:g} m",
                got=f"{self.storey_height:g} m",
                do="give the height of one storey in metres, such as 3.2",
            )
        self.perturbation  # noqa: B018  (raises for an invalid text)

    @property
    def perturbation(self) -> Perturbation:
        """The parsed `perturb`."""
        return parse_perturbation(self.perturb) if self.perturb else Perturbation()


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    """Sites on a tile: `uel place TILE --count 4 --sectors 3`."""

    tile: tyro.conf.Positional[Path]
    """folder of the tile"""
    kind: Literal["rooftop", "grid", "random", "farthest", "custom"] = "rooftop"
    """rooftop: roofs drawn uniformly; grid: roofs nearest to a lattice; random: 10 m poles outdoors; farthest: roofs
    as far apart as possible; custom: from a file"""
    file: Path | None = None
    """with kind custom: list of cells or sites in .csv, .tsv, .json, .geojson or .kml, also of
    OpenCelliD; its columns, units and positions are checked"""
    columns: tuple[str, ...] = ()
    """names of the file's columns: latitude=LAT height=HBA azimuth_deg=Richtung; usual names are known"""
    height: float | None = None
    """with a file: metres above the ground of rows without a height; default: such rows are refused"""
    north: Literal["true", "grid", "magnetic"] = "true"
    """with a file: what its azimuths count from; azimuths beside x and y count from the tile's grid north"""
    declination_deg: float = 0.0
    """with --north magnetic: the declination there, degrees east"""
    antennas: Path | None = None
    """with a file: folder of measured antenna patterns (.msi, .pln, .csv) that its column antenna names"""
    count: int = 4
    """number of sites (not for custom)"""
    seed: int = 0
    """seed of the positions and azimuths"""
    mast: float | None = None
    """height of the antenna above the roof in m; default: 3 (not for random); with a file, of rows without a height,
    which are refused by default"""
    spacing: float | None = None
    """least horizontal distance between two sites in m, for rooftop and random; relaxed with a warning where it
    cannot be kept"""
    sectors: int = 1
    """cells of each site, at evenly spaced azimuths (not for custom, whose file has azimuths)"""
    tilt_deg: float | None = None
    """downtilt in degrees; default: 0 for a single cell, 6 for sectors"""
    power_dbm: float = 46.0
    """power of a cell in dBm: of what, --power-kind says"""
    power_kind: PowerKind = "total"
    """total: transmit power over the whole carrier; eirp: with the antenna's greatest gain; reference: of one resource
    element"""
    electrical_tilt_deg: float = 0.0
    """electrical downtilt in degrees, of an array or a sector's pattern"""
    array_rows: int = 1
    """vertical number of antenna elements"""
    array_columns: int = 1
    """horizontal number of antenna elements"""
    pattern: Pattern | None = None
    """pattern of an antenna element; default: iso for a single cell, tr38901 for sectors; with a file: tr38901 for
    cells with an azimuth, iso for others"""
    polarization: Literal["V", "H", "VH", "cross"] = "V"
    """polarization of the antenna elements"""
    carrier: Carrier = field(default_factory=Carrier)

    def __post_init__(self) -> None:
        counts = {"count": (1, 100_000), "sectors": SECTOR_RANGE, "array_rows": (1, 256), "array_columns": (1, 256)}
        angles = {"tilt_deg": (-90.0, 90.0), "declination_deg": (-180.0, 180.0)}
        require_numbers(self, **counts, **angles, power_dbm=(-200.0, 200.0), mast=(0.0, 1e3), spacing=(0.0, 1e5))
        if self.columns and self.columns[0].isdigit():
            do = f"write --array-columns {self.columns[0]}"
            what = "--columns names the columns of a file; antenna elements are --array-columns"
            raise UelError(what, got=self.columns[0], do=do)
        unknown = [text for text in self.columns if not all(part.strip() for part in text.partition("=")[::2])]
        if unknown:
            raise UelError("--columns does not name a column", got=unknown[0], do="write latitude=LAT longitude=LON")
        only_file = ("columns", "height", "antennas", "declination_deg")
        given = [name for name in only_file if getattr(self, name) and self.file is None]
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise UelError(
                f"{option} applies to a file only", got=f"{option} without --file", do="add --file cells.csv"
            )
        if self.height is not None and self.mast is not None and self.file is not None:
            got = f"--height {self.height:g} and --mast {self.mast:g}"
            raise UelError("rows without a height get one height", got=got, do="give --height or --mast")
        if (self.kind == "custom") != (self.file is not None):
            raise UelError(
                "--kind custom needs --file, and --file needs --kind custom",
                got=f"kind {self.kind}, file {self.file}",
                do="give both, --kind custom --file sites.csv, or neither",
            )
        if self.spacing is not None and self.kind not in ("rooftop", "random"):
            raise UelError(
                f"--spacing does not apply to --kind {self.kind}",
                got=f"{self.spacing:g} m",
                do="leave --spacing out, or choose rooftop or random",
            )


@dataclass(frozen=True, kw_only=True)
class BuildConfig(TileBuildConfig):
    """Tiles from maps: `uel build paris.osm.gz "48.87,2.33" munich`."""

    sources: tyro.conf.Positional[tuple[str, ...]]
    """map files (.osm, .osm.gz, .osm.pbf, Overpass .json, .geojson, .parquet, .gpkg, .shp, .zip), Sionna scenes (.xml),
    rasters of heights (.tif), points "48.87,2.33", boxes "west,south,east,north", names of places, or bundled cities;
    with --check: tile folders to verify"""
    out: Path = field(default_factory=lambda: data_folder() / "tiles")
    """folder of the tiles; each tile gets a subfolder of its name"""
    name: str | None = None
    """name of the tile, for a single source; default: the source's name"""
    center: tuple[float, float] | None = None
    """latitude and longitude of the tile's centre (x and y in m for a bundled city); default: the source's centre, for
    a file the middle of its bounds or of its buildings"""
    render: bool = True
    """also render a picture with Mitsuba"""
    check: bool = False
    """verify the files of tile folders by their hashes, and build nothing"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise UelError(
                "no source to build from",
                got="no sources",
                do="give a map file, a point, a box, a place or a bundled city",
            )
        if len(self.sources) > 1 and (self.name or self.center):
            raise UelError(
                "--name and --center apply to one source only",
                got=f"{len(self.sources)} sources",
                do="build them one at a time, or leave --name and --center out",
            )

    @property
    def tile_config(self) -> TileBuildConfig:
        """The options that all sources have in common."""
        return TileBuildConfig(**{f.name: getattr(self, f.name) for f in fields(TileBuildConfig)})
