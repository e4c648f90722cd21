"""Pairs of edges that a wave may go around between a mast and the ground: those at the horizons of both ends.

In the vertical plane through both ends the shortest way over everything in between is a string stretched over it (ITU-R
P.526-15, section 4.5). Where it bends twice, it does so at the radio horizon of the mast and at that of the receiver
(ITU-R P.452, attachment 2 to annex 1): the edges that appear highest from either end. Where these are one edge, it is
a way around that edge; where something else rises above the line between the two, a wave needs a third edge.
"""

import numpy as np
from numpy.typing import NDArray

from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.link_index import smallest_of_groups

EDGES_PER_HORIZON = 2  # of each end: of two eaves side by side another one may be the highest a few metres on
MIN_DISTANCE = 0.1  # m in plan from either end to an edge between them
TARGETS_PER_BATCH = 256  # at once: some 40 bytes for each and each edge
Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


def horizon_pairs(edges: DiffractionEdges, source: Array, targets: Array) -> tuple[Numbers, Numbers, Numbers]:
    """Pairs of edges at the horizons of a source and of each target, which may be ways around two edges or none.

    Args:
        edges: of the scene.
        source: (3,) m.
        targets: (n, 3) m.

    Returns:
        Target, edge on the source's side and edge on the target's side of each pair.

    Example:
        >>> import numpy as np
        >>> import sim_bridge.simulator  # finds a usable LLVM
        >>> from sim_bridge.chains.edges import DiffractionEdges
        >>> eaves = np.array([[0.0, -50, 20], [12, -50, 20]])  # of a flat roof between x = 0 and 12 m
        >>> along, up = np.tile([0.0, 1, 0], (2, 1)), np.tile([[0.0, 0, 1], [1, 0, 0]], (2, 1, 1))
        >>> edges = DiffractionEdges(eaves, along, np.full(2, 100.0), up, np.zeros((2, 2), int))
        >>> ends = np.array([-60.0, 0, 15]), np.array([[60.0, 0, 1.5], [-20.0, 0, 1.5]])
        >>> [part.tolist() for part in horizon_pairs(edges, *ends)]  # nothing stands before the second target
        [[0], [0], [1]]
    """
    none = np.zeros(0, np.int64)
    parts = [(none, none, none)]
    for first in range(0, len(targets), TARGETS_PER_BATCH):
        target, *pair = _pairs(edges, source, targets[first : first + TARGETS_PER_BATCH])
        parts.append((target + first, pair[0], pair[1]))
    target, one, other = (np.concatenate(column) for column in zip(*parts, strict=True))
    return target, one, other


def _pairs(edges: DiffractionEdges, source: Array, targets: Array) -> tuple[Numbers, Numbers, Numbers]:
    row, edge, distance, height = _profiles(edges, source, targets)
    length = np.linalg.norm(targets[:, :2] - source[:2], axis=1)[row]
    rise = targets[row, 2] - source[2]
    above = height - source[2] > rise * distance / length  # the straight line
    row, edge = row[above], edge[above]
    distance, height, length = distance[above], height[above], length[above]
    near = smallest_of_groups(row, -(height - source[2]) / distance, EDGES_PER_HORIZON)
    far = smallest_of_groups(row, -(height - targets[row, 2]) / (length - distance), EDGES_PER_HORIZON)
    start, end = (np.searchsorted(row[far], row[near], side=side) for side in ("left", "right"))
    count = end - start
    one = np.repeat(near, count)
    other = far[np.repeat(start, count) + np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)]
    onwards = distance[other] > distance[one]
    one, other = one[onwards], other[onwards]
    return row[one], edge[one], edge[other]


def _profiles(edges: DiffractionEdges, source: Array, targets: Array) -> tuple[Numbers, Numbers, Array, Array]:
    """Edges between a source and each target in plan: target, edge, distance in plan from the source (m) and height
    (m), target by target."""
    start = edges.origin - source
    end = start + edges.length[:, None] * edges.direction
    way = targets[:, :2] - source[:2]
    length = np.linalg.norm(way, axis=1)
    way = way / np.maximum(length, MIN_DISTANCE)[:, None]
    left = np.stack([-way[:, 1], way[:, 0]], 1)
    side = [left @ ends[:, :2].T for ends in (start, end)]
    row, edge = np.nonzero((side[0] > 0) != (side[1] > 0))
    before, behind = (values[row, edge] for values in side)
    share = (before / (before - behind))[:, None]
    point = start[edge] + share * (end[edge] - start[edge])
    distance = (point[:, :2] * way[row]).sum(1)
    between = (distance > MIN_DISTANCE) & (distance < length[row] - MIN_DISTANCE)
    return row[between], edge[between], distance[between], point[between, 2] + source[2]
