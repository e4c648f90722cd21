"""Diffraction at metal wedges against exact solutions, and across the boundaries of shadow and reflection."""

import math

import numpy as np
import pytest
import scipy.special

import sim_bridge.simulator  # noqa: F401  (first: it finds a usable LLVM before Dr.Jit is imported)
from sim_bridge.backend import utd

import drjit as dr  # isort: skip
import mitsuba as mi  # isort: skip
from sionna.rt.utils import implicit_basis_vector  # isort: skip

WAVELENGTH = 0.1


def metal() -> utd.FaceMaterials:
    return utd.FaceMaterials(*(dr.opaque(mi.Float, value) for value in (1.0, 1e9, 0.1, 1.0)))


def vector(*coordinates: float) -> mi.Vector3f:
    """One vector that is no constant of a kernel: all tests share one."""
    return mi.Vector3f(*(dr.opaque(mi.Float, value) for value in coordinates))


def diffracted(angle: np.ndarray, source: float, n: float, distance: float, along: bool) -> np.ndarray:
    """Field (V/m of 1 V/m) at `distance` (m) and some angles (rad) from a wedge of metal along y, for a plane wave
    from the angle `source` with its electric field along the edge, or else its magnetic one."""
    cos, sin = math.cos(source), math.sin(source)
    inner = (2 - n) * math.pi
    wedge = utd.WedgeLanes(
        vector(0, -1, 0),
        (vector(0, 0, 1), vector(-math.sin(inner), 0, -math.cos(inner))),
        (metal(), metal()),
    )
    out = mi.Vector3f(mi.Float(np.cos(angle)), 0, mi.Float(np.sin(angle)))
    into = vector(-cos, 0, -sin)
    y = mi.Vector3f(0, 1, 0)

    def read(vector, k):
        """The component along y of the electric field, or of the magnetic one, k × E."""
        return vector if along else dr.cross(vector, k)

    start = implicit_basis_vector(into)
    electric = read(y, into)
    field = mi.Vector4f(dr.dot(electric, start), dr.dot(electric, dr.cross(into, start)), 0, 0)
    field = utd.diffracted(wedge, into, out, dr.opaque(mi.Float, distance), mi.Float(WAVELENGTH), field)
    start = implicit_basis_vector(out)
    other, wanted = dr.cross(out, start), read(y, out)
    one, two = dr.dot(start, wanted), dr.dot(other, wanted)
    real, imag = field.x * one + field.y * two, field.z * one + field.w * two
    wave = np.exp(-2j * np.pi * distance / WAVELENGTH) / math.sqrt(distance)
    return (np.array(real) + 1j * np.array(imag)) * wave


def optics(angle: np.ndarray, source: float, n: float, distance: float, along: bool) -> np.ndarray:
    """Direct and reflected waves where they come."""
    k, sign = 2 * np.pi / WAVELENGTH, -1 if along else 1
    total = (angle < np.pi + source) * np.exp(1j * k * distance * np.cos(angle - source))
    total = total + sign * (angle < np.pi - source) * np.exp(1j * k * distance * np.cos(angle + source))
    return total + sign * (angle > (2 * n - 1) * np.pi - source) * np.exp(
        1j * k * distance * np.cos(2 * n * np.pi - source - angle)
    )


def exact(angle: np.ndarray, source: float, n: float, distance: float, along: bool) -> np.ndarray:
    """Plane wave at a perfectly conducting wedge as a series of Bessel functions (Balanis, Advanced Engineering
    Electromagnetics, 2012, equation 13-40)."""
    m = np.arange(int(n * (2 * np.pi * distance / WAVELENGTH + 60)))
    radial = np.where(m > 0, 2, 1) * np.exp(0.5j * np.pi * m / n)
    radial = radial * scipy.special.jv(m / n, 2 * np.pi * distance / WAVELENGTH) / n
    less, more = (np.cos(np.outer(angle + sign * source, m / n)) for sign in (-1, 1))
    return (less - more if along else less + more) @ radial


@pytest.mark.parametrize(("n", "source_deg"), [(1.5, 110.0), (1.75, 55.0), (2.0, 20.0)])
@pytest.mark.parametrize("along", [True, False])
def test_the_total_field_around_metal_is_the_exact_one(n: float, source_deg: float, along: bool) -> None:
    """3 m, 30 waves, from the edge: all around it, the boundaries included."""
    angle, source = np.linspace(0.02, n * np.pi - 0.02, 400), math.radians(source_deg)
    arguments = (angle, source, n, 3.0, along)
    total = optics(*arguments) + diffracted(*arguments)
    assert np.abs(total - exact(*arguments)).max() < 1e-3


def test_the_transition_function_is_that_of_its_closed_form() -> None:
    """√π e^{jπ/4} erfcx(e^{jπ/4} √x): 1.25 (1 + j) at 0 and 1 / √x far away."""
    root = np.linspace(0, 40, 4001).astype(np.float32)
    value = utd.transition(mi.Float(root))
    closed = np.sqrt(np.pi) * np.exp(0.25j * np.pi) * scipy.special.wofz(1j * np.exp(0.25j * np.pi) * root)
    np.testing.assert_allclose(np.array(value.real) + 1j * np.array(value.imag), closed, rtol=5e-6)


def test_on_the_boundaries_half_the_wave_is_diffracted_and_its_slope_is_finite() -> None:
    source = math.radians(60.0)
    for boundary in (math.pi + source, math.pi - source):
        angle = mi.Float(boundary)
        dr.enable_grad(angle)
        wedge = utd.WedgeLanes(mi.Vector3f(0, -1, 0), (mi.Vector3f(0, 0, 1), mi.Vector3f(0, 0, -1)), (metal(), metal()))
        out = mi.Vector3f(dr.cos(angle), 0, dr.sin(angle))
        into = mi.Vector3f(-math.cos(source), 0, -math.sin(source))
        field = utd.diffracted(wedge, into, out, mi.Float(3.0), mi.Float(WAVELENGTH), mi.Vector4f(0, 1, 0, 0))
        power = dr.squared_norm(field) / 3.0
        assert float(power[0]) == pytest.approx(0.25, rel=0.1)
        dr.backward(power)
        assert math.isfinite(float(dr.grad(angle)[0]))
