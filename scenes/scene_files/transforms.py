"""The `to_world` transformations of a Mitsuba scene as matrices."""

import math
from xml.etree import ElementTree

import numpy as np

from scenes.mesh.mesh_parts import Array
from uel.errors import UelError


def read_transform(shape: ElementTree.Element, owner: str) -> Array:
    """The 4 × 4 matrix of a shape's `to_world`, its parts applied in their order; the identity without one.

    Raises `UelError` for a part that is unknown or cannot be read; `owner` names the shape.
    """
    matrix = np.eye(4)
    for transform in shape.findall("transform[@name='to_world']"):
        for part in transform:
            try:
                matrix = _part(part) @ matrix
            except (ValueError, KeyError) as error:
                got = f"{owner}: <{part.tag} {part.attrib}>: {error}"
                do = "give matrix, translate, scale or rotate with numbers"
                raise UelError("a transformation of the scene cannot be read", got=got, do=do) from error
    return matrix


def _part(part: ElementTree.Element) -> Array:
    if part.tag == "matrix":
        return _matrix(part.attrib["value"])
    matrix = np.eye(4)
    if part.tag == "translate":
        matrix[:3, 3] = _vector(part, 0.0)
    elif part.tag == "scale":
        np.fill_diagonal(matrix[:3, :3], _vector(part, 1.0))
    elif part.tag == "rotate":
        matrix[:3, :3] = _rotation(_vector(part, 0.0), math.radians(float(part.attrib["angle"])))
    else:
        raise ValueError("an unknown part")
    return _finite(matrix)


def _matrix(text: str) -> Array:
    numbers = np.array([float(number) for number in text.replace(",", " ").split()])
    if len(numbers) not in (9, 16):
        raise ValueError(f"{len(numbers)} numbers instead of 16")
    matrix = np.eye(4)
    side = math.isqrt(len(numbers))
    matrix[:side, :side] = numbers.reshape(side, side)
    return _finite(matrix)


def _vector(part: ElementTree.Element, default: float) -> Array:
    """x, y and z of a part: from `value` (one number or three), or from `x`, `y` and `z`."""
    if "value" in part.attrib:
        numbers = [float(number) for number in part.attrib["value"].replace(",", " ").split()]
        if len(numbers) not in (1, 3):
            raise ValueError(f"{len(numbers)} numbers instead of 1 or 3")
        return np.array(numbers * 3 if len(numbers) == 1 else numbers)
    return np.array([float(part.attrib.get(axis, default)) for axis in "xyz"])


def _rotation(axis: Array, angle: float) -> Array:
    """Rodrigues' rotation by an angle in radians."""
    length = float(np.linalg.norm(axis))
    if not length:
        raise ValueError("a rotation about no axis")
    x, y, z = axis / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _finite(matrix: Array) -> Array:
    if not np.isfinite(matrix).all():
        raise ValueError("numbers that are not finite")
    return matrix
