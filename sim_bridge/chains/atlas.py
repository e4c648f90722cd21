"""What is worth trying for every mast and every piece of street: a path search done once.

A path is a chain of walls, an edge of the scene, or a piece of surface that scatters. Which of them can be paths
depends on the transmitter and roughly on where the receiver is, not on its exact position and not at all on materials.
The atlas keeps them per mast and pixel, and a query tries them:

- chains of walls of the pixel and of the eight around it; the image method decides (`sionna_internals.resolve`). Chains
  that only go through walls are tried everywhere;
- edges of the same nine pixels, where paths diffract (`chains/edges.py`, `paths/edges/edge_search.py`), and pairs of
  edges where they diffract twice (`paths/edges/horizons.py`);
- scatterers of the pixel alone, where paths scatter (`chains/scatterers.py`): a few that stand for all.

Limits: an edge with walls besides, two edges other than those of roofs in a line, and scattering with anything besides
are the full search's; receivers are near the height that the atlas was built for. `paths/atlas_audit.py` measures what
a full search finds more, and adds its chains to the atlas; where a query falls on a pixel that nothing reached,
`paths/dispatch.py` asks the full search and extends the atlas.
"""

import hashlib
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.backend.unique_rows import unique_rows
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.chains.link_index import LinkIndex
from sim_bridge.chains.mast_entries import MastEntries, masts
from uel.core.grid import Grid
from uel.core.io import array_bytes, file_hash, replace_file
from uel.core.outside.array_files import read_arrays
from uel.core.outside.checksums import json_with_checksum, read_checked_json
from uel.errors import UelError, brief
from uel.radio.sites import Site, sites_from_json, sites_to_json

SCHEMA = 6  # pairs of edges; scatterers near pixels that see no others
METADATA_FILE, ARRAY_FILE = "atlas.json", "atlas.npz"
_INDICES = ("chains", "edges", "edge_pairs", "scatterers")


@dataclass(frozen=True, eq=False)
class Atlas:
    """Chains, edges and scatterers per mast and pixel; a link is mast · pixels + pixel.

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
    """a chain a row: 0 nothing more, 1 a wall gone through, 2 + i a reflection off plane i of the scene"""
    chains: LinkIndex
    """rows of `walls`"""
    edges: LinkIndex
    """numbers of the scene's edges"""
    pairs: Int[Tensor, "pair 2"]
    """pairs of the scene's edges, that of the mast's side first"""
    edge_pairs: LinkIndex
    """rows of `pairs`"""
    scatterers: LinkIndex
    """numbers of the scene's scatterers"""
    scatterer_weight: Float[Tensor, " entry"]
    """how many times the power of each scatterer counts: it stands for others"""
    searched_empty: Bool[Tensor, " pixel"]
    """where the full search found no chain that the atlas could keep: it need not be repeated"""
    meta: dict[str, Any] = field(default_factory=dict)
    """provenance: what it was built from, how long that took, what it misses"""

    @property
    def cells(self) -> int:
        """Cells of all sites together."""
        return len(self._mast)

    @cached_property
    def _mast(self) -> Int[Tensor, " cell"]:
        return masts(self.sites)[1]

    @staticmethod
    def from_masts(
        grid: Grid, config: AtlasConfig, sites: tuple[Site, ...], entries: list[MastEntries], meta: dict[str, Any]
    ) -> "Atlas":
        """An atlas of what is worth trying from each mast of the sites (`masts`)."""
        links = len(entries) * grid.count**2

        def by_link(name: str) -> Tensor:
            return torch.cat([getattr(e, name) + k * grid.count**2 for k, e in enumerate(entries)])

        walls, chains = _row_index(by_link("chain_pixel"), torch.cat([e.walls for e in entries]), links)
        pairs, edge_pairs = _row_index(by_link("pair_pixel"), torch.cat([e.pair for e in entries]), links)
        return Atlas(
            grid, config, sites, walls, chains,
            LinkIndex.from_pairs(by_link("edge_pixel"), torch.cat([e.edge for e in entries]), links),
            pairs, edge_pairs,
            LinkIndex.from_pairs(by_link("scatterer_pixel"), torch.cat([e.scatterer for e in entries]), links),
            torch.cat([e.scatterer_weight for e in entries]),
            torch.zeros(grid.count**2, dtype=torch.bool, device=walls.device), meta,
        )  # fmt: skip

    @staticmethod
    def empty(grid: Grid, config: AtlasConfig, sites: tuple[Site, ...]) -> "Atlas":
        """An atlas that knows nothing yet."""
        return Atlas.from_masts(grid, config, sites, [MastEntries.none(config.depth)] * len(masts(sites)[0]), {})

    def with_chains(self, link: Int[Tensor, " entry"], walls: Int[Tensor, "entry depth"]) -> "Atlas":
        """The atlas with more chains, each at a link."""
        known, links = self.chains, len(self.chains.start) - 1
        walls, chains = _row_index(torch.cat([known.link, link]), torch.cat([self.walls[known.item], walls]), links)
        return replace(self, walls=walls, chains=chains)

    def after_search(self, position: Float[Tensor, "n 3"]) -> "Atlas":
        """The atlas after a full search at positions: pixels that still have nothing are marked as searched."""
        searched_empty = self.searched_empty.clone()
        searched_empty[self._pixel(position[self.uncovered(position)])] = True
        return replace(self, searched_empty=searched_empty)

    def _pixel(self, position: Float[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        row, column = self.grid.pixel_of(position)
        return row * self.grid.count + column

    def link_of(self, position: Float[Tensor, "n 3"], cell: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Link of each position with the mast of a cell."""
        return self._mast[cell] * self.grid.count**2 + self._pixel(position)

    # ---- what is worth trying ----------------------------------------------------------------------------

    def candidates(
        self, position: Float[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, "row depth"]]:
        """Receiver, cell and walls of every chain worth trying, the direct path included."""
        pair, chain = self.chains.around(self.grid.count).items_of(self._links(position))
        all_pairs = torch.arange(len(position) * self.cells, device=position.device)
        straight = self._straight().repeat(len(all_pairs), 1)
        pair = torch.cat([all_pairs.repeat_interleave(self.config.depth + 1), pair])
        walls = torch.cat([straight, self.walls[chain]])
        return pair // self.cells, pair % self.cells, walls

    def edge_candidates(
        self, position: Float[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Receiver, cell and edge of the scene that are worth trying."""
        pair, edge = self.edges.around(self.grid.count).items_of(self._links(position))
        return pair // self.cells, pair % self.cells, edge

    def pair_candidates(
        self, position: Float[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, "row 2"]]:
        """Receiver, cell and two edges of the scene that are worth trying."""
        pair, edges = self.edge_pairs.around(self.grid.count).items_of(self._links(position))
        return pair // self.cells, pair % self.cells, self.pairs[edges]

    def scatterers_at(
        self, position: Float[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"], Int[Tensor, " row"], Float[Tensor, " row"]]:
        """Receiver, cell and scatterer of the scene, and how many times its power counts."""
        pair, entry = self.scatterers.entries_of(self._links(position))
        return pair // self.cells, pair % self.cells, self.scatterers.item[entry], self.scatterer_weight[entry]

    def candidate_counts(self, position: Float[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        """Number of candidates of each position and all cells."""
        return self._known(position) + self.cells * (self.config.depth + 1)

    def uncovered(self, position: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Whether nothing of any mast is known around a position, and no search has found that there is nothing."""
        return (self._known(position) == 0) & ~self.searched_empty[self._pixel(position)]

    def _known(self, position: Float[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        """Number of entries for each position, of all cells."""
        links = self._links(position)
        around = [index.around(self.grid.count) for index in (self.chains, self.edges, self.edge_pairs)]
        counts = [index.count(links) for index in (*around, self.scatterers)]
        return torch.stack(counts).sum(0).view(-1, self.cells).sum(1)

    def _links(self, position: Float[Tensor, "n 3"]) -> Int[Tensor, " link"]:
        """Links of each position with the masts of all cells, position by position."""
        return (self._mast * self.grid.count**2 + self._pixel(position)[:, None]).flatten()

    def _straight(self) -> Int[Tensor, "count depth"]:
        """The direct path, and straight on through one wall, two, …"""
        return torch.tril(
            torch.ones(self.config.depth + 1, self.config.depth, dtype=torch.long, device=self.walls.device),
            diagonal=-1,
        )

    # ---- on disk ---------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write `atlas.npz` and `atlas.json` into a folder."""
        folder = Path(folder)
        indices = {
            f"{name}_{part}": getattr(getattr(self, name), part) for name in _INDICES for part in ("start", "item")
        }
        tables = {"walls": self.walls, "pairs": self.pairs, **indices}
        arrays = {name: v.numpy().astype(np.int32) for name, v in tables.items()}
        arrays |= {"scatterer_weight": self.scatterer_weight.numpy(), "searched_empty": self.searched_empty.numpy()}
        content = array_bytes(arrays, compressed=True)
        replace_file(folder / ARRAY_FILE, content)
        meta = {"schema": SCHEMA, "size": self.grid.size, "plan": asdict(self.config), "meta": self.meta}
        meta |= {"sites": sites_to_json(self.sites), "sha256": hashlib.sha256(content).hexdigest()}
        replace_file(folder / METADATA_FILE, json_with_checksum(meta))

    @staticmethod
    def load(folder: str | Path) -> "Atlas":
        """Read what `save` wrote. Raises `UelError` when it is absent, damaged or of another schema."""
        folder = Path(folder)
        try:
            stored = read_checked_json(folder / METADATA_FILE)
        except UelError as error:
            raise _unreadable(folder, error) from error
        if stored.get("schema") != SCHEMA:
            raise UelError(f"this atlas is not of schema {SCHEMA}", got=stored.get("schema"), do="build it again")
        try:
            if stored.get("sha256") not in (None, file_hash(folder / ARRAY_FILE)):  # of version 0.2: none
                raise ValueError(f"{ARRAY_FILE} is not the one that was written with {METADATA_FILE}")
            arrays = {name: torch.from_numpy(values) for name, values in read_arrays(folder / ARRAY_FILE).items()}
            long = {name: v.long() for name, v in arrays.items() if v.dtype == torch.int32}
            chains, edges, pairs, scatterers = (LinkIndex(long[f"{n}_start"], long[f"{n}_item"]) for n in _INDICES)
            if missing := {f.name for f in fields(AtlasConfig)} - set(stored["plan"]):
                raise ValueError(f"the plan lacks {', '.join(sorted(missing))}")
            config = AtlasConfig(**stored["plan"])
            grid, sites = Grid(size=stored["size"], pixel=config.pixel), sites_from_json(stored["sites"])
            known = (long["walls"], chains, edges, long["pairs"], pairs, scatterers)
            found = (arrays["scatterer_weight"], arrays["searched_empty"], stored["meta"])
            atlas = Atlas(grid, config, sites, *known, *found)
            atlas.require_whole()
            return atlas
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(folder, error) from error

    def require_whole(self) -> None:
        """Raise `ValueError` where arrays do not belong together: every number must be one of something."""
        pixels = self.grid.count**2
        links = len(masts(self.sites)[0]) * pixels
        for name in _INDICES:
            start, item = getattr(self, name).start, getattr(self, name).item
            is_whole = len(start) == links + 1 and int(start[0]) == 0 and int(start[-1]) == len(item)
            if not (is_whole and bool((start.diff() >= 0).all()) and bool((item >= 0).all())):
                raise ValueError(f"the {name} of links are not those of {links} links")
        for index, table in ((self.chains, self.walls), (self.edge_pairs, self.pairs)):
            if len(index.item) and int(index.item.max()) >= len(table):
                raise ValueError(f"a chain or a pair of edges of number {int(index.item.max())} of {len(table)}")
            if len(table) and int(table.min()) < 0:
                raise ValueError("a wall or an edge of a negative number")
        if self.pairs.shape[1:] != (2,):
            raise ValueError(f"pairs of edges of shape {tuple(self.pairs.shape)}")
        weight = self.scatterer_weight
        if weight.shape != self.scatterers.item.shape or not bool(weight.isfinite().all()):
            raise ValueError("weights of scatterers that are not finite, or of another number than the scatterers")
        if self.searched_empty.shape != (pixels,):
            raise ValueError(f"{len(self.searched_empty)} pixels searched instead of {pixels}")


def _unreadable(folder: Path, error: Exception) -> UelError:
    got, do = f"{folder}: {brief(error)}", "delete the folder and build it again"
    return UelError("a folder has no readable atlas", got=got, do=do)


def geometry_key(corner: np.ndarray) -> str:
    """A hash of a scene's triangles: an atlas belongs to one geometry."""
    return hashlib.sha256(np.ascontiguousarray(corner.astype(np.float32)).tobytes()).hexdigest()[:16]


def _row_index(
    link: Int[Tensor, " entry"], rows: Int[Tensor, "entry column"], links: int
) -> tuple[Int[Tensor, "row column"], LinkIndex]:
    """Rows, each once, and those of each link."""
    first, number = (torch.from_numpy(v) for v in unique_rows(rows.numpy()))
    return rows[first], LinkIndex.from_pairs(link, number, links)
