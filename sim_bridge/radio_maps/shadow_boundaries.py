"""What edges take from direct paths near the boundaries of shadows.

A radio map sums powers: it averages over the phases of the moment. On the lit side of a shadow's boundary there is no
such phase between the direct wave and the one from the edge, which is the rest of it: together they have the field of
ITU-R P.526's knife edge at ν < 0, 1/4 of the power at the boundary, and the diffracted wave alone has as much on the
other side. So the direct power of each pixel is multiplied with the mean over the pixel of what P.526 has, edge by
edge, and diffracted rays are left out there (`radio_maps.diffraction`). Both fade with the detour as in paths
(`sim_bridge.paths.edges.coherence`).

The pixels concerned are found by geometry, edge by edge: rays would make lit pixels as noisy as shadows are.
"""

import mitsuba as mi
import numpy as np
import scipy.special
from numpy.typing import NDArray
from sionna.rt.utils import spawn_ray_to

from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.wedges import COHERENCE_LENGTH, EDGE_CLEARANCE, NO_COHERENCE, to_drjit
from sim_bridge.radio_maps.diffraction import CellEdges
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.grid import Grid
from uel.radio.sites import cell_positions

PIXELS_PER_BLOCK = 4  # along one side, for a first look at which edges matter where
POINTS_PER_PIXEL = 2  # along one side
LANES_PER_BATCH = 1 << 19  # edge and point, some 300 bytes each
Array = NDArray[np.float64]


def direct_factors(scene: RadioScene, grid: Grid, points: Array, edges: CellEdges) -> Array:
    """Factors of the direct power of each pixel, `cell row column`; 1 far from shadows.

    `points` are the centres of the pixels in metres, `pixel 3`.
    """
    positions = cell_positions(scene.sites).double().numpy()
    factors = np.ones((len(positions), grid.count**2))
    for cell, source in enumerate(positions):
        own = edges.of_cell(cell)
        # A wave that reaches both faces has no shadow.
        shading = ((source - own.origin) * own.normal[:, 1]).sum(1) <= 0
        factors[cell] = _factors(scene, grid, points, own.select(shading.nonzero()[0]), source)
    return factors.reshape(-1, *grid.shape)


def knife_edge_field(detour: Array) -> NDArray[np.complex128]:
    """Field of the wave that an edge sends to its lit side over the direct one's, by the detour in waves: −1/2 at the
    boundary (ITU-R P.526-15, section 4.1, ν = −2 √detour)."""
    return -0.5 * scipy.special.erfc(np.exp(0.25j * np.pi) * np.sqrt(2 * np.pi * detour))


def _factors(scene: RadioScene, grid: Grid, points: Array, edges: DiffractionEdges, source: Array) -> Array:
    """Factors of one cell's direct power, `pixel`."""
    within = (np.arange(POINTS_PER_PIXEL) + 0.5) / POINTS_PER_PIXEL - 0.5
    offset = grid.pixel * np.stack([*np.meshgrid(within, within), np.zeros((POINTS_PER_PIXEL,) * 2)], -1).reshape(-1, 3)
    every = points[:, None] + offset
    edge, point = _near_boundaries(grid, every, edges, source, scene.wavelength)
    pixel = np.unique(point // len(offset))
    factors = np.ones(len(points))
    if not len(pixel):
        return factors
    loss = np.zeros(every.shape[0] * len(offset))
    shading, shaded = edges.select(edge), every.reshape(-1, 3)[point]
    turn, detour = _way(shading, source, shaded)
    clear = turn + EDGE_CLEARANCE * shading.outwards
    free = _free(scene, source, shaded) & _free(scene, source, clear) & _free(scene, clear, shaded)
    waves = detour / scene.wavelength
    added, weight = knife_edge_field(waves), np.exp(-((waves / COHERENCE_LENGTH) ** 2))
    taken = np.log1p(weight * (2 * added.real + np.abs(added) ** 2))
    np.add.at(loss, point[free], taken[free])
    lit = _free(scene, source, every[pixel].reshape(-1, 3)).reshape(len(pixel), -1)
    kept = np.exp(loss.reshape(len(points), -1)[pixel])
    seen = lit.any(1)
    factors[pixel[seen]] = (kept * lit).sum(1)[seen] / lit.sum(1)[seen]
    return factors


def _near_boundaries(
    grid: Grid, every: Array, edges: DiffractionEdges, source: Array, wavelength: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of an edge and a point with a detour around it of a few waves at most."""
    if not len(edges):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    limit = NO_COHERENCE * wavelength
    members = _blocks(grid)
    corners = every[members].reshape(len(members), -1, 3)
    low, high = corners.min(1), corners.max(1)
    middle, radius = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2
    edge, block = _edges_of_blocks(edges, source, middle, radius, limit)
    found, every_count = [], every.shape[0] * every.shape[1]
    per_pair = members.shape[1] * every.shape[1]
    step = max(LANES_PER_BATCH // per_pair, 1)
    for first in range(0, len(edge), step):
        pairs, blocks = edge[first : first + step], block[first : first + step]
        point = (members[blocks][:, :, None] * every.shape[1] + np.arange(every.shape[1])).reshape(-1)
        pair = np.repeat(pairs, per_pair)
        along, detour = _detour(edges.select(pair), source, every.reshape(-1, 3)[point])
        near = (detour < limit) & (along > 0) & (along < edges.length[pair])
        found.append(pair[near] * every_count + point[near])
    key = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)  # of blocks that share pixels
    return key // every_count, key % every_count


def _blocks(grid: Grid) -> NDArray[np.int64]:
    """Pixels of each block, (block, pixel); the last ones of a row or column of blocks may repeat."""
    first = np.arange(0, grid.count, PIXELS_PER_BLOCK)
    rows = np.minimum(first[:, None] + np.arange(PIXELS_PER_BLOCK), grid.count - 1)
    pixel = rows[:, None, :, None] * grid.count + rows[None, :, None, :]
    return pixel.reshape(len(first) ** 2, -1)


def _edges_of_blocks(
    edges: DiffractionEdges, source: Array, middle: Array, radius: Array, limit: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of an edge and a block whose sphere the boundary of the edge's shadow may come near to."""
    normal = np.cross(edges.direction, edges.origin - source)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    pairs = []
    for block, (centre, around) in enumerate(zip(middle, radius, strict=True)):
        along, _ = _detour(edges, source, np.broadcast_to(centre, edges.origin.shape))
        turn = edges.origin + np.clip(along, 0, edges.length)[:, None] * edges.direction
        before = np.maximum(np.linalg.norm(turn - source, axis=1), 1e-3)
        behind = np.linalg.norm(centre - turn, axis=1) + around
        width = around + np.sqrt(2 * limit * behind * (before + behind) / before)
        near = np.abs(((centre - source) * normal).sum(1)) < width
        near &= (along > -2 * around) & (along < edges.length + 2 * around)
        near &= ((centre - turn) * (turn - source)).sum(1) > -around * before
        index = near.nonzero()[0]
        pairs.append(np.stack([index, np.full_like(index, block)]))
    return tuple(np.concatenate(pairs, 1))  # type: ignore[return-value]


def _detour(edges: DiffractionEdges, source: Array, point: Array) -> tuple[Array, Array]:
    """Where the shortest way around each line touches it (m from its origin), and how much longer it is (m)."""
    ends = []
    for end in (source, point):
        offset = end - edges.origin
        along = (offset * edges.direction).sum(1)
        ends.append((along, np.sqrt(np.maximum((offset * offset).sum(1) - along**2, 0.0))))
    (start, near), (stop, far) = ends
    along = (start * far + stop * near) / np.maximum(near + far, 1e-9)
    return along, np.hypot(near + far, stop - start) - np.linalg.norm(point - source, axis=1)


def _way(edges: DiffractionEdges, source: Array, point: Array) -> tuple[Array, Array]:
    """Point of the edge that the way touches (m), and the detour (m)."""
    along, detour = _detour(edges, source, point)
    return edges.origin + along[:, None] * edges.direction, np.maximum(detour, 0.0)


def _free(scene: RadioScene, start: Array, end: Array) -> NDArray[np.bool_]:
    """Whether nothing stands between points (m)."""
    start = np.broadcast_to(start, end.shape)
    rays = spawn_ray_to(*(to_drjit(mi.Point3f, points) for points in (start, end)))
    return ~np.asarray(scene.rt_scene.mi_scene.ray_test(rays).numpy()).astype(bool)
