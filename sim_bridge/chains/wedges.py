"""Edges as Sionna's wedges, and the ray tests that say which of them an antenna sees."""

import drjit as dr
import mitsuba as mi
import numpy as np
from sionna.rt.utils import WedgeGeometry, spawn_ray_to

from sim_bridge.backend.path_buffers import to_drjit
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.facets import Facets

EDGE_CLEARANCE = 5e-2  # m off the edge, at which its segments are tested, so that its own walls do not block them
METRES_PER_TEST = 4.0  # of edge, for each of which one ray is tested
MAX_TESTS = 16  # rays to one edge
COHERENCE_LENGTH = 2.0  # waves of detour around an edge, at which the interference with the wave cut off is 1/e
NO_COHERENCE = 2 * COHERENCE_LENGTH  # waves: there it has fallen to 2 %, and radio maps leave it out
NO_PRIMITIVE = 0xFFFFFFFF  # of a face on another mesh: Sionna takes an edge for a free one where both numbers are alike


def sionna_wedges(edges: DiffractionEdges, facets: Facets) -> WedgeGeometry:
    """Edges as Sionna has them: their mesh is that of their first face, the one towards the source (`facing`).

    `local_edge`, which has no meaning for edges of two meshes, holds the number in `Facets` of a triangle of the second
    face.
    """
    first, second = edges.triangle.T
    shape, primitive = facets.shape[first], facets.primitive[first]
    other = np.where(facets.shape[second] == shape, facets.primitive[second], NO_PRIMITIVE)
    return WedgeGeometry(
        dr.reinterpret_array(mi.MeshPtr, mi.UInt(shape.astype(np.uint32))),
        mi.UInt(primitive.astype(np.uint32)),
        mi.UInt(other.astype(np.uint32)),
        mi.UInt(second.astype(np.uint32)),
        to_drjit(mi.Point3f, edges.origin),
        to_drjit(mi.Vector3f, edges.direction),
        mi.Float(edges.length.astype(np.float32)),
        to_drjit(mi.Normal3f, edges.normal[:, 0]),
        to_drjit(mi.Normal3f, edges.normal[:, 1]),
    )


def facing(edges: DiffractionEdges, source: np.ndarray) -> tuple[DiffractionEdges, np.ndarray]:
    """Edges with a face that is turned to a point (m) as the first one, and whether any face is."""
    height = ((source - edges.origin)[:, None] * edges.normal).sum(-1)
    return edges.turned(height[:, 0] <= 0), (height > 0).any(1)


def edges_in_sight(scene: mi.Scene, edges: DiffractionEdges, source: np.ndarray) -> np.ndarray:
    """Numbers of the edges that a point (m) sees, by ray tests to points every 4 m, just off the edge."""
    _, outside = facing(edges, source)
    candidates = outside.nonzero()[0]
    tests = np.clip(np.ceil(edges.length[candidates] / METRES_PER_TEST), 1, MAX_TESTS).astype(np.int64)
    row = np.repeat(np.arange(len(candidates)), tests)
    if not len(row):
        return candidates
    edge = candidates[row]
    step = np.arange(len(row)) - np.repeat(np.cumsum(tests) - tests, tests) + 0.5
    point = edges.origin[edge] + (edges.length[edge] * step / tests[row])[:, None] * edges.direction[edge]
    clear = to_drjit(mi.Point3f, point + EDGE_CLEARANCE * edges.outwards[edge])
    blocked = scene.ray_test(spawn_ray_to(mi.Point3f(*source.tolist()), clear)).numpy()
    return np.unique(edge[~blocked])
