"""Diffraction at wedges by the uniform theory of diffraction, in Dr.Jit, for paths and for radio maps.

The coefficient is that of ITU-R P.526-15, section 4.3: Kouyoumjian and Pathak ("A uniform geometrical theory of
diffraction for an edge in a perfectly conducting surface", Proc. IEEE 62, 1974) with the faces' Fresnel coefficients
before the terms of the reflections (Luebbers, "Finite conductivity uniform GTD versus knife edge diffraction", IEEE
Trans. Antennas Propag. 32, 1984). With it the field of all paths is continuous where a path meets the edge.

It replaces stock Sionna's (2.2.0), which multiplies a part of the incident wave with a face's reflection, has the
reflections with the other sign, so that they jump by twice their amplitude where they should be continuous, gives both
faces the material of one, and has derivatives that are no numbers on the boundary itself.
"""

from dataclasses import dataclass

import drjit as dr
import mitsuba as mi
import numpy as np
import sionna.rt as rt
from sionna.rt.utils import (
    complex_relative_permittivity,
    implicit_basis_vector,
    itu_coefficients_single_layer_slab,
    transverse_basis_from_normal,
)

from uel.core.constants import SPEED_OF_LIGHT

SMALL_ANGLE = 1e-4  # rad: below, the ratio of two sines is that of their angles
MIN_SINE = 1e-5  # of the angle between a wave and an edge, along which it does not diffract
FRESNEL_LIMIT = 4.0  # where Boersma's two approximations meet
# Boersma, "Computation of Fresnel integrals", Math. Comp. 14, 1960: ITU-R P.526-15, section 2.7.
_A = (1.595769140, -0.000001702, -6.808568854, -0.000576361, 6.920691902, -0.016898657,
      -3.050485660, -0.075752419, 0.850663781, -0.025639041, -0.150230960, 0.034404779)  # fmt: skip
_B = (-0.000000033, 4.255387524, -0.000092810, -7.780020400, -0.009520895, 5.075161298,
      -0.138341947, -1.363729124, -0.403349276, 0.702222016, -0.216195929, 0.019547031)  # fmt: skip
_C = (0.000000000, -0.024933975, 0.000003936, 0.005770956, 0.000689892, -0.009497136,
      0.011948809, -0.006748873, 0.000246420, 0.002102967, -0.001217930, 0.000233939)  # fmt: skip
_D = (0.199471140, 0.000000023, -0.009351341, 0.000023006, 0.004851466, 0.001903218,
      -0.017122914, 0.029064067, -0.027928955, 0.016497308, -0.005598515, 0.000838386)  # fmt: skip


@dataclass(frozen=True)
class FaceMaterials:
    """Properties of materials, one a lane; the reflection of an absorber is 0."""

    permittivity: mi.Float
    conductivity: mi.Float
    thickness: mi.Float
    specular: mi.Float
    """fraction of the reflected field that is not scattered"""

    @staticmethod
    def of_scene(scene: rt.Scene) -> "FaceMaterials":
        """All materials of a scene, in the order of `scene.radio_materials`, differentiable in them."""
        materials = list(scene.radio_materials.values())
        slabs = [material if isinstance(material, rt.RadioMaterial) else None for material in materials]

        def column(name: str, absent: float) -> mi.Float:
            values = [mi.Float(absent) if slab is None else mi.Float(getattr(slab, name)) for slab in slabs]
            return values[0] if len(values) == 1 else dr.concat(values)

        scattering = column("scattering_coefficient", 1.0)
        return FaceMaterials(
            column("relative_permittivity", 1.0),
            column("conductivity", 0.0),
            column("thickness", 1.0),
            dr.sqrt(dr.maximum(1 - dr.square(scattering), 0)),
        )

    def gather(self, number: mi.UInt) -> "FaceMaterials":
        """Materials by their numbers."""
        columns = (self.permittivity, self.conductivity, self.thickness, self.specular)
        return FaceMaterials(*(dr.gather(mi.Float, column, number) for column in columns))

    def select(self, own: mi.Bool, other: "FaceMaterials") -> "FaceMaterials":
        """Lanes of this one and of another one."""
        return FaceMaterials(
            dr.select(own, self.permittivity, other.permittivity),
            dr.select(own, self.conductivity, other.conductivity),
            dr.select(own, self.thickness, other.thickness),
            dr.select(own, self.specular, other.specular),
        )

    def reflection(self, cos: mi.Float, wavelength: mi.Float) -> tuple[mi.Complex2f, mi.Complex2f]:
        """Coefficients for fields across and in the plane of incidence (TE, TM)."""
        frequency = dr.two_pi * SPEED_OF_LIGHT / wavelength
        eta = complex_relative_permittivity(self.permittivity, self.conductivity, frequency)
        te, tm, _, _ = itu_coefficients_single_layer_slab(cos, eta, self.thickness, wavelength)
        return te * self.specular, tm * self.specular


@dataclass(frozen=True)
class WedgeLanes:
    """A wedge a lane. The normals point out of the solid; the first face is seen along normal × direction."""

    direction: mi.Vector3f
    normals: tuple[mi.Vector3f, mi.Vector3f]
    materials: tuple[FaceMaterials, FaceMaterials]

    def select(self, own: mi.Bool, other: "WedgeLanes") -> "WedgeLanes":
        """Lanes of this one and of another one."""
        normals = [dr.select(own, *pair) for pair in zip(self.normals, other.normals, strict=True)]
        materials = [mine.select(own, its) for mine, its in zip(self.materials, other.materials, strict=True)]
        return WedgeLanes(
            dr.select(own, self.direction, other.direction), (normals[0], normals[1]), (materials[0], materials[1])
        )


def material_numbers(scene: rt.Scene, mesh: np.ndarray) -> np.ndarray:
    """Numbers in `FaceMaterials.of_scene` of the materials of some meshes, by Mitsuba's numbers of these."""
    order = {material.name: number for number, material in enumerate(scene.radio_materials.values())}
    table = np.zeros(int(mesh.max(initial=0)) + 1, np.int64)
    for shape in scene.mi_scene.shapes():
        number = int(dr.reinterpret_array(mi.UInt, mi.ShapePtr(shape)).numpy()[0])
        if number < len(table):
            table[number] = order[shape.bsdf().name]
    return table[mesh]


def diffracted(
    wedge: WedgeLanes, into: mi.Vector3f, out: mi.Vector3f, distance: mi.Float, wavelength: mi.Float, field: mi.Vector4f
) -> mi.Vector4f:
    """Field that a wedge sends out, before it spreads.

    Args:
        wedge: the wedges.
        into: direction of the wave that meets the edge.
        out: direction of the diffracted wave, on Keller's cone.
        distance: L of the transition functions before sin² β₀, for a point source s·s' / (s + s') (m).
        wavelength: m.
        field: incident Jones vector in Sionna's implicit basis of the world (real parts, imaginary parts).

    Returns:
        The Jones vector, to be multiplied with √(s' / (s (s + s'))) and the incident wave's own spreading.
    """
    edge, (first, second) = wedge.direction, wedge.normals
    n = 2 - dr.safe_acos(-dr.dot(first, second)) / dr.pi
    across = dr.cross(into, edge)
    sine = dr.maximum(dr.norm(across), MIN_SINE)
    wavenumber = dr.two_pi / wavelength
    root = dr.sqrt(2 * wavenumber * distance) * sine
    before, behind = _angle(wedge, -into, n), _angle(wedge, out, n)
    less, more = behind - before, behind + before
    factor = mi.Complex2f(-dr.sqrt(0.5), dr.sqrt(0.5)) / (2 * n * dr.sqrt(dr.two_pi * wavenumber) * sine)
    incident = factor * (_term(dr.pi + less, n, root) + _term(dr.pi - less, n, root))
    at_first, at_second = factor * _term(dr.pi - more, n, root), factor * _term(dr.pi + more, n, root)

    parts = _in_edge_basis(field, into, edge)
    result = [-incident * part for part in parts]
    # The first face reflects the wave as it comes, the second one as it goes: at each boundary that is the path's own.
    turned = dr.normalize(out - 2 * dr.dot(out, second) * second)
    mirrored = into - 2 * dr.dot(into, first) * first
    for coefficient, normal, start, end, material in (
        (at_first, first, into, mirrored, wedge.materials[0]),
        (at_second, second, turned, out, wedge.materials[1]),
    ):
        reflected = _reflected(parts, edge, normal, start, end, material, wavelength)
        result = [value + coefficient * part for value, part in zip(result, reflected, strict=True)]
    return _from_edge_basis(result, out, edge)


def transition(root: mi.Float) -> mi.Complex2f:
    """F(x) / √x of the transition function, by √x: its derivative is finite at 0, too."""
    x = dr.square(root)
    near = x < FRESNEL_LIMIT
    ratio = dr.select(near, x / FRESNEL_LIMIT, FRESNEL_LIMIT / dr.maximum(x, FRESNEL_LIMIT))
    real = dr.select(near, *(_polynomial(row, ratio) for row in (_A, _C)))
    imag = dr.select(near, *(_polynomial(row, ratio) for row in (_B, _D)))
    sin, cos = dr.sincos(dr.select(near, x, 0))
    length = dr.select(near, root / 2, 2 / dr.maximum(root, 2))
    start = dr.select(near, mi.Complex2f(cos - sin, cos + sin), mi.Complex2f(0, 0))
    return dr.sqrt(0.5 * dr.pi) * (start + 2 * length * mi.Complex2f(imag, -real))


def _polynomial(coefficients: tuple[float, ...], x: mi.Float) -> mi.Float:
    value = mi.Float(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _term(angle: mi.Float, n: mi.Float, root: mi.Float) -> mi.Complex2f:
    """cot(angle / 2n) F(2kL sin²(angle / 2)) with `angle` from its nearest boundary, `root` = √(2kL)."""
    period = 2 * dr.pi * n
    angle = angle - period * dr.round(angle / period)
    sign = dr.select(angle >= 0, mi.Float(1), mi.Float(-1))
    apart = dr.select(dr.abs(angle) > SMALL_ANGLE, dr.abs(angle), SMALL_ANGLE)
    ratio = dr.cos(angle / (2 * n)) * dr.sin(apart / 2) / dr.sin(apart / (2 * n))
    return transition(root * dr.abs(dr.sin(angle / 2))) * (sign * ratio * root)


def _angle(wedge: WedgeLanes, direction: mi.Vector3f, n: mi.Float) -> mi.Float:
    """Angle of a direction from the first face around the edge, from 0 to nπ but for rounding."""
    normal = wedge.normals[0]
    along = dr.cross(normal, wedge.direction)
    angle = dr.atan2(dr.dot(direction, normal), dr.dot(direction, along))
    inside = dr.pi * (n - 2) / 2  # the middle of the solid
    return dr.select(angle < inside, angle + 2 * dr.pi, angle)


def _in_edge_basis(field: mi.Vector4f, direction: mi.Vector3f, edge: mi.Vector3f) -> list[mi.Complex2f]:
    """Components along edge-fixed φ̂' and β̂₀' of a field in the implicit basis."""
    across, along = _basis(direction, edge)
    start = implicit_basis_vector(direction)
    other = dr.cross(direction, start)
    first, second = mi.Complex2f(field.x, field.z), mi.Complex2f(field.y, field.w)
    return [first * dr.dot(start, axis) + second * dr.dot(other, axis) for axis in (across, along)]


def _from_edge_basis(parts: list[mi.Complex2f], direction: mi.Vector3f, edge: mi.Vector3f) -> mi.Vector4f:
    """The field in the implicit basis, from components along edge-fixed φ̂ and β̂₀ of a wave that leaves."""
    across, along = (-axis for axis in _basis(direction, edge))
    start = implicit_basis_vector(direction)
    one, two = (
        parts[0] * dr.dot(across, axis) + parts[1] * dr.dot(along, axis) for axis in (start, dr.cross(direction, start))
    )
    return mi.Vector4f(one.real, two.real, one.imag, two.imag)


def _basis(direction: mi.Vector3f, edge: mi.Vector3f) -> tuple[mi.Vector3f, mi.Vector3f]:
    across = dr.cross(direction, edge)
    across *= dr.rcp(dr.maximum(dr.norm(across), MIN_SINE))
    return across, dr.cross(direction, across)


def _reflected(
    parts: list[mi.Complex2f], edge: mi.Vector3f, normal: mi.Vector3f, into: mi.Vector3f, out: mi.Vector3f,
    material: FaceMaterials, wavelength: mi.Float,
) -> list[mi.Complex2f]:  # fmt: skip
    """Edge-fixed components, in the basis of a wave that leaves, of a wave that a face has reflected."""
    across, along = _basis(into, edge)
    te = transverse_basis_from_normal(into, normal)
    coefficients = material.reflection(dr.abs(dr.dot(into, normal)), wavelength)
    reflected = [
        coefficient * (parts[0] * dr.dot(across, axis) + parts[1] * dr.dot(along, axis))
        for coefficient, axis in zip(coefficients, (te, dr.cross(into, te)), strict=True)
    ]
    after = [-axis for axis in _basis(out, edge)]
    tm = dr.cross(out, te)
    return [reflected[0] * dr.dot(te, axis) + reflected[1] * dr.dot(tm, axis) for axis in after]
