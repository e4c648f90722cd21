"""Fit the parameters of a calibration, by Gauss-Newton steps or one of PyTorch's optimizers; the best state is kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from training.calibration.config import FitConfig
from training.calibration.grid_search import (
    antenna_rows,
    neighbouring_valleys,
    permittivity_rows,
    scan_parameters,
    search_orientations,
)
from training.calibration.objective import CalibrationObjective, FitState
from uel.errors import UelError

DAMPING_TRIES = 6  # dampings tried in one step
ANTENNA_STEPS = 6  # first steps, of antennas alone
MIN_INFORMATION = 1e-9  # Fisher information in units of the prior's, below it no path depends on the parameter
MIN_GAIN = 0.02  # nats, a step that lowers the cost by less is the last
VALLEYS_PER_PERMITTIVITY = 3  # local minima of a permittivity that are searched besides the deepest
VALLEY_ROUNDS = 3  # rounds over all permittivities: a change of one may move the minimum of another
MIN_VALLEY_GAIN = 1.0  # nats by which another minimum must be lower
STEPS_PER_PATHS = 10  # steps of PyTorch's optimizers on the same paths
REST_FRACTION = 0.1  # fraction of the learning rate, smaller steps count as converged


@dataclass
class FitResult:
    """The end of a fit and its course."""

    theta: Float[Tensor, " parameter"]
    cost: float
    scale: float
    """dB, standard deviation of levels"""
    status: str = "out of steps"
    """at rest, out of steps, or the reason for stopping early: then `theta` is the last good state"""
    curve: list[dict[str, Any]] = field(default_factory=list)
    retraced: int = 0
    other_valleys: list[tuple[float, list[float]]] = field(default_factory=list)
    """costs and parameters of the other local minima that were searched"""

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return {**vars(self), "theta": self.theta.tolist()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "FitResult":
        """The result that `to_dict` wrote, after a round trip through JSON."""
        other_valleys = [(cost, theta) for cost, theta in values.get("other_valleys", [])]  # JSON has no tuples
        theta = torch.tensor(values["theta"], dtype=torch.float64, device="cpu")
        return FitResult(**{**values, "theta": theta, "other_valleys": other_valleys})

    @property
    def valleys(self) -> list[tuple[float, Tensor]]:
        """Cost and parameters of the final state and of all other local minima."""
        others = [(cost, torch.tensor(theta, dtype=torch.float64, device="cpu")) for cost, theta in self.other_valleys]
        return [(self.cost, self.theta), *others]


def fit(objective: CalibrationObjective, start: Float[Tensor, " parameter"], config: FitConfig) -> FitResult:
    """The most likely parameters near a start; if the next state is not finite, the last good state.

    Raises `UelError` if no measured link has a path at the start, or its cost is not finite.
    """
    state = objective.state_at(start, objective.freeze(start), None)
    if not math.isfinite(state.cost) or not bool(state.residuals.has_path.any()):
        has_path = state.residuals.has_path
        got = f"cost {state.cost}, {int(has_path.sum())} of {len(has_path)} links with a path"
        raise UelError(
            "no measured link has a path at the start of the fit, or its cost is not finite",
            got=got,
            do="check the sites and the measurements",
        )
    result = FitResult(state.theta, state.cost, state.scale)
    _record_step(result, state)
    if config.method != "gauss-newton":
        state = _gradient_descent(objective, state, config, result)
    else:
        state = _gauss_newton_search(objective, state, config, result)
    result.theta, result.cost, result.scale = state.theta, state.cost, state.scale
    return result


def _gauss_newton_search(
    objective: CalibrationObjective, state: FitState, config: FitConfig, result: FitResult
) -> FitState:
    """Search antennas first, then the minimum of every material, then all together; then the minima again from
    there."""
    antennas = antenna_rows(objective)
    if config.scan and antennas:
        state = search_orientations(objective, state)
        state = _gauss_newton(objective, state, replace(config, steps=ANTENNA_STEPS), result, antennas)
        state = scan_parameters(objective, state, config.scan)
    state = _gauss_newton(objective, state, config, result)
    if not config.scan:
        return state
    if (candidate := scan_parameters(objective, state, config.scan)).cost < state.cost - MIN_VALLEY_GAIN:
        state = _gauss_newton(objective, candidate, config, result)
    for _ in range(VALLEY_ROUNDS):
        before = state
        for row in permittivity_rows(objective, state):
            state = _search_valleys(objective, state, row, config, result)
        if state is before:
            break
    return _gauss_newton(objective, state, config, result)


def _search_valleys(
    objective: CalibrationObjective, state: FitState, row: int, config: FitConfig, result: FitResult
) -> FitState:
    """The lowest of the local minima of a permittivity; all of them go into the result."""
    for candidate in neighbouring_valleys(objective, state, row, config.scan, VALLEYS_PER_PERMITTIVITY):
        neighbour_result = FitResult(candidate.theta, candidate.cost, candidate.scale)
        lowest = _gauss_newton(objective, candidate, config, neighbour_result)
        if lowest.cost < state.cost - MIN_VALLEY_GAIN:
            state, lowest, result.curve = (
                lowest,
                state,
                result.curve + neighbour_result.curve,
            )  # the curve of the best valley alone
        result.other_valleys.append((lowest.cost, lowest.theta.tolist()))
    return state


def _record_step(result: FitResult, state: FitState, size: float = 0.0) -> None:
    level = state.residuals.value[state.residuals.has_path].abs()
    row = {"cost": state.cost, "scale_db": state.scale, "median_db": float(level.median()), "step": size}
    result.curve.append({**row, "lost": int((~state.residuals.has_path).sum()), "retraced": result.retraced})


def _refresh_paths(objective: CalibrationObjective, state: FitState, result: FitResult) -> FitState:
    """The state with new paths if the old ones are stale, and with its own scale."""
    frozen = state.frozen
    if "height" in objective.parameters.kind:
        fresh = objective.freeze(state.theta)
        if objective.is_stale(frozen, fresh, state.theta):
            frozen, result.retraced = fresh, result.retraced + 1
    return objective.state_at(state.theta, frozen, None)


# ---- Gauss and Newton ------------------------------------------------------------------------------------


def normal_equations(
    objective: CalibrationObjective, state: FitState, rows: list[int] | None = None
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Curvature and gradient of the cost (prior included) by weighted least squares, in all parameters or in some
    `rows`.
    """
    residual_std = objective.residual_std(state.scale)
    jacobian = objective.jacobian(state.frozen, state.theta, state.predicted, rows) / residual_std.unsqueeze(1)
    link_weight = objective.link_weight(state.residuals, state.scale)
    curvature = jacobian.T @ (jacobian * link_weight.unsqueeze(1)) + torch.eye(
        len(state.theta), dtype=torch.float64, device="cpu"
    )
    is_free = (
        torch.ones_like(state.theta) if rows is None else torch.zeros_like(state.theta).index_fill(0, _index(rows), 1.0)
    )
    slope = jacobian.T @ (link_weight * state.residuals.value / residual_std) + state.theta * is_free
    return curvature, slope


def _index(rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.long, device="cpu")


def _gauss_newton(
    objective: CalibrationObjective,
    state: FitState,
    config: FitConfig,
    result: FitResult,
    rows: list[int] | None = None,
) -> FitState:
    """Gauss-Newton steps in all parameters, or in `rows` alone, until they converge or no step lowers the cost."""
    damping, result.status = 1e-3, "out of steps"
    for number in range(config.steps):
        curvature, slope = normal_equations(objective, state, rows)
        if not bool(curvature.isfinite().all()):
            result.status = "stopped at the last good state: a derivative is not finite"
            return state
        if number == 0 and rows is None:  # parameters that no link depends on stay at the prior mean
            rows = (curvature.diagonal() > 1 + MIN_INFORMATION).nonzero()[:, 0].tolist()
            uninformed = _index([row for row in range(len(slope)) if row not in rows])
            state = objective.state_at(state.theta.index_fill(0, uninformed, 0.0), state.frozen, state.scale)
            slope = slope.index_fill(0, uninformed, 0.0)
        next_state, size, damping = _next_state(objective, state, curvature, slope, damping)
        if next_state is None:
            result.status = "at rest" if size <= 1 else "stopped at the last good state: no step lowers the cost"
            return state
        gain = state.cost - next_state.cost
        state = objective.state_at(next_state.theta, next_state.frozen, None)
        _record_step(result, state, size)
        if size < config.tolerance or gain < MIN_GAIN:
            result.status = "at rest"
            return state
    return state


def _next_state(
    objective: CalibrationObjective, state: FitState, curvature: Tensor, slope: Tensor, damping: float
) -> tuple[FitState | None, float, float]:
    """A state of lower cost, the size of the step in posterior standard deviations, and the damping for the next
    step."""
    posterior_std = torch.linalg.inv(curvature).diagonal().sqrt()
    full_size = 0.0
    for attempt in range(DAMPING_TRIES):
        step = -torch.linalg.solve(curvature + damping * curvature.diagonal().diag(), slope)
        step = step / max(1.0, float(step.abs().max()))
        size = float((step.abs() / posterior_std).max())
        full_size = size if attempt == 0 else full_size
        theta = state.theta + step
        candidate = objective.state_at(
            theta, objective.freeze(theta), state.scale
        )  # cheap from a pool of chains, and never stale
        if math.isfinite(candidate.cost) and candidate.cost <= state.cost:
            return candidate, size, max(damping / 5, 1e-6)
        damping = max(damping, 1e-3) * 8
    return None, full_size, damping


# ---- PyTorch's optimizers --------------------------------------------------------------------------------


def _gradient_descent(
    objective: CalibrationObjective, state: FitState, config: FitConfig, result: FitResult
) -> FitState:
    """The best state of `config.steps` rounds of optimizer steps, each round on the same paths."""
    theta = state.theta.clone().requires_grad_()
    optimizer, best, result.status = _optimizer(theta, config), state, "out of steps"
    for _ in range(config.steps):
        for _ in range(STEPS_PER_PATHS if config.method == "adam" else 1):
            optimizer.step(_closure(objective, state, theta, optimizer))  # type: ignore[arg-type]
        ahead = theta.detach().clone()
        candidate = objective.state_at(ahead, state.frozen, state.scale) if bool(ahead.isfinite().all()) else None
        if candidate is None or not math.isfinite(candidate.cost):
            result.status = "stopped at the last good state: the cost ahead is not finite"
            break
        moved = float((candidate.theta - state.theta).abs().max())
        state = _refresh_paths(objective, candidate, result)
        best = state if state.cost < best.cost else best
        _record_step(result, state, moved)
        if moved < REST_FRACTION * config.rate:
            result.status = "at rest"
            break
    return best


def _optimizer(theta: Tensor, config: FitConfig) -> torch.optim.Optimizer:
    if config.method == "adam":
        return torch.optim.Adam([theta], lr=config.rate)
    return torch.optim.LBFGS([theta], max_iter=STEPS_PER_PATHS, line_search_fn="strong_wolfe")


def _closure(
    objective: CalibrationObjective, state: FitState, theta: Tensor, optimizer: torch.optim.Optimizer
) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        if not bool(theta.detach().isfinite().all()):  # no simulator takes such parameters
            return theta.sum()
        residuals = objective.residuals_of(objective.predict(state.frozen, theta))
        loss = objective.cost(residuals, theta, state.scale)
        loss.backward()
        return loss

    return closure


# ---- how sure ----------------------------------------------------------------------------------------------


def posterior(
    objective: CalibrationObjective, theta: Float[Tensor, " parameter"]
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """Covariance of the parameters (in prior standard deviations), and the Fisher information of the links on each
    alone.

    Laplace's approximation at `theta`; links are taken as independent. A parameter that no link depends on has
    information 0 and keeps the prior's standard deviation, 1.
    """
    state = objective.state_at(theta, objective.freeze(theta), None)
    curvature, _ = normal_equations(objective, state)
    information = curvature.diagonal() - 1
    return torch.linalg.inv(curvature), information
