"""Chains of walls that some receivers may see from antennas of a range of heights: paths found anew without a search.

A fit of antennas' heights moves the ends of paths: some vanish, others appear. The chains behind them are gathered
once, by rays from several heights of every mast; for any heights in between the image method says which are paths.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mitsuba as mi
import numpy as np
import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor

from sim_bridge.chains.atlas import Atlas, AtlasConfig
from sim_bridge.chains.ray_launching import THROUGH, crossings
from sim_bridge.paths import dispatch, solver
from sim_bridge.paths.frozen_paths import FrozenPaths
from sim_bridge.radio_maps.solver import surface_of
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.sites import Site, cells_of

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

ROWS = 400_000  # chains that are tried at once
LEVELS = 5  # heights of each mast from which rays are shot


@dataclass(frozen=True, eq=False)
class ChainPool:
    """Chains of each receiver and cell, some of which are paths for given heights of antennas."""

    sim: "Sionna"
    points: Float[Tensor, "n 3"]
    target: Int[Tensor, " chain"]
    """receivers, in order"""
    source: Int[Tensor, " chain"]
    """cells"""
    walls: Int[Tensor, "chain depth"]

    def freeze(self, **given: Tensor) -> FrozenPaths:
        """The paths that there are with `cell_height` and whatever else is given, as `Sionna.freeze` finds them."""
        self.sim.require_known(given, len(self.points))
        detached = {name: value.detach() for name, value in given.items()}
        with torch.no_grad():
            parts = [self._found(index, detached) for index in self._parts()]
            return FrozenPaths(self.sim, self.points, parts, detached)

    def of(self, index: Int[Tensor, " kept"]) -> "ChainPool":
        """Some of the receivers, each once and in rising order."""
        place = torch.full((len(self.points),), -1).index_put((index,), torch.arange(len(index)))
        mine = (place[self.target] >= 0).nonzero()[:, 0]
        target = place[self.target[mine]]
        return ChainPool(self.sim, self.points[index], target, self.source[mine], self.walls[mine])

    def pruned(self, heights: list[Float[Tensor, " cell"]]) -> "ChainPool":
        """Only chains that are paths from antennas at one of these heights (m, elevation)."""
        found = []
        for height in track(heights, "chains that are paths", transient=True):
            for index in self._parts():
                _, paths = self._found(index, {"cell_height": height})
                target, source, walls = solver.chains_of(paths, self.sim.facets)
                found.append(torch.cat([index[target, None], source[:, None], walls], 1))
        rows = torch.unique(torch.cat(found), dim=0)
        return ChainPool(self.sim, self.points, rows[:, 0].contiguous(), rows[:, 1], rows[:, 2:])

    def save(self, folder: Path) -> None:
        """Write `pool.npz` into a folder."""
        target, source, walls = (rows.numpy().astype(np.int32) for rows in (self.target, self.source, self.walls))
        np.savez_compressed(folder / "pool.npz", target=target, source=source, walls=walls)

    @staticmethod
    def load(folder: Path, sim: "Sionna", position: Float[Tensor, "n dim"]) -> "ChainPool":
        """What `save` wrote, of the same simulator and receivers. Raises `UelError` when it cannot be read."""
        try:
            with np.load(folder / "pool.npz") as file:
                rows = (torch.from_numpy(file[name].astype(np.int64)) for name in ("target", "source", "walls"))
                return ChainPool(sim, sim.rows(position), *rows)
        except (OSError, ValueError, KeyError) as error:
            raise UelError("no readable chains here", got=f"{folder}: {error}", do="delete the folder") from error

    def _parts(self) -> list[Int[Tensor, " _"]]:
        """Receivers, as many at once as chains may be tried."""
        count = torch.bincount(self.target, minlength=len(self.points)).cumsum(0)
        return [part for part in _split(count // ROWS) if len(part)]

    def _found(
        self, index: Int[Tensor, " _"], given: dict[str, Tensor]
    ) -> tuple[Int[Tensor, " _"], solver.ResolvedPaths]:
        first, last = (torch.searchsorted(self.target, end) for end in (index[0], index[-1] + 1))
        mine = slice(int(first), int(last))
        ends, _ = self.sim.share(self.points, index, given)
        chains = (self.target[mine] - index[0], self.source[mine], self.walls[mine])
        plan = dispatch.search_plan(self.sim)
        return index, solver.from_chains(self.sim.scene, self.sim.facets, chains, ends, plan)


def _split(label: Int[Tensor, " n"]) -> list[Int[Tensor, " _"]]:
    """Runs of equal labels."""
    _, count = torch.unique_consecutive(label, return_counts=True)
    return list(torch.arange(len(label)).split(count.tolist()))


def gather(sim: "Sionna", position: Float[Tensor, "n dim"], reach: float, plan: AtlasConfig) -> ChainPool:
    """Chains for receivers, from masts that may be up to `reach` metres higher or lower than their sites say.

    Rays leave every mast (not every cell) at `LEVELS` heights; which pixels they cross is
    indexed as an atlas indexes it, and a receiver gets the chains of its pixel and of the eight around it.
    Raises `UelError` where paths diffract or scatter: chains know reflection and refraction only.
    """
    if sim.tracing.diffraction or sim.tracing.scattering > 0:
        got = f"diffraction {sim.tracing.diffraction}, scattering {sim.tracing.scattering}"
        raise UelError("chains know reflections and refractions only", got=got, do="switch both off")
    points = sim.rows(position)
    atlas = _shot(sim, reach, plan)
    target, mast, walls = atlas.candidates(points)
    cells = _cells_of_masts(sim.sites)
    source = torch.tensor([cell for group in cells for cell in group])
    size = torch.tensor([len(group) for group in cells])
    first = size.cumsum(0) - size
    row = torch.repeat_interleave(torch.arange(len(mast)), size[mast])
    sector = torch.arange(len(row)) - torch.repeat_interleave(size[mast].cumsum(0) - size[mast], size[mast])
    order = target[row].argsort(stable=True)
    row, sector = row[order], sector[order]
    return ChainPool(sim, points, target[row], source[first[mast[row]] + sector], walls[row])


def _cells_of_masts(sites: tuple[Site, ...]) -> list[list[int]]:
    owner = [number for number, site in enumerate(sites) for _ in site.cells]
    return [[cell for cell in range(len(cells_of(sites))) if owner[cell] == number] for number in range(len(sites))]


def _shot(sim: "Sionna", reach: float, plan: AtlasConfig) -> Atlas:
    """Chains that rays from each mast's heights take, by pixel; its cells are the masts."""
    grid = Grid(size=sim.bounds.size, pixel=plan.pixel)
    surface = mi.load_dict({"type": "scene", "surface": surface_of(sim, grid)[0]})
    rises = torch.linspace(-reach, reach, LEVELS).tolist() if reach else [0.0]
    links, chains = [], []
    work = [(number, site, rise) for number, site in enumerate(sim.sites) for rise in rises]
    for number, site, rise in track(work, "rays from masts", transient=True):
        x, y, z = site.position
        pixel, walls = crossings(
            sim.scene.mi_scene, sim.facets, (x, y, z + rise), surface, grid, plan.rays, plan.depth, plan.seed + number
        )
        turned = (walls > THROUGH).any(1)  # chains that only go straight on are tried everywhere
        links.append(pixel[turned] + number * grid.count**2)
        chains.append(walls[turned])
    alone = tuple(Site(position=site.position) for site in sim.sites)
    return Atlas.of(grid, plan, alone, torch.cat(links), torch.cat(chains))
