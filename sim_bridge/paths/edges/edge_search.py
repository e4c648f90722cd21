"""Paths around an edge of the scene.

With nothing else on the way, candidates are found by geometry, so that none is missed by chance: for every cell,
receiver and edge, the shortest way around the edge (Keller) must touch it between its ends, both ends must lie outside
the solid, and both legs must be free. Where walls are met besides, rays find the candidates, and the edges are those of
the scene. Sionna's image method has the last word on both.
"""

import drjit as dr
import mitsuba as mi
import numpy as np
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from sionna.rt.utils import first_order_diffraction_point, spawn_ray_to

from sim_bridge.backend.candidate_buffers import around_edges, at_wedges, joined, split_off_edges
from sim_bridge.backend.path_buffers import to_drjit
from sim_bridge.backend.sionna_internals import DrJitEndpoints
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.facets import Facets
from sim_bridge.chains.link_index import smallest_of_groups
from sim_bridge.chains.wedges import sionna_wedges

LANES_PER_BATCH = 1 << 22  # cells × receivers × edges that are looked at at once: some 100 bytes each
LEG_CLEARANCE = 1e-3  # m off the edge, where the image method ends its rays, too


def edge_paths(
    scene: mi.Scene,
    facets: Facets,
    edges: DiffractionEdges,
    endpoints: DrJitEndpoints,
    receivers: int,
    depth: int,
) -> PathsBuffer:
    """Candidates with one edge and nothing else, of the first `receivers`, for buffers of `depth` interactions."""
    sources = dr.width(endpoints.source.x)
    search = EdgeSearch(scene, edges)
    source, target, edge, _ = search.all_ways(endpoints.source, endpoints.target, sources, receivers)
    return _candidates(facets, edges, endpoints, target, source, edge, depth)


def listed_edge_paths(
    scene: mi.Scene,
    facets: Facets,
    edges: DiffractionEdges,
    endpoints: DrJitEndpoints,
    listed: tuple[np.ndarray, np.ndarray, np.ndarray],
    count: int,
    depth: int,
) -> PathsBuffer:
    """As `edge_paths`, but of `listed` receivers, cells and edges alone, the `count` shortest ways of each link."""
    target, source, edge = listed
    search = EdgeSearch(scene, edges)
    rows, detour = search.ways(endpoints.source, endpoints.target, *(_uint(v) for v in (source, target, edge)))
    target, source, edge = (values[rows] for values in listed)
    kept = smallest_of_groups(target * dr.width(endpoints.source.x) + source, detour, count)
    return _candidates(facets, edges, endpoints, target[kept], source[kept], edge[kept], depth)


def _candidates(
    facets: Facets,
    edges: DiffractionEdges,
    endpoints: DrJitEndpoints,
    target: np.ndarray,
    source: np.ndarray,
    edge: np.ndarray,
    depth: int,
) -> PathsBuffer:
    """Candidates around edges, which are turned with a face towards their source."""
    position = np.stack([np.asarray(axis.numpy()) for axis in dr.detach(endpoints.source)], -1)[source]
    rows = edges.select(edge)
    height = ((position - rows.origin) * rows.normal[:, 0]).sum(-1)
    rows = rows.turned(height <= 0)
    wedges = sionna_wedges(rows, facets)
    return around_edges(target, source, [wedges], [wedges.o], depth)


def at_edges_of_scene(paths: PathsBuffer, facets: Facets, edges: DiffractionEdges) -> PathsBuffer:
    """Sionna's candidates with the scene's edges in the place of those that Sionna found, which end where a mesh or a
    triangle ends and stand between walls in one plane, too; without those of an edge alone (`edge_paths`)."""
    plain, mixed = split_off_edges(paths)
    candidate, edge, second = edges.on_lines_of(mixed.origin, mixed.direction, mixed.length, mixed.normal)
    order = np.lexsort((edge, candidate))
    candidate, edge, second = candidate[order], edge[order], second[order]
    wedges = sionna_wedges(edges.select(edge).turned(second), facets)
    around = at_wedges(paths, mixed.row[candidate], mixed.level[candidate], wedges)
    return joined(paths.gather(mi.UInt(plain.astype(np.uint32))), around)


class EdgeSearch:
    """Free ways around single edges, between sources and targets that are points."""

    def __init__(self, scene: mi.Scene, edges: DiffractionEdges) -> None:
        self.scene, self.count = scene, len(edges)
        vectors = (edges.direction, edges.normal[:, 0], edges.normal[:, 1], edges.outwards)
        self.origin, self.length = to_drjit(mi.Point3f, edges.origin), mi.Float(edges.length.astype(np.float32))
        self.direction, *self.normals, self.outwards = (to_drjit(mi.Vector3f, rows) for rows in vectors)

    def all_ways(
        self, sources: mi.Point3f, targets: mi.Point3f, source_count: int, target_count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source, target, edge and detour (m) of every way that is free, of the first sources and targets."""
        links, parts = source_count * target_count, []
        step = max(LANES_PER_BATCH // max(self.count, 1), 1)
        for first in range(0, links if self.count else 0, step):
            lane = dr.arange(mi.UInt, min(step, links - first) * self.count)
            link = lane // dr.opaque(mi.UInt, self.count) + dr.opaque(mi.UInt, first)
            many = dr.opaque(mi.UInt, target_count)
            rows, detour = self.ways(sources, targets, link // many, link % many, lane % dr.opaque(mi.UInt, self.count))
            link = rows // self.count + first
            parts.append((link // target_count, link % target_count, rows % self.count, detour))
        if not parts:
            none = np.zeros(0, np.int64)
            return none, none, none, np.zeros(0, np.float32)
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]

    def ways(
        self, sources: mi.Point3f, targets: mi.Point3f, source: mi.UInt, target: mi.UInt, edge: mi.UInt
    ) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of those source-target-edge triples between which a way is free, and its detour over the straight
        line in metres."""
        if not dr.width(edge):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        with dr.suspend_grad():
            way = self._way(sources, targets, source, target, edge)
            touches = (way.along > 0) & (way.along < dr.gather(mi.Float, self.length, edge))
            for end in (way.source, way.target):
                height = [dr.dot(end - way.origin, dr.gather(mi.Vector3f, normal, edge)) for normal in self.normals]
                touches &= (height[0] > 0) | (height[1] > 0)
            rows = dr.compress(touches)
            if not dr.width(rows):
                return np.zeros(0, np.int64), np.zeros(0, np.float32)
            source, target, edge = (dr.gather(mi.UInt, index, rows) for index in (source, target, edge))
            way = self._way(sources, targets, source, target, edge)
            clear = way.point + LEG_CLEARANCE * dr.gather(mi.Vector3f, self.outwards, edge)
            free = mi.Bool(True)
            for end in (way.source, way.target):
                free &= ~self.scene.ray_test(spawn_ray_to(end, mi.Point3f(clear)), active=free)
            detour, kept = way.detour, dr.compress(free)
            if not dr.width(kept):  # Dr.Jit does not calculate with empty arrays
                return np.zeros(0, np.int64), np.zeros(0, np.float32)
            rows, detour = dr.gather(mi.UInt, rows, kept), dr.gather(mi.Float, detour, kept)
            return rows.numpy().astype(np.int64), detour.numpy()

    def _way(self, sources: mi.Point3f, targets: mi.Point3f, source: mi.UInt, target: mi.UInt, edge: mi.UInt) -> "_Way":
        origin, direction = dr.gather(mi.Point3f, self.origin, edge), dr.gather(mi.Vector3f, self.direction, edge)
        return _Way(dr.gather(mi.Point3f, sources, source), dr.gather(mi.Point3f, targets, target), origin, direction)


class _Way:
    """The shortest way from a source to a target around a line."""

    def __init__(self, source: mi.Point3f, target: mi.Point3f, origin: mi.Point3f, direction: mi.Vector3f) -> None:
        self.source, self.target, self.origin, self.direction = source, target, origin, direction
        self.along = first_order_diffraction_point(source, target, origin, direction)

    @property
    def point(self) -> mi.Point3f:
        """Where the way touches the line."""
        return mi.Point3f(self.origin + self.along * self.direction)

    @property
    def detour(self) -> mi.Float:
        """Length in metres beyond that of the straight line."""
        legs = dr.norm(self.point - self.source) + dr.norm(self.target - self.point)
        return legs - dr.norm(self.target - self.source)


def _uint(values: np.ndarray) -> mi.UInt:
    return mi.UInt(values.astype(np.uint32))
