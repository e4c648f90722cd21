"""Perturbs a tile from its meshes alone: heights, missing and moved buildings, and wall materials.

`scenes.variants.map_perturbation` perturbs a map, with its buildings. A bundled city is meshes without buildings, and
the map of a tile may be lost: here walls and roofs are grouped into buildings by the corners that they share.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csr_matrix, triu
from scipy.sparse.csgraph import connected_components

from scenes.mesh.mesh_parts import Array, MeshPart, merge_parts
from scenes.mesh.rasters import material_names, rasterise_parts
from scenes.perturbation import Perturbation
from scenes.tiles.mitsuba_xml import material_bsdfs, read_tile_scene
from scenes.tiles.writer import raster_type, write_tile
from uel.errors import UelError
from uel.geo.tile import OPTIONAL_RASTERS, Tile

SWAP_CLASSES = ("concrete", "brick", "marble", "metal", "wood", "glass")  # of P.2040, defined at 3.5 and 28 GHz
CORNER_DECIMALS = 3  # decimals of a metre to which corners are rounded before they are compared
VARIANT_OWN_FIELDS = (
    "schema",
    "files",
    "bands",
    "recipe",
    "built_sites",
)  # of tile.json: entries that a variant of a tile does not inherit


@dataclass(frozen=True)
class BuildingTriangles:
    """All triangles of a tile's buildings, and the building of each vertex."""

    vertices: Float[Array, "vertex 3"]
    faces: Int[Array, "face 3"]
    part: Int[Array, " vertex"]
    """index of the part of each vertex"""
    building: Int[Array, " vertex"]
    count: int
    """number of buildings"""


def perturb_meshes(tile: Tile, folder: Path | str, spec: Perturbation, seed: int) -> Tile:
    """Write a perturbed copy of a tile, without sites, to `folder`.

    The height of each building is multiplied by a factor, and it is missing or moved, as `spec` says. With `materials`,
    walls and roof of each building get another class, drawn uniformly: swapping between buildings, as in
    `scenes.variants.map_perturbation`, changes nothing in a city of a single material. Numbers are drawn from `seed`,
    building by building in the order of the meshes.

    Raises `UelError` for a perturbation of antennas, and for a tile without a building.

    Example:
        >>> import tempfile, scenes
        >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> folder = tempfile.mkdtemp() + "/wrong"
        >>> wrong = scenes.perturb_meshes(tile, folder, scenes.Perturbation(heights=0.2, missing=0.1), seed=1)
        >>> wrong.size
        128.0
    """
    if spec.azimuth_deg or spec.antenna_height:
        raise UelError(
            "a perturbation of meshes cannot change antennas",
            got=f"azimuth_deg {spec.azimuth_deg:g}, antenna_height {spec.antenna_height:g}",
            do="use scenes.variants.map_perturbation.perturb_sites for antennas",
        )
    parts, bsdfs = read_tile_scene(tile)
    walls = [part for part in parts if part.kind == "building"]
    if not walls:
        raise UelError("the tile has no building to perturb", got=tile.name, do="choose another tile")
    random = np.random.default_rng(seed)
    buildings = _perturb_parts(walls, group_buildings(walls), spec, random)
    perturbed = [part for part in parts if part.kind == "terrain"] + merge_parts(buildings)
    rasters = rasterise_parts(perturbed, tile.raster_grid)
    for name in tile.rasters.keys() & set(OPTIONAL_RASTERS):
        rasters[name] = tile.rasters[name].numpy().astype(raster_type(name))
    metadata = {name: value for name, value in tile.meta.items() if name not in VARIANT_OWN_FIELDS}
    metadata |= {
        "materials": material_names(perturbed),
        "perturbation": {"spec": asdict(spec), "seed": seed, "of": "meshes"},
    }
    known = {name: element for name, element in bsdfs.items() if name in material_names(perturbed)}
    bsdfs = known | material_bsdfs(set(material_names(perturbed)) - set(known))
    return write_tile(Path(folder), perturbed, bsdfs, rasters, metadata)


def group_buildings(parts: list[MeshPart]) -> BuildingTriangles:
    """Group connected triangles into walls and roofs, and join each with the one that shares the most corners.

    A terraced house shares all corners of its roof with its own walls, but only two with its neighbour's.
    """
    vertices = np.concatenate([part.vertices for part in parts]).astype(np.float64)
    first = np.cumsum([0, *(len(part.vertices) for part in parts)])[:-1]
    faces = np.concatenate([part.faces + start for part, start in zip(parts, first, strict=True)]).astype(np.int64)
    part = np.repeat(np.arange(len(parts)), [len(p.vertices) for p in parts])
    pieces, piece = _connected(len(vertices), faces[:, [0, 1, 0]].ravel(), faces[:, [1, 2, 2]].ravel())
    partner = _partners(vertices, part, piece, pieces)
    count, building = _connected(pieces, np.arange(pieces), partner)
    return BuildingTriangles(vertices, faces, part, building[piece], count)


def _partners(
    vertices: Float[Array, "vertex 3"], part: Int[Array, " vertex"], piece: Int[Array, " vertex"], pieces: int
) -> Int[Array, " piece"]:
    """For every piece the piece of another part with the most common corners; itself without one."""
    corner = np.unique(vertices.round(CORNER_DECIMALS), axis=0, return_inverse=True)[1].reshape(-1)
    ones = np.ones(len(vertices))
    holds = csr_matrix((ones, (piece, corner)), shape=(pieces, corner.max() + 1)).minimum(1)  # type: ignore[attr-defined]
    shared = coo_matrix(triu(holds @ holds.T, k=1))
    part_of_piece = np.zeros(pieces, dtype=np.int64)
    part_of_piece[piece] = part
    is_other_part = part_of_piece[shared.row] != part_of_piece[shared.col]
    row, column, number = (v[is_other_part] for v in (shared.row, shared.col, shared.data))
    row, column, number = np.r_[row, column], np.r_[column, row], np.r_[number, number]
    partner = np.arange(pieces)
    order = np.argsort(number, kind="stable")  # the largest number comes last and is kept
    partner[row[order]] = column[order]
    return partner


def _perturb_parts(
    parts: list[MeshPart], triangles: BuildingTriangles, spec: Perturbation, random: np.random.Generator
) -> list[MeshPart]:
    """The perturbed parts of the buildings."""
    factor = 1 + spec.heights * random.uniform(-1, 1, triangles.count)
    is_missing = random.uniform(size=triangles.count) < spec.missing
    offset = spec.moved * random.normal(size=(triangles.count, 2))
    base = np.full(triangles.count, np.inf)
    np.minimum.at(base, triangles.building, triangles.vertices[:, 2])
    floor = base[triangles.building]
    vertices = triangles.vertices.copy()
    vertices[:, 2] = floor + factor[triangles.building] * (vertices[:, 2] - floor)
    vertices[:, :2] += offset[triangles.building]
    building = triangles.building[triangles.faces[:, 0]]
    material = _materials(parts, triangles, spec.materials, random)
    of_face = material[triangles.part[triangles.faces[:, 0]], building]
    faces_by_material = {
        name: triangles.faces[(of_face == k) & ~is_missing[building]] for k, name in enumerate(_material_names(parts))
    }
    return [_part(vertices, faces, name) for name, faces in faces_by_material.items() if len(faces)]


def _material_names(parts: list[MeshPart]) -> list[str]:
    return list(dict.fromkeys([*(part.material for part in parts), *SWAP_CLASSES]))


def _materials(
    parts: list[MeshPart], triangles: BuildingTriangles, swap: bool, random: np.random.Generator
) -> Int[Array, "part building"]:
    """Index into `_material_names` of the material of each part of each building."""
    names = _material_names(parts)
    current = np.array([names.index(part.material) for part in parts])[:, None].repeat(triangles.count, 1)
    if not swap:
        return current
    classes = np.array([names.index(name) for name in SWAP_CLASSES])
    # One draw for every material of a building, independent of the number of parts of this material.
    drawn = random.integers(len(SWAP_CLASSES) - 1, size=(len(names), triangles.count))[
        current, np.arange(triangles.count)
    ]
    choices = np.stack([np.r_[classes[classes != k], classes[:1]][: len(SWAP_CLASSES) - 1] for k in current[:, 0]])
    return choices[np.arange(len(parts))[:, None], drawn]


def _part(vertices: Float[Array, "vertex 3"], faces: Int[Array, "face 3"], material: str) -> MeshPart:
    """A part of these faces, with the vertices that they use."""
    used, index = np.unique(faces, return_inverse=True)
    return MeshPart("building", material, vertices[used], index.reshape(-1, 3))


def _connected(count: int, a: Int[Array, " edge"], b: Int[Array, " edge"]) -> tuple[int, Int[Array, " node"]]:
    """Number of connected components, and the component of every node."""
    graph = coo_matrix((np.ones(len(a), dtype=bool), (a, b)), shape=(count, count))
    number, label = connected_components(graph, directed=False)
    return int(number), label.astype(np.int64)
