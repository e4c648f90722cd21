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

from sim_bridge.backend.edge_buffers import around_edges, at_wedges, joined, split_off_edges
from sim_bridge.backend.sionna_internals import DrJitEndpoints
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.facets import Facets
from sim_bridge.chains.wedges import sionna_wedges, to_drjit

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
    links, pairs = dr.width(endpoints.source.x) * receivers, []
    step = max(LANES_PER_BATCH // max(len(edges), 1), 1)
    geometry = _EdgeArrays.of(edges)
    with dr.suspend_grad():
        for first in range(0, links if len(edges) else 0, step):
            lane = dr.arange(mi.UInt, min(step, links - first) * len(edges))
            link = lane // dr.opaque(mi.UInt, len(edges))
            pairs.append(geometry.candidates(scene, endpoints, receivers, link + dr.opaque(mi.UInt, first), lane))
    target, source, edge = np.concatenate(pairs, 1) if pairs else np.zeros((3, 0), np.int64)
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


class _EdgeArrays:
    """Edges in Dr.Jit."""

    def __init__(self, count: int, origin: mi.Point3f, direction: mi.Vector3f, length: mi.Float, *sides: mi.Vector3f):
        self.count, self.origin, self.direction, self.length = count, origin, direction, length
        self.normals, self.outwards = sides[:2], sides[2]

    @staticmethod
    def of(edges: DiffractionEdges) -> "_EdgeArrays":
        vectors = (edges.direction, edges.normal[:, 0], edges.normal[:, 1], edges.outwards)
        direction, *sides = (to_drjit(mi.Vector3f, rows) for rows in vectors)
        length = mi.Float(edges.length.astype(np.float32))
        return _EdgeArrays(len(edges), to_drjit(mi.Point3f, edges.origin), direction, length, *sides)

    def candidates(
        self, scene: mi.Scene, endpoints: DrJitEndpoints, receivers: int, link: mi.UInt, lane: mi.UInt
    ) -> np.ndarray:
        """(target, source, edge) of the ways that are free, (3, way); a link is cell · receivers + receiver."""
        edge = lane % dr.opaque(mi.UInt, self.count)
        way = self._way(endpoints, receivers, link, edge)
        length = dr.gather(mi.Float, self.length, edge)
        touches = (way.along > 0) & (way.along < length)
        for end in (way.source, way.target):
            height = [dr.dot(end - way.origin, dr.gather(mi.Vector3f, normal, edge)) for normal in self.normals]
            touches &= (height[0] > 0) | (height[1] > 0)
        rows = dr.compress(touches)
        if not dr.width(rows):
            return np.zeros((3, 0), np.int64)
        link, edge = dr.gather(mi.UInt, link, rows), dr.gather(mi.UInt, edge, rows)
        way = self._way(endpoints, receivers, link, edge)
        clear = way.origin + way.along * way.direction + LEG_CLEARANCE * dr.gather(mi.Vector3f, self.outwards, edge)
        free = mi.Bool(True)
        for end in (way.source, way.target):
            free &= ~scene.ray_test(spawn_ray_to(end, mi.Point3f(clear)), active=free)
        rows = dr.compress(free)
        if not dr.width(rows):  # Dr.Jit does not calculate with empty arrays
            return np.zeros((3, 0), np.int64)
        link, edge = dr.gather(mi.UInt, link, rows), dr.gather(mi.UInt, edge, rows)
        many = dr.opaque(mi.UInt, receivers)
        return np.stack([v.numpy().astype(np.int64) for v in (link % many, link // many, edge)])

    def _way(self, endpoints: DrJitEndpoints, receivers: int, link: mi.UInt, edge: mi.UInt) -> "_Way":
        many = dr.opaque(mi.UInt, receivers)
        source, target = (
            dr.gather(mi.Point3f, points, index)
            for points, index in ((endpoints.source, link // many), (endpoints.target, link % many))
        )
        origin, direction = dr.gather(mi.Point3f, self.origin, edge), dr.gather(mi.Vector3f, self.direction, edge)
        return _Way(source, target, origin, direction)


class _Way:
    """The shortest way from a source to a target around a line."""

    def __init__(self, source: mi.Point3f, target: mi.Point3f, origin: mi.Point3f, direction: mi.Vector3f) -> None:
        self.source, self.target, self.origin, self.direction = source, target, origin, direction
        self.along = first_order_diffraction_point(source, target, origin, direction)
