"""Which paths a receiver gets: from the atlas or from the full search, and how the atlas learns from the search."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.backend.memory import BYTES_PER_ATLAS_CANDIDATE, memory_budget, search_bytes
from sim_bridge.backend.sionna_internals import PathSearch
from sim_bridge.backend.torch_drjit import require_own_process
from sim_bridge.chains.atlas import Atlas, geometry_key
from sim_bridge.chains.ray_launching import THROUGH
from sim_bridge.paths import solver
from sim_bridge.paths.path_set import PathSet
from sim_bridge.scene.endpoints import Endpoints
from sim_bridge.scene.radio_scene import RadioScene
from sim_bridge.scene.scene_parameters import is_object_position
from uel.errors import UelError
from uel.radio.sites import cell_positions

RECEIVERS_PER_ATLAS_QUERY = 4096  # whose candidates are taken from the atlas at once, at most
MAX_ENDPOINT_SHIFT = 1.0  # m: from the UE height, or from where an antenna was, for the atlas to know an endpoint
PathBatch = tuple[Int[Tensor, " _"], solver.ResolvedPaths, Endpoints, dict[str, Tensor]]
"""Which of the receivers, their paths, endpoints and parameters."""


class PathFinder:
    """Finds paths in a scene. Its atlas, which learns, and its seed are all that changes while a simulator lives."""

    def __init__(self, scene: RadioScene) -> None:
        self.scene = scene
        self.atlas: Atlas | None = None
        self.learns = True
        self.seed = scene.tracing.seed

    # ---- paths ---------------------------------------------------------------------------------------

    def trace(self, position: Float[Tensor, "n dim"], given: Mapping[str, Tensor], search: bool = False) -> PathSet:
        """All paths to positions (m), one a row; see `Sionna.trace`. With `search` by the full search alone.

        Raises `UelError` for positions that are not finite, off the tile or none, and for unknown parameters.
        """
        points = self.scene.rows(position)
        return self.trace_points(points, self.scene.checked_parameters(given, points), search)

    def trace_points(self, points: Float[Tensor, "n 3"], given: Mapping[str, Tensor], search: bool = False) -> PathSet:
        """All paths to positions that have been checked (`RadioScene.rows`)."""
        parts = [
            (index, solver.evaluate_paths(self.scene, paths, endpoints, parameters))
            for index, paths, endpoints, parameters in self.find_paths(points, given, search)
        ]
        return solver.in_order(parts, len(points))

    def find_paths(
        self, points: Float[Tensor, "n 3"], given: Mapping[str, Tensor], search: bool = False
    ) -> Iterator[PathBatch]:
        """Batches of receivers with their paths, which are not evaluated yet; with `search` not from the atlas."""
        require_own_process()
        waiting = self._batches(points, given, search)
        while waiting:
            index, by_atlas = waiting.pop(0)
            endpoints, parameters = self.scene.batch_of(points, index, given)
            try:
                paths = self._resolve(endpoints, by_atlas, parameters)
            except solver.SearchOverflow:
                waiting = [(half, False) for half in self._halves(points, index)] + waiting
                continue
            if not by_atlas:
                self._learn(endpoints, paths, parameters)
            yield index, paths, endpoints, parameters

    def path_search(self) -> PathSearch:
        """Limits of the full search."""
        t = self.scene.tracing
        each = search_bytes(t.max_depth, t.samples, t.chunk, t.max_paths)
        at_once = min(max(int(memory_budget(t.memory) / each), 1), self.scene.cell_count)
        return PathSearch(t.max_depth, t.samples, t.max_paths, at_once, t.diffraction, t.scattering > 0, self.seed)

    def _resolve(self, endpoints: Endpoints, by_atlas: bool, given: Mapping[str, Tensor]) -> solver.ResolvedPaths:
        if by_atlas:
            assert self.atlas is not None
            return solver.from_atlas(self.scene, self.atlas, endpoints, self.path_search())
        return solver.search_paths(self.scene, endpoints, self.path_search(), given)

    def _halves(self, points: Tensor, index: Int[Tensor, " _"]) -> tuple[Tensor, ...]:
        """A batch whose candidates did not fit, in two. Raises `UelError` for a single receiver."""
        if len(index) == 1:
            raise UelError(
                "the search for paths found more candidates than it may hold (TracingConfig.max_paths)",
                got=f"over {self.scene.tracing.max_paths} from one cell to {points[index[0]].tolist()}",
                do="raise max_paths, or search with fewer samples or a smaller max_depth",
            )
        return index.split((len(index) + 1) // 2)

    # ---- the atlas -----------------------------------------------------------------------------------

    def attach_atlas(self, atlas: Atlas, learns: bool = True) -> None:
        """Take paths from an atlas from now on, which `learns` from searches or stays the same.

        Raises `UelError` when it has other sites, walls or interactions.
        """
        tracing = self.scene.tracing
        expected = {
            "sites": self.scene.sites,
            "walls": geometry_key(self.scene.facets.corner),
            "depth": tracing.max_depth,
            "diffraction": tracing.diffraction,
            "pairs of edges": tracing.pairs_of_edges,
            "scattering": tracing.scattering > 0,
        }
        stored = {**atlas.meta, "sites": atlas.sites, "depth": atlas.config.depth}
        different = [name for name in expected if expected[name] != stored.get(name)]
        if different:
            raise UelError(
                f"this atlas has other {', '.join(different)} than the scene",
                got=stored.get(different[0]),
                do="build it again",
            )
        planes = len(self.scene.facets.first)
        if len(atlas.walls) and int(atlas.walls.max()) >= THROUGH + 1 + planes:
            got = f"plane {int(atlas.walls.max()) - THROUGH - 1} of {planes}"
            raise UelError("this atlas has chains of planes that the scene does not have", got=got, do="build it again")
        self.atlas, self.learns = atlas, learns

    def _learn(self, endpoints: Endpoints, paths: solver.ResolvedPaths, given: Mapping[str, Tensor]) -> None:
        """Put paths of a full search into the atlas where the atlas applies, for as long as this process lives."""
        atlas, points = self.atlas, endpoints.target.detach().cpu()
        if atlas is None or not self.learns or not bool((covered := self._covered(points, given)).any()):
            return
        target, source, walls = solver.chains_of(paths, self.scene.facets)
        new = covered[target] & (walls > THROUGH).any(1)
        link = atlas.link_of(points[target[new]], source[new])
        self.atlas = atlas.with_chains(link, walls[new]).after_search(points[covered])

    def _batches(
        self, points: Tensor, given: Mapping[str, Tensor], search: bool
    ) -> list[tuple[Int[Tensor, " _"], bool]]:
        """Batches of receivers, and whether the atlas gives their paths: where it has no chains, the search does."""
        by_atlas = self._covered(points.detach(), given) & (not search)
        if self.atlas is not None and by_atlas.any():
            by_atlas &= ~self.atlas.uncovered(points.detach().cpu())
        known, unknown = by_atlas.nonzero()[:, 0], (~by_atlas).nonzero()[:, 0]
        batches = [(part, True) for part in self._atlas_batches(points.detach().cpu(), known)]
        return batches + [(part, False) for part in unknown.split(self.scene.tracing.chunk) if len(part)]

    def _atlas_batches(self, points: Tensor, index: Int[Tensor, " _"]) -> list[Int[Tensor, " _"]]:
        """Receivers whose candidates fit into the memory, one of them at least."""
        if self.atlas is None or not len(index):
            return []
        tracing = self.scene.tracing
        limit = memory_budget(tracing.memory) / (BYTES_PER_ATLAS_CANDIDATE * max(tracing.max_depth, 1))
        batches, candidates = list[Tensor](), self.atlas.candidate_counts(points[index]).double()
        while len(index):
            fitting = int((candidates[:RECEIVERS_PER_ATLAS_QUERY].cumsum(0) <= limit).sum())
            batches.append(index[: max(fitting, 1)])
            index, candidates = index[max(fitting, 1) :], candidates[max(fitting, 1) :]
        return batches

    def _covered(self, points: Tensor, given: Mapping[str, Tensor]) -> Bool[Tensor, " n"]:
        """Receivers to which the atlas applies: at UE height on its grid, with cells and objects where they were.

        On the CPU, where the atlas is.
        """
        if self.atlas is None or any(is_object_position(name) for name in given):
            return torch.zeros(len(points), dtype=torch.bool, device="cpu")
        positions = cell_positions(self.scene.sites, points.device)
        shift = self.scene.endpoints_of(points, given).source.detach() - positions
        near = (points[:, 2] - self.scene.at_height(points[:, :2])[:, 2]).abs() <= MAX_ENDPOINT_SHIFT
        unmoved = bool(shift.norm(dim=-1).max() <= MAX_ENDPOINT_SHIFT)
        return (near & self.atlas.grid.contains(points) & unmoved).cpu()
