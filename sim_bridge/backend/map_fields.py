"""Fields of the rays of a radio map, by Sionna's antennas and materials.

As `sionna_internals` it touches private names of version 2.2.0.
"""

import drjit as dr
import mitsuba as mi
import sionna.rt as rt
from sionna.rt.antenna_pattern import antenna_pattern_to_world_implicit
from sionna.rt.utils import rotation_matrix

from sim_bridge.backend import utd
from sim_bridge.backend.path_fields import PathWedges
from sim_bridge.backend.sionna_internals import DIFFUSE_REFLECTION, REFRACTION, SPECULAR_REFLECTION


def radiate(scene: rt.Scene, orientation: mi.Point3f, direction: mi.Vector3f) -> mi.Vector4f:
    """Field of a cell's antennas in a direction of the world, all in phase, sharing the power of one."""
    to_world = rotation_matrix(orientation)
    patterns = scene.tx_array.antenna_pattern.patterns
    field = mi.Vector4f(0)
    for pattern in patterns:
        field += antenna_pattern_to_world_implicit(pattern, to_world, direction, direction="out")
    offsets = scene.tx_array.normalized_positions
    real, imag = mi.Float(0), mi.Float(0)
    for antenna in range(dr.width(offsets)):
        offset = to_world @ mi.Point3f(*(dr.gather(mi.Float, axis, antenna) for axis in offsets))
        sin, cos = dr.sincos(dr.two_pi * dr.dot(mi.Vector3f(offset), direction))
        real, imag = real + cos, imag + sin
    return field * dr.sqrt((dr.square(real) + dr.square(imag)) / scene.tx_array.num_ant)


def bounce(
    hit: mi.SurfaceInteraction3f,
    direction: mi.Vector3f,
    field: mi.Vector4f,
    solid_angle: mi.Float,
    random: mi.PCG32,
    scattering: bool,
    active: mi.Bool,
) -> tuple[mi.Vector3f, mi.Vector4f, mi.UInt]:
    """Off a wall or through it, as its material draws: new direction, new field, kind of interaction."""
    kinds = mi.UInt(SPECULAR_REFLECTION | REFRACTION | (DIFFUSE_REFLECTION if scattering else 0))
    drawn = [random.next_float32() for _ in range(3)]
    sample, (field,) = rt.RadioMapSolver()._sample_radio_material(
        hit, direction, [field], solid_angle, drawn[0], mi.Point2f(*drawn[1:]), kinds, active
    )
    return sample.wo, field, sample.sampled_component


def diffract(
    wedges: PathWedges, materials: utd.FaceMaterials, wavelength: mi.Float, point: mi.Point3f, source: mi.Point3f,
    out: mi.Vector3f, field: mi.Vector4f, where: mi.SurfaceInteraction3f,
) -> tuple[mi.Vector4f, mi.Float]:  # fmt: skip
    """Field at a surface of rays that an edge sends to it, and m² of surface per metre of edge and radian of Keller's
    cone."""
    before, behind = dr.norm(point - source), dr.norm(where.p - point)
    into, distance = mi.Vector3f(dr.normalize(point - source)), before * behind / (before + behind)
    field = utd.diffracted(wedges.lanes(materials), into, out, distance, wavelength, field)
    field *= dr.rsqrt(before * behind * (before + behind))
    edge = wedges.geometry
    return field, rt.MeshRadioMap._diffraction_integration_weight(None, edge, source, point, out, where)
