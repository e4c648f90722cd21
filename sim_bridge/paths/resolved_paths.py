"""Paths that were found, ready to be evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn.functional import normalize

from sim_bridge.backend import sionna_internals
from sim_bridge.backend.path_buffers import EdgeFaces, interaction_surfaces, receiver_and_cell, vertices
from sim_bridge.backend.path_fields import PathWedges
from sim_bridge.backend.torch_drjit import LOCK
from sim_bridge.backend.utd import material_numbers
from sim_bridge.chains.facets import Facets
from sim_bridge.chains.wedges import sionna_wedges
from sim_bridge.paths.edges.edge_pairs import EdgePairs
from sim_bridge.paths.image_method import EDGE, InteractionPlanes, turning_points
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.display.short_repr import ShortRepr


@dataclass(frozen=True, eq=False, repr=False)
class ResolvedPaths(ShortRepr):
    """Paths that were found, ready to be evaluated: `count` rows of `buffer` are real."""

    buffer: sionna_internals.PathsBuffer
    count: int
    search: sionna_internals.PathSearch
    object_positions: Mapping[str, Tensor] = field(default_factory=dict)
    """of the objects that had been moved when edges were found, m"""
    pairs: EdgePairs | None = None
    """what the last of the `count` rows are: ways around two edges"""
    by_scatterers: bool = False
    """whether scattered paths go by the scene's scatterers (`atlas_candidates`) instead of by rays"""

    @cached_property
    def receiver_and_cell(self) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Receiver and cell of each path."""
        return receiver_and_cell(self.buffer, self.count)

    @cached_property
    def surfaces(self) -> tuple[Int[Tensor, "row depth"], Int[Tensor, "row depth"], Int[Tensor, "row depth"]]:
        """Kind, mesh and primitive of each interaction; 0 where there is none."""
        return interaction_surfaces(self.buffer, self.count)

    @cached_property
    def edge_levels(self) -> list[int]:
        """Numbers, from 1, of the interactions at which any path meets an edge."""
        return [number + 1 for number in (self.surfaces[0] == EDGE).any(0).nonzero()[:, 0].tolist()]

    @cached_property
    def _cache(self) -> dict[str | int, Any]:
        """Planes, the turning points of the last call, and by its number the paths of each carrier."""
        return {}

    def of_carrier(self, number: int, cells: Int[Tensor, " cell"]) -> "tuple[Int[Tensor, ' row'], ResolvedPaths]":
        """Rows of the paths of some cells, and these paths with the cells numbered anew; made once a carrier."""
        if number not in self._cache:
            with LOCK:
                source = self.receiver_and_cell[1]
                rows = torch.isin(source, cells).nonzero()[:, 0]
                self._cache[number] = rows, self._of_rows(rows.numpy(), cells.numpy()) if len(rows) else self
        return self._cache[number]

    def _of_rows(self, rows: np.ndarray, cells: np.ndarray) -> "ResolvedPaths":
        new = np.zeros(int(cells.max()) + 1, np.int64)
        new[cells] = np.arange(len(cells))
        part = replace(self, buffer=sionna_internals.paths_of_sources(self.buffer, rows, new), count=len(rows))
        if not self.pairs:
            return part
        around_two = rows[rows >= self.count - len(self.pairs)] - (self.count - len(self.pairs))
        return replace(part, pairs=self.pairs.select(around_two) if len(around_two) else None)

    def planes(self, facets: Facets) -> InteractionPlanes:
        """Walls and edges that the paths meet, where they stood when the scene was opened; read once."""
        if "planes" not in self._cache:
            self._cache["planes"] = self._planes(facets)
        return self._cache["planes"]

    def _planes(self, facets: Facets) -> InteractionPlanes:
        kind, shape, primitive = self.surfaces
        triangle = facets.number(shape, primitive)
        corner, axis = (facets.values_at(values, triangle) for values in (facets.corner[:, 0], facets.normal))
        if (around := self.edge_faces(facets)) is not None:
            edge = (kind == EDGE)[..., None]
            corner, axis = (
                torch.where(edge, torch.from_numpy(at_edge[: self.count, None]), at_wall)
                for at_edge, at_wall in ((around.origin, corner), (around.direction, axis))
            )
        if self.pairs:
            last = slice(self.count - len(self.pairs), self.count)
            corner[last, 1], axis[last, 1] = (
                torch.from_numpy(values) for values in (self.pairs.second.origin, self.pairs.second.direction)
            )
        return InteractionPlanes(kind, corner, axis, vertices(self.buffer, self.count).double())

    def edge_faces(self, facets: Facets) -> EdgeFaces | None:
        """The edge that each row of the buffer goes around; None where no path may go around one. Read once."""
        if "edges" not in self._cache:
            self._cache["edges"] = (
                EdgeFaces.of(self.buffer, facets.base) if self.search.diffraction and len(facets.plane) else None
            )
        return self._cache["edges"]

    def wedges(self, scene: RadioScene) -> list[PathWedges]:
        """Those that the rows of the buffer meet first and second, for Dr.Jit, as many as any row meets."""
        if "wedges" not in self._cache:
            self._cache["wedges"] = self._wedges(scene)
        return self._cache["wedges"]

    def _wedges(self, scene: RadioScene) -> list[PathWedges]:
        around, wedges = self.edge_faces(scene.facets), self.buffer.diffracting_wedges
        if around is None or wedges is None or not self.edge_levels:
            return []

        def materials(triangle: np.ndarray) -> np.ndarray:
            return material_numbers(scene.rt_scene, scene.facets.shape[triangle]).T

        first = PathWedges.of_faces(wedges, *materials(around.triangle))
        if not self.pairs:
            return [first]
        # Rows with one edge get the pairs' first one, which they do not meet.
        row = np.arange(self.buffer.buffer_size) - (self.count - len(self.pairs))
        second = self.pairs.second.select(np.clip(row, 0, len(self.pairs) - 1))
        return [first, PathWedges.of_faces(sionna_wedges(second, scene.facets), *materials(second.triangle))]

    def wall_planes(
        self, facets: Facets
    ) -> tuple[
        Int[Tensor, "row depth"],
        Float64[Tensor, "row edge face 3"],
        Int[Tensor, "row edge face"],
        Int[Tensor, "row edge face"],
    ]:
        """Numbers of the planes that paths around edges meet; of the faces of the edges normals, numbers of their
        planes, and of triangles in them."""
        around, (_, shape, primitive) = self.edge_faces(facets), self.surfaces
        assert around is not None
        plane = torch.from_numpy(facets.plane)
        normal, triangle = (v[: self.count, None] for v in (around.normal, around.triangle))
        if self.pairs:
            normal, triangle = (np.repeat(values, 2, axis=1) for values in (normal, triangle))
            last = self.count - len(self.pairs)
            normal[last:, 1], triangle[last:, 1] = self.pairs.second.normal, self.pairs.second.triangle
        triangle = torch.from_numpy(triangle)
        return plane[facets.number(shape, primitive)], torch.from_numpy(normal), plane[triangle], triangle

    def unfold(
        self, planes: InteractionPlanes, source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"], moved: bool
    ) -> tuple[Float64[Tensor, "row depth 3"], Float[Tensor, "row 3"], Float[Tensor, "row 3"]]:
        """Turning points, and directions of departure and arrival; those of the last call where nothing has moved.

        `moved` says that walls may have. A fit of materials and orientations needs the same ones in every step: they
        took half of its time.
        """
        if moved or source.requires_grad or target.requires_grad:
            return _unfold(planes, source, target)
        last = self._cache.get("endpoints")
        if last is None or not all(_alike(*pair) for pair in zip(last, (source, target), strict=True)):
            self._cache.update(endpoints=(source, target), unfolded=_unfold(planes, source, target))
        return self._cache["unfolded"]


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)


def _unfold(
    planes: InteractionPlanes, source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"]
) -> tuple[Float64[Tensor, "row depth 3"], Float[Tensor, "row 3"], Float[Tensor, "row 3"]]:
    """Turning points, and directions of departure and arrival, which follow the endpoints."""
    vertex = turning_points(planes, source, target)
    bounces = (planes.kind > 0).sum(1)
    last = vertex[torch.arange(len(vertex), device=vertex.device), (bounces - 1).clamp(min=0)]
    last = torch.where(bounces[:, None] > 0, last, source)
    return vertex, normalize(vertex[:, 0] - source, dim=-1).float(), normalize(last - target, dim=-1).float()
