"""Extrudes buildings to prisms: closed meshes with flat roofs, whose walls reach the ground everywhere.

Neighbours that share a wall give two coincident walls back to back, which no ray meets outdoors. Where footprints
overlap, two walls may also coincide face to face: stock Sionna RT then counts a reflection twice, `sim_bridge` once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from jaxtyping import Bool, Float, Integer
from shapely import MultiPolygon, Polygon

from scenes.mesh.mesh_parts import Array, MeshPart
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import Building, Exclusion
from uel.errors import UelError

SurfaceKind = Literal["wall", "roof", "floor"]
SURFACE_KINDS: tuple[SurfaceKind, ...] = ("wall", "roof", "floor")
FOUNDATION_DEPTH = 0.5  # m below the lowest ground at its outline at which a building on the ground begins
MIN_ROOF_CLEARANCE = 2.0  # m: least height of a roof above the highest ground beneath it
NODE_TOLERANCE = (
    1e-3  # m: nodes closer than this to their neighbour, or to the line between their neighbours, are dropped
)
MERGE_DECIMALS = 4  # decimals of a metre that single precision resolves up to a kilometre from the centre
PINCH_OFFSET = 5e-3  # m by which an outline that touches itself is shrunk


@dataclass(frozen=True)
class PrismMesh:
    """The triangles of one building: metres, x east, y north, z up; faces counter-clockwise seen from outside."""

    vertices: Float[Array, "vertex 3"]
    faces: Integer[Array, "face 3"]
    surface: Integer[Array, " face"]
    """kind of surface of each face: index into `SURFACE_KINDS`"""

    @property
    def is_closed(self) -> bool:
        """Whether every edge belongs to exactly two faces of consistent orientation."""
        return len(self.faces) > 0 and not bool(unpaired_faces(self.faces).any())

    @property
    def volume(self) -> float:
        """Volume in cubic metres of a closed mesh, negative where the faces point inwards."""
        a, b, c = (self.vertices - self.vertices.mean(axis=0))[self.faces].transpose(1, 0, 2)
        return float((a * np.cross(b, c)).sum() / 6)

    def part(self, surfaces: Sequence[SurfaceKind], material: str, label: str = "") -> MeshPart:
        """The faces of the given kinds of surface as a part, with the vertices that they use."""
        chosen = self.faces[np.isin(self.surface, [SURFACE_KINDS.index(name) for name in surfaces])]
        used, faces = np.unique(chosen, return_inverse=True)
        return MeshPart("building", material, self.vertices[used], faces.reshape(-1, 3), label)


def extrude(building: Building, terrain: Terrain) -> PrismMesh:
    """One building as a closed prism, see `extrude_all`. Raises `UelError` when its footprint makes none."""
    meshes, failures = extrude_all([building], terrain)
    if failures:
        raise UelError("the building makes no prism", got=f"{building.id}: {failures[0].reason}", do="leave it out")
    return meshes[building.id]


def extrude_all(buildings: Sequence[Building], terrain: Terrain) -> tuple[dict[str, PrismMesh], list[Exclusion]]:
    """Closed prisms by building id, and an exclusion with the reason for each building that makes none.

    Heights count from the lowest ground at the outline of the whole building, as OpenStreetMap defines them, so that
    its parts stand on one level. The roof is at `top`, or 2 m above the highest ground beneath the piece where that is
    higher. Walls begin 0.5 m below the lowest ground; a building with a `base` above 0 floats and gets a floor.

    Nodes within 1 mm of the line between their neighbours are dropped. A footprint that touches itself, for example at
    the corner of a courtyard, is shrunk by 5 mm: a mesh pinched there would not be closed.

    Raises `UelError` when two buildings have the same id.
    """
    _require_unique(buildings)
    reasons = {building.id: reason for building in buildings if (reason := _reason_for_exclusion(building))}
    valid = [building for building in buildings if building.id not in reasons]
    footprints = _simplify(np.array([building.footprint for building in valid], dtype=object))
    meshes = _prisms(valid, footprints, terrain)
    pinched = [k for k, building in enumerate(valid) if building.id not in meshes]
    shrunk = _simplify(shapely.buffer(footprints[pinched], -PINCH_OFFSET, join_style="mitre"))
    meshes |= _prisms([valid[k] for k in pinched], shrunk, terrain)
    reasons |= {building.id: "its footprint makes no closed mesh" for building in valid if building.id not in meshes}
    failures = [
        Exclusion(id=building.id, reason=reasons[building.id]) for building in buildings if building.id in reasons
    ]
    return {building.id: meshes[building.id] for building in buildings if building.id in meshes}, failures


def _require_unique(buildings: Sequence[Building]) -> None:
    ids = [building.id for building in buildings]
    if len(set(ids)) < len(ids):
        repeated = next(name for name in ids if ids.count(name) > 1)
        raise UelError("two buildings have the same id", got=repeated, do="number the pieces: way/1#1, way/1#2")


def _reason_for_exclusion(building: Building) -> str:
    """The reason why a building cannot become a prism; empty for a valid one."""
    if building.footprint.is_empty or not building.footprint.is_valid:
        return f"footprint: {shapely.is_valid_reason(building.footprint)}" if building.footprint else "empty footprint"
    if not 0 <= building.base < building.top < np.inf:
        return f"its top at {building.top:g} m is not above its base at {building.base:g} m, or below the ground"
    return ""


def _simplify(footprints: np.ndarray) -> np.ndarray:
    """Polygons without redundant nodes; unchanged where no valid polygon would remain."""
    flat = shapely.force_2d(footprints)
    simplified = shapely.simplify(flat, NODE_TOLERANCE)
    return np.where(shapely.is_valid(simplified) & (shapely.area(simplified) > 0), simplified, flat)


# Footprints


@dataclass(frozen=True)
class _Footprints:
    """Outlines and triangles of many footprints; vertices are sorted by building."""

    points: Float[Array, "vertex 2"]
    owner: Integer[Array, " vertex"]
    """index of the building"""
    following: Integer[Array, " vertex"]
    """the next vertex on the outline, with the building on the left"""
    triangles: Integer[Array, "triangle 3"]
    """counter-clockwise"""


def _triangulate(polygons: np.ndarray) -> _Footprints:
    """Constrained Delaunay triangles between the polygons' vertices, collinear ones included."""
    pieces, building = shapely.get_parts(shapely.orient_polygons(polygons), return_index=True)
    rings, piece = shapely.get_rings(pieces, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    final = np.append(ring[1:] != ring[:-1], True)[: len(ring)]  # a ring repeats its first point at its end
    count = np.bincount(ring, minlength=len(rings)) - 1
    start = np.cumsum(count) - count
    following = np.arange(1, count.sum() + 1)
    following[start + count - 1] = start
    points, piece = points[~final], piece[ring[~final]]
    return _Footprints(points, building[piece], following, _delaunay(pieces, points, piece))


def _delaunay(
    pieces: np.ndarray, points: Float[Array, "vertex 2"], piece: Integer[Array, " vertex"]
) -> Integer[Array, "triangle 3"]:
    """Triangles of every piece between its `points`, without those that have another corner."""
    triangles, parent = shapely.get_parts(shapely.constrained_delaunay_triangles(pieces), return_index=True)
    corners = shapely.get_coordinates(triangles).reshape(-1, 4, 2)[:, 2::-1].reshape(-1, 2)  # GEOS goes clockwise
    # Vertices that single precision may merge on disk count as one, so that a pinched mesh is recognised here.
    rounded = np.concatenate([points, corners]).round(MERGE_DECIMALS)
    keys = np.column_stack([np.append(piece, np.repeat(parent, 3)), rounded])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = first[index.ravel()][len(points) :].reshape(-1, 3)
    return faces[(faces < len(points)).all(axis=1)]


def unpaired_faces(faces: Integer[Array, "face 3"]) -> Bool[Array, " face"]:
    """Whether each face has an edge without exactly one neighbour of consistent orientation."""
    tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    count = faces.max(initial=0) + 1
    forward, backward = tail * count + head, head * count + tail
    ordered = np.sort(forward)

    def occurrences(key: np.ndarray) -> np.ndarray:
        return np.searchsorted(ordered, key, "right") - np.searchsorted(ordered, key, "left")

    return ((occurrences(forward) != 1) | (occurrences(backward) != 1)).reshape(-1, 3).any(axis=1)


# Prisms


def _prisms(buildings: Sequence[Building], polygons: np.ndarray, terrain: Terrain) -> dict[str, PrismMesh]:
    """Closed meshes by building id."""
    if not buildings:
        return {}
    flat = _triangulate(polygons)
    count = np.bincount(flat.owner, minlength=len(buildings))
    floor, roof = _floor_and_roof(buildings, polygons, flat, terrain)
    # The vertices of a building are contiguous: first its floor's, then its roof's.
    low = np.arange(len(flat.owner)) + (np.cumsum(count) - count)[flat.owner]
    high = low + count[flat.owner]
    vertices = np.empty((2 * len(low), 3))
    vertices[low] = np.column_stack([flat.points, floor[flat.owner]])
    vertices[high] = np.column_stack([flat.points, roof[flat.owner]])
    walls = [(low, low[flat.following], high[flat.following]), (low, high[flat.following], high)]
    wall = np.concatenate([np.stack(corners, axis=1) for corners in walls])
    groups = (wall, high[flat.triangles], low[flat.triangles[:, ::-1]])
    surface = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return _split_by_building(buildings, vertices, np.concatenate(groups), surface, 2 * count)


def _split_by_building(
    buildings: Sequence[Building],
    vertices: Float[Array, "vertex 3"],
    faces: Integer[Array, "face 3"],
    surface: Integer[Array, " face"],
    count: Integer[Array, " building"],
) -> dict[str, PrismMesh]:
    """The closed meshes by building id; each building has `count` of the vertices, in order."""
    last = np.cumsum(count)
    owner = np.searchsorted(last, faces[:, 0], "right")
    closed = np.isin(np.arange(len(count)), owner) & ~np.isin(np.arange(len(count)), owner[unpaired_faces(faces)])
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(1, len(count)))
    faces = (faces - (last - count)[owner][:, None])[order]
    pieces = zip(np.split(vertices, last[:-1]), np.split(faces, ends), np.split(surface[order], ends), strict=True)
    return {
        building.id: PrismMesh(*piece)
        for building, piece, is_closed in zip(buildings, pieces, closed, strict=True)
        if is_closed
    }


def _floor_and_roof(
    buildings: Sequence[Building], polygons: np.ndarray, flat: _Footprints, terrain: Terrain
) -> tuple[Float[Array, " building"], Float[Array, " building"]]:
    """Elevations in metres of every building's floor and roof."""
    lowest, highest = _ground_extremes(polygons, flat, terrain)
    level = _lowest_ground([building.outline or building.footprint for building in buildings], terrain)
    base, top = (np.array([getattr(building, name) for building in buildings], float) for name in ("base", "top"))
    # A part in the middle may stand lower than every point of the building's outline.
    floor = np.where(base > 0, level + base, np.minimum(level, lowest) - FOUNDATION_DEPTH)
    return floor, np.maximum(level + top, highest + MIN_ROOF_CLEARANCE)


def _lowest_ground(outlines: Sequence[Polygon | MultiPolygon], terrain: Terrain) -> Float[Array, " outline"]:
    """Lowest ground in metres along every outline, courtyards included."""
    pieces, owner = shapely.get_parts(np.array(outlines, dtype=object), return_index=True)
    rings, piece = shapely.get_rings(pieces, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    along = ring[1:] == ring[:-1]
    low, _ = terrain.extremes(points[:-1][along], points[1:][along])
    lowest = np.full(len(outlines), np.inf)
    np.minimum.at(lowest, owner[piece[ring[1:][along]]], low)
    return lowest


def _ground_extremes(
    polygons: np.ndarray, flat: _Footprints, terrain: Terrain
) -> tuple[Float[Array, " building"], Float[Array, " building"]]:
    """Lowest ground at every outline and highest ground beneath every footprint, in metres."""
    lowest, highest = np.full(len(polygons), np.inf), np.full(len(polygons), -np.inf)
    low, high = terrain.extremes(flat.points, flat.points[flat.following])
    np.minimum.at(lowest, flat.owner, low)
    np.maximum.at(highest, flat.owner, high)
    # Inside the footprint the ground is highest at a node of the terrain, if not at the outline.
    tree = shapely.STRtree(np.asarray(shapely.points(terrain.nodes[:, :2])))
    building, node = tree.query(polygons, predicate="contains")
    np.maximum.at(highest, building, terrain.nodes[node, 2])
    return lowest, highest
