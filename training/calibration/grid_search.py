"""Valleys side by side: the reflection of a slab rings with its thickness in wavelengths, and so does a fit's cost."""

import torch
from jaxtyping import Float
from torch import Tensor

from training.calibration.objective import CalibrationObjective, FitState, Residuals
from training.calibration.parameters import MATERIAL

WORST = 2.5  # of the belief's deviation: how far a scan looks
AZIMUTHS, TILTS = 7, 11  # of the lattice
NEARBY, NEAR = 0.6, 13  # of the belief's deviation, and how many heights in there
BROAD = 3.0  # dB, deviation of levels while antennas are searched
CLOSER = 5  # times: a second look at a low place of a scan
GIVE = 3  # reweightings of antennas that give way


def antennas_of(problem: CalibrationObjective) -> list[int]:
    """Rows of what is no material's."""
    return [row for row, kind in enumerate(problem.unknowns.kind) if kind not in MATERIAL]


def turned(problem: CalibrationObjective, state: FitState) -> FitState:
    """The best of a lattice of azimuths and tilts for every cell by itself, its power giving way.

    Arrays have lobes, and a phone beneath one lobe looks as if it were beneath another. All cells turn at once; a link
    depends on its own.
    """
    u, cell = problem.unknowns, torch.arange(problem.heard.shape[1]).expand_as(problem.heard)[problem.heard]
    azimuth, tilt, power = (u.rows(kind) for kind in ("azimuth_deg", "tilt_deg", "power_db"))
    least = torch.full((problem.heard.shape[1],), torch.inf, dtype=torch.float64)
    theta = state.theta.clone()
    for a in torch.linspace(-WORST, WORST, AZIMUTHS if azimuth else 1, dtype=torch.float64).tolist():
        for t in torch.linspace(-WORST, WORST, TILTS if tilt else 1, dtype=torch.float64).tolist():
            there = state.theta.clone()
            there[azimuth], there[tilt] = a, t
            left = problem.state(there, state.frozen, BROAD).left
            value, found = left.value[: problem.levels], left.found[: problem.levels]
            for number in range(len(least)):
                mine = value[(cell == number) & found]
                if not len(mine):
                    continue
                shift = -float(mine.median()) if power else 0.0
                cost = 2.5 * torch.log1p(((mine + shift) / BROAD).square() / 4).sum() + (a * a + t * t) / 2
                if power:
                    moved = float(state.theta[power[number]]) + shift / float(u.spread[power[number]])
                    cost = cost + moved**2 / 2
                if float(cost) < float(least[number]):
                    least[number] = cost
                    for rows, chosen in ((azimuth, a), (tilt, t), (power, moved if power else 0.0)):
                        if rows:
                            theta[rows[number]] = chosen
    return problem.state(theta, state.frozen, None)


def scan(problem: CalibrationObjective, state: FitState, count: int) -> FitState:
    """The best of `count` values of every permittivity and of heights nearby, one after the other, antennas giving way.

    How antennas answer to each value is taken from their derivatives here. Heights are scanned because paths come and
    go with them: the cost has steps that no derivative sees.
    """
    antennas = antennas_of(problem)
    for row, kind in enumerate(problem.unknowns.kind):
        if kind not in ("relative_permittivity", "height") or not _felt(problem, state, row):
            continue
        table = problem.jacobian(state.frozen, state.theta, state.said, antennas)
        table[:, row] = 0.0
        best = state
        for value in _values(kind, float(state.theta[row]), count):
            theta = state.theta.clone()
            theta[row] = value
            paths = problem.freeze(theta) if kind == "height" else state.frozen
            moved = _given_way(problem, problem.state(theta, paths), table)
            best = moved if moved.cost < best.cost else best
        if best is not state:
            there = problem.state(best.theta, problem.freeze(best.theta))
            state = there if kind == "relative_permittivity" or there.cost < state.cost else state
    return state


def neighbours(problem: CalibrationObjective, state: FitState, row: int, count: int, most: int) -> list[FitState]:
    """The `most` deepest valleys of a permittivity beside the one that a state lies in, all else giving way in each.

    Valleys are a few steps of the scan apart and narrow: around each low place it is looked `CLOSER` times as closely.
    """
    table = problem.jacobian(state.frozen, state.theta, state.said)
    table[:, row] = 0.0

    def there(value: float) -> FitState:
        theta = state.theta.clone()
        theta[row] = value
        return _given_way(problem, problem.state(theta, state.frozen), table)

    values = _values("relative_permittivity", 0.0, count)
    found = [there(value) for value in values]
    cost = torch.tensor([torch.inf, *(one.cost for one in found), torch.inf], dtype=torch.float64)
    low = ((cost[1:-1] <= cost[:-2]) & (cost[1:-1] <= cost[2:])).nonzero()[:, 0].tolist()
    spacing = 2 * WORST / max(count - 1, 1)
    low = [n for n in low if abs(values[n] - float(state.theta[row])) > spacing]
    nearby = (torch.arange(1, 2 * CLOSER) / CLOSER - 1.0) * spacing
    return [
        min((there(values[n] + off) for off in nearby.tolist()), key=lambda one: one.cost)
        for n in sorted(low, key=lambda n: found[n].cost)[:most]
    ]


def permittivities_of(problem: CalibrationObjective, state: FitState) -> list[int]:
    """Rows of the permittivities that any link answers to."""
    kinds = enumerate(problem.unknowns.kind)
    return [row for row, kind in kinds if kind == "relative_permittivity" and _felt(problem, state, row)]


def _values(kind: str, now: float, count: int) -> list[float]:
    if kind == "height":
        return (now + torch.linspace(-NEARBY, NEARBY, NEAR)).tolist()
    return torch.linspace(-WORST, WORST, count).tolist()


def _felt(problem: CalibrationObjective, state: FitState, row: int) -> bool:
    """Whether any link changes with a parameter."""
    theta = state.theta.clone()
    theta[row] += 1.0
    there = problem.state(theta, state.frozen, state.scale)
    return bool(((there.left.value - state.left.value).abs() > 1e-3).any())


def _given_way(problem: CalibrationObjective, state: FitState, table: Float[Tensor, "link parameter"]) -> FitState:
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
        state = FitState(theta, state.frozen, state.said, left, scale, float(problem.cost(left, theta, scale)))
    return state
