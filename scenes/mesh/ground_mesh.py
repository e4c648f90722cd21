"""The ground as mesh parts: one of concrete, or one for each material of the land cover."""

from collections.abc import Sequence

import numpy as np

from scenes.materials.osm_materials import CLASS_BY_LAND_COVER, DEFAULT_CLASS
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import LAND_COVERS, rasterise_land_cover
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import LandCoverPatch
from uel.core.grid import Grid

GROUND_SQUARE_SIDE = 2.0  # m: side of a square of one material; a lane is 3 m wide, a path 2 m


def ground_parts(terrain: Terrain, patches: Sequence[LandCoverPatch], paving: str) -> list[MeshPart]:
    """The terrain as one part of concrete (`paving="concrete"`), or as one part per material of the ground (`"cover"`).

    Land cover is evaluated at the centre of squares of about 2 m, into which the terrain's cells are divided. The parts
    share the corners of these squares exactly, so that no ray passes between two parts.
    """
    if paving == "concrete":
        return [MeshPart("terrain", DEFAULT_CLASS, *terrain.mesh())]
    fine = terrain.subdivide(GROUND_SQUARE_SIDE)
    vertices, faces = fine.mesh()
    cover = rasterise_land_cover(patches, Grid(size=2 * fine.half, pixel=fine.step)).ravel()
    names = np.array([CLASS_BY_LAND_COVER[name] for name in LAND_COVERS])[cover]
    # A cell's two triangles lie half the list apart.
    of_face = np.tile(names, 2)
    return [
        _part(name, vertices, faces[of_face == name])
        for name in dict.fromkeys(CLASS_BY_LAND_COVER.values())
        if name in names
    ]


def _part(material: str, vertices: np.ndarray, faces: np.ndarray) -> MeshPart:
    used, compact = np.unique(faces, return_inverse=True)
    return MeshPart("terrain", material, vertices[used], compact.reshape(-1, 3))
