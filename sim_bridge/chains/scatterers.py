"""Pieces of a scene's surfaces that scatter waves, each as one point, and which of them stand for all of them where.

Diffuse reflection (Degli-Esposti et al., "Measurement and modelling of scattering from buildings", IEEE Trans. Antennas
Propag. 55, 2007) is an integral over the surfaces that both ends see. Sionna draws its points by rays, many a link.
Here surfaces are cut into pieces of `SCATTERER_SIZE`, which are the same for all cells and receivers, and a pixel keeps
for each mast a few that stand for all in sight of both (`sampled_scatterers`). One interaction: what is scattered and
reflected besides is left to the full search.
"""

from dataclasses import dataclass

import mitsuba as mi
import numpy as np
from scipy.spatial import KDTree
from sionna.rt.utils import spawn_ray_to

from sim_bridge.backend.path_buffers import to_drjit
from sim_bridge.chains.facets import Facets, same_side

SCATTERER_SIZE = 10.0  # m, side of a piece
POINTS_PER_SIDE = 4  # of a piece, by which its surface is measured
DISC_AREA = SCATTERER_SIZE**2 / (2 * np.pi)  # m²: a piece seen from within fills the half-space, 2π, and no more
MAX_RANGE = 100.0  # m from a receiver: power falls as the square, and what is farther away is carried by what is near
NEAR_PIXELS = 1.5  # nearer pieces are carried by others, if any: within a pixel their distance is not known
SURFACE_CLEARANCE = 1e-2  # m off a surface, where rays to it end
PIXELS_PER_BATCH = 1024  # whose surroundings are looked at at once


@dataclass(frozen=True, eq=False)
class Scatterers:
    """Pieces of surface, the same in every process."""

    position: np.ndarray
    """(piece, 3) a point of the surface near the piece's middle, m"""
    triangle: np.ndarray
    """(piece,) that this point lies on, by its number in `Facets`"""
    normal: np.ndarray
    """(piece, 3) unit vector, of either sign"""
    area: np.ndarray
    """(piece,) m²"""

    @staticmethod
    def from_facets(facets: Facets) -> "Scatterers":
        """All pieces of a scene: what of its surfaces lies in one cube of `SCATTERER_SIZE` and faces one way.

        Example:
            >>> import numpy as np
            >>> import sim_bridge.simulator  # finds a usable LLVM
            >>> from sim_bridge.chains.facets import Facets
            >>> wall = np.array([[[0, 1, 0], [20, 1, 0], [20, 1, 8]], [[0, 1, 0], [20, 1, 8], [0, 1, 8]]])
            >>> pieces = Scatterers.from_facets(Facets.from_corners(wall))
            >>> len(pieces), float(pieces.area.sum().round(6))
            (2, 160.0)
        """
        point, triangle, area = _points_on(facets.corner)
        facing = same_side(facets.normal)[triangle]
        key = np.concatenate([np.floor(point / SCATTERER_SIZE), np.round(2 * facing)], 1).astype(np.int64)
        _, piece = np.unique(key, axis=0, return_inverse=True)
        piece = piece.reshape(-1)
        total = np.bincount(piece, area)
        middle = np.stack([np.bincount(piece, area * axis) for axis in point.T], -1) / total[:, None]
        order = np.lexsort((np.linalg.norm(point - middle[piece], axis=1), piece))
        nearest = order[np.unique(piece[order], return_index=True)[1]]
        return Scatterers(point[nearest], triangle[nearest], facets.normal[triangle[nearest]], total)

    def __len__(self) -> int:
        return len(self.area)

    def seen_from(self, scene: mi.Scene, points: np.ndarray, piece: np.ndarray) -> np.ndarray:
        """Whether points (n, 3) see a piece each."""
        if not len(piece):
            return np.zeros(0, bool)
        side = np.sign(self._height(points, piece))[:, None]
        clear = self.position[piece] + SURFACE_CLEARANCE * side * self.normal[piece]
        start = to_drjit(mi.Point3f, points)
        return ~scene.ray_test(spawn_ray_to(start, to_drjit(mi.Point3f, clear))).numpy().astype(bool)

    def _height(self, points: np.ndarray, piece: np.ndarray) -> np.ndarray:
        """Signed distance (m) of points from the planes of pieces."""
        return ((points - self.position[piece]) * self.normal[piece]).sum(-1)

    def solid_angle(self, points: np.ndarray, piece: np.ndarray) -> np.ndarray:
        """Solid angle in sr of a piece each, as points (n, 3) see it: that of a disc, half of all space at most; its
        sign is the side that they see."""
        height = self._height(points, piece)
        squared = ((points - self.position[piece]) ** 2).sum(-1)
        return self.area[piece] * height / (np.sqrt(np.maximum(squared, 1e-12)) * (squared + DISC_AREA))


def _points_on(corner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points all over triangles, (point, 3), the triangle of each, and the area in m² that it stands for.

    The sequence R2 (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), folded onto triangles.
    """
    side = corner[:, 1:] - corner[:, :1]
    area = np.linalg.norm(np.cross(side[:, 0], side[:, 1]), axis=1) / 2
    count = np.ceil(area / (SCATTERER_SIZE / POINTS_PER_SIDE) ** 2).astype(np.int64)
    triangle = np.repeat(np.arange(len(corner)), count)
    number = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    share = (0.5 + (number[:, None] + 1) * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0
    share = np.where(share.sum(1, keepdims=True) > 1, 1 - share, share)
    point = corner[triangle, 0] + (share[..., None] * side[triangle]).sum(1)
    return point, triangle, (area / np.maximum(count, 1))[triangle]


def sampled_scatterers(
    scene: mi.Scene, pieces: Scatterers, source: np.ndarray, receivers: np.ndarray, pixel: float, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces that stand for all that scatter a mast's power to each receiver.

    Around each receiver the pieces in sight of both are put in order by their azimuth, and `count` of them are taken at
    equal steps of the power that they scatter, were their reflectivity alike: systematic sampling, so that each stands
    for an equal share.

    Args:
        scene: of Mitsuba.
        pieces: its surfaces.
        source: (3,) the mast, m.
        receivers: (n, 3) in metres, each for a pixel around it.
        pixel: side of these pixels, m.
        count: greatest number of pieces of a receiver.

    Returns:
        Receiver, piece and weight of each entry, in order: its power counts so many times.
    """
    start = np.broadcast_to(source, (len(pieces), 3))
    lit = np.flatnonzero(pieces.seen_from(scene, start, np.arange(len(pieces))))
    light, parts = pieces.solid_angle(start[lit], lit) / pieces.area[lit], []
    tree = KDTree(pieces.position[lit]) if len(lit) else None
    for first in range(0, len(receivers) if tree else 0, PIXELS_PER_BATCH):
        points = receivers[first : first + PIXELS_PER_BATCH]
        near = tree.query_ball_point(points, MAX_RANGE)  # type: ignore[union-attr]
        row = np.repeat(np.arange(len(points)), [len(found) for found in near])
        number = np.concatenate(near).astype(np.int64)
        strength = light[number] * pieces.solid_angle(points[row], lit[number])
        index = np.flatnonzero(strength > 0)  # both ends on one side
        index = index[pieces.seen_from(scene, points[row[index]], lit[number[index]])]
        row, piece, strength = row[index], lit[number[index]], strength[index]
        total, offset = np.bincount(row, strength, len(points)), pieces.position[piece] - points[row]
        far = np.linalg.norm(offset, axis=1) > NEAR_PIXELS * pixel
        has_far = np.bincount(row[far], minlength=len(points)) > 0
        apart = np.flatnonzero(far | ~has_far[row])
        apart = apart[np.lexsort((np.arctan2(offset[apart, 1], offset[apart, 0]), row[apart]))]
        entry, share = _systematic_sample(row[apart], strength[apart], len(points), count)
        entry = apart[entry]
        parts.append((row[entry] + first, piece[entry], share * total[row[entry]] / strength[entry]))
    if not parts:
        return lit, lit, np.zeros(0)
    row, piece, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((piece, row))
    return row[order], piece[order], weight[order]


def _systematic_sample(row: np.ndarray, strength: np.ndarray, rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Entries of sorted rows at `count` equal steps of the sum of a row's strength, each once, and the share of steps
    that fell on it."""
    up_to = np.concatenate([[0.0], np.cumsum(strength)])
    first, last = (up_to[np.searchsorted(row, np.arange(rows), side=side)] for side in ("left", "right"))
    filled = np.flatnonzero(last > first)
    step = first[filled, None] + (last - first)[filled, None] * (np.arange(count) + 0.5) / count
    entry, times = np.unique(np.searchsorted(up_to, step.ravel()) - 1, return_counts=True)
    return entry, times / count
