"""A georeferenced square of city on disk: meshes for the ray tracer, rasters for everything else."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.errors import UelError
from uel.grid import Grid
from uel.sites import Site, require_sites

SCHEMA = 1
RASTERS = ("ground", "height", "footprint", "material")


@dataclass(frozen=True)
class Tile:
    """A tile folder: `scene.xml` with `meshes/`, `rasters.npz` and `tile.json`.

    Rasters lie on `grid`: `ground` (m, elevation of the terrain), `height` (m, elevation of whatever a vertical
    ray from above meets first), `footprint` (1 on buildings), `material` (index into `materials`).
    """

    folder: Path

    @staticmethod
    def open(folder: str | Path) -> "Tile":
        """Open a tile folder. Raises `UelError` when there is none, or when its schema is another one."""
        tile = Tile(Path(folder))
        if not (tile.folder / "tile.json").is_file():
            raise UelError("no tile here", got=str(folder), do="build one: scenes.build('florence', folder)")
        try:
            tile.meta  # noqa: B018  (read now)
        except ValueError as error:
            raise UelError("this tile is damaged", got=f"{folder}: {error}", do="build it again") from error
        if tile.meta.get("schema") != SCHEMA:
            raise UelError(
                f"this tile has another schema than {SCHEMA}", got=tile.meta.get("schema"), do="build it again"
            )
        return tile

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Name, place, size, margin, materials, provenance."""
        return json.loads((self.folder / "tile.json").read_text())

    @property
    def name(self) -> str:
        return self.meta["name"]

    @property
    def size(self) -> float:
        """Side of the square in metres."""
        return self.meta["size"]

    @property
    def materials(self) -> list[str]:
        """Material names, in the order that the `material` raster counts them."""
        return self.meta["materials"]

    @property
    def scene_file(self) -> Path:
        """The Mitsuba scene that `sionna.rt.load_scene` opens."""
        return self.folder / "scene.xml"

    def grid(self, pixel: float) -> Grid:
        return Grid(size=self.size, pixel=pixel)

    @cached_property
    def raster_grid(self) -> Grid:
        """The grid that the rasters lie on."""
        return self.grid(self.meta["pixel"])

    @cached_property
    def rasters(self) -> dict[str, Tensor]:
        """All rasters as float tensors, `row column`."""
        with np.load(self.folder / "rasters.npz") as stored:
            return {name: torch.from_numpy(stored[name].astype(np.float32)) for name in RASTERS}

    def coarse(self, name: str, grid: Grid) -> Float[Tensor, "row column"]:
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
        return self.raster_grid.sample(self.rasters["ground"][None], position)[..., 0]

    def at_height(self, position: Float[Tensor, "*n dim"], height: float) -> Float[Tensor, "*n 3"]:
        """Positions in three dimensions: (x, y) are put `height` metres above the ground, (x, y, z) stay."""
        if position.shape[-1] == 3:
            return position
        return torch.cat([position, (self.ground(position) + height).unsqueeze(-1)], dim=-1)

    def pixel_of(self, position: Float[Tensor, "*n dim"]) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]]:
        """Row and column on `raster_grid` of positions on the tile."""
        return self.raster_grid.pixel_of(position)

    def outdoor(self, position: Float[Tensor, "*n dim"]) -> Tensor:
        """Whether no building stands at a position: Bool, `*n`."""
        row, column = self.pixel_of(position)
        return self.rasters["footprint"][row, column] < 0.5

    def require_sites(self, sites: tuple[Site, ...]) -> None:
        """Raise `UelError` without a site, when one is off the tile, and when one is inside a wall or a hill."""
        require_sites(sites)
        position = torch.tensor([site.position for site in sites])
        self.raster_grid.require(position)
        row, column = self.pixel_of(position)
        top, ground = self.rasters["height"][row, column], self.rasters["ground"][row, column]
        for site, roof, earth in zip(sites, top.tolist(), ground.tolist(), strict=True):
            if not roof < site.position[2] < math.inf:
                where = "inside a wall" if site.position[2] > earth else "in the ground"
                raise UelError(
                    f"a site {where}",
                    got=f"position {site.position} where the top is at {roof:.1f} m, the ground at {earth:.1f} m",
                    do=f"raise it to at least {math.floor(roof) + 1} m or move it",
                )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the folder's contents: what was made from this tile names it."""
        digest = hashlib.sha256()
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            digest.update(path.relative_to(self.folder).as_posix().encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]
