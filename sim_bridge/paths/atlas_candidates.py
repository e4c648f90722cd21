"""Candidates of paths that an atlas, or a pool of chains, keeps for receivers."""

import math

import numpy as np
from jaxtyping import Int
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from torch import Tensor

from sim_bridge.backend import sionna_internals
from sim_bridge.backend.candidate_buffers import by_scatterers, from_chains, joined
from sim_bridge.chains.atlas import Atlas
from sim_bridge.paths.edges.edge_pairs import EdgePairs, ends_of
from sim_bridge.paths.edges.edge_search import listed_edge_paths
from sim_bridge.scene.endpoints import Endpoints
from sim_bridge.scene.radio_scene import RadioScene

Chains = tuple[Int[Tensor, " path"], Int[Tensor, " path"], Int[Tensor, "path depth"]]
"""Receivers, cells and walls, as an atlas keeps them."""


def atlas_candidates(
    scene: RadioScene,
    atlas: Atlas,
    endpoints: Endpoints,
    ends: sionna_internals.DrJitEndpoints,
    search: sionna_internals.PathSearch,
) -> PathsBuffer:
    """Chains, single edges and scatterers that an atlas keeps for the surroundings of receivers.

    `ends` are the endpoints in Dr.Jit.
    """
    position = endpoints.target.detach().cpu()
    buffer = chain_candidates(scene, atlas.candidates(position), ends, search.diffraction)
    if search.diffraction:
        target, source, edge = (values.numpy() for values in atlas.edge_candidates(position))
        listed, count, rt_scene = (target, source, edge), atlas.config.edges, scene.rt_scene
        around = listed_edge_paths(
            rt_scene.mi_scene,
            scene.facets,
            scene.edges,
            ends,
            listed,
            count,
            search.max_depth,  # type: ignore[arg-type]
        )
        buffer = joined(buffer, around)
    return joined(buffer, _scattered_paths(scene, atlas, endpoints, search)) if search.scattering else buffer


def atlas_pairs(scene: RadioScene, atlas: Atlas, endpoints: Endpoints) -> EdgePairs:
    """Ways around two edges that an atlas keeps for the surroundings of receivers, the shortest of each link."""
    target, source, number = (v.numpy() for v in atlas.pair_candidates(endpoints.target.detach().cpu()))
    points = (ends_of(endpoints.source), ends_of(endpoints.target))
    pairs = EdgePairs.of_edges(scene.edges, target, source, number)
    ways = pairs.free(scene.rt_scene.mi_scene, *points, scene.boundary_detour)
    return ways.shortest(*points, atlas.config.edge_pairs)


def chain_candidates(
    scene: RadioScene, chains: Chains, ends: sionna_internals.DrJitEndpoints, diffraction: bool
) -> PathsBuffer:
    """Chains of walls for a buffer whose paths may diffract."""
    return from_chains(*chains, scene.facets.plane_table, (ends.source, ends.target), diffraction)


def _scattered_paths(
    scene: RadioScene, atlas: Atlas, endpoints: Endpoints, search: sionna_internals.PathSearch
) -> PathsBuffer:
    """Paths by way of the atlas's scatterers that are in sight.

    How much of a mast's power falls on them, `InteractionPlanes.illumination`, is left to the evaluation.
    """
    pieces, facets, position = scene.scatterers, scene.facets, endpoints.target.detach().cpu()
    target, source, piece, times = (values.numpy() for values in atlas.scatterers_at(position))
    start, end = (rows.detach().double().cpu().numpy() for rows in (endpoints.source[source], position[target]))
    kept = np.flatnonzero(pieces.solid_angle(start, piece) * pieces.solid_angle(end, piece) > 0)  # both on one side
    kept = kept[pieces.seen_from(scene.rt_scene.mi_scene, end[kept], piece[kept])]  # type: ignore[arg-type]
    target, source, piece, times = target[kept], source[kept], piece[kept], times[kept]
    weight = search.samples / (4 * math.pi) * pieces.area[piece] * times
    shape, primitive = (values[pieces.triangle[piece]] for values in (facets.shape, facets.primitive))
    return by_scatterers(
        target, source, shape, primitive, pieces.position[piece], weight, search.max_depth, search.diffraction
    )
