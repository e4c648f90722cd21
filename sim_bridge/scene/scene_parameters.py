"""Parameters that can be learned through the ray tracer, by name, and how they get into a scene."""

import difflib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import drjit as dr
import mitsuba as mi
import numpy as np
import sionna.rt as rt
import torch
from jaxtyping import Float64
from torch import Tensor

from sim_bridge.chains.facets import mesh_number
from uel.errors import UelError

CELL_PARAMETERS = ("cell_position", "cell_height", "azimuth_deg", "tilt_deg", "cell_velocity", "beam_weights")
UE_PARAMETERS = ("ue_orientation", "ue_velocity")
MATERIAL_PROPERTIES = (
    "relative_permittivity",
    "conductivity",
    "thickness",
    "scattering_coefficient",
    "xpd_coefficient",
)
FOLIAGE_PARAMETERS = ("foliage/specific_attenuation", "foliage/max_attenuation")  # dB/m, dB
VALUE_LIMITS = {
    "relative_permittivity": (1.0, math.inf),
    "conductivity": (0.0, math.inf),
    "thickness": (0.0, math.inf),
    "scattering_coefficient": (0.0, 1.0),
    "xpd_coefficient": (0.0, 1.0),
    "specific_attenuation": (0.0, math.inf),
    "max_attenuation": (0.1, math.inf),
}


def parameter_names(scene: rt.Scene, foliage: bool = False) -> list[str]:
    """All parameters of a scene: of cells, phones, `material/NAME/PROPERTY`, `object/NAME/position` and `/velocity`,
    and with `foliage` of vegetation."""
    materials = [f"material/{name}/{part}" for name in scene.radio_materials for part in MATERIAL_PROPERTIES]
    objects = [f"object/{name}/{part}" for name in scene.objects for part in ("position", "velocity")]
    return [*CELL_PARAMETERS, *UE_PARAMETERS, *materials, *objects, *(FOLIAGE_PARAMETERS if foliage else ())]


def is_object_position(name: str) -> bool:
    """Whether a parameter moves an object."""
    return name.startswith("object/") and name.endswith("/position")


def material_values(scene: rt.Scene) -> dict[str, dict[str, float]]:
    """Values of all materials at the scene's frequency, by name and property (`MATERIAL_PROPERTIES`)."""
    return {
        name: {part: float(_get(scene, f"material/{name}/{part}")[0]) for part in MATERIAL_PROPERTIES}
        for name in scene.radio_materials
    }


def require_known(
    scene: rt.Scene, given: Mapping[str, Tensor], cells: int, receivers: int, foliage: bool = False
) -> None:
    """Raise `UelError` for an unknown parameter, one of another shape than (cell[, 3]), (cell, antenna), (n, 3), () or
    (3,), or a value that is not finite or that no material or vegetation has."""
    known = parameter_names(scene, foliage)
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"perhaps you meant {close[0]!r}; " if close else ""
            raise UelError("the scene has no such parameter", got=name, do=f"{hint}sim.parameters lists them all")
        shape = _shape(name, cells, receivers, dr.width(scene.tx_array.normalized_positions))
        if tuple(value.shape) != shape:
            raise UelError(
                f"parameter {name} has the wrong shape", got=tuple(value.shape), do=f"give a tensor of shape {shape}"
            )
        if not bool(value.isfinite().all()):
            got, do = f"{int((~value.isfinite()).sum())} of {value.numel()} values", "give finite numbers"
            raise UelError(f"parameter {name} has values that are not finite", got=got, do=do)
        least, most = VALUE_LIMITS.get(name.rsplit("/", 1)[-1], (-math.inf, math.inf))
        if name.startswith(("material/", "foliage/")) and not least <= float(value.detach()) <= most:
            raise UelError(f"nothing has this {name}", got=float(value.detach()), do=f"give {least:g} to {most:g}")


def _shape(name: str, cells: int, receivers: int, antennas: int) -> tuple[int, ...]:
    if name == "beam_weights":
        return (cells, antennas)
    if name in UE_PARAMETERS:
        return (receivers, 3)
    if name in CELL_PARAMETERS:
        return (cells, 3) if name in ("cell_position", "cell_velocity") else (cells,)
    return (3,) if name.startswith("object/") else ()


@contextmanager
def temporary_parameters(scene: rt.Scene, values: Mapping[str, mi.TensorXf]) -> Iterator[None]:
    """Set materials and objects of a scene; they are put back when the block is left, however it is left."""
    before = {name: dr.detach(_get(scene, name)) for name in values}
    try:
        for name, value in values.items():
            _set(scene, name, value.array)
        yield
    finally:
        for name, value in before.items():
            _put(scene, name, value)


def object_mesh(scene: rt.Scene, name: str) -> tuple[int, Float64[Tensor, "3"]]:
    """Mitsuba's number of the mesh of `object/NAME/…`, and the object's position (m)."""
    item = scene.objects[name.split("/")[1]]
    return mesh_number(item.mi_mesh), torch.from_numpy(item.position.numpy().astype(np.float64)).flatten()


def _set(scene: rt.Scene, name: str, value: mi.Float) -> None:
    kind, item, part = name.split("/")
    if kind == "material":
        setattr(scene.radio_materials[item], part, mi.Float(value))
    else:
        scene.objects[item].position = mi.Point3f(*(dr.gather(mi.Float, value, axis) for axis in range(3)))


def _get(scene: rt.Scene, name: str) -> mi.Float:
    """A material's value, or an object's vertices, since its position is that of their bounding box."""
    kind, item, part = name.split("/")
    if kind == "material":
        return mi.Float(getattr(scene.radio_materials[item], part))
    return mi.Float(scene.mi_scene_params[_vertices(scene, item)])


def _put(scene: rt.Scene, name: str, value: mi.Float) -> None:
    kind, item, part = name.split("/")
    if kind == "material":
        setattr(scene.radio_materials[item], part, value)
    else:
        scene.mi_scene_params[_vertices(scene, item)] = value
        scene.mi_scene_params.update()


def _vertices(scene: rt.Scene, item: str) -> str:
    return f"{scene.objects[item].mi_mesh.id()}.vertex_positions"
