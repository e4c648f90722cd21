"""Fit a problem's unknowns: by Gauss-Newton steps or one of PyTorch's optimizers, never losing the best state."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from training.calibration.grid_search import antennas_of, neighbours, permittivities_of, scan, turned
from training.calibration.objective import CalibrationObjective, FitState
from uel.errors import UelError

TRIES = 6  # dampings of one step
FIRST = 6  # steps of antennas alone
SILENT = 1e-9  # of information in units of the belief's: no path touches it
QUIET = 0.02  # nats: a step that gains less is the last
VALLEYS = 3  # of a permittivity that are walked down beside the deepest
ROUNDS = 3  # over all permittivities: one that has found its valley may open another's
CLEARLY = 1.0  # nats: a valley that much deeper is another one
INNER = 10  # steps of PyTorch's optimizers on the same paths
REST = 0.1  # of a learning rate: moving less in all of them is rest


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit."""

    method: Literal["gauss-newton", "adam", "lbfgs"] = "gauss-newton"
    """gauss-newton: least squares with damping (Levenberg and Marquardt), by differences over frozen paths; adam and
    lbfgs: PyTorch's, by gradients through Dr.Jit"""
    steps: int = 25
    """at most; of adam and lbfgs ten times as many"""
    rate: float = 0.03
    """of adam, in deviations of the belief"""
    scan: int = 41
    """values of each permittivity that are tried, since slabs ring; 0 trusts the start"""
    tolerance: float = 0.05
    """largest step, in posterior deviations, after which a fit has come to rest"""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.scan < 0 or not (0 < self.rate < math.inf and 0 < self.tolerance < math.inf):
            raise UelError("a fit needs steps of a size", got=self, do="raise steps, rate and tolerance")


@dataclass
class FitResult:
    """Where a fit ended, and how it went there."""

    theta: Float[Tensor, " parameter"]
    cost: float
    scale: float
    """dB, deviation of levels"""
    status: str = "out of steps"
    """at rest, out of steps, or what went wrong: then `theta` is the last good state"""
    curve: list[dict[str, Any]] = field(default_factory=list)
    retraced: int = 0
    beside: list[tuple[float, list[float]]] = field(default_factory=list)
    """costs and parameters at the bottom of other valleys that were walked down"""

    def told(self) -> dict[str, Any]:
        return {**vars(self), "theta": self.theta.tolist()}

    @staticmethod
    def read(told: dict[str, Any]) -> "FitResult":
        beside = [(cost, theta) for cost, theta in told.get("beside", [])]  # JSON knows no tuples
        return FitResult(**{**told, "theta": torch.tensor(told["theta"], dtype=torch.float64), "beside": beside})

    @property
    def ends(self) -> list[tuple[float, Tensor]]:
        """Cost and parameters of its own end and of all other valleys."""
        told = [(cost, torch.tensor(theta, dtype=torch.float64)) for cost, theta in self.beside]
        return [(self.cost, self.theta), *told]


def fit(problem: CalibrationObjective, start: Float[Tensor, " parameter"], plan: FitConfig) -> FitResult:
    """The most likely unknowns near a start. It stops at the last good state where nothing finite lies ahead.

    Raises `UelError` when not even the start explains any link, and when its cost is not finite.
    """
    state = problem.state(start, problem.freeze(start), None)
    if not math.isfinite(state.cost) or not bool(state.left.found.any()):
        got = f"a cost of {state.cost}, {int(state.left.found.sum())} of {len(state.left.found)} links with a path"
        raise UelError("a fit cannot begin here", got=got, do="check masts and measurements, or start elsewhere")
    done = FitResult(state.theta, state.cost, state.scale)
    _note(done, state)
    if plan.method != "gauss-newton":
        state = _descent(problem, state, plan, done)
    else:
        state = _searched(problem, state, plan, done)
    done.theta, done.cost, done.scale = state.theta, state.cost, state.scale
    return done


def _searched(problem: CalibrationObjective, state: FitState, plan: FitConfig, done: FitResult) -> FitState:
    """Antennas first, then the valley of every material, then all together; and the valleys once more from there."""
    antennas = antennas_of(problem)
    if plan.scan and antennas:
        state = turned(problem, state)
        state = _newton(problem, state, replace(plan, steps=FIRST), done, antennas)
        state = scan(problem, state, plan.scan)
    state = _newton(problem, state, plan, done)
    if not plan.scan:
        return state
    if (there := scan(problem, state, plan.scan)).cost < state.cost - CLEARLY:
        state = _newton(problem, there, plan, done)
    for _ in range(ROUNDS):
        before = state
        for row in permittivities_of(problem, state):
            state = _beside(problem, state, row, plan, done)
        if state is before:
            break
    return _newton(problem, state, plan, done)


def _beside(problem: CalibrationObjective, state: FitState, row: int, plan: FitConfig, done: FitResult) -> FitState:
    """The lowest of a permittivity's valleys, of this one and those beside it; all are noted."""
    for there in neighbours(problem, state, row, plan.scan, VALLEYS):
        tried = FitResult(there.theta, there.cost, there.scale)
        below = _newton(problem, there, plan, tried)
        if below.cost < state.cost - CLEARLY:
            state, below, done.curve = below, state, done.curve + tried.curve  # those that led nowhere are no part
        done.beside.append((below.cost, below.theta.tolist()))
    return state


def _note(done: FitResult, state: FitState, size: float = 0.0) -> None:
    level = state.left.value[state.left.found].abs()
    row = {"cost": state.cost, "scale_db": state.scale, "median_db": float(level.median()), "step": size}
    done.curve.append({**row, "lost": int((~state.left.found).sum()), "retraced": done.retraced})


def _refreshed(problem: CalibrationObjective, state: FitState, done: FitResult) -> FitState:
    """With new paths where the old ones are stale, and the scale that fits."""
    frozen = state.frozen
    if "height" in problem.unknowns.kind:
        fresh = problem.freeze(state.theta)
        if problem.stale(frozen, fresh, state.theta):
            frozen, done.retraced = fresh, done.retraced + 1
    return problem.state(state.theta, frozen, None)


# ---- Gauss and Newton ------------------------------------------------------------------------------------


def normal(
    problem: CalibrationObjective, state: FitState, rows: list[int] | None = None
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


def _newton(
    problem: CalibrationObjective, state: FitState, plan: FitConfig, done: FitResult, rows: list[int] | None = None
) -> FitState:
    """Steps in all parameters, or in `rows` alone, until nothing moves or lowers the cost any more."""
    damping, done.status = 1e-3, "out of steps"
    for number in range(plan.steps):
        curvature, slope = normal(problem, state, rows)
        if not bool(curvature.isfinite().all()):
            done.status = "stopped at the last good state: a derivative is not finite"
            return state
        if number == 0 and rows is None:  # of what no link tells, the belief is all there is
            rows = (curvature.diagonal() > 1 + SILENT).nonzero()[:, 0].tolist()
            silent = _index([row for row in range(len(slope)) if row not in rows])
            state = problem.state(state.theta.index_fill(0, silent, 0.0), state.frozen, state.scale)
            slope = slope.index_fill(0, silent, 0.0)
        ahead, size, damping = _ahead(problem, state, curvature, slope, damping)
        if ahead is None:
            done.status = "at rest" if size <= 1 else "stopped at the last good state: no step lowers the cost"
            return state
        gained = state.cost - ahead.cost
        state = problem.state(ahead.theta, ahead.frozen, None)
        _note(done, state, size)
        if size < plan.tolerance or gained < QUIET:
            done.status = "at rest"
            return state
    return state


def _ahead(
    problem: CalibrationObjective, state: FitState, curvature: Tensor, slope: Tensor, damping: float
) -> tuple[FitState | None, float, float]:
    """A state of less cost, how large the step was in posterior deviations, and the damping for the next one."""
    width = torch.linalg.inv(curvature).diagonal().sqrt()
    whole = 0.0
    for attempt in range(TRIES):
        step = -torch.linalg.solve(curvature + damping * curvature.diagonal().diag(), slope)
        step = step / max(1.0, float(step.abs().max()))
        size = float((step.abs() / width).max())
        whole = size if attempt == 0 else whole
        theta = state.theta + step
        there = problem.state(theta, problem.freeze(theta), state.scale)  # chains make that cheap: nothing is stale
        if math.isfinite(there.cost) and there.cost <= state.cost:
            return there, size, max(damping / 5, 1e-6)
        damping = max(damping, 1e-3) * 8
    return None, whole, damping


# ---- PyTorch's optimizers --------------------------------------------------------------------------------


def _descent(problem: CalibrationObjective, state: FitState, plan: FitConfig, done: FitResult) -> FitState:
    """`INNER` steps on the same paths, as often as the plan says; the best state there was."""
    theta = state.theta.clone().requires_grad_()
    optimizer, best, done.status = _optimizer(theta, plan), state, "out of steps"
    for _ in range(plan.steps):
        for _ in range(INNER if plan.method == "adam" else 1):
            optimizer.step(_closure(problem, state, theta, optimizer))  # type: ignore[arg-type]
        there = problem.state(theta.detach().clone(), state.frozen, state.scale)
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


def _optimizer(theta: Tensor, plan: FitConfig) -> torch.optim.Optimizer:
    if plan.method == "adam":
        return torch.optim.Adam([theta], lr=plan.rate)
    return torch.optim.LBFGS([theta], max_iter=INNER, line_search_fn="strong_wolfe")


def _closure(
    problem: CalibrationObjective, state: FitState, theta: Tensor, optimizer: torch.optim.Optimizer
) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        left = problem.residuals(problem.predict(state.frozen, theta))
        loss = problem.cost(left, theta, state.scale)
        loss.backward()
        return loss

    return closure


# ---- how sure ----------------------------------------------------------------------------------------------


def posterior(
    problem: CalibrationObjective, theta: Float[Tensor, " parameter"]
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Covariance of the unknowns (in deviations of the belief), and the Fisher information of the links on each alone.

    Laplace's approximation at `theta`; links are taken as independent. A parameter of which the links say nothing has
    an information of 0 and keeps the width of the belief, 1.
    """
    state = problem.state(theta, problem.freeze(theta), None)
    curvature, _ = normal(problem, state)
    information = curvature.diagonal() - 1
    return torch.linalg.inv(curvature), information
