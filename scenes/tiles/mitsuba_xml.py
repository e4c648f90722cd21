"""Writes and reads a tile's scene as Mitsuba XML with the radio materials of Sionna RT."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from scenes.materials.itu_p2040 import ITU_CLASSES, RadioMaterial, frequency_bands, slab_thickness
from scenes.mesh.mesh_parts import MeshPart
from uel.core.outside.xml_text import read_xml
from uel.geo.scene_files import read_ply, require_sound_scene
from uel.geo.tile import Tile


def scene_xml(parts: list[MeshPart], bsdfs: Mapping[str, ElementTree.Element]) -> str:
    """A Mitsuba scene of flat-shaded PLY shapes with Sionna's radio materials."""
    scene = ElementTree.Element("scene", version="2.1.0")
    scene.extend([bsdfs[name] for name in dict.fromkeys(part.material for part in parts)])
    for part in parts:
        shape = ElementTree.SubElement(scene, "shape", type="ply", id=f"mesh-{part.name}")
        ElementTree.SubElement(shape, "string", name="filename", value=f"meshes/{part.name}.ply")
        ElementTree.SubElement(shape, "boolean", name="face_normals", value="true")
        ElementTree.SubElement(shape, "ref", name="bsdf", id=part.material)
    ElementTree.indent(scene)
    return ElementTree.tostring(scene, encoding="unicode") + "\n"


def material_bsdfs(
    names: Iterable[str], explicit: Mapping[str, RadioMaterial] | None = None
) -> dict[str, ElementTree.Element]:
    """Mitsuba materials by name: with the values of `explicit` where given, else of the ITU class of that name."""
    explicit = explicit or {}
    return {name: _explicit_bsdf(name, explicit[name]) if name in explicit else _class_bsdf(name) for name in names}


def bsdf_bands(bsdfs: Mapping[str, ElementTree.Element]) -> dict[str, list[tuple[float, float]]]:
    """Bands in Hz for which each material that is an ITU class is defined."""
    kinds = {name: bsdf.find("string[@name='type']") for name, bsdf in bsdfs.items()}
    types = {name: kind.attrib["value"] for name, kind in kinds.items() if kind is not None}
    return {name: frequency_bands(kind) for name, kind in types.items() if kind in ITU_CLASSES}


def _class_bsdf(name: str) -> ElementTree.Element:
    frequency_bands(name)  # raises for an unknown class
    bsdf = ElementTree.Element("bsdf", type="itu-radio-material", id=name)
    ElementTree.SubElement(bsdf, "string", name="type", value=name)
    ElementTree.SubElement(bsdf, "float", name="thickness", value=repr(slab_thickness(name)))
    return bsdf


def _explicit_bsdf(name: str, material: RadioMaterial) -> ElementTree.Element:
    bsdf = ElementTree.Element("bsdf", type="radio-material", id=name)
    values = {
        "relative_permittivity": material.relative_permittivity,
        "conductivity": material.conductivity,
        "thickness": material.thickness,
        "scattering_coefficient": material.scattering_coefficient,
        "xpd_coefficient": material.xpd,
    }
    for key, value in values.items():
        ElementTree.SubElement(bsdf, "float", name=key, value=repr(float(value)))
    return bsdf


def read_tile_scene(tile: Tile) -> tuple[list[MeshPart], dict[str, ElementTree.Element]]:
    """Mesh parts and Mitsuba materials by name of a tile."""
    require_sound_scene(tile)
    root = read_xml(tile.scene_file)
    bsdfs = {element.attrib["id"]: element for element in root.findall("bsdf")}
    return [_read_part(tile.folder, shape) for shape in root.findall("shape")], bsdfs


def _read_part(folder: Path, shape: ElementTree.Element) -> MeshPart:
    file = next(e.attrib["value"] for e in shape.findall("string") if e.attrib["name"] == "filename")
    material = next(e.attrib["id"] for e in shape.findall("ref"))
    mesh = read_ply(folder / file)
    kind = "terrain" if shape.attrib["id"].removeprefix("mesh-").startswith("terrain-") else "building"
    return MeshPart(kind, material, mesh.vertex, mesh.face)
