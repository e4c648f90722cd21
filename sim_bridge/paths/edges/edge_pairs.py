"""Paths around two edges one after the other, found by geometry.

Behind a block that hides its own far eave, a wave comes over the near eave, along or above the roof, and down over the
far one. A search tries all pairs of edges, each of which throws a shadow: the first one as seen from the cell, the
second one as seen from the phone. An atlas, and a search in a city where these are too many, try those at the horizons
of both ends (`horizons`). The shortest way around both must touch them between their ends, bend towards the shadows
(but for the few waves of detour at a shadow's boundary), and be free on its three legs.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import mitsuba as mi
import numpy as np
import torch
from numpy.typing import NDArray
from sionna.rt.utils import spawn_ray_to
from torch import Tensor

from sim_bridge.backend.path_buffers import to_drjit
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.link_index import smallest_of_groups
from sim_bridge.chains.wedges import edges_in_sight, facing
from sim_bridge.paths.edges.horizons import horizon_pairs
from sim_bridge.paths.image_method import points_on_two_edges

MAX_PAIRS_PER_LINK = 1 << 14  # that are all tried, in 0.1 s; of more, those at the horizons of both ends
LEG_CLEARANCE = 1e-3  # m off the edges, where the legs are tested
MIN_LEG = 0.05  # m between the edges: where two edges meet, the corner is no pair of edges
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EdgePairs:
    """Ways around two edges; the first face of each is turned to where the wave comes from."""

    target: NDArray[np.int64]
    source: NDArray[np.int64]
    number: NDArray[np.int64]
    """(pair, 2) of both edges among those that they were taken from"""
    first: DiffractionEdges
    second: DiffractionEdges
    turn: tuple[Array, Array]
    """(pair, 3) each, where the way touches the edges, m"""

    def __len__(self) -> int:
        return len(self.target)

    @staticmethod
    def of_edges(edges: DiffractionEdges, target: np.ndarray, source: np.ndarray, number: np.ndarray) -> "EdgePairs":
        """Pairs of edges by their `number` (pair, 2), which have not been looked at yet (`free`)."""
        one, two = (edges.select(column) for column in number.T)
        return EdgePairs(target, source, number, one, two, (one.origin, two.origin))

    def select(self, index: np.ndarray) -> "EdgePairs":
        """Some of them."""
        turn = (self.turn[0][index], self.turn[1][index])
        ends = (self.target[index], self.source[index], self.number[index])
        return EdgePairs(*ends, self.first.select(index), self.second.select(index), turn)

    @staticmethod
    def concatenate(parts: "list[EdgePairs]") -> "EdgePairs":
        """One set after another."""
        return EdgePairs(
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.source for part in parts]),
            np.concatenate([part.number for part in parts]),
            DiffractionEdges.concatenate([part.first for part in parts]),
            DiffractionEdges.concatenate([part.second for part in parts]),
            (np.concatenate([part.turn[0] for part in parts]), np.concatenate([part.turn[1] for part in parts])),
        )

    def shortest(self, sources: Array, targets: Array, count: int) -> "EdgePairs":
        """The `count` shortest ways of each link, of those that are `free`, for given ends (m)."""
        points = (sources[self.source], *self.turn, targets[self.target])
        length = sum(np.linalg.norm(end - start, axis=1) for start, end in pairwise(points))
        return self.select(smallest_of_groups(self.target * len(sources) + self.source, length, count))

    def free(self, scene: mi.Scene, sources: Array, targets: Array, limit: float) -> "EdgePairs":
        """Those that are ways for given ends (m): see `edge_pairs`."""
        kept = self._turned(sources, targets)
        source, target = sources[kept.source], targets[kept.target]
        one, two = kept.turn
        ways = _bends(kept.first, source, one, two, limit) & _bends(kept.second, target, two, one, limit)
        clear = [
            points + LEG_CLEARANCE * edges.outwards
            for points, edges in zip(kept.turn, (kept.first, kept.second), strict=True)
        ]
        for start, end in ((source, clear[0]), (clear[0], clear[1]), (clear[1], target)):
            index = ways.nonzero()[0]
            ways[index] = _free(scene, start[index], end[index])
        kept = kept.select(ways.nonzero()[0])
        return replace(kept, first=_towards(kept.first, source[ways]), second=_towards(kept.second, kept.turn[0]))

    def _turned(self, sources: Array, targets: Array) -> "EdgePairs":
        """Those whose shortest ways touch both edges between their ends, where they do so."""
        first, second = self.first, self.second
        lines = (first.origin, first.direction, second.origin, second.direction)
        arrays = (sources[self.source], targets[self.target], *lines)
        along = points_on_two_edges(*(torch.from_numpy(np.ascontiguousarray(rows)) for rows in arrays)).numpy()
        one, two = (edges.origin + along[:, k, None] * edges.direction for k, edges in enumerate((first, second)))
        inside = np.linalg.norm(two - one, axis=1) > MIN_LEG
        for k, edges in enumerate((first, second)):
            inside &= (along[:, k] > 0) & (along[:, k] < edges.length)
        return replace(self, turn=(one, two)).select(inside.nonzero()[0])


def edge_pairs(scene: mi.Scene, edges: DiffractionEdges, sources: Array, targets: Array, limit: float) -> EdgePairs:
    """Ways around two edges between sources and targets (m, `point 3`).

    `limit` (m) is the detour up to which a way need not bend into an edge's shadow.
    """
    shading = [[_shading(scene, edges, point) for point in points] for points in (sources, targets)]
    none = np.zeros(0, np.int64)
    found = [EdgePairs.of_edges(edges, none, none, np.zeros((0, 2), np.int64))]
    for source, before in enumerate(shading[0]):
        for target, behind in enumerate(shading[1]):
            if len(before) * len(behind) > MAX_PAIRS_PER_LINK:
                pair = horizon_pairs(edges, sources[source], targets[target, None])[1:]
            else:
                pair = tuple(v.reshape(-1) for v in np.meshgrid(before, behind, indexing="ij"))
            number = np.stack(pair, 1)
            number = number[number[:, 0] != number[:, 1]]
            of_link = np.full(len(number), target), np.full(len(number), source)
            found.append(EdgePairs.of_edges(edges, *of_link, number).free(scene, sources, targets, limit))
    return EdgePairs.concatenate(found)


def _towards(edges: DiffractionEdges, before: Array) -> DiffractionEdges:
    """Edges whose first face is the one over which a wave comes, be it along it."""
    height = ((before - edges.origin)[:, None] * edges.normal).sum(-1)
    return edges.turned(height[:, 0] < height[:, 1])


def _shading(scene: mi.Scene, edges: DiffractionEdges, point: Array) -> NDArray[np.int64]:
    """Edges that a point sees, and one of whose faces it does not: they throw a shadow."""
    seen = edges_in_sight(scene, edges, point)
    turned, _ = facing(edges.select(seen), point)
    return seen[((point - turned.origin) * turned.normal[:, 1]).sum(1) <= 0]


def _bends(edges: DiffractionEdges, before: Array, turn: Array, after: Array, limit: float) -> NDArray[np.bool_]:
    """Whether ways around edges, from `before` by way of `turn` to `after`, go into the shadow, or along its
    boundary."""
    turned = edges.turned(((before - edges.origin) * edges.normal[:, 0]).sum(1) <= 0)
    side = np.cross(turned.direction, turn - before)  # the boundary's normal, away from the lit face or towards it
    side *= np.sign((side * turned.normal[:, 0]).sum(1, keepdims=True))
    shadow = ((after - turn) * side).sum(1) < 0
    detour = np.linalg.norm(turn - before, axis=1) + np.linalg.norm(after - turn, axis=1)
    return shadow | (detour - np.linalg.norm(after - before, axis=1) < limit)


def _free(scene: mi.Scene, start: Array, end: Array) -> NDArray[np.bool_]:
    if not len(start):
        return np.zeros(0, bool)
    rays = spawn_ray_to(*(to_drjit(mi.Point3f, points) for points in (start, end)))
    return ~np.asarray(scene.ray_test(rays).numpy()).astype(bool)


def ends_of(points: Tensor) -> Array:
    """Positions for `edge_pairs`."""
    return points.detach().double().cpu().numpy()
