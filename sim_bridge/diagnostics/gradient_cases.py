"""Random configurations of the gradient check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sim_bridge.diagnostics.gradient_scenes import RECEIVER_PARAMETERS, GradientScene
from sim_bridge.paths.frozen_paths import FrozenPaths
from sim_bridge.paths.path_set import PathSet
from sim_bridge.simulator import Sionna

# Steps: in degrees, radians, or (materials) relative to the value; those in metres are the scene's, since float32
# resolves less the longer the paths are. The phase inside a slab turns fast.
STEP_OF_UNIT = {"degrees": 0.2, "radians": 0.005}
RELATIVE_STEP = {"permittivity": 0.003, "conductivity": 0.03, "thickness": 0.001, "scattering": 0.01}
RECEIVERS_TO_CHOOSE_FROM = 8  # of which one link counts, of each cell or of all
Arguments = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Positions and parameters of a trace, by the value that is differentiated by."""


@dataclass(frozen=True)
class GradientCase:
    """A trace to differentiate, by a parameter's value, of which each link has its own row."""

    trace: Callable[[Tensor], PathSet]
    """for any value"""
    trace_found: Callable[[Tensor], PathSet]
    """for `value` alone: the paths that were found there, evaluated. A search has no derivative, and takes most of a
    trace's time"""
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

        def arguments(value: Tensor, points=points, velocity=velocity) -> tuple[Tensor, dict[str, Tensor]]:
            if parameter == "RX position":
                return value, {"ue_velocity": velocity}
            return points, {"ue_velocity": velocity, scene.parameter_name(parameter): value}

        traces = (_frozen_trace(sim, points, arguments),) * 2 if mode == "frozen" else _traces(sim, value, arguments)
        yield GradientCase(*traces, value, step, rows_of, scene.noise)
        made += {"receiver": len(points), "cell": sim.cell_count}.get(rows_of, 1)


def _frozen_trace(sim: Sionna, points: Tensor, arguments: Arguments) -> Callable[[Tensor], PathSet]:
    frozen = sim.freeze(points)

    def trace(value: Tensor) -> PathSet:
        position, given = arguments(value)
        return frozen.trace(None if position is points else position, **given)

    return trace


def _traces(
    sim: Sionna, at: Tensor, arguments: Arguments
) -> tuple[Callable[[Tensor], PathSet], Callable[[Tensor], PathSet]]:
    """Traces for any value, and by the paths that are found for the value `at`."""
    with torch.no_grad():
        position, given = arguments(at)
        points = sim.rows(position)
        batches = sim.finder.find_paths(points, sim.radio_scene.checked_parameters(given, points))
        found = [(index, paths) for index, paths, _, _ in batches]

    def trace(value: Tensor) -> PathSet:
        position, given = arguments(value)
        return sim.trace(position, **given)

    def trace_found(value: Tensor) -> PathSet:
        position, given = arguments(value)
        known = {name: tensor.detach() for name, tensor in given.items()}
        return FrozenPaths(sim.finder, position, found, known).trace(**given)

    return trace, trace_found
