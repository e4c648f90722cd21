"""Who answers for a receiver, the atlas or the full search; and how the atlas learns from the search."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.backend import sionna_internals
from sim_bridge.backend.torch_drjit import require_own_process
from sim_bridge.chains.ray_launching import THROUGH
from sim_bridge.paths import solver
from uel.errors import UelError
from uel.radio.sites import cell_positions

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

ATLAS_CHUNK = 4096  # receivers whose candidates are taken from the atlas at once
NEAR = 1.0  # m: how far an end may be from the UE height, or from where it was, for the atlas to know it
PathBatch = tuple[Int[Tensor, " _"], solver.ResolvedPaths, solver.Endpoints, dict[str, Tensor]]


def find_paths(
    sim: "Sionna", points: Float[Tensor, "n 3"], given: Mapping[str, Tensor], search: bool = False
) -> Iterator[PathBatch]:
    """Batches of receivers with their paths: index, paths, ends, parameters; with `search` not from the atlas."""
    require_own_process()
    waiting = _groups(sim, points, given, search)
    while waiting:
        index, by_atlas = waiting.pop(0)
        ends, mine = sim.share(points, index, given)
        try:
            found = _find(sim, ends, by_atlas, mine)
        except solver.SearchOverflow:
            waiting = [(half, False) for half in _halves(sim, points, index)] + waiting
            continue
        if not by_atlas:
            _learn(sim, ends, found, mine)
        yield index, found, ends, mine


def _learn(sim: "Sionna", ends: solver.Endpoints, found: solver.ResolvedPaths, given: Mapping[str, Tensor]) -> None:
    """Put what a full search found into the atlas, where the atlas answers and for as long as this process lives."""
    atlas, points = sim.atlas, ends.target.detach()
    if atlas is None or not bool((known := _covered(sim, points, given)).any()):
        return
    target, source, walls = solver.chains_of(found, sim.facets)
    new = known[target] & (walls > THROUGH).any(1)
    link = atlas.link_of(points[target[new]], source[new])
    sim.atlas = atlas.extended(link, walls[new]).searched(points[known])


def search_plan(sim: "Sionna") -> sionna_internals.PathSearch:
    """What the full search may do."""
    t = sim.tracing
    return sionna_internals.PathSearch(t.max_depth, t.samples, t.max_paths, t.diffraction, t.scattering > 0, sim.seed)


def _halves(sim: "Sionna", points: Tensor, index: Int[Tensor, " _"]) -> tuple[Tensor, ...]:
    """A batch whose candidates did not fit, in two. Raises `UelError` for a single receiver."""
    if len(index) == 1:
        raise UelError(
            "the search for paths found more candidates than it may hold",
            got=f"over {sim.tracing.max_paths} from one cell to {points[index[0]].tolist()}",
            do="raise Tracing.max_paths, or search with fewer samples or interactions",
        )
    return index.split((len(index) + 1) // 2)


def _find(sim: "Sionna", ends: solver.Endpoints, by_atlas: bool, given: Mapping[str, Tensor]) -> solver.ResolvedPaths:
    if by_atlas:
        assert sim.atlas is not None
        return solver.from_atlas(sim.scene, sim.facets, sim.atlas, ends, search_plan(sim))
    return solver.search_paths(sim.scene, sim.facets, ends, search_plan(sim), given)


def _groups(
    sim: "Sionna", points: Tensor, given: Mapping[str, Tensor], search: bool
) -> list[tuple[Int[Tensor, " _"], bool]]:
    """Batches of receivers, and whether the atlas answers for them: where it is thin, the search does."""
    known = _covered(sim, points.detach(), given) & (not search)
    if sim.atlas is not None and known.any():
        known &= ~sim.atlas.thin(points.detach())
    groups = []
    for by_atlas, width in ((True, ATLAS_CHUNK), (False, sim.tracing.chunk)):
        index = (known == by_atlas).nonzero()[:, 0]
        groups += [(part, by_atlas) for part in index.split(width) if len(part)]
    return groups


def _covered(sim: "Sionna", points: Tensor, given: Mapping[str, Tensor]) -> Bool[Tensor, " n"]:
    """Where the atlas applies: at UE height on its grid, with cells and objects where they were."""
    if sim.atlas is None or any(name.startswith("object/") for name in given):
        return torch.zeros(len(points), dtype=torch.bool)
    shift = sim.ends(points, given).source.detach() - cell_positions(sim.sites)
    near = (points[:, 2] - sim.at_height(points[:, :2])[:, 2]).abs() <= NEAR
    return near & sim.atlas.grid.contains(points) & bool(shift.norm(dim=-1).max() <= NEAR)
