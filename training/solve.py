"""Fit a problem's unknowns: by Gauss-Newton steps or one of PyTorch's optimizers, never losing the best state."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.frozen import Frozen
from training.problem import Predicted, Problem, Residuals
from training.unknowns import MATERIAL
from uel.errors import UelError

WORST = 2.5  # of the belief's deviation: how far a scan looks, and how far one step may go is 1
TRIES = 6  # dampings of one step
FIRST = 6  # steps of antennas alone
GIVE = 3  # reweightings of antennas in a scan
CLEARLY = 1.0  # nats: a valley that much deeper is another one
INNER = 10  # steps of PyTorch's optimizers on the same paths
REST = 0.1  # of a learning rate: moving less in all of them is rest


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """How to fit."""

    method: Literal["gauss-newton", "adam", "lbfgs"] = "gauss-newton"
    """gauss-newton: least squares with damping (Levenberg and Marquardt), by differences over frozen paths; adam and
    lbfgs: PyTorch's, by gradients through Dr.Jit"""
    steps: int = 25
    """at most; of adam and lbfgs ten times as many"""
    rate: float = 0.03
    """of adam, in deviations of the belief"""
    scan: int = 21
    """values of each permittivity that are tried, since slabs ring; 0 trusts the start"""
    tolerance: float = 0.05
    """largest step, in posterior deviations, after which a fit has come to rest"""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.scan < 0 or not (0 < self.rate < math.inf and 0 < self.tolerance < math.inf):
            raise UelError("a fit needs steps of a size", got=self, do="raise steps, rate and tolerance")


@dataclass
class Fitted:
    """Where a fit ended, and how it went there."""

    theta: Float[Tensor, " parameter"]
    cost: float
    scale: float
    """dB, deviation of levels"""
    status: str = "out of steps"
    """at rest, out of steps, or what went wrong: then `theta` is the last good state"""
    curve: list[dict[str, Any]] = field(default_factory=list)
    retraced: int = 0

    def told(self) -> dict[str, Any]:
        return {**vars(self), "theta": self.theta.tolist()}

    @staticmethod
    def read(told: dict[str, Any]) -> "Fitted":
        return Fitted(**{**told, "theta": torch.tensor(told["theta"], dtype=torch.float64)})


@dataclass
class _State:
    """A world on its way: where it is, by which paths, and what it costs there."""

    theta: Tensor
    frozen: Frozen
    said: Predicted
    left: Residuals
    scale: float
    cost: float


def fit(problem: Problem, start: Float[Tensor, " parameter"], plan: FitPlan) -> Fitted:
    """The most likely unknowns near a start. It stops at the last good state where nothing finite lies ahead.

    Raises `UelError` when not even the start explains any link, and when its cost is not finite.
    """
    state = _state(problem, start, problem.freeze(start), None)
    if not math.isfinite(state.cost) or not bool(state.left.found.any()):
        got = f"a cost of {state.cost}, {int(state.left.found.sum())} of {len(state.left.found)} links with a path"
        raise UelError("a fit cannot begin here", got=got, do="check masts and measurements, or start elsewhere")
    done = Fitted(state.theta, state.cost, state.scale)
    _note(done, state)
    if plan.method != "gauss-newton":
        state = _descent(problem, state, plan, done)
    else:
        state = _searched(problem, state, plan, done)
    done.theta, done.cost, done.scale = state.theta, state.cost, state.scale
    return done


def _searched(problem: Problem, state: _State, plan: FitPlan, done: Fitted) -> _State:
    """Antennas first, then the valley of every material, then all together; and the valleys once more from there."""
    antennas = _antennas(problem)
    if plan.scan and antennas:
        state = _newton(problem, state, replace(plan, steps=FIRST), done, antennas)
        state = scan(problem, state, plan.scan)
    state = _newton(problem, state, plan, done)
    if plan.scan and (there := scan(problem, state, plan.scan)).cost < state.cost - CLEARLY:
        state = _newton(problem, there, plan, done)
    return state


def _antennas(problem: Problem) -> list[int]:
    return [row for row, kind in enumerate(problem.unknowns.kind) if kind not in MATERIAL]


def _state(problem: Problem, theta: Tensor, frozen: Frozen, scale: float | None) -> _State:
    """Everything about a world; the scale is estimated unless given."""
    with torch.no_grad():
        said = problem.predict(frozen, theta)
        left = problem.residuals(said)
        scale = problem.scale(left) if scale is None else scale
        return _State(theta, frozen, said, left, scale, float(problem.cost(left, theta, scale)))


def _note(done: Fitted, state: _State, size: float = 0.0) -> None:
    level = state.left.value[state.left.found].abs()
    row = {"cost": state.cost, "scale_db": state.scale, "median_db": float(level.median()), "step": size}
    done.curve.append({**row, "lost": int((~state.left.found).sum()), "retraced": done.retraced})


def _refreshed(problem: Problem, state: _State, done: Fitted) -> _State:
    """With new paths where the old ones are stale, and the scale that fits."""
    frozen = state.frozen
    if "height" in problem.unknowns.kind:
        fresh = problem.freeze(state.theta)
        if problem.stale(frozen, fresh, state.theta):
            frozen, done.retraced = fresh, done.retraced + 1
    return _state(problem, state.theta, frozen, None)


# ---- Gauss and Newton ------------------------------------------------------------------------------------


def normal(
    problem: Problem, state: _State, rows: list[int] | None = None
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Curvature and slope of the cost (the belief included), by weighted least squares; of some `rows`, or of all."""
    unit = problem.unit(state.scale)
    table = problem.jacobian(state.frozen, state.theta, state.said, rows) / unit.unsqueeze(1)
    weight = problem.weight(state.left, state.scale)
    curvature = table.T @ (table * weight.unsqueeze(1)) + torch.eye(len(state.theta), dtype=torch.float64)
    free = (
        torch.ones_like(state.theta) if rows is None else torch.zeros_like(state.theta).index_fill(0, _index(rows), 1.0)
    )
    slope = table.T @ (weight * state.left.value / unit) + state.theta * free
    return curvature, slope


def _index(rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.long)


def _newton(problem: Problem, state: _State, plan: FitPlan, done: Fitted, rows: list[int] | None = None) -> _State:
    damping, done.status = 1e-3, "out of steps"
    for _ in range(plan.steps):
        curvature, slope = normal(problem, state, rows)
        if not bool(curvature.isfinite().all()):
            done.status = "stopped at the last good state: a derivative is not finite"
            return state
        ahead, size, damping = _ahead(problem, state, curvature, slope, damping)
        if ahead is None:
            done.status = "at rest" if size <= 1 else "stopped at the last good state: no step lowers the cost"
            return state
        state = _state(problem, ahead.theta, ahead.frozen, None)
        _note(done, state, size)
        if size < plan.tolerance:
            done.status = "at rest"
            return state
    return state


def _ahead(
    problem: Problem, state: _State, curvature: Tensor, slope: Tensor, damping: float
) -> tuple[_State | None, float, float]:
    """A state of less cost, how large the step was in posterior deviations, and the damping for the next one."""
    width = torch.linalg.inv(curvature).diagonal().sqrt()
    whole = 0.0
    for attempt in range(TRIES):
        step = -torch.linalg.solve(curvature + damping * curvature.diagonal().diag(), slope)
        step = step / max(1.0, float(step.abs().max()))
        size = float((step.abs() / width).max())
        whole = size if attempt == 0 else whole
        theta = state.theta + step
        there = _state(problem, theta, problem.freeze(theta), state.scale)  # chains make that cheap: nothing is stale
        if math.isfinite(there.cost) and there.cost <= state.cost:
            return there, size, max(damping / 5, 1e-6)
        damping = max(damping, 1e-3) * 8
    return None, whole, damping


def scan(problem: Problem, state: _State, count: int) -> _State:
    """The best of `count` values of every permittivity, one material after the other, antennas giving way.

    The reflection of a slab rings with its thickness in wavelengths, so the cost has valleys side by side; how antennas
    answer to each value is taken from their derivatives here.
    """
    antennas = _antennas(problem)
    for row, kind in enumerate(problem.unknowns.kind):
        if kind != "relative_permittivity" or not _felt(problem, state, row):
            continue
        table = problem.jacobian(state.frozen, state.theta, state.said, antennas)
        best = state
        for value in torch.linspace(-WORST, WORST, count, dtype=torch.float64):
            theta = state.theta.clone()
            theta[row] = value
            moved = _given_way(problem, _state(problem, theta, state.frozen, None), table)
            best = moved if moved.cost < best.cost else best
        if best is not state:
            state = _state(problem, best.theta, problem.freeze(best.theta), None)
    return state


def _felt(problem: Problem, state: _State, row: int) -> bool:
    """Whether any link changes with a parameter."""
    theta = state.theta.clone()
    theta[row] += 1.0
    there = _state(problem, theta, state.frozen, state.scale)
    return bool(((there.left.value - state.left.value).abs() > 1e-3).any())


def _given_way(problem: Problem, state: _State, table: Float[Tensor, "link parameter"]) -> _State:
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
        state = _State(theta, state.frozen, state.said, left, scale, float(problem.cost(left, theta, scale)))
    return state


# ---- PyTorch's optimizers --------------------------------------------------------------------------------


def _descent(problem: Problem, state: _State, plan: FitPlan, done: Fitted) -> _State:
    """`INNER` steps on the same paths, as often as the plan says; the best state there was."""
    theta = state.theta.clone().requires_grad_()
    optimizer, best, done.status = _optimizer(theta, plan), state, "out of steps"
    for _ in range(plan.steps):
        for _ in range(INNER if plan.method == "adam" else 1):
            optimizer.step(_closure(problem, state, theta, optimizer))
        there = _state(problem, theta.detach().clone(), state.frozen, state.scale)
        if not math.isfinite(there.cost):
            done.status = "stopped at the last good state: the cost ahead is not finite"
            break
        moved = float((there.theta - state.theta).abs().max())
        state = _refreshed(problem, there, done)
        best = state if state.cost < best.cost else best
        _note(done, state, moved)
        if moved < REST * plan.rate:
            done.status = "at rest"
            break
    return best


def _optimizer(theta: Tensor, plan: FitPlan) -> torch.optim.Optimizer:
    if plan.method == "adam":
        return torch.optim.Adam([theta], lr=plan.rate)
    return torch.optim.LBFGS([theta], max_iter=INNER, line_search_fn="strong_wolfe")


def _closure(problem: Problem, state: _State, theta: Tensor, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        left = problem.residuals(problem.predict(state.frozen, theta))
        loss = problem.cost(left, theta, state.scale)
        loss.backward()
        return loss

    return closure


# ---- how sure ----------------------------------------------------------------------------------------------


def posterior(problem: Problem, theta: Float[Tensor, " parameter"]) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Covariance of the unknowns (in deviations of the belief), and the Fisher information of the links on each alone.

    Laplace's approximation at `theta`; links are taken as independent. A parameter of which the links say nothing has
    an information of 0 and keeps the width of the belief, 1.
    """
    state = _state(problem, theta, problem.freeze(theta), None)
    curvature, _ = normal(problem, state)
    information = curvature.diagonal() - 1
    return torch.linalg.inv(curvature), information
