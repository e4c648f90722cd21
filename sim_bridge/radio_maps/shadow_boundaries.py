"""What edges take from direct paths near the boundaries of shadows.

A radio map sums powers: it averages over the phases of the moment. On the lit side of a shadow's boundary there is no
such phase between the direct wave and the one from the edge, which is the rest of it: together they have the field of
ITU-R P.526's knife edge at ν < 0, 1/4 of the power at the boundary, and the diffracted wave alone has as much on the
other side. So the direct power of each pixel is multiplied with the mean over the pixel of what P.526 has, edge by
edge, and diffracted rays are left out there (`radio_maps.diffraction`). Both fade with the detour as in paths
(`sim_bridge.paths.edges.coherence`).

The pixels concerned are found by geometry, edge by edge: rays would make lit pixels as noisy as shadows are.
"""

from concurrent.futures import ThreadPoolExecutor

import mitsuba as mi
import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray
from sionna.rt.utils import spawn_ray_to

from sim_bridge.backend.path_buffers import to_drjit
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.wedges import COHERENCE_LENGTH, EDGE_CLEARANCE, NO_COHERENCE
from sim_bridge.radio_maps.diffraction import CellEdges
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.grid import Grid
from uel.radio.sites import cell_positions

PIXELS_PER_BLOCK = (32, 4)  # along one side, for a first and a second look at which edges matter where
POINTS_PER_PIXEL = 2  # along one side
LANES_PER_BATCH = 1 << 19  # edge and point, some 300 bytes each
Array = NDArray[np.float64]


def direct_factors(scene: RadioScene, grid: Grid, points: Array, edges: CellEdges) -> Array:
    """Factors of the direct power of each pixel, `cell row column`; 1 far from shadows.

    `points` are the centres of the pixels in metres, `pixel 3`.
    """
    within = (np.arange(POINTS_PER_PIXEL) + 0.5) / POINTS_PER_PIXEL - 0.5
    offset = grid.pixel * np.stack([*np.meshgrid(within, within), np.zeros((POINTS_PER_PIXEL,) * 2)], -1).reshape(-1, 3)
    every, positions = points[:, None] + offset, cell_positions(scene.sites).double().numpy()

    def search(cell: int) -> tuple[DiffractionEdges, NDArray[np.int64], NDArray[np.int64]]:
        own, source = edges.of_cell(cell), positions[cell]
        # A wave that reaches both faces has no shadow.
        shading = own.select((((source - own.origin) * own.normal[:, 1]).sum(1) <= 0).nonzero()[0])
        return shading, *_near_boundaries(grid, every, shading, source, scene.wavelength)

    factors = np.empty((len(positions), grid.count**2))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy leaves the interpreter to others meanwhile
        for cell, (shading, edge, point) in enumerate(pool.map(search, range(len(positions)))):
            factors[cell] = _factors(scene, every, shading.select(edge), point, positions[cell])
    return factors.reshape(-1, *grid.shape)


def knife_edge_field(detour: Array) -> NDArray[np.complex128]:
    """Field of the wave that an edge sends to its lit side over the direct one's, by the detour in waves: −1/2 at the
    boundary (ITU-R P.526-15, section 4.1, ν = −2 √detour)."""
    return -0.5 * scipy.special.erfc(np.exp(0.25j * np.pi) * np.sqrt(2 * np.pi * detour))


def _factors(
    scene: RadioScene, every: Array, shading: DiffractionEdges, point: NDArray[np.int64], source: Array
) -> Array:
    """Factors of one cell's direct power, `pixel`, from the pairs of an edge and a point near its shadow's boundary."""
    pixel = np.unique(point // every.shape[1])
    factors = np.ones(len(every))
    if not len(pixel):
        return factors
    loss, shaded = np.zeros(every.shape[0] * every.shape[1]), every.reshape(-1, 3)[point]
    turn, detour = _way(shading, source, shaded)
    clear = turn + EDGE_CLEARANCE * shading.outwards
    free = _free(scene, source, shaded) & _free(scene, source, clear) & _free(scene, clear, shaded)
    waves = detour / scene.wavelength
    added, weight = knife_edge_field(waves), np.exp(-((waves / COHERENCE_LENGTH) ** 2))
    taken = np.log1p(weight * (2 * added.real + np.abs(added) ** 2))
    np.add.at(loss, point[free], taken[free])
    lit = _free(scene, source, every[pixel].reshape(-1, 3)).reshape(len(pixel), -1)
    kept = np.exp(loss.reshape(len(every), -1)[pixel])
    seen = lit.any(1)
    factors[pixel[seen]] = (kept * lit).sum(1)[seen] / lit.sum(1)[seen]
    return factors


def _near_boundaries(
    grid: Grid, every: Array, edges: DiffractionEdges, source: Array, wavelength: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of an edge and a point with a detour around it of a few waves at most, sorted.

    Blocks of pixels are looked at first, then smaller ones in those that an edge may matter to, then points.
    """
    limit = NO_COHERENCE * wavelength
    edge, place = np.arange(len(edges)), np.zeros((2, len(edges)), np.int64)  # row and column of a block
    parts = None  # of a block along one side; of the whole grid: all
    for side in PIXELS_PER_BLOCK:
        middle, radius = _spheres(grid, every, side)
        edge, place = _smaller_blocks(edge, place, parts or len(middle), len(middle))
        near = [
            _may_be_near(edges.select(edge[batch]), source, middle[*place[:, batch]], radius[*place[:, batch]], limit)
            for batch in _batches(len(edge), LANES_PER_BATCH)
        ]
        kept = np.concatenate(near).nonzero()[0] if near else np.zeros(0, np.int64)
        edge, place, parts = edge[kept], place[:, kept], _ratio(side)
    points, count = every.reshape(-1, 3), every.shape[1]
    keys = [np.zeros(0, np.int64)]
    for batch in _batches(len(edge), LANES_PER_BATCH // (PIXELS_PER_BLOCK[-1] ** 2 * count)):
        own, pixel = _smaller_blocks(edge[batch], place[:, batch], PIXELS_PER_BLOCK[-1], grid.count)
        own = np.repeat(own, count)
        point = ((pixel[0] * grid.count + pixel[1])[:, None] * count + np.arange(count)).reshape(-1)
        along, detour = _detour(edges.select(own), source, points[point])
        near = (detour < limit) & (along > 0) & (along < edges.length[own])
        keys.append(own[near] * len(points) + point[near])
    key = np.sort(np.concatenate(keys))
    return key // len(points), key % len(points)


def _ratio(side: int) -> int:
    """How many of the next smaller blocks lie along one side of a block."""
    smaller = (*PIXELS_PER_BLOCK, 1)
    return side // smaller[smaller.index(side) + 1]


def _batches(count: int, size: int) -> list[slice]:
    return [slice(first, first + size) for first in range(0, count, size)]


def _smaller_blocks(
    edge: NDArray[np.int64], place: NDArray[np.int64], parts: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each block's `parts` times `parts` smaller ones, with the block's edge, as far as they lie on the grid."""
    within = np.stack(np.meshgrid(np.arange(parts), np.arange(parts), indexing="ij")).reshape(2, 1, -1)
    smaller = (place[:, :, None] * parts + within).reshape(2, -1)
    inside = (smaller < limit).all(0)
    return np.repeat(edge, parts**2)[inside], smaller[:, inside]


def _spheres(grid: Grid, every: Array, side: int) -> tuple[Array, Array]:
    """Middle (block row, block column, 3) and radius (block row, block column) of blocks of pixels, m."""
    first = np.arange(0, grid.count, side)
    points = every.reshape(grid.count, grid.count, -1, 3)
    low, high = (
        edge.reduceat(edge.reduceat(edge.reduce(points, axis=2), first, axis=0), first, axis=1)
        for edge in (np.minimum, np.maximum)
    )
    return (low + high) / 2, np.linalg.norm(high - low, axis=-1) / 2


def _may_be_near(
    edges: DiffractionEdges, source: Array, middle: Array, radius: Array, limit: float
) -> NDArray[np.bool_]:
    """Whether the boundary of each edge's shadow may come near to the sphere beside it, `pair`."""
    normal = np.cross(edges.direction, edges.origin - source)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    along, _ = _detour(edges, source, middle)
    turn = edges.origin + np.clip(along, 0, edges.length)[:, None] * edges.direction
    before = np.maximum(np.linalg.norm(turn - source, axis=1), 1e-3)
    behind = np.linalg.norm(middle - turn, axis=1) + radius
    width = radius + np.sqrt(2 * limit * behind * (before + behind) / before)
    near = np.abs(((middle - source) * normal).sum(1)) < width
    near &= (along > -2 * radius) & (along < edges.length + 2 * radius)
    return near & (((middle - turn) * (turn - source)).sum(1) > -radius * before)


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
