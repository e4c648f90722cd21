"""Reads a Mitsuba scene (XML) as Sionna RT takes it: its shapes with their mesh files, and its materials.

What a ray tracer would stumble over is named: double ids, references to nothing, mesh files that are missing.
Lights, sensors and integrators are of no concern here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from scenes.mesh.mesh_parts import Array
from scenes.scene_files.transforms import read_transform
from uel.core.outside.xml_text import read_xml
from uel.errors import UelError, brief

MESH_TYPES = ("ply", "obj")
PRIMITIVE_TYPES = ("rectangle", "cube")
NAMES_PER_MESSAGE = 5


@dataclass(frozen=True)
class SceneShape:
    """One shape of a scene: a mesh file or a primitive, where it stands, and of what it is made."""

    id: str
    """its id without the prefix `mesh-` of Blender's exporter"""
    type: str
    """one of `MESH_TYPES` or `PRIMITIVE_TYPES`"""
    file: Path | None
    """of a mesh"""
    material: str
    """id of its material"""
    to_world: Array
    """4 × 4 matrix from the shape's coordinates to the scene's"""


@dataclass(frozen=True)
class SceneDescription:
    """Shapes and materials of a scene, in the order of its file."""

    file: Path
    shapes: tuple[SceneShape, ...]
    materials: Mapping[str, ElementTree.Element]
    """`bsdf` elements by id"""

    @property
    def mesh_files(self) -> tuple[Path, ...]:
        """The mesh files that the scene is made of, each once."""
        return tuple(dict.fromkeys(shape.file for shape in self.shapes if shape.file))


def is_scene_file(source: str | Path) -> bool:
    """Whether a source is the file of a Mitsuba scene: XML whose root is `scene` (an OSM file's is `osm`)."""
    path = Path(source).expanduser()
    if path.suffix.lower() != ".xml" or not path.is_file():
        return False
    try:
        _, root = next(ElementTree.iterparse(path, events=("start",)))
    except (ElementTree.ParseError, StopIteration, OSError, ValueError):
        return False
    return root.tag == "scene"


def read_scene(file: Path) -> SceneDescription:
    """Read a scene's description.

    Raises `UelError` for a file that is no XML or no scene, ids that stand twice, shapes of an unknown type, without a
    material or with one that the scene does not define, transformations that cannot be read, and mesh files that are
    missing.
    """
    elements = list(_elements(file, {}))
    materials = [element for element in elements if element.tag == "bsdf"]
    _require_unique(file, "materials", [element.attrib.get("id", "") for element in materials])
    by_id = {element.attrib.get("id", ""): element for element in materials}
    shapes = []
    for number, element in enumerate(e for e in elements if e.tag == "shape"):
        shape, own_material = _shape(file, element, number)
        shapes.append(shape)
        by_id |= own_material
    if not shapes:
        raise UelError("the scene has no shape", got=str(file), do="give a scene with meshes of buildings and ground")
    _require_unique(file, "shapes", [shape.id for shape in shapes])
    _require_materials(file, shapes, by_id)
    _require_files(file, shapes)
    return SceneDescription(file, tuple(shapes), by_id)


def _elements(file: Path, values: dict[str, str], above: tuple[Path, ...] = ()) -> Iterator[ElementTree.Element]:
    """Children of the scene, those of included files, too, with `$name` replaced by its default value."""
    try:
        root = read_xml(file)
    except UelError as error:
        got = brief(error)
        raise UelError("the scene cannot be read", got=got, do="give a Mitsuba scene (.xml)") from error
    if root.tag != "scene":
        do = "give a Mitsuba scene, whose root is <scene>"
        raise UelError("this XML file is no scene", got=f"{file}: its root is <{root.tag}>", do=do)
    for child in root:
        if child.tag == "default":
            values.setdefault(child.attrib.get("name", ""), child.attrib.get("value", ""))
            continue
        _replace_defaults(child, values)
        if child.tag == "include":
            included = file.parent / child.attrib.get("filename", "")
            if included.resolve() in above or included.resolve() == file.resolve():
                do = "remove the <include> that closes the circle"
                raise UelError("a scene includes itself", got=f"{file}: {included.name}", do=do)
            yield from _elements(included, values, (*above, file.resolve()))
        else:
            yield child


def _replace_defaults(element: ElementTree.Element, values: Mapping[str, str]) -> None:
    for part in element.iter():
        for name, text in part.attrib.items():
            for variable in sorted(values, key=len, reverse=True):
                text = text.replace(f"${variable}", values[variable])
            part.attrib[name] = text


def _shape(file: Path, element: ElementTree.Element, number: int) -> tuple[SceneShape, dict[str, ElementTree.Element]]:
    """A shape, and the material that is defined inside it."""
    identity = element.attrib.get("id", f"shape {number}").removeprefix("mesh-")
    kind = element.attrib.get("type", "")
    if kind not in (*MESH_TYPES, *PRIMITIVE_TYPES):
        do = f"export it as {' or '.join(MESH_TYPES)}, or leave it out"
        raise UelError("the scene has a shape of a type that is not read", got=f"{file}: {identity}: {kind!r}", do=do)
    name = next((s.attrib.get("value", "") for s in element.findall("string[@name='filename']")), None)
    if kind in MESH_TYPES and not name:
        do = 'add <string name="filename" value="…"/>'
        raise UelError("a shape of the scene names no mesh file", got=f"{file}: {identity}", do=do)
    # A path of Windows names the same file.
    mesh = file.parent / name.replace("\\", "/") if name else None
    own = {f"of {identity}": material for material in element.findall("bsdf")}
    references = [ref.attrib.get("id", "") for ref in element.findall("ref")]
    material = next(iter([*references, *(m.attrib.get("id", key) for key, m in own.items())]), "")
    own = {m.attrib.get("id", key): m for key, m in own.items()}
    return SceneShape(identity, kind, mesh, material, read_transform(element, f"{file}: {identity}")), own


def _require_unique(file: Path, what: str, ids: list[str]) -> None:
    repeated = [f"{identity} ({count} times)" for identity, count in Counter(ids).items() if count > 1]
    if repeated:
        do = "give each an id of its own; a ray tracer would keep one of them"
        raise UelError(f"{what} of the scene have the same id", got=f"{file}: {_some(repeated)}", do=do)


def _require_materials(file: Path, shapes: list[SceneShape], materials: Mapping[str, ElementTree.Element]) -> None:
    bare = [shape.id for shape in shapes if not shape.material]
    if bare:
        do = 'add <ref name="bsdf" id="MATERIAL"/> to each'
        raise UelError("shapes of the scene have no material", got=f"{file}: {_some(bare)}", do=do)
    lost = [f"{shape.id}: {shape.material}" for shape in shapes if shape.material not in materials]
    if lost:
        do = f"define them as <bsdf>, or refer to {', '.join(list(materials)[:NAMES_PER_MESSAGE]) or 'some'}"
        raise UelError("shapes refer to materials that the scene does not define", got=f"{file}: {_some(lost)}", do=do)


def _require_files(file: Path, shapes: list[SceneShape]) -> None:
    missing = [str(shape.file) for shape in shapes if shape.file and not shape.file.is_file()]
    if missing:
        got, do = f"{file}: {_some(missing)}", "copy the scene with its folder of meshes"
        raise UelError(f"{len(missing)} of {len(shapes)} mesh files of the scene are missing", got=got, do=do)


def _some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_PER_MESSAGE
    return ", ".join(names[:NAMES_PER_MESSAGE]) + (f" and {more} more" if more > 0 else "")
