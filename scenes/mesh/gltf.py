"""Exports a tile as one glTF file for viewing: coloured by material, y up as glTF defines."""

from collections.abc import Sequence

import numpy as np
import trimesh
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from scenes.mesh.mesh_parts import MeshPart, merge_parts

GROUND_COLOR = (118, 124, 105)
OTHER_COLOR = (176, 172, 166)  # buildings of other materials
MATERIAL_COLORS = {
    "brick": (158, 84, 66),
    "ceiling_board": (214, 210, 200),
    "chipboard": (190, 160, 118),
    "concrete": (166, 166, 162),
    "floorboard": (168, 130, 90),
    "glass": (128, 170, 190),
    "marble": (222, 218, 208),
    "metal": (134, 142, 150),
    "plasterboard": (226, 220, 206),
    "plywood": (198, 166, 122),
    "wood": (150, 110, 72),
}
Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # x east, y up, z south


def binary_gltf(parts: Sequence[MeshPart]) -> bytes:
    """The parts as a binary glTF file in metres, one mesh per kind and material; the same parts give the same bytes.

    Colours follow the material's name without `itu_`; terrain has one colour.
    """
    scene = trimesh.Scene()
    for part in merge_parts(parts):
        scene.add_geometry(_mesh(part), node_name=part.name, geom_name=part.name)
    return export_glb(scene, include_normals=False)


def _mesh(part: MeshPart) -> trimesh.Trimesh:
    visual = TextureVisuals(material=_material(part))
    return trimesh.Trimesh(part.vertices @ Y_UP.T, part.faces, process=False, visual=visual)


def _material(part: MeshPart) -> PBRMaterial:
    color = (
        GROUND_COLOR if part.kind == "terrain" else MATERIAL_COLORS.get(part.material.removeprefix("itu_"), OTHER_COLOR)
    )
    return PBRMaterial(
        name=part.name,
        baseColorFactor=(*color, 255),
        metallicFactor=0.0,
        roughnessFactor=1.0,
        doubleSided=True,  # buildings that the tile's edge cut are open
    )
