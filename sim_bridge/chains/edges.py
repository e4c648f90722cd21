"""The edges of a scene at which waves diffract, found from its triangles alone.

Walls and roof of a building are two meshes, and abutting houses share walls, so edges are those of the whole scene,
whatever mesh a face belongs to:

1. corners within `SAME_POINT` are one;
2. an edge is split where corners of other triangles lie on it: a lower neighbour shares a part of a wall's edge;
3. the faces around each piece are put in order by their angles. A wave diffracts where the largest gap between two of
   them exceeds 180°, and around the two faces that bound this gap. So faces in one plane make no edge, whether one
   wall was drawn as several triangles or several houses stand in a row (their party walls lie on the closed side of
   the gap); an edge of a single face (a screen, the foot of a wall) is none;
4. pieces in one line between the same planes are one edge again.

The side of a face on which its solid lies is not asked for, since meshes are wound either way: at an inner corner the
gap lies inside the solid, where no ray test lets a wave through. Order and orientation follow from coordinates alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from sim_bridge.chains.facets import Facets

SAME_POINT = 1e-3  # m: corners this near are one, and a corner this near to an edge lies on it
MIN_BEND = np.radians(3.0)  # between planes that make an edge: corners rounded to 1 cm bend a wall by 1° every metre
SAME_DIRECTION = 1e-3  # rad between pieces of one edge, and between the planes they bound
EDGES_PER_QUERY = 4096  # edges whose surroundings are searched for corners at once


LINE_RADIUS = 1.0  # m between the keys of two lines that may be one


@dataclass(frozen=True, eq=False)
class DiffractionEdges:
    """Edges that diffract, the same in every process. The normals point out of the solid; the first face is seen along
    normal × direction from the edge."""

    origin: np.ndarray
    """(edge, 3) one end, m"""
    direction: np.ndarray
    """(edge, 3) unit vector towards the other end"""
    length: np.ndarray
    """(edge,) m"""
    normal: np.ndarray
    """(edge, face, 3) unit normals of both faces"""
    triangle: np.ndarray
    """(edge, face) a triangle of each face, by its number in `Facets`"""

    @staticmethod
    def from_facets(facets: Facets) -> "DiffractionEdges":
        """All edges of a scene.

        Example:
            >>> import numpy as np
            >>> import sim_bridge.simulator  # finds a usable LLVM
            >>> from sim_bridge.chains.facets import Facets
            >>> from sim_bridge.chains.edges import DiffractionEdges
            >>> roof = np.array([[[0, 0, 3], [9, 0, 3], [0, 5, 3]], [[9, 0, 3], [9, 5, 3], [0, 5, 3]]])
            >>> wall = np.array([[[0, 0, 0], [9, 0, 0], [9, 0, 3]], [[0, 0, 0], [9, 0, 3], [0, 0, 3]]])
            >>> edges = DiffractionEdges.from_facets(Facets.from_corners(np.concatenate([roof, wall])))
            >>> edges.origin.tolist(), edges.length.tolist()  # the eave; all others have one face
            ([[0.0, 0.0, 3.0]], [9.0])
        """
        vertex, corners = _weld(facets.corner)
        sides = _drop_flat(vertex, _Sides.of(vertex, corners))
        return _merge(vertex, *_wedges(vertex, sides.split(vertex)))

    def __len__(self) -> int:
        return len(self.length)

    @staticmethod
    def concatenate(parts: "list[DiffractionEdges]") -> "DiffractionEdges":
        """One set after another."""
        return DiffractionEdges(*(np.concatenate(v) for v in zip(*(part._arrays() for part in parts), strict=True)))

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.origin, self.direction, self.length, self.normal, self.triangle

    def select(self, index: np.ndarray) -> "DiffractionEdges":
        """Some of the edges, in this order."""
        return DiffractionEdges(*(values[index] for values in self._arrays()))

    def shifted(self, edges: np.ndarray, shift: np.ndarray) -> "DiffractionEdges":
        """With the edges of a mask moved by `shift` (m)."""
        origin = self.origin + edges[:, None] * shift
        return DiffractionEdges(origin, self.direction, self.length, self.normal, self.triangle)

    def turned(self, flip: np.ndarray) -> "DiffractionEdges":
        """With the faces of the edges of a mask in the other order: the first face becomes the second."""
        turn = flip[:, None]
        return DiffractionEdges(
            np.where(turn, self.origin + self.length[:, None] * self.direction, self.origin),
            np.where(turn, -self.direction, self.direction),
            self.length,
            np.where(turn[..., None], self.normal[:, ::-1], self.normal),
            np.where(turn, self.triangle[:, ::-1], self.triangle),
        )

    def on_lines_of(
        self, origin: np.ndarray, direction: np.ndarray, length: np.ndarray, normal: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges that share a stretch and a face with given segments (origin, unit direction, length, unit normal of
        a face that ends there, m): number of the segment, number of the edge, whether its second face is the one."""
        if not len(self) or not len(origin):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)
        keys = [_line_key(origin, sign * direction) for sign in (1, -1)]
        near = [self._lines.query_ball_point(key, LINE_RADIUS) for key in keys]
        segment = np.concatenate([np.repeat(np.arange(len(found)), [len(row) for row in found]) for found in near])
        edge = np.concatenate([np.array(row, np.int64) for found in near for row in found])
        offset = origin[segment] - self.origin[edge]
        start = (offset * self.direction[edge]).sum(1)
        end = start + length[segment] * (direction[segment] * self.direction[edge]).sum(1)
        shared = np.minimum(np.maximum(start, end), self.length[edge]) - np.maximum(np.minimum(start, end), 0.0)
        aside = np.linalg.norm(offset - start[:, None] * self.direction[edge], axis=1)
        alike = (self.normal[edge] * normal[segment][:, None]).sum(-1) > np.cos(MIN_BEND)
        same = (aside < 2 * SAME_POINT) & (shared > SAME_POINT) & alike.any(1)
        return segment[same], edge[same], ~alike[same, 0]

    @cached_property
    def _lines(self) -> KDTree:
        return KDTree(_line_key(self.origin, self.direction))

    @property
    def outwards(self) -> np.ndarray:
        """(edge, 3) unit vectors away from the solid, in the middle between both normals."""
        middle = self.normal.sum(1)
        return middle / np.linalg.norm(middle, axis=1, keepdims=True)


def _line_key(origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Numbers that are near to each other (`LINE_RADIUS`) for lines that are: foot of the perpendicular from the
    scene's origin (m), and direction, of which 1e-3 rad count as the foot's shift 500 m away."""
    foot = origin - (origin * direction).sum(1, keepdims=True) * direction
    return np.concatenate([foot, 500.0 * direction], 1)


def _weld(corner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in lexicographic order, (point, 3), and which of them are a triangle's corners, (triangle, 3)."""
    points, index = np.unique(corner.reshape(-1, 3), axis=0, return_inverse=True)
    if not len(points):
        return points, np.zeros((0, 3), np.int64)
    near = KDTree(points).query_pairs(SAME_POINT, output_type="ndarray")
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(points), len(points)))
    _, label = connected_components(graph, directed=False)
    _, first, label = np.unique(label, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return points[first[order]], rank[label.reshape(-1)][index.reshape(-1)].reshape(-1, 3)


@dataclass(frozen=True)
class _Sides:
    """Sides of triangles: every edge has as many of them as it has faces."""

    ends: np.ndarray
    """(side, 2) points, the smaller number first"""
    apex: np.ndarray
    """(side,) the triangle's third point"""
    triangle: np.ndarray
    """(side,)"""

    @staticmethod
    def of(vertex: np.ndarray, corners: np.ndarray) -> "_Sides":
        """Without triangles that are lines: their corners lie on their neighbours' sides."""
        sides = vertex[np.roll(corners, -1, 1)] - vertex[corners]
        longest = np.linalg.norm(sides, axis=2).max(1, initial=0.0)
        whole = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) > SAME_POINT * longest
        number, corners = whole.nonzero()[0], corners[whole]
        ends = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
        return _Sides(ends, corners[:, [2, 0, 1]].reshape(-1), np.repeat(number, 3))

    def select(self, index: np.ndarray) -> "_Sides":
        return _Sides(self.ends[index], self.apex[index], self.triangle[index])

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """The edges, (edge, 2), and that of each side."""
        edges, edge = np.unique(self.ends.reshape(-1, 2), axis=0, return_inverse=True)
        return edges, edge.reshape(-1)

    def split(self, vertex: np.ndarray) -> "_Sides":
        """Sides in pieces between the corners that lie on them."""
        edges, edge = self.edges()
        owner, point = _corners_on(vertex, edges)
        owner = np.concatenate([np.repeat(np.arange(len(edges)), 2), owner])
        point = np.concatenate([edges.reshape(-1), point])
        start = vertex[edges[owner, 0]]
        order = np.lexsort((np.linalg.norm(vertex[point] - start, axis=1), owner))
        owner, point = owner[order], point[order]
        inside = owner[1:] == owner[:-1]
        pieces, of_edge = np.stack([point[:-1], point[1:]], 1)[inside], owner[1:][inside]
        count = np.bincount(of_edge, minlength=len(edges))
        first = np.cumsum(count) - count
        side = np.repeat(np.arange(len(edge)), count[edge])
        within = np.arange(len(side)) - np.repeat(np.cumsum(count[edge]) - count[edge], count[edge])
        ends = np.sort(pieces[first[edge[side]] + within], 1)
        return _Sides(ends, self.apex[side], self.triangle[side])


def _corners_on(vertex: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of an edge and a corner that lies between its ends."""
    used = np.unique(edges)
    if not len(used):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    tree, owners, points = KDTree(vertex[used]), [], []
    for first in range(0, len(edges), EDGES_PER_QUERY):
        start, end = (vertex[edges[first : first + EDGES_PER_QUERY, k]] for k in (0, 1))
        length = np.linalg.norm(end - start, axis=1)
        found = tree.query_ball_point((start + end) / 2, length / 2)
        count = np.array([len(near) for near in found])
        owner, point = np.repeat(np.arange(len(count)), count), used[np.concatenate(found).astype(np.int64)]
        along = ((end - start) / length[:, None])[owner]
        offset = vertex[point] - start[owner]
        distance = (offset * along).sum(1)
        aside = np.linalg.norm(offset - distance[:, None] * along, axis=1)
        on = (aside < SAME_POINT) & (distance > SAME_POINT) & (distance < length[owner] - SAME_POINT)
        owners.append(owner[on] + first)
        points.append(point[on])
    return np.concatenate(owners), np.concatenate(points)


def _drop_flat(vertex: np.ndarray, sides: _Sides) -> _Sides:
    """Without the diagonals inside walls, which are most sides: two triangles in one plane."""
    _, edge = sides.edges()
    two = np.bincount(edge)[edge] == 2
    order = np.flatnonzero(two)[np.argsort(edge[two], kind="stable")]
    _, into = _into_faces(vertex, sides.select(order))
    flat = (into[::2] * into[1::2]).sum(1) < -np.cos(SAME_DIRECTION)
    keep = np.ones(len(edge), bool)
    keep[order] = ~np.repeat(flat, 2)
    return sides.select(keep.nonzero()[0])


def _into_faces(vertex: np.ndarray, sides: _Sides) -> tuple[np.ndarray, np.ndarray]:
    """Direction of each side's edge, and the direction from the edge into the side's triangle."""
    start, end = vertex[sides.ends[:, 0]], vertex[sides.ends[:, 1]]
    along = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
    into = vertex[sides.apex] - start
    into = into - (into * along).sum(1, keepdims=True) * along
    return along, into / np.maximum(np.linalg.norm(into, axis=1, keepdims=True), 1e-12)


def _wedges(vertex: np.ndarray, sides: _Sides) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends of the edges that diffract, (edge, 2), their normals, and a triangle of each face."""
    edges, edge = sides.edges()
    along, into = _into_faces(vertex, sides)
    order = np.lexsort((sides.triangle, edge))
    first = np.searchsorted(edge[order], np.arange(len(edges)))
    zero = into[order[first]][edge]
    angle = np.arctan2((into * np.cross(along, zero)).sum(1), (into * zero).sum(1)) % (2 * np.pi)
    order = np.lexsort((sides.triangle, angle, edge))
    edge, angle = edge[order], angle[order]
    last = np.append(edge[1:] != edge[:-1], True)[: len(edge)]
    following = np.where(last, first[edge], np.arange(len(edge)) + 1)
    gap = angle[following] - angle + 2 * np.pi * last
    wide = (gap > np.pi + MIN_BEND) & (gap < 2 * np.pi - MIN_BEND)  # at most one of an edge exceeds 180°
    one, other = order[wide.nonzero()[0]], order[following[wide]]
    normal = np.stack([np.cross(along[one], into[one]), -np.cross(along[one], into[other])], 1)
    return sides.ends[one], normal, np.stack([sides.triangle[one], sides.triangle[other]], 1)


def _merge(vertex: np.ndarray, ends: np.ndarray, normal: np.ndarray, triangle: np.ndarray) -> DiffractionEdges:
    """Pieces in one line between the same planes as one edge."""
    start, end = vertex[ends[:, 0]], vertex[ends[:, 1]]
    direction = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1, keepdims=True), 1e-12)
    before, behind = _chained(ends)

    def same(a):
        return (a[before] * a[behind]).sum(-1) > np.cos(SAME_DIRECTION)

    joined = same(direction) & same(normal[:, 0]) & same(normal[:, 1])
    graph = coo_array((np.ones(joined.sum()), (before[joined], behind[joined])), shape=(len(ends), len(ends)))
    _, label = connected_components(graph, directed=False) if len(ends) else (0, np.zeros(0, np.int64))
    # Along a direction, coordinates grow or fall in lexicographic order: the piece with the least start is the first.
    order = np.lexsort((ends[:, 0], label))
    head = np.append(True, label[order][1:] != label[order][:-1])[: len(order)]
    tail = np.append(head[1:], True)[: len(order)]
    first, last = order[head], order[tail]
    first, last = (part[np.lexsort((ends[first, 1], ends[first, 0]))] for part in (first, last))
    way = end[last] - start[first]
    length = np.linalg.norm(way, axis=1)
    return DiffractionEdges(
        start[first], way / np.maximum(length[:, None], 1e-12), length, normal[first], triangle[first]
    )


def _chained(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of pieces, the second of which begins where the first ends."""
    order = np.argsort(ends[:, 0], kind="stable")
    first, last = (np.searchsorted(ends[order, 0], ends[:, 1], side=side) for side in ("left", "right"))
    count = last - first
    before = np.repeat(np.arange(len(ends)), count)
    within = np.arange(len(before)) - np.repeat(np.cumsum(count) - count, count)
    return before, order[first[before] + within]
