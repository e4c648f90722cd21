"""Small worlds whose answer is known, and the closed forms that answer for them."""

import math
from dataclasses import replace

import torch
from torch import Tensor

import sim_bridge.simulator as tracer  # first: it finds a usable LLVM before Dr.Jit is imported
from sim_bridge.simulator import Sionna, TracingConfig
from uel.core.constants import SPEED_OF_LIGHT
from uel.radio.config import Carrier
from uel.radio.sites import Array, Cell, Site

import drjit as dr  # isort: skip
import mitsuba as mi  # isort: skip
import sionna.rt as rt  # isort: skip

VACUUM_PERMITTIVITY = 8.8541878188e-12  # F/m, CODATA 2022
FREQUENCY = 3.5e9
QUICK = {"samples": 1000, "chunk": 4, "diffraction": False}
OPEN_POSITIONS = torch.tensor([[40.0, 30.0, 1.5], [-100.0, 80.0, 10.0], [5.0, -60.0, 2.0]])
STREET_POSITIONS = torch.tensor([[25.0, -3.0, 1.5], [24.0, 12.0, 1.5], [-50.0, 5.0, 1.5], [40.0, 2.0, 1.5]])


def mast(
    position: tuple[float, float, float] = (3.0, -2.0, 20.0), frequency: float = FREQUENCY, **cell: float
) -> tuple[Site, ...]:
    """One isotropic cell; `cell` may turn it (`azimuth_deg`, `tilt_deg`)."""
    return sector(position, Array(), frequency, **cell)


def sector(
    position: tuple[float, float, float], array: Array, frequency: float = FREQUENCY, **cell: float
) -> tuple[Site, ...]:
    """One cell with an array."""
    sector = Cell(array=array, carrier=Carrier(frequency=frequency), **cell)
    return (Site(position=position, cells=(sector,)),)


def empty(sites: tuple[Site, ...], **tracing: object) -> Sionna:
    """Nothing but space."""
    return tracer.open_empty(sites, TracingConfig(**{**QUICK, **tracing}))


def bundled(name: str, sites: tuple[Site, ...], turned: bool = False, apart: bool = False, **tracing: object) -> Sionna:
    """One of Sionna's own scenes, turned by 90° counter-clockwise about the origin, or its objects apart, if asked."""
    # Merged shapes lose the names by which Sionna finds their vertices: they cannot be turned or moved.
    scene = rt.load_scene(getattr(rt.scene, name), merge_shapes=not (turned or apart))
    if turned:
        turn_world(scene)
    return Sionna(scene, sites, TracingConfig(**{**QUICK, **tracing}), source=getattr(rt.scene, name))


def street_canyon(**tracing: object) -> Sionna:
    """Sionna's street canyon with one cell in it."""
    return bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), **{"samples": 3000, "max_depth": 2, **tracing})


def gain_gradient(sim: Sionna, position: Tensor) -> Tensor:
    """Gradient of the sum of logarithmic path gains with respect to the positions."""
    position = position.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sim.path_gain(position).log().sum(), position)
    return gradient


def mirror(sites: tuple[Site, ...], slab: dict[str, float], **tracing: object) -> Sionna:
    """A square of 200 m at z = 0, of one material."""
    scene = rt.load_scene(rt.scene.simple_reflector)
    (plane,) = scene.objects.values()
    plane.scaling = 200.0
    plane.radio_material = rt.RadioMaterial("slab", **slab)
    return Sionna(scene, sites, TracingConfig(**{**QUICK, "max_depth": 1, **tracing}))


def turn_world(scene: rt.Scene) -> None:
    """Rotate every object by 90° counter-clockwise about the world's z axis."""
    for item in scene.objects.values():
        x, y, z = (float(c[0]) for c in item.position)
        item.orientation = mi.Point3f(math.pi / 2, 0, 0)
        item.position = mi.Point3f(-y, x, z)


def turn(position: Tensor) -> Tensor:
    """Positions rotated by 90° counter-clockwise about the z axis."""
    x, y, *rest = position.unbind(-1)
    return torch.stack([-y, x, *rest], -1)


# ---- closed forms, in double precision -------------------------------------------------------------------


def friis(distance: Tensor, frequency: float = FREQUENCY) -> Tensor:
    """(λ / 4πd)²."""
    return (SPEED_OF_LIGHT / frequency / (4 * math.pi * distance)) ** 2


def distance(position: Tensor, origin: tuple[float, float, float]) -> Tensor:
    return (position.double() - torch.tensor(origin, dtype=torch.float64)).norm(dim=-1)


def image(origin: tuple[float, float, float]) -> tuple[float, float, float]:
    """The mirror image of a point in the plane z = 0."""
    x, y, z = origin
    return x, y, -z


def reflected(position: Tensor, origin: tuple[float, float, float], slab: dict, polarization: str) -> Tensor:
    """Gain of the path by way of the mirror at z = 0: Friis over the image's distance × |R|²."""
    far = distance(position, image(origin))
    cos = (position[..., 2].double() + origin[2]) / far
    return friis(far) * slab_reflection(cos, polarization, **slab).abs() ** 2


def slab_reflection(
    cos: Tensor, polarization: str, relative_permittivity: float, conductivity: float, thickness: float
) -> Tensor:
    """Reflection coefficient of a slab in air, ITU-R P.2040-3, equations 31 to 36 (V: TM, H: TE)."""
    loss = conductivity / (2 * math.pi * FREQUENCY * VACUUM_PERMITTIVITY)
    eta = relative_permittivity - 1j * torch.as_tensor(loss, dtype=torch.complex128)
    root = torch.sqrt(eta - (1 - cos**2))
    face = (eta * cos - root) / (eta * cos + root) if polarization == "V" else (cos - root) / (cos + root)
    phase = torch.exp(-2j * (2 * math.pi * thickness * FREQUENCY / SPEED_OF_LIGHT) * root)
    return face * (1 - phase) / (1 - face**2 * phase)


def sector_gain_db(azimuth_off_deg: float, tilt_off_deg: float) -> float:
    """Element gain of TR 38.901, table 7.3-1, at angles off the boresight."""
    vertical = min(12 * (tilt_off_deg / 65) ** 2, 30)
    horizontal = min(12 * (azimuth_off_deg / 65) ** 2, 30)
    return 8 - min(vertical + horizontal, 30)


# ---- questions that `path_gain` has no argument for ------------------------------------------------------


def reflection_gain(sim: Sionna, position: Tensor, conductivity: Tensor) -> Tensor:
    """Gain of reflected paths alone, differentiable in the material's conductivity (S/m)."""
    found = sim.trace(position, **{"material/slab/conductivity": conductivity.reshape(())})
    return replace(found, power=found.power * (found.bounces > 0)).gain()


def path_count(sim: Sionna, position: Tensor) -> Tensor:
    """How many paths each link has, `n cell`."""
    return sim.trace(position).count()


def stock_gain(sim: Sionna, position: Tensor) -> Tensor:
    """Gain of each cell as stock Sionna has it: transmit antennas in phase, receive antennas summed, `n cell`."""
    scene = sim.scene
    for name in list(scene.receivers):
        scene.remove(name)
    for index in range(len(position)):
        scene.add(rt.Receiver(f"rx-{index}", position=mi.Point3f(0, 0, 0)))
    solver = rt.PathSolver(deterministic=True)
    solver.loop_mode = "evaluated"

    @dr.wrap(source="torch", target="drjit")
    def solve(x, y, z):
        for index, receiver in enumerate(scene.receivers.values()):
            receiver.position = mi.Point3f(*(dr.gather(mi.Float, c.array, index) for c in (x, y, z)))
        t = sim.tracing
        paths = solver(scene, max_depth=t.max_depth, samples_per_src=t.samples, diffraction=t.diffraction, seed=t.seed)
        real, imag = (dr.sum(part, axis=3) for part in paths.a)
        return dr.sum(dr.sum(dr.square(real) + dr.square(imag), axis=1) / paths.a[0].shape[3], axis=2)

    return solve(*(c.contiguous() for c in position.unbind(-1)))


def central_difference(function, position: Tensor, step: float) -> Tensor:
    """Gradient of a scalar per position by central differences, `n dim`."""
    columns = []
    for axis in torch.eye(position.shape[-1]) * step:
        # The steps as float32 really takes them.
        ahead, behind = position + axis, position - axis
        width = (ahead.double() - behind.double()).abs().sum(-1)
        columns.append((function(ahead).double() - function(behind).double()) / width)
    return torch.stack(columns, -1)


def gradient(function, position: Tensor) -> Tensor:
    """Gradient of a scalar per position by backpropagation, `n dim`."""
    position = position.clone().requires_grad_()
    function(position).sum().backward()
    assert position.grad is not None
    return position.grad.double()
