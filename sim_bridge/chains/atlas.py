"""Chains of walls that are worth trying for every cell and every piece of street: a path search done once.

A path is a chain of walls. Which chains can be paths depends on the transmitter and roughly on where the receiver
is, not on its exact position and not at all on materials. The atlas keeps them per cell and pixel; a query takes
those of its pixel and of the eight around it, and the image method decides (`sionna_internals.resolve`). Chains that
only go through walls are tried everywhere.

Limits: reflection and refraction (no diffraction, no scattering), receivers near the height that the atlas was built
for. `paths/atlas_audit.py` measures what a full search finds more, and adds it to the atlas; where a query falls on a
pixel that no ray reached, `paths/dispatch.py` asks the full search and extends the atlas.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.chains.config import AtlasConfig
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.sites import Site, cell_positions, sites_from_json, sites_to_json

SCHEMA = 3
_ARRAYS = {"walls": "walls", "start": "start", "chain": "chain", "searched_empty": "barren"}  # field: name in the file


@dataclass(frozen=True, eq=False)
class Atlas:
    """Chains per cell and pixel, in compressed rows: those of link l are `chain[start[l] : start[l + 1]]`.

    A link is cell · pixels + pixel; a chain is a row of `walls`: 0 nothing more, 1 a wall gone through, 2 + i a
    reflection off plane i of the scene.

    `Sionna.build_atlas` makes one, `save` and `load` write and read it.

    Example:
        >>> import sim_bridge
        >>> hasattr(sim_bridge.Sionna, "build_atlas") and hasattr(sim_bridge.Atlas, "load")
        True
    """

    grid: Grid
    config: AtlasConfig
    sites: tuple[Site, ...]
    walls: Int[Tensor, "chain depth"]
    start: Int[Tensor, " link_1"]
    chain: Int[Tensor, " entry"]
    searched_empty: Bool[Tensor, " pixel"]
    """where the full search found no chain that the atlas could keep: it need not be repeated"""
    meta: dict[str, Any] = field(default_factory=dict)
    """provenance: what it was built from, how long that took, what it misses"""

    @property
    def cells(self) -> int:
        return (len(self.start) - 1) // self.grid.count**2

    @staticmethod
    def from_links(
        grid: Grid,
        config: AtlasConfig,
        sites: tuple[Site, ...],
        link: Int[Tensor, " entry"],
        walls: Int[Tensor, "entry depth"],
    ) -> "Atlas":
        """Index chains by the links that they belong to; any may come more than once."""
        table, chain = torch.unique(walls, dim=0, return_inverse=True)
        pairs = torch.unique(link * max(len(table), 1) + chain)
        link, chain = pairs // max(len(table), 1), pairs % max(len(table), 1)
        links = len(cell_positions(sites)) * grid.count**2
        start = torch.searchsorted(link, torch.arange(links + 1))
        return Atlas(grid, config, sites, table, start, chain, torch.zeros(grid.count**2, dtype=torch.bool))

    def with_chains(self, link: Int[Tensor, " entry"], walls: Int[Tensor, "entry depth"]) -> "Atlas":
        """The atlas with more chains, each at a link."""
        known = torch.repeat_interleave(torch.arange(len(self.start) - 1), self.start.diff())
        more = Atlas.from_links(
            self.grid, self.config, self.sites, torch.cat([known, link]), torch.cat([self.walls[self.chain], walls])
        )
        return replace(more, meta=self.meta, searched_empty=self.searched_empty)

    def after_search(self, position: Float[Tensor, "n 3"]) -> "Atlas":
        """The atlas after a full search at positions: pixels that still have no chain are marked as searched."""
        searched_empty = self.searched_empty.clone()
        searched_empty[self._pixel(position[self.uncovered(position)])] = True
        return replace(self, searched_empty=searched_empty)

    def _pixel(self, position: Float[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        row, column = self.grid.pixel_of(position)
        return row * self.grid.count + column

    def link_of(self, position: Float[Tensor, "n 3"], cell: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Link of each position with a cell."""
        return cell * self.grid.count**2 + self._pixel(position)

    def candidates(
        self, position: Float[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, "row depth"]]:
        """Receiver, cell and walls of every chain worth trying, the direct path included."""
        links = self._links_around(position)
        count = (self.start[links + 1] - self.start[links]).flatten()
        entry = torch.repeat_interleave(torch.arange(len(count)), count)
        offset = torch.arange(len(entry)) - torch.repeat_interleave(count.cumsum(0) - count, count)
        chain = self.chain[self.start[links].flatten()[entry] + offset]
        pair = entry // links.shape[-1]
        known = torch.unique(pair * max(len(self.walls), 1) + chain)
        pair, chain = known // max(len(self.walls), 1), known % max(len(self.walls), 1)
        all_pairs = torch.arange(len(position) * self.cells)
        straight = self._straight().repeat(len(all_pairs), 1)
        pair = torch.cat([all_pairs.repeat_interleave(self.config.depth + 1), pair])
        walls = torch.cat([straight, self.walls[chain]])
        return pair // self.cells, pair % self.cells, walls

    def _straight(self) -> Int[Tensor, "count depth"]:
        """The direct path, and straight on through one wall, two, …"""
        return torch.tril(torch.ones(self.config.depth + 1, self.config.depth, dtype=torch.long), diagonal=-1)

    def _links_around(self, position: Float[Tensor, "n 3"]) -> Int[Tensor, "n cell 9"]:
        """Links of the pixel that holds each position and of its neighbours (of itself again at the edge)."""
        row, column = self.grid.pixel_of(position)
        step = torch.tensor([-1, 0, 1])
        rows = (row[:, None, None] + step[:, None]).clamp(0, self.grid.count - 1)
        columns = (column[:, None, None] + step).clamp(0, self.grid.count - 1)
        pixel = (rows * self.grid.count + columns).flatten(1)
        return torch.arange(self.cells)[:, None] * self.grid.count**2 + pixel[:, None]

    def uncovered(self, position: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Whether no chain of any cell is known around a position, and no search has found that there is none."""
        links = self._links_around(position)
        return (self.start[links + 1] == self.start[links]).flatten(1).all(1) & ~self.searched_empty[
            self._pixel(position)
        ]

    # ---- on disk ---------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write `atlas.npz` and `atlas.json` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(self, field).numpy().astype(np.int32) for field, name in _ARRAYS.items()}
        np.savez_compressed(folder / "atlas.npz", **arrays)
        meta = {"schema": SCHEMA, "size": self.grid.size, "plan": asdict(self.config), "meta": self.meta}
        (folder / "atlas.json").write_text(json.dumps({**meta, "sites": sites_to_json(self.sites)}, indent=1))

    @staticmethod
    def load(folder: str | Path) -> "Atlas":
        """Read what `save` wrote. Raises `UelError` when it is absent, damaged or of another schema."""
        folder = Path(folder)
        try:
            stored = json.loads((folder / "atlas.json").read_text())
            if stored.get("schema") != SCHEMA:
                raise UelError(f"this atlas is not of schema {SCHEMA}", got=stored.get("schema"), do="build it again")
            with np.load(io.BytesIO((folder / "atlas.npz").read_bytes())) as file:
                arrays = {field: torch.from_numpy(file[name].astype(np.int64)) for field, name in _ARRAYS.items()}
            config = AtlasConfig(**stored["plan"])
            grid, sites = Grid(size=stored["size"], pixel=config.pixel), sites_from_json(stored["sites"])
        except UelError:
            raise
        except Exception as error:  # zip, JSON and numpy raise what they raise
            raise UelError("a folder has no readable atlas", got=f"{folder}: {error}", do="build it again") from error
        arrays["searched_empty"] = arrays["searched_empty"].bool()
        return Atlas(grid, config, sites, **arrays, meta=stored["meta"])


def geometry_key(corner: np.ndarray) -> str:
    """A hash of a scene's triangles: an atlas belongs to one geometry."""
    return hashlib.sha256(np.ascontiguousarray(corner.astype(np.float32)).tobytes()).hexdigest()[:16]
