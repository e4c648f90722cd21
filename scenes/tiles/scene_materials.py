"""Radio materials of a scene: kept where they are Sionna's, recognised by name where they are a renderer's."""

import difflib
import re
from collections.abc import Mapping
from xml.etree import ElementTree

from scenes.materials.itu_p2040 import ITU_CLASSES
from scenes.tiles.mitsuba_xml import material_bsdfs
from uel.errors import UelError

RADIO_TYPES = ("itu-radio-material", "radio-material")
_PREFIXES = re.compile(r"^(mat-)?(itu[-_])?", re.I)
_COPY_NUMBER = re.compile(r"\.\d+$")  # Blender's `concrete.001`


def radio_bsdfs(
    materials: Mapping[str, ElementTree.Element], used: set[str], classes: Mapping[str, str], file: object
) -> dict[str, tuple[str, ElementTree.Element]]:
    """Name and radio material of every material in use, by its id.

    Materials of Sionna (`RADIO_TYPES`) are kept with their values. Others get the ITU-R P.2040 class of their name
    (`mat-itu_concrete`, `concrete.001`), or that which `classes` gives their name.

    Raises `UelError` for materials whose class neither their name nor `classes` tells, and for an unknown class.
    """
    chosen = {name: itu_class(value) for name, value in classes.items()}
    wrong = [f"{name}={classes[name]}" for name, value in chosen.items() if value is None]
    if wrong:
        do = f"choose from {', '.join(ITU_CLASSES)}"
        raise UelError("no such class of ITU-R P.2040", got=", ".join(wrong), do=do)
    found, unknown = {}, []
    for identity in (identity for identity in materials if identity in used):
        element, name = materials[identity], identity.removeprefix("mat-")
        kind = chosen.get(identity) or chosen.get(name)
        if kind is None and element.attrib.get("type") in RADIO_TYPES:
            found[identity] = (name, _kept(element, name, file))
            continue
        kind = kind or itu_class(identity)
        if kind is None:
            unknown.append(name)
        else:
            found[identity] = (kind, material_bsdfs([kind])[kind])
    if unknown:
        near = difflib.get_close_matches(unknown[0].lower(), ITU_CLASSES, n=1) or ["concrete"]
        do = f"name their ITU classes: --scene.materials {unknown[0]}={near[0]} …, of {', '.join(ITU_CLASSES)}"
        got = f"{file}: {', '.join(unknown[:5])}" + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise UelError("materials of the scene that are no class of ITU-R P.2040", got=got, do=do)
    return found


def itu_class(name: str) -> str | None:
    """The ITU class that a material's name tells, None where it tells none."""
    plain = _COPY_NUMBER.sub("", _PREFIXES.sub("", name)).lower().replace("-", "_").replace(" ", "_")
    return plain if plain in ITU_CLASSES else None


def _kept(element: ElementTree.Element, name: str, file: object) -> ElementTree.Element:
    """A material of Sionna under its plain name. Raises `UelError` for an ITU class that there is not."""
    element.attrib["id"] = name
    kind = element.find("string[@name='type']")
    if element.attrib["type"] == "itu-radio-material" and (kind is None or kind.attrib.get("value") not in ITU_CLASSES):
        got = f"{file}: {name}: {kind.attrib.get('value') if kind is not None else 'no type'}"
        do = f"choose from {', '.join(ITU_CLASSES)}"
        raise UelError("a material of the scene has no class of ITU-R P.2040", got=got, do=do)
    return element
