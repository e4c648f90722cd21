"""Gives mesh parts the materials that were drawn for their buildings."""

from collections.abc import Iterable
from dataclasses import replace

from scenes.materials.random_materials import RandomMaterials
from scenes.mesh.mesh_parts import MeshPart


def assign_materials(parts: Iterable[MeshPart], draws: RandomMaterials) -> list[MeshPart]:
    """Parts of classes become parts of what was drawn: the one labelled `way-1-wall` of `way-1-wall-brick`.

    Every labelled part must have been drawn; parts without a label stay. Rasters are made before, while materials are
    few and have their names from ITU.
    """
    return [replace(part, material=_drawn_material_name(part, draws)) if part.label else part for part in parts]


def _drawn_material_name(part: MeshPart, draws: RandomMaterials) -> str:
    name = f"{part.label}-{part.material}"
    assert name in draws.materials, f"the draws know no {name}: labels are slug(id)-wall and slug(id)-roof"
    return name
