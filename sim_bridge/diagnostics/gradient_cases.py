"""Random configurations of the gradient check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sim_bridge.diagnostics.gradient_scenes import RECEIVER_PARAMETERS, GradientScene
from sim_bridge.paths.path_set import PathSet
from sim_bridge.simulator import Sionna

# Steps: in degrees, radians, or (materials) relative to the value; those in metres are the scene's, since float32
# resolves less the longer the paths are. The phase inside a slab turns fast.
STEP_OF_UNIT = {"degrees": 0.2, "radians": 0.005}
RELATIVE_STEP = {"permittivity": 0.003, "conductivity": 0.03, "thickness": 0.001, "scattering": 0.01}
RECEIVERS_TO_CHOOSE_FROM = 8  # of which one link counts, of each cell or of all


@dataclass(frozen=True)
class GradientCase:
    """A trace to differentiate: `trace` takes a parameter's value, of which each link has its own row."""

    trace: Callable[[Tensor], PathSet]
    value: Tensor
    step: Tensor
    """direction times step, as large as `value`"""
    rows_of: str
    """what a row of `value` belongs to: receiver, cell, or all"""
    noise: float
    """of a quantity, relative: float32 through a trace"""


def unit_rows(direction: Tensor, by_row: bool) -> Tensor:
    """The direction scaled to length 1, or every row of it."""
    flat = direction.reshape(len(direction), -1) if by_row else direction.reshape(1, -1)
    return (flat / flat.norm(dim=1, keepdim=True)).view(direction.shape)


def random_cases(
    scene: GradientScene, mode: str, parameter: str, count: int, generator: torch.Generator
) -> Iterator[GradientCase]:
    """Random configurations until there are `count`."""
    made = 0
    while made < count:
        sim = scene.simulator()
        points = scene.draw(generator, 0 if parameter in RECEIVER_PARAMETERS else RECEIVERS_TO_CHOOSE_FROM)
        velocity = torch.randn(points.shape, generator=generator, device=generator.device) * 5
        rows_of, value, unit = scene.draw_value(parameter, points, generator)
        direction = unit_rows(
            torch.randn(value.shape, generator=generator, device=generator.device), by_row=rows_of != "all"
        )
        length = scene.step if unit == "metres" else STEP_OF_UNIT.get(unit)
        step = direction * (RELATIVE_STEP[parameter] * value.abs() if length is None else length)

        trace = _trace(sim, scene, mode, parameter, points, velocity)
        yield GradientCase(trace, value, step, rows_of, scene.noise)
        made += {"receiver": len(points), "cell": sim.cell_count}.get(rows_of, 1)


def _trace(
    sim: Sionna, scene: GradientScene, mode: str, parameter: str, points: Tensor, velocity: Tensor
) -> Callable[[Tensor], PathSet]:
    frozen = sim.freeze(points) if mode == "frozen" else None

    def trace(value: Tensor) -> PathSet:
        moves = parameter == "RX position"
        given = {"ue_velocity": velocity} | ({} if moves else {scene.parameter_name(parameter): value})
        if frozen is not None:
            return frozen.trace(value if moves else None, **given)
        return sim.trace(value if moves else points, **given)

    return trace
