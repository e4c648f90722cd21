"""The wrong twin of any tile, from its meshes alone: heights off, buildings missing or moved, walls of other materials.

`scenes.variants.map_perturbation` errs where a map still knows its buildings. A bundled city is meshes without
buildings, and the map behind a tile may be gone: here walls and roofs are put together again from the corners that they
share.
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
from scenes.tiles.writer import write_tile
from uel.errors import UelError
from uel.geo.tile import Tile

SWAP_CLASSES = ("concrete", "brick", "marble", "metal", "wood", "glass")  # of P.2040, defined at 3.5 and at 28 GHz
CORNER_DECIMALS = 3  # decimals of a metre: corners nearer than that are one
VARIANT_OWN_FIELDS = ("schema", "files", "bands", "recipe", "built_sites")  # of tile.json: what the twin has of its own


@dataclass(frozen=True)
class BuildingTriangles:
    """All triangles of a tile's buildings, and to which building each corner belongs."""

    vertices: Float[Array, "vertex 3"]
    faces: Int[Array, "face 3"]
    part: Int[Array, " vertex"]
    """the part that each corner came in"""
    building: Int[Array, " vertex"]
    count: int
    """buildings"""


def perturb_meshes(tile: Tile, folder: Path | str, spec: Perturbation, seed: int) -> Tile:
    """Write the wrong twin of a tile to `folder`; masts are not part of it.

    Each building is higher or lower by a factor, missing, or moved, as `spec` says; with `materials` its walls and its
    roof are each of a class other than their own, drawn evenly: swapping, as `scenes.variants.map_perturbation` does,
    changes nothing in a city that is all of one material. Numbers are drawn by `seed`, building by building in the
    order of the meshes.

    Raises `UelError` for antennas that are to be wrong, and for a tile without a building.
    """
    if spec.azimuth_deg or spec.antenna_height:
        raise UelError(
            "a twin of meshes has no masts",
            got=spec,
            do="use scenes.variants.map_perturbation.perturb_sites for antennas",
        )
    parts, bsdfs = read_tile_scene(tile)
    walls = [part for part in parts if part.kind == "building"]
    if not walls:
        raise UelError("no building to be wrong about", got=tile.name, do="choose another tile")
    random = np.random.default_rng(seed)
    wrong = _perturb_parts(walls, group_buildings(walls), spec, random)
    twin = [part for part in parts if part.kind == "terrain"] + merge_parts(wrong)
    rasters = rasterise_parts(twin, tile.raster_grid)
    if "cover" in tile.rasters:
        rasters["cover"] = tile.rasters["cover"].numpy().astype(np.uint8)
    meta = {name: value for name, value in tile.meta.items() if name not in VARIANT_OWN_FIELDS}
    meta |= {"materials": material_names(twin), "perturbation": {"spec": asdict(spec), "seed": seed, "of": "meshes"}}
    known = {name: element for name, element in bsdfs.items() if name in material_names(twin)}
    return write_tile(Path(folder), twin, known | material_bsdfs(set(material_names(twin)) - set(known)), rasters, meta)


def group_buildings(parts: list[MeshPart]) -> BuildingTriangles:
    """Triangles that hang together are a wall or a roof; each joins the one of another part whose corners it shares.

    A row house shares all corners of its roof with its own walls, but two with its neighbour's: the most counts.
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
    """For every piece the one of another part with which it shares the most corners; itself where there is none."""
    corner = np.unique(vertices.round(CORNER_DECIMALS), axis=0, return_inverse=True)[1].reshape(-1)
    ones = np.ones(len(vertices))
    holds = csr_matrix((ones, (piece, corner)), shape=(pieces, corner.max() + 1)).minimum(1)  # type: ignore[attr-defined]
    shared = coo_matrix(triu(holds @ holds.T, k=1))
    of_piece = np.zeros(pieces, dtype=np.int64)
    of_piece[piece] = part
    apart = of_piece[shared.row] != of_piece[shared.col]
    row, column, number = (v[apart] for v in (shared.row, shared.col, shared.data))
    row, column, number = np.r_[row, column], np.r_[column, row], np.r_[number, number]
    partner = np.arange(pieces)
    order = np.argsort(number, kind="stable")  # the most comes last and stays
    partner[row[order]] = column[order]
    return partner


def _perturb_parts(
    parts: list[MeshPart], soup: BuildingTriangles, spec: Perturbation, random: np.random.Generator
) -> list[MeshPart]:
    """The buildings' parts, wrong."""
    factor = 1 + spec.heights * random.uniform(-1, 1, soup.count)
    gone = random.uniform(size=soup.count) < spec.missing
    off = spec.moved * random.normal(size=(soup.count, 2))
    base = np.full(soup.count, np.inf)
    np.minimum.at(base, soup.building, soup.vertices[:, 2])
    low = base[soup.building]
    vertices = soup.vertices.copy()
    vertices[:, 2] = low + factor[soup.building] * (vertices[:, 2] - low)
    vertices[:, :2] += off[soup.building]
    here = soup.building[soup.faces[:, 0]]
    material = _materials(parts, soup, spec.materials, random)
    of_face = material[soup.part[soup.faces[:, 0]], here]
    left = {name: soup.faces[(of_face == k) & ~gone[here]] for k, name in enumerate(_material_names(parts))}
    return [_part(vertices, faces, name) for name, faces in left.items() if len(faces)]


def _material_names(parts: list[MeshPart]) -> list[str]:
    return list(dict.fromkeys([*(part.material for part in parts), *SWAP_CLASSES]))


def _materials(
    parts: list[MeshPart], soup: BuildingTriangles, other: bool, random: np.random.Generator
) -> Int[Array, "part building"]:
    """Index into `_material_names` of what each part of each building is made of."""
    names = _material_names(parts)
    own = np.array([names.index(part.material) for part in parts])[:, None].repeat(soup.count, 1)
    if not other:
        return own
    classes = np.array([names.index(name) for name in SWAP_CLASSES])
    # One draw for every material a building has, whatever the number of parts that this material comes in.
    drawn = random.integers(len(SWAP_CLASSES) - 1, size=(len(names), soup.count))[own, np.arange(soup.count)]
    choices = np.stack([np.r_[classes[classes != k], classes[:1]][: len(SWAP_CLASSES) - 1] for k in own[:, 0]])
    return choices[np.arange(len(parts))[:, None], drawn]


def _part(vertices: Float[Array, "vertex 3"], faces: Int[Array, "face 3"], material: str) -> MeshPart:
    """Some of the faces, with the vertices that they need."""
    used, index = np.unique(faces, return_inverse=True)
    return MeshPart("building", material, vertices[used], index.reshape(-1, 3))


def _connected(count: int, a: Int[Array, " edge"], b: Int[Array, " edge"]) -> tuple[int, Int[Array, " node"]]:
    """Number of components, and that of every node."""
    graph = coo_matrix((np.ones(len(a), dtype=bool), (a, b)), shape=(count, count))
    number, label = connected_components(graph, directed=False)
    return int(number), label.astype(np.int64)
