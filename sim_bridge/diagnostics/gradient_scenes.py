"""Scenes of the gradient check, and their random configurations."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.simulator import Sionna, rt
from uel.core.grid import Grid
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Array, Cell, Site
from uel.radio.tracing_config import TracingConfig

PARAMETER_NAMES = {
    "TX position": "cell_position",
    "TX height": "cell_height",
    "TX azimuth": "azimuth_deg",
    "TX tilt": "tilt_deg",
    "RX orientation": "ue_orientation",
    "permittivity": "relative_permittivity",
    "conductivity": "conductivity",
    "thickness": "thickness",
    "scattering": "scattering_coefficient",
}
PARAMETER_UNITS = {"TX azimuth": "degrees", "TX tilt": "degrees", "RX orientation": "radians"}
RECEIVER_PARAMETERS = ("RX position", "RX orientation")
MATERIAL_PARAMETERS = ("permittivity", "conductivity", "thickness", "scattering")
ENDPOINT_PARAMETERS = ("RX position", "TX position", "TX height", "TX azimuth", "TX tilt", "RX orientation")
ALL_PARAMETERS = (*ENDPOINT_PARAMETERS, *MATERIAL_PARAMETERS, "object position")
BEAM_ARRAY = Array(rows=4, columns=2, pattern="tr38901")


@dataclass(frozen=True)
class GradientScene:
    """A scene with cells, and where receivers are drawn in it."""

    make: Callable[[], Sionna]
    box: tuple[tuple[float, float], ...]
    """ranges of x, y and z in metres"""
    parameters: tuple[str, ...] = ALL_PARAMETERS
    material: str = ""
    moved_object: str = ""
    receivers: int = 25
    step: float = 0.01
    """m, by which positions are moved for a difference: with paths of 400 m, 1 cm drowns in float32"""
    noise: float = 3e-6
    """of a quantity, relative: float32 through a trace; differences smaller than this say nothing"""
    opened: list[Sionna] = field(default_factory=list)

    def simulator(self) -> Sionna:
        """The simulator, opened once."""
        if not self.opened:
            self.opened.append(self.make())
        return self.opened[0]

    def draw(self, generator: torch.Generator, count: int = 0) -> Float[Tensor, "n 3"]:
        """Receivers, uniform in the box."""
        low, high = torch.tensor(self.box, device="cpu").T
        return low + (high - low) * torch.rand(count or self.receivers, 3, generator=generator, device=generator.device)

    def parameter_name(self, parameter: str) -> str:
        """Name of a parameter in `Sionna.trace`."""
        if parameter in MATERIAL_PARAMETERS:
            return f"material/{self.material}/{PARAMETER_NAMES[parameter]}"
        return f"object/{self.moved_object}/position" if parameter == "object position" else PARAMETER_NAMES[parameter]

    def draw_value(self, parameter: str, points: Tensor, generator: torch.Generator) -> tuple[str, Tensor, str]:
        """Owner of each row of the values (receiver, cell or all), the values, and the unit of steps."""
        sim = self.simulator()
        endpoints = sim.radio_scene.endpoints_of(points, {})
        if parameter in RECEIVER_PARAMETERS:
            value = (
                points
                if parameter == "RX position"
                else torch.randn(points.shape, generator=generator, device=generator.device)
            )
            return "receiver", value.clone(), PARAMETER_UNITS.get(parameter, "metres")
        if parameter.startswith("TX"):
            cells = [cell for site in sim.sites for cell in site.cells]
            tilt, azimuth = (
                torch.tensor([getattr(c, n) for c in cells], device="cpu") for n in ("tilt_deg", "azimuth_deg")
            )
            value = {
                "TX position": endpoints.source,
                "TX height": endpoints.source[:, 2],
                "TX azimuth": azimuth,
                "TX tilt": tilt,
            }
            return "cell", value[parameter].clone(), PARAMETER_UNITS.get(parameter, "metres")
        if parameter == "object position":
            return (
                "all",
                torch.tensor([float(c[0]) for c in sim.scene.objects[self.moved_object].position], device="cpu"),
                "metres",
            )
        return "all", _material(parameter, generator), "relative"


def _material(parameter: str, generator: torch.Generator) -> Tensor:
    """A random value well inside what walls have."""
    ranges = {
        "permittivity": (2.0, 9.0),
        "conductivity": (0.01, 1.0),
        "thickness": (0.05, 0.3),
        "scattering": (0.2, 0.6),
    }
    low, high = ranges[parameter]
    return low + (high - low) * torch.rand((), generator=generator, device=generator.device)


def _sectors(positions: tuple[tuple[float, float, float], ...]) -> tuple[Site, ...]:
    """Sectors with eight antennas, each in another direction."""
    return tuple(
        Site(position=position, cells=(Cell(azimuth_deg=40.0 * k + 20, tilt_deg=5.0 + k, array=BEAM_ARRAY),))
        for k, position in enumerate(positions)
    )


def _open_scene(
    scene: rt.Scene,
    positions: tuple[tuple[float, float, float], ...],
    size: float,
    depth: int,
    edges: int = 0,
    scattering: float = 0.0,
) -> Sionna:
    """The simulator; with an atlas unless the scene is empty or paths go around `edges` alone."""
    around = {"diffraction": edges > 0, "diffraction_order": max(edges, 1), "scattering": scattering}
    tracing = TracingConfig(samples=20_000, chunk=32, max_depth=depth, max_paths=2_000_000, **around)
    sim = Sionna(scene, _sectors(positions), tracing, size=size)
    if len(sim.facets.first) and (scattering or not edges):
        sim.build_atlas(AtlasConfig(rays=200_000, depth=depth, pixel=size / 64))
    return sim


def _free_space() -> Sionna:
    return _open_scene(rt.load_scene(None), ((3.0, -2.0, 20.0), (-60.0, 40.0, 30.0), (50.0, 70.0, 15.0)), 400.0, 0)


def _mirror() -> Sionna:
    scene = rt.load_scene(rt.scene.simple_reflector, merge_shapes=False)
    (plane,) = scene.objects.values()
    plane.scaling = 200.0
    plane.radio_material = rt.RadioMaterial("slab", relative_permittivity=5.0, conductivity=0.1, thickness=0.1)
    return _open_scene(scene, ((-30.0, 10.0, 12.0), (20.0, 25.0, 18.0), (5.0, -30.0, 9.0)), 160.0, 1)


CANYON_MASTS = ((-30.0, 2.0, 12.0), (35.0, -4.0, 8.0), (2.0, 4.0, 10.0))  # m


def _canyon(edges: int = 0, scattering: float = 0.0) -> Sionna:
    scene = rt.load_scene(rt.scene.simple_street_canyon, merge_shapes=False)
    return _open_scene(scene, CANYON_MASTS, 128.0, 2, edges, scattering)


def _wedge() -> Sionna:
    """A corner in the origin; from each mast the shadow begins near the line x = y."""
    masts = ((-20.0, -20.0, 0.0), (-23.0, -20.0, 5.0), (-20.0, -23.0, -5.0))
    return _open_scene(rt.load_scene(rt.scene.simple_wedge), masts, 160.0, 1, 1)


def _munich() -> Sionna:
    return _open_scene(
        rt.load_scene(rt.scene.munich), ((8.5, 21.0, 27.0), (-150.0, 60.0, 35.0), (120.0, -110.0, 35.0)), 512.0, 3
    )


STREET_HEIGHTS = (0.9, 2.1)  # m: heights that the atlas knows
GRADIENT_SCENES: dict[str, GradientScene] = {
    "free space": GradientScene(_free_space, ((-150.0, 150.0), (-150.0, 150.0), (1.0, 10.0)), ENDPOINT_PARAMETERS),
    "mirror": GradientScene(
        _mirror, ((-60.0, 60.0), (-60.0, 60.0), STREET_HEIGHTS), material="slab", moved_object="reflector"
    ),
    "canyon": GradientScene(
        _canyon, ((-50.0, 50.0), (-8.0, 8.0), STREET_HEIGHTS), material="marble", moved_object="building_4"
    ),
    "canyon, edges": GradientScene(
        partial(_canyon, edges=1),
        ((-50.0, 50.0), (-8.0, 8.0), STREET_HEIGHTS),
        ("RX position", "TX position", "TX height", "TX azimuth"),
    ),
    "canyon, two edges": GradientScene(
        partial(_canyon, edges=2), ((-50.0, 50.0), (-8.0, 8.0), STREET_HEIGHTS), ("RX position", "TX position")
    ),
    "canyon, atlas of edges and scatterers": GradientScene(
        partial(_canyon, edges=1, scattering=0.3),
        ((-50.0, 50.0), (-8.0, 8.0), STREET_HEIGHTS),
        (*ENDPOINT_PARAMETERS, *MATERIAL_PARAMETERS),
        material="marble",
    ),
    "edge, lit": GradientScene(_wedge, ((1.0, 20.0), (21.0, 28.0), (-5.0, 5.0)), ("RX position", "TX position")),
    "edge, shadow": GradientScene(_wedge, ((21.0, 28.0), (1.0, 20.0), (-5.0, 5.0)), ("RX position", "TX position")),
    # Errors of the differences here fall as 1 over the step, 11 % at 1 cm to 0.6 % at 30 cm: rounding, some 2e-5.
    "munich": GradientScene(
        _munich,
        ((-200.0, 200.0), (-200.0, 200.0), STREET_HEIGHTS),
        (*ENDPOINT_PARAMETERS, *MATERIAL_PARAMETERS),
        material="marble",
        step=0.3,
        noise=2e-5,
    ),
}


@cache
def canyon_radio_map() -> RadioMap:
    """The radio map of a street, for derivatives by lookup."""
    return GRADIENT_SCENES["canyon"].simulator().radio_map(Grid(size=96.0, pixel=2.0))
