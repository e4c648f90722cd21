"""Grid search over local minima: the reflection of a slab oscillates with its thickness in wavelengths, and so does
the cost.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from training.calibration.objective import CalibrationObjective, FitState, Residuals
from training.calibration.parameters import MATERIAL_KINDS

SCAN_DEVIATIONS = 2.5  # prior standard deviations, range of a scan
AZIMUTH_COUNT, TILT_COUNT = 7, 11  # points of the orientation grid
HEIGHT_SCAN_DEVIATIONS, HEIGHT_COUNT = 0.6, 13  # prior standard deviations, and number of heights in this range
SEARCH_LEVEL_STD = 3.0  # dB, standard deviation of levels during the orientation search
REFINEMENT_FACTOR = 5  # finer steps around a minimum of the scan
REWEIGHTINGS = 3  # reweighted least-squares steps of the other parameters


def antenna_rows(objective: CalibrationObjective) -> list[int]:
    """Rows of the parameters that belong to no material."""
    return [row for row, kind in enumerate(objective.parameters.kind) if kind not in MATERIAL_KINDS]


def search_orientations(objective: CalibrationObjective, state: FitState) -> FitState:
    """The best of a grid of azimuths and tilts for every cell separately, with its power adjusted.

    Arrays have lobes, and levels under one lobe look like those under another. All cells turn at once, because a link
    depends on its own cell alone.
    """
    parameters, cell = (
        objective.parameters,
        torch.arange(objective.heard.shape[1], device="cpu").expand_as(objective.heard)[objective.heard],
    )
    azimuth, tilt, power = (parameters.rows(kind) for kind in ("azimuth_deg", "tilt_deg", "power_db"))
    lowest = torch.full((objective.heard.shape[1],), torch.inf, dtype=torch.float64, device="cpu")
    theta = state.theta.clone()
    for a in torch.linspace(
        -SCAN_DEVIATIONS, SCAN_DEVIATIONS, AZIMUTH_COUNT if azimuth else 1, dtype=torch.float64, device="cpu"
    ).tolist():
        for t in torch.linspace(
            -SCAN_DEVIATIONS, SCAN_DEVIATIONS, TILT_COUNT if tilt else 1, dtype=torch.float64, device="cpu"
        ).tolist():
            candidate = state.theta.clone()
            candidate[azimuth], candidate[tilt] = a, t
            residuals = objective.state_at(candidate, state.frozen, SEARCH_LEVEL_STD).residuals
            value, has_path = residuals.value[: objective.level_count], residuals.has_path[: objective.level_count]
            for number in range(len(lowest)):
                cell_residuals = value[(cell == number) & has_path]
                if not len(cell_residuals):
                    continue
                shift = -float(cell_residuals.median()) if power else 0.0
                cost = (
                    2.5 * torch.log1p(((cell_residuals + shift) / SEARCH_LEVEL_STD).square() / 4).sum()
                    + (a * a + t * t) / 2
                )
                if power:
                    row = power[number]
                    power_theta = float(state.theta[row]) + shift / float(parameters.prior_std[row])
                    cost = cost + power_theta**2 / 2
                if float(cost) < float(lowest[number]):
                    lowest[number] = cost
                    for rows, chosen in ((azimuth, a), (tilt, t), (power, power_theta if power else 0.0)):
                        if rows:
                            theta[rows[number]] = chosen
    return objective.state_at(theta, state.frozen, None)


def scan_parameters(objective: CalibrationObjective, state: FitState, count: int) -> FitState:
    """The best of `count` values of every permittivity, and of nearby heights, one after the other, antennas adjusted.

    The antennas' adjustment to each value uses their derivatives at `state`. Heights are scanned because paths appear
    and disappear with them: the cost has steps that no derivative shows.
    """
    antennas = antenna_rows(objective)
    for row, kind in enumerate(objective.parameters.kind):
        if kind not in ("relative_permittivity", "height") or not _is_observable(objective, state, row):
            continue
        jacobian = objective.jacobian(state.frozen, state.theta, state.predicted, antennas)
        jacobian[:, row] = 0.0
        best = state
        for value in _scan_values(kind, float(state.theta[row]), count):
            theta = state.theta.clone()
            theta[row] = value
            paths = objective.freeze(theta) if kind == "height" else state.frozen
            adjusted = _adjust_others(objective, objective.state_at(theta, paths), jacobian)
            best = adjusted if adjusted.cost < best.cost else best
        if best is not state:
            candidate = objective.state_at(best.theta, objective.freeze(best.theta))
            state = candidate if kind == "relative_permittivity" or candidate.cost < state.cost else state
    return state


def neighbouring_valleys(
    objective: CalibrationObjective, state: FitState, row: int, count: int, max_count: int
) -> list[FitState]:
    """The `max_count` deepest local minima of a permittivity besides the one of `state`, all other parameters
    adjusted.

    Minima are narrow and a few scan steps apart: each is scanned again with steps `REFINEMENT_FACTOR` times as fine.
    """
    jacobian = objective.jacobian(state.frozen, state.theta, state.predicted)
    jacobian[:, row] = 0.0

    def candidate(value: float) -> FitState:
        theta = state.theta.clone()
        theta[row] = value
        return _adjust_others(objective, objective.state_at(theta, state.frozen), jacobian)

    values = _scan_values("relative_permittivity", 0.0, count)
    scanned = [candidate(value) for value in values]
    cost = torch.tensor(
        [torch.inf, *(scanned_state.cost for scanned_state in scanned), torch.inf], dtype=torch.float64, device="cpu"
    )
    minima = ((cost[1:-1] <= cost[:-2]) & (cost[1:-1] <= cost[2:])).nonzero()[:, 0].tolist()
    spacing = 2 * SCAN_DEVIATIONS / max(count - 1, 1)
    minima = [n for n in minima if abs(values[n] - float(state.theta[row])) > spacing]
    offsets = (torch.arange(1, 2 * REFINEMENT_FACTOR, device="cpu") / REFINEMENT_FACTOR - 1.0) * spacing
    return [
        min(
            (candidate(values[n] + offset) for offset in offsets.tolist()), key=lambda scanned_state: scanned_state.cost
        )
        for n in sorted(minima, key=lambda n: scanned[n].cost)[:max_count]
    ]


def permittivity_rows(objective: CalibrationObjective, state: FitState) -> list[int]:
    """Rows of the permittivities that any link depends on."""
    kinds = enumerate(objective.parameters.kind)
    return [row for row, kind in kinds if kind == "relative_permittivity" and _is_observable(objective, state, row)]


def _scan_values(kind: str, current: float, count: int) -> list[float]:
    if kind == "height":
        return (
            current + torch.linspace(-HEIGHT_SCAN_DEVIATIONS, HEIGHT_SCAN_DEVIATIONS, HEIGHT_COUNT, device="cpu")
        ).tolist()
    return torch.linspace(-SCAN_DEVIATIONS, SCAN_DEVIATIONS, count, device="cpu").tolist()


def _is_observable(objective: CalibrationObjective, state: FitState, row: int) -> bool:
    """Whether any link changes with a parameter."""
    theta = state.theta.clone()
    theta[row] += 1.0
    candidate = objective.state_at(theta, state.frozen, state.scale)
    return bool(((candidate.residuals.value - state.residuals.value).abs() > 1e-3).any())


def _adjust_others(
    objective: CalibrationObjective, state: FitState, jacobian: Float[Tensor, "link parameter"]
) -> FitState:
    """The state after reweighted least-squares steps of the parameters of `jacobian`, with linearized links."""
    for _ in range(REWEIGHTINGS):
        residual_std, link_weight = (
            objective.residual_std(state.scale),
            objective.link_weight(state.residuals, state.scale),
        )
        scaled = jacobian / residual_std.unsqueeze(1)
        is_free = (jacobian != 0).any(0)
        curvature = scaled.T @ (scaled * link_weight.unsqueeze(1)) + torch.eye(
            len(is_free), dtype=torch.float64, device="cpu"
        )
        slope = scaled.T @ (link_weight * state.residuals.value / residual_std) + state.theta * is_free
        step = -torch.linalg.solve(curvature, slope)
        step = step / max(1.0, float(step.abs().max()))
        residuals = Residuals(
            torch.where(state.residuals.has_path, state.residuals.value + jacobian @ step, 0.0),
            state.residuals.has_path,
        )
        scale, theta = objective.scale(residuals), state.theta + step
        state = FitState(
            theta, state.frozen, state.predicted, residuals, scale, float(objective.cost(residuals, theta, scale))
        )
    return state
