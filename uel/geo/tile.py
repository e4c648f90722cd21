"""A tile: a georeferenced square of a city on disk, with meshes for ray tracing and rasters for everything else."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel._lazy import function_named
from uel.core.display.viewable import Viewable
from uel.core.files.folder_names import require_folder_name
from uel.core.grid import Grid
from uel.core.io import file_hash, read_whole_array
from uel.core.outside.json_text import read_json
from uel.core.tile_reference import TileReference
from uel.errors import UelError, brief, quoted
from uel.geo.material_bands import require_materials_at
from uel.geo.tile_metadata import damaged_tile, read_tile_metadata
from uel.radio.config import Carrier
from uel.radio.sites import Site, sites_from_json, split_by_carrier

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray

SCHEMA = 2
SITES_FILE = "sites.json"
MAST_CLEARANCE = 1.0  # m, of a mast's antenna above the roof
FINGERPRINT_LENGTH = 16  # hexadecimal digits
RASTER_FOLDER = "rasters.zarr"
RASTER_NAMES = ("ground", "height", "footprint", "material")
RASTER_UNITS = {
    "ground": "m", "height": "m", "footprint": "1", "material": "1", "cover": "1", "known": "1", "canopy_base": "m",
    "canopy_top": "m",
}  # fmt: skip
OPTIONAL_RASTERS = ("cover", "known", "canopy_base", "canopy_top")


@dataclass(frozen=True, repr=False)
class Tile(Viewable):
    """A tile folder: `scene.xml` with `meshes/`, `rasters.zarr`, `tile.json`, and `sites.json` if it has sites.

    Rasters on `raster_grid`: `ground` (m, elevation of the terrain), `height` (m, elevation of the highest surface),
    `footprint` (1 on buildings), `material` (index into `materials`), and where the source has them `cover` (land
    cover, index into `covers`), `known` (1 where it knows the height, 0 where that was filled), `canopy_base` and
    `canopy_top` (m above the ground, the ends of trees' crowns; both 0 where there is none).

    Raises:
        UelError: by `Tile.open`, for a folder that is no tile, is damaged or is of an older schema.

    Example:
        >>> import tempfile, scenes, uel
        >>> folder = tempfile.mkdtemp()
        >>> _ = scenes.build("etoile", folder + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> tile = uel.Tile.open(folder + "/etoile")
        >>> tile.size, tile.verify()
        (128.0, [])
    """

    folder: Path
    """where its files are"""

    @staticmethod
    def open(folder: str | Path) -> "Tile":
        """Open a tile folder. Raises `UelError` when it is absent, damaged or of another schema."""
        tile = Tile(Path(folder))
        if not (tile.folder / "tile.json").is_file():
            raise UelError("no tile here", got=str(folder), do="build one: scenes.build('florence', folder)")
        name = tile.meta["name"]
        try:
            require_folder_name(name, "the tile's name in tile.json")
        except UelError as error:
            raise damaged_tile(tile.folder, error) from error
        return tile

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Name, size, margin, pixel, materials, provenance, bands, and the hash of every other file."""
        return read_tile_metadata(self.folder, SCHEMA)

    @property
    def name(self) -> str:
        """The word by which artefacts and reports call it."""
        return self.meta["name"]

    @property
    def size(self) -> float:
        """Side of the square in metres."""
        return self.meta["size"]

    @property
    def materials(self) -> list[str]:
        """Material names, indexed by the `material` raster."""
        return self.meta["materials"]

    @property
    def covers(self) -> list[str]:
        """Kinds of land cover, indexed by the `cover` raster; empty without that raster."""
        return self.meta.get("covers", [])

    @property
    def has_sites(self) -> bool:
        """Whether sites are stored with the tile."""
        return (self.folder / SITES_FILE).is_file()

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """The sites in the folder. Raises `UelError` when there are none, or when they cannot be read."""
        file = self.folder / SITES_FILE
        if not self.has_sites:
            raise UelError("no sites on this tile", got=str(file), do=f"place some: uel place {quoted(self.folder)}")
        if file.name in self.meta["files"]:
            self.require_files(file.name)
        try:
            return sites_from_json(read_json(file))
        except UelError as error:
            got = f"{file}: {brief(error)}"
            raise UelError("the tile's sites cannot be read", got=got, do="place them again: uel place") from error

    @property
    def scene_file(self) -> Path:
        """The Mitsuba scene that `sionna.rt.load_scene` opens."""
        return self.folder / "scene.xml"

    def grid(self, pixel: float) -> Grid:
        """A grid over the tile, with pixels of some metres a side. Raises `UelError` unless they fill it evenly."""
        return Grid(size=self.size, pixel=pixel)

    @cached_property
    def raster_grid(self) -> Grid:
        """The grid of the rasters."""
        return self.grid(self.meta["pixel"])

    @cached_property
    def rasters(self) -> dict[str, Tensor]:
        """All rasters as float tensors, `row column`.

        Raises `UelError` when one is absent, damaged or not the one that the tile was written with.
        """
        from uel.core.outside.zarr_groups import open_arrays

        self.require_files(f"{RASTER_FOLDER}/")
        try:
            arrays, _ = open_arrays(self.folder / RASTER_FOLDER)
            names = [*RASTER_NAMES, *(name for name in OPTIONAL_RASTERS if name in arrays)]
            return {name: torch.from_numpy(_read(arrays[name], self.raster_grid)) for name in names}
        except Exception as error:  # zarr's codecs raise what their compressor raises
            raise damaged_tile(self.folder, error) from error

    def coarsen(self, name: str, grid: Grid) -> Float[Tensor, "row column"]:
        """A raster averaged onto a coarser grid. Raises `UelError` when its pixels do not nest."""
        values = self.rasters[name]
        step = grid.pixel / self.raster_grid.pixel
        if abs(step - round(step)) > 1e-6 or step < 1:
            raise UelError(
                "the grid does not nest in the tile's rasters",
                got=f"{grid.pixel} m over {self.raster_grid.pixel} m",
                do="choose a multiple of the raster's pixel",
            )
        return torch.nn.functional.avg_pool2d(values[None], round(step))[0]

    def ground(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n"]:
        """Elevation of the terrain in metres, bilinear and differentiable."""
        return self.raster_grid.sample(self.rasters["ground"][None].to(position.device), position)[..., 0]

    def at_height(self, position: Float[Tensor, "*n dim"], height: float) -> Float[Tensor, "*n 3"]:
        """Three-dimensional positions: (x, y) get a z `height` metres above the ground, (x, y, z) stay as they are."""
        if position.shape[-1] == 3:
            return position
        return torch.cat([position, (self.ground(position) + height).unsqueeze(-1)], dim=-1)

    def pixel_of(self, position: Float[Tensor, "*n dim"]) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]]:
        """Row and column on `raster_grid` of positions on the tile."""
        return self.raster_grid.pixel_of(position)

    def is_outdoor(self, position: Float[Tensor, "*n dim"]) -> Tensor:
        """Whether no building stands at a position: Bool, `*n`."""
        row, column = self.pixel_of(position)
        return self.rasters["footprint"].to(position.device)[row, column] < 0.5

    def min_mast_z(self, x: float, y: float) -> float:
        """Least z in metres of an antenna at (x, y): `MAST_CLEARANCE` above the roof or ground."""
        row, column = self.pixel_of(torch.tensor([x, y], device="cpu"))
        return float(self.rasters["height"][row, column]) + MAST_CLEARANCE

    def require_sites(self, sites: tuple[Site, ...], extrapolate: bool = False) -> None:
        """Raise `UelError` without a site, and for a site that is off the tile, inside a building or in the ground.

        Also raises `UelError` for a carrier at which a material is not defined (`require_carrier`), unless materials
        are to be extrapolated (`TracingConfig.material_extrapolation`).
        """
        for carrier in split_by_carrier(sites) if not extrapolate else ():
            self.require_carrier(carrier)
        self.require_site_positions(sites)

    def require_site_positions(self, sites: tuple[Site, ...]) -> None:
        """Raise `UelError` without a site, and for a site that is off the tile, inside a building or in the ground."""
        if not sites:
            raise UelError("there are no sites", got="0 sites", do="place some: scenes.place(tile, count=4)")
        position = torch.tensor([site.position for site in sites], device="cpu")
        self.raster_grid.require(position)
        row, column = self.pixel_of(position)
        top, ground = self.rasters["height"][row, column], self.rasters["ground"][row, column]
        for site, roof, terrain in zip(sites, top.tolist(), ground.tolist(), strict=True):
            if not roof < site.position[2] < math.inf:
                where = "inside a wall" if site.position[2] > terrain else "in the ground"
                raise UelError(
                    f"a site {where}",
                    got=f"position {site.position} where the top is at {roof:.1f} m, the ground at {terrain:.1f} m",
                    do=f"raise it to at least {math.floor(roof) + 1} m or move it",
                )

    def require_carrier(self, carrier: Carrier) -> None:
        """Raise `UelError` when a material of the tile is not defined at the carrier's frequency."""
        require_materials_at(carrier, self.meta.get("bands", {}), self.name)

    def require_files(self, *names: str) -> None:
        """Raise `UelError` where files of the tile are missing, lie elsewhere, or differ from `tile.json`'s hash.

        `names` are paths in the tile; one that ends in a slash stands for all that are listed below it.
        """
        listed = [n for n in self.meta["files"] if any(n == name or n.startswith(_folder(name)) for name in names)]
        wrong = [name for name in listed if not self._is_whole(name)]
        missing = [name for name in names if not any(n == name or n.startswith(_folder(name)) for n in listed)]
        if wrong or missing:
            raise damaged_tile(
                self.folder,
                f"{len(wrong)} of {len(listed)} files differ from tile.json or are missing: {(wrong + missing)[0]}",
            )

    def _is_whole(self, name: str) -> bool:
        path = self.folder / name
        is_inside = path.resolve().is_relative_to(self.folder.resolve())
        return is_inside and path.is_file() and file_hash(path) == self.meta["files"][name]

    def verify(self) -> list[str]:
        """Names of files that differ from their hash in `tile.json`, are missing, or are not listed there."""
        listed, actual = self.meta["files"], file_hashes(self.folder)
        return sorted(name for name in listed.keys() | actual.keys() if listed.get(name) != actual.get(name))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of `tile.json`, which holds the hashes of all other files; identifies the tile in files made from it."""
        return file_hash(self.folder / "tile.json")[:FINGERPRINT_LENGTH]

    @property
    def reference(self) -> TileReference:
        """Name and fingerprint, as artefacts that are made on the tile keep them."""
        return TileReference(self.name, self.fingerprint)

    # ---- views ---------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, str]:
        """Size, pixel, sites, projection and folder; of a folder that is no tile only the fault."""
        try:
            sites = self.sites if self.has_sites else ()
            return {
                "name": self.name,
                "size": f"{self.size:g} m",
                "pixel": f"{self.meta['pixel']:g} m",
                "sites": f"{len(sites)} with {sum(len(site.cells) for site in sites)} cells" if sites else "none",
                "projection": self.meta.get("crs") or "none (metres alone)",
                "folder": str(self.folder),
            }
        except UelError as error:
            return {"folder": str(self.folder), "fault": brief(error)}

    def plot(
        self, ax: "matplotlib.axes.Axes | None" = None, sites: tuple[Site, ...] | None = None
    ) -> "matplotlib.axes.Axes":
        """Draw shaded heights of buildings with cells, in metres of the tile, north up.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            sites: whose cells are drawn; None: those of the tile, if it has any.

        Raises:
            UelError: for rasters that are absent or damaged.

        Example:
            >>> import tempfile, scenes
            >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
            >>> tile.plot().get_xlabel()
            'east in m'
        """
        return function_named("uel.plots.tile:plot_tile")(self, ax, sites)

    def to_xarray(self) -> "xarray.Dataset":
        """The rasters as a dataset of (y, x) in metres of the tile's projection, or of the tile without one."""
        return function_named("uel.conversion.datasets:tile_dataset")(self)


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a tile folder by path, without `tile.json` and hidden files."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: file_hash(path) for name, path in sorted(paths.items()) if name != "tile.json" and name[0] != "."}


def _folder(name: str) -> str:
    """The start of all paths below a folder; a text that no path begins with for the name of a file."""
    return name if name.endswith("/") else f"{name}/"


def _read(array: Any, grid: Grid) -> np.ndarray:
    """Values of a raster."""
    if array.shape != grid.shape:
        raise ValueError(f"{array.path} is of shape {array.shape}")
    values = read_whole_array(array).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} values of {array.path} are not finite")
    return values
