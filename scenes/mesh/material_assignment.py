"""Gives mesh parts the materials that were drawn for their buildings."""

from collections.abc import Iterable
from dataclasses import replace

from scenes.materials.random_materials import RandomMaterials
from scenes.mesh.mesh_parts import MeshPart


def assign_materials(parts: Iterable[MeshPart], draws: RandomMaterials) -> list[MeshPart]:
    """Parts with their drawn materials instead of their classes: `way-1-wall` gets `way-1-wall-brick`.

    Materials must have been drawn for every labelled part; parts without a label keep their class. Rasters are made
    from the parts with classes, which are few and named by ITU.
    """
    return [replace(part, material=_drawn_material_name(part, draws)) if part.label else part for part in parts]


def _drawn_material_name(part: MeshPart, draws: RandomMaterials) -> str:
    name = f"{part.label}-{part.material}"
    assert name in draws.materials, f"the draws know no {name}: labels are slug(id)-wall and slug(id)-roof"
    return name
