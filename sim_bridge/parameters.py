"""What may be learned through the ray tracer, by name, and how it gets into a scene."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import drjit as dr
import mitsuba as mi
import sionna.rt as rt
from torch import Tensor

from uel.errors import UelError

CELL = ("cell_position", "cell_height", "azimuth_deg", "tilt_deg")
UE = ("ue_turn", "ue_velocity")
MATERIAL = ("relative_permittivity", "conductivity", "thickness", "scattering_coefficient", "xpd_coefficient")


def names(scene: rt.Scene) -> list[str]:
    """All parameters of a scene: of cells, phones, `material/NAME/PROPERTY` and `object/NAME/position`."""
    materials = [f"material/{name}/{part}" for name in scene.radio_materials for part in MATERIAL]
    return [*CELL, *UE, *materials, *(f"object/{name}/position" for name in scene.objects)]


def require_known(scene: rt.Scene, given: Mapping[str, Tensor], cells: int, receivers: int) -> None:
    """Raise `UelError` for an unknown parameter, or one of another shape than (cell[, 3]), (n, 3), () or (3,)."""
    known = names(scene)
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"perhaps you meant {close[0]!r}; " if close else ""
            raise UelError("unknown parameter", got=name, do=f"{hint}sim.parameters lists them all")
        wanted = _shape(name, cells, receivers)
        if tuple(value.shape) != wanted:
            raise UelError(f"{name} has another shape", got=tuple(value.shape), do=f"give a tensor of shape {wanted}")


def _shape(name: str, cells: int, receivers: int) -> tuple[int, ...]:
    if name in UE:
        return (receivers, 3)
    if name in CELL:
        return (cells, 3) if name == "cell_position" else (cells,)
    return (3,) if name.startswith("object/") else ()


class Scenery:
    """Materials and objects of one question to a scene.

    Dr.Jit runs the materials' code again in the backward pass and reads their values then: a scene that was put back
    in between gives gradients of zero, silently. So a question keeps its values, and they stand in the scene while it
    is evaluated (`standing`) and while it is differentiated (`set_again` before, `put_back` after).
    """

    def __init__(self, scene: rt.Scene, names: Iterable[str]) -> None:
        self.scene, self.names = scene, list(names)
        self.mine: dict[str, mi.Float] = {}
        self.before: dict[str, mi.Float] = {}

    @contextmanager
    def standing(self, values: Iterable[mi.TensorXf]) -> Iterator[None]:
        """The scene with these values, and as it was before once the block is left, however it is left."""
        self.before = {name: dr.detach(_get(self.scene, name)) for name in self.names}
        try:
            for name, value in zip(self.names, values, strict=True):
                _set(self.scene, name, value.array)
                self.mine[name] = _get(self.scene, name)
            yield
        finally:
            self.put_back()

    def set_again(self) -> None:
        for name, value in self.mine.items():
            _put(self.scene, name, value)

    def put_back(self) -> None:
        for name, value in self.before.items():
            _put(self.scene, name, value)


def _set(scene: rt.Scene, name: str, value: mi.Float) -> None:
    kind, which, part = name.split("/")
    if kind == "material":
        setattr(scene.radio_materials[which], part, mi.Float(value))
    else:
        scene.objects[which].position = mi.Point3f(*(dr.gather(mi.Float, value, axis) for axis in range(3)))


def _get(scene: rt.Scene, name: str) -> mi.Float:
    """A material's value; of an object its vertices, since its position is that of their bounding box."""
    kind, which, part = name.split("/")
    if kind == "material":
        return mi.Float(getattr(scene.radio_materials[which], part))
    return mi.Float(scene.mi_scene_params[_vertices(scene, which)])


def _put(scene: rt.Scene, name: str, value: mi.Float) -> None:
    kind, which, part = name.split("/")
    if kind == "material":
        setattr(scene.radio_materials[which], part, value)
    else:
        scene.mi_scene_params[_vertices(scene, which)] = value
        scene.mi_scene_params.update()


def _vertices(scene: rt.Scene, which: str) -> str:
    return f"{scene.objects[which].mi_mesh.id()}.vertex_positions"
