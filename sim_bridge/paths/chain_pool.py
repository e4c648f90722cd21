"""Chains of walls that some receivers may see from antennas of a range of heights: paths found anew without a search.

A fit of antennas' heights moves the ends of paths: some vanish, others appear. The chains behind them are gathered
once, by rays from several heights of every site; for any heights in between, the image method decides which are paths.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.chains.mast_entries import masts
from sim_bridge.chains.ray_launching import THROUGH, crossings
from sim_bridge.paths import solver
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.paths.frozen_paths import FrozenPaths, ResolvedPart
from sim_bridge.scene.measurement_surface import measurement_surface
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.display.progress import with_progress
from uel.core.grid import Grid
from uel.core.io import array_bytes, replace_file
from uel.core.outside.array_files import read_array_fields
from uel.errors import UelError
from uel.radio.sites import Site, cells_of

CHAINS_PER_BATCH = 400_000  # that are tried at once
HEIGHTS_PER_SITE = 5  # from which rays are shot


@dataclass(frozen=True, eq=False)
class ChainPool:
    """Chains of each receiver and cell, some of which are paths for given heights of antennas."""

    finder: PathFinder
    points: Float[Tensor, "n 3"]
    target: Int[Tensor, " chain"]
    """receivers, in order"""
    source: Int[Tensor, " chain"]
    """cells"""
    walls: Int[Tensor, "chain depth"]

    def freeze(self, **given: Tensor) -> FrozenPaths:
        """The paths for the parameters that are given, `cell_height` among them, as `Sionna.freeze` finds them."""
        known = self.finder.scene.checked_parameters(given, self.points)
        detached = {name: value.detach() for name, value in known.items()}
        with torch.no_grad():
            parts = [self._resolve(index, detached) for index in self._batches()]
            return FrozenPaths(self.finder, self.points, parts, detached)

    def select(self, index: Int[Tensor, " kept"]) -> "ChainPool":
        """Some of the receivers, each once and in rising order."""
        number = torch.full((len(self.points),), -1, device=index.device).index_put(
            (index,), torch.arange(len(index), device=index.device)
        )
        rows = (number[self.target] >= 0).nonzero()[:, 0]
        target = number[self.target[rows]]
        return ChainPool(self.finder, self.points[index], target, self.source[rows], self.walls[rows])

    def keep_paths(self, heights: list[Float[Tensor, " cell"]]) -> "ChainPool":
        """Only chains that are paths from antennas at one of these heights (m, elevation)."""
        chains = []
        for height in with_progress(heights, "chains that are paths"):
            for index in self._batches():
                _, paths = self._resolve(index, {"cell_height": height})
                target, source, walls = solver.chains_of(paths, self.finder.scene.facets)
                chains.append(torch.cat([index[target, None], source[:, None], walls], 1))
        rows = torch.unique(torch.cat(chains), dim=0)
        return ChainPool(self.finder, self.points, rows[:, 0].contiguous(), rows[:, 1], rows[:, 2:])

    def save(self, folder: Path) -> None:
        """Write `pool.npz` into a folder."""
        target, source, walls = (rows.numpy().astype(np.int32) for rows in (self.target, self.source, self.walls))
        arrays = {"target": target, "source": source, "walls": walls}
        replace_file(folder / "pool.npz", array_bytes(arrays, compressed=True))

    @staticmethod
    def load(folder: Path, finder: PathFinder, position: Float[Tensor, "n dim"]) -> "ChainPool":
        """Read what `save` wrote for the same scene and receivers. Raises `UelError` when it cannot be read."""
        try:
            arrays = read_array_fields(folder / "pool.npz", ("target", "source", "walls"))
            rows = (torch.from_numpy(arrays[name].astype(np.int64)) for name in ("target", "source", "walls"))
            return ChainPool(finder, finder.scene.rows(position), *rows)
        except (UelError, TypeError) as error:
            raise UelError(
                "a folder has no readable pool of chains", got=f"{folder}: {error}", do="delete the folder"
            ) from error

    def _batches(self) -> list[Int[Tensor, " _"]]:
        """Receivers, as many at once as chains may be tried."""
        count = torch.bincount(self.target, minlength=len(self.points)).cumsum(0)
        return [part for part in _runs(count // CHAINS_PER_BATCH) if len(part)]

    def _resolve(self, index: Int[Tensor, " _"], given: dict[str, Tensor]) -> ResolvedPart:
        first, last = (torch.searchsorted(self.target, end) for end in (index[0], index[-1] + 1))
        rows = slice(int(first), int(last))
        endpoints, _ = self.finder.scene.batch_of(self.points, index, given)
        chains = (self.target[rows] - index[0], self.source[rows], self.walls[rows])
        return index, solver.from_chains(self.finder.scene, chains, endpoints, self.finder.path_search())


def _runs(label: Int[Tensor, " n"]) -> list[Int[Tensor, " _"]]:
    """Indices of runs of equal labels."""
    _, count = torch.unique_consecutive(label, return_counts=True)
    return list(torch.arange(len(label), device=label.device).split(count.tolist()))


def gather_chains(
    finder: PathFinder, position: Float[Tensor, "n dim"], max_offset: float, config: AtlasConfig
) -> ChainPool:
    """Chains for receivers, from antennas that may be up to `max_offset` metres higher or lower than their sites.

    Rays leave every site (not every cell) at `HEIGHTS_PER_SITE` heights; which pixels they cross is
    indexed as an atlas indexes it, and a receiver gets the chains of its pixel and of the eight around it.
    Raises `UelError` where paths diffract or scatter: chains know reflection and refraction only.
    """
    _require_chain_tracing(finder.scene)
    points = finder.scene.rows(position)
    atlas = _shoot_from_sites(finder.scene, max_offset, config)
    target, site, walls = atlas.candidates(points.cpu())
    cells = _cells_by_site(finder.scene.sites)
    source = torch.tensor([cell for group in cells for cell in group], device=site.device)
    size = torch.tensor([len(group) for group in cells], device=site.device)
    first = size.cumsum(0) - size
    row = torch.repeat_interleave(torch.arange(len(site), device=site.device), size[site])
    sector = torch.arange(len(row), device=row.device) - torch.repeat_interleave(
        size[site].cumsum(0) - size[site], size[site]
    )
    order = target[row].argsort(stable=True)
    row, sector = row[order], sector[order]
    return ChainPool(finder, points, target[row], source[first[site[row]] + sector], walls[row])


def _require_chain_tracing(scene: RadioScene) -> None:
    """Raise `UelError` where paths diffract or scatter: chains of walls know reflections and refractions only."""
    if scene.tracing.diffraction or scene.tracing.scattering > 0:
        raise UelError(
            "a pool of chains knows reflections and refractions only",
            got=f"diffraction {scene.tracing.diffraction}, scattering {scene.tracing.scattering}",
            do="switch both off in TracingConfig",
        )


def _cells_by_site(sites: tuple[Site, ...]) -> list[list[int]]:
    owner = [number for number, site in enumerate(sites) for _ in site.cells]
    return [[cell for cell in range(len(cells_of(sites))) if owner[cell] == number] for number in range(len(sites))]


def _shoot_from_sites(scene: RadioScene, max_offset: float, config: AtlasConfig) -> Atlas:
    """Chains that rays from each site's heights take, by pixel; the cells of this atlas are the sites."""
    grid = Grid(size=scene.bounds.size, pixel=config.pixel)
    surface, _ = measurement_surface(scene, grid)
    offsets = torch.linspace(-max_offset, max_offset, HEIGHTS_PER_SITE, device="cpu").tolist() if max_offset else [0.0]
    one_cell = tuple(Site(position=site.position) for site in scene.sites)
    mast = masts(one_cell)[1].tolist()
    links, chains = [], []
    starts = [(number, site, offset) for number, site in enumerate(scene.sites) for offset in offsets]
    for number, site, offset in with_progress(starts, "rays from sites"):
        x, y, z = site.position
        pixel, walls = crossings(
            scene.rt_scene.mi_scene,
            scene.facets,
            (x, y, z + offset),
            surface,
            grid,
            config.rays_on(min(grid.size, scene.facets.extent)),
            config.depth,
            config.seed + number,
        )
        reflected = (walls > THROUGH).any(1)  # chains that only go straight on are tried everywhere
        links.append(pixel[reflected] + mast[number] * grid.count**2)
        chains.append(walls[reflected])
    return Atlas.empty(grid, config, one_cell).with_chains(torch.cat(links), torch.cat(chains))
