"""The ground as parts: one of concrete, or one for each material that covers it."""

from collections.abc import Sequence

import numpy as np

from scenes.materials.osm_materials import DEFAULT, GROUND
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import COVERS, rasterise_cover
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import LandCoverPatch
from uel.core.grid import Grid

STONE = 2.0  # m: side of the squares that are of one material; a lane is 3 m wide, a path 2 m


def ground_parts(terrain: Terrain, patches: Sequence[LandCoverPatch], paving: str) -> list[MeshPart]:
    """The terrain as one part of `concrete`, or divided by what covers it (`cover`) into one part for each material.

    Cover is that of the middle of squares of about 2 m, cut from the terrain's cells. The parts share the corners of
    these squares, to the bit, so that no ray slips through between two of them.
    """
    if paving == "concrete":
        return [MeshPart("terrain", DEFAULT, *terrain.mesh())]
    fine = terrain.finer(STONE)
    vertices, faces = fine.mesh()
    cover = rasterise_cover(patches, Grid(size=2 * fine.half, pixel=fine.step)).ravel()
    names = np.array([GROUND[name] for name in COVERS])[cover]
    # A cell's two triangles lie half the list apart.
    of_face = np.tile(names, 2)
    return [_part(name, vertices, faces[of_face == name]) for name in dict.fromkeys(GROUND.values()) if name in names]


def _part(material: str, vertices: np.ndarray, faces: np.ndarray) -> MeshPart:
    used, compact = np.unique(faces, return_inverse=True)
    return MeshPart("terrain", material, vertices[used], compact.reshape(-1, 3))
