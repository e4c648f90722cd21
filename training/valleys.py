"""Valleys side by side: the reflection of a slab rings with its thickness in wavelengths, and so does a fit's cost."""

import torch
from jaxtyping import Float
from torch import Tensor

from training.problem import Problem, Residuals, State
from training.unknowns import MATERIAL

WORST = 2.5  # of the belief's deviation: how far a scan looks
GIVE = 3  # reweightings of antennas that give way


def antennas_of(problem: Problem) -> list[int]:
    """Rows of what is no material's."""
    return [row for row, kind in enumerate(problem.unknowns.kind) if kind not in MATERIAL]


def scan(problem: Problem, state: State, count: int) -> State:
    """The best of `count` values of every permittivity, one material after the other, antennas giving way.

    How antennas answer to each value is taken from their derivatives here.
    """
    antennas = antennas_of(problem)
    for row, kind in enumerate(problem.unknowns.kind):
        if kind != "relative_permittivity" or not _felt(problem, state, row):
            continue
        table = problem.jacobian(state.frozen, state.theta, state.said, antennas)
        best = state
        for value in torch.linspace(-WORST, WORST, count, dtype=torch.float64):
            theta = state.theta.clone()
            theta[row] = value
            moved = _given_way(problem, problem.state(theta, state.frozen, None), table)
            best = moved if moved.cost < best.cost else best
        if best is not state:
            state = problem.state(best.theta, problem.freeze(best.theta), None)
    return state


def _felt(problem: Problem, state: State, row: int) -> bool:
    """Whether any link changes with a parameter."""
    theta = state.theta.clone()
    theta[row] += 1.0
    there = problem.state(theta, state.frozen, state.scale)
    return bool(((there.left.value - state.left.value).abs() > 1e-3).any())


def _given_way(problem: Problem, state: State, table: Float[Tensor, "link parameter"]) -> State:
    """With the parameters of `table` moved by reweighted least squares, links following them in proportion."""
    for _ in range(GIVE):
        unit, weight = problem.unit(state.scale), problem.weight(state.left, state.scale)
        scaled = table / unit.unsqueeze(1)
        free = (table != 0).any(0)
        curvature = scaled.T @ (scaled * weight.unsqueeze(1)) + torch.eye(len(free), dtype=torch.float64)
        slope = scaled.T @ (weight * state.left.value / unit) + state.theta * free
        step = -torch.linalg.solve(curvature, slope)
        step = step / max(1.0, float(step.abs().max()))
        left = Residuals(torch.where(state.left.found, state.left.value + table @ step, 0.0), state.left.found)
        scale, theta = problem.scale(left), state.theta + step
        state = State(theta, state.frozen, state.said, left, scale, float(problem.cost(left, theta, scale)))
    return state
