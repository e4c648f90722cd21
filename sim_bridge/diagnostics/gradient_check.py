"""`uel doctor --gradients`: every derivative the bridge gives, against central differences, or refused.

For each scene, way of asking and parameter, random configurations are drawn; in each, the quantity's derivative along a
random direction by automatic differentiation is compared with (q(θ + h) - q(θ - h)) / 2h. Links that gain or lose a
path within the step are left out: no derivative sees that. A quantity that does not depend on the parameter must have
a derivative that is zero, and is reported as such.

Receivers and cells have their own parameters, so one trace holds as many configurations as links; a material or an
object is shared by all links, so each configuration is a trace of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.diagnostics.gradient_cases import GradientCase, random_cases, unit_rows
from sim_bridge.diagnostics.gradient_scenes import GRADIENT_SCENES, GradientScene, canyon_radio_map
from sim_bridge.paths.path_set import PathSet
from uel.core.display.progress import progress_bar
from uel.core.io import as_json, replace_file
from uel.errors import UelError
from uel.radio.radio_map import MapLookup

MAP_SCENE = "canyon"  # the scene whose radio map is checked
MAP_QUANTITIES: dict[str, Callable[[MapLookup], Tensor]] = {
    "path gain": lambda m: m.gain.clamp(min=1e-30).log(),
    "ToA": lambda m: m.first_arrival * 1e9,
    "AoA": lambda m: m.mean_arrival[..., 0],
    "AoD": lambda m: m.mean_departure[..., 1],
    "delay spread": lambda m: m.delay_spread * 1e9,
}
MAX_MEDIAN_ERROR = 0.01  # greatest median relative error
PATH_QUANTITIES: dict[str, Callable[[PathSet], Tensor]] = {
    "path gain": lambda p: p.gain().clamp(min=1e-30).log(),
    "ToA": lambda p: p.first_arrival() * 1e9,
    "AoA": lambda p: p.mean_arrival()[..., 0],
    "AoD": lambda p: p.mean_departure()[..., 1],
    "Doppler": lambda p: p.mean_doppler(),
    "delay spread": lambda p: p.delay_spread() * 1e9,
}
MIN_SIGNAL_TO_NOISE = 30.0  # a difference of so many times the noise is known to a per cent
# Of a difference: by how much that over half the step may differ from it, or neither is known to a per cent.
MAX_STEP_DISAGREEMENT = 0.03
DELAY_ROUNDING = 2.4e-7  # of a delay: two roundings to float32


@dataclass(frozen=True)
class GradientRow:
    """One line of the table."""

    scene: str
    mode: str
    parameter: str
    quantity: str
    status: str
    """ok, zero (correctly so), refused, none (noise hides the derivative), or WRONG"""
    error: float | None = None
    """median relative error"""
    configurations: int = 0
    note: str = ""


def gradient_table(
    count: int = 100, seed: int = 0, scenes: Mapping[str, GradientScene] = GRADIENT_SCENES
) -> list[GradientRow]:
    """The whole matrix, `count` configurations or more to a line."""
    rows = []
    parameters = sum(2 * len(scene.parameters) for scene in scenes.values())
    with progress_bar(parameters, "gradients: parameters") as bar:
        for name, scene in scenes.items():
            if name == MAP_SCENE:
                rows += _map_rows(count, seed)
            for mode in ("paths", "frozen"):
                for parameter in scene.parameters:
                    rows += _rows(name, scene, mode, parameter, count, seed)
                    bar.update(1)
    return rows


def all_passed(rows: list[GradientRow]) -> bool:
    """Whether every derivative is correct or refused."""
    return all(row.status in ("ok", "zero", "refused", "none") for row in rows)


def write_rows(rows: list[GradientRow], file: Path) -> None:
    """Write the table as JSON, one object a line."""
    replace_file(file, as_json([asdict(row) for row in rows]))


Derivatives = tuple[Tensor, Tensor, Tensor, Tensor]
"""Derivative along the step, difference over it, its noise and its disagreement over half the step."""


def _rows(name: str, scene: GradientScene, mode: str, parameter: str, count: int, seed: int) -> list[GradientRow]:
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[Derivatives]] = {quantity: [] for quantity in PATH_QUANTITIES}
    try:
        for case in random_cases(scene, mode, parameter, count, generator):
            derivatives = _in_one_sum(case) if case.rows_of == "all" else _one_by_one(case)
            for quantity, values in derivatives.items():
                parts[quantity].append(values)
    except UelError as refusal:
        return [GradientRow(name, mode, parameter, "all", "refused", note=str(refusal).splitlines()[0])]
    return [_row(name, mode, parameter, quantity, values) for quantity, values in parts.items() if values]


def _map_rows(count: int, seed: int) -> list[GradientRow]:
    """Derivatives by lookup with respect to position; a map was traced with everything else as it is."""
    radio, scene = canyon_radio_map(), GRADIENT_SCENES[MAP_SCENE]
    generator = torch.Generator().manual_seed(seed)
    points = scene.draw(generator, 2 * count)[:, :2] * 0.8
    step = unit_rows(torch.randn(points.shape, generator=generator, device=generator.device), by_row=True) * scene.step
    # Between pixel centres the lookup is smooth, across their lines it has kinks.
    pixel = (points + radio.grid.size / 2) / radio.grid.pixel - 0.5
    smooth = ((pixel - pixel.round()).abs() * radio.grid.pixel > 2 * scene.step).all(1)
    rows = [
        GradientRow(
            MAP_SCENE, "map", "everything else", "all", "refused", note="a radio map answers for positions alone"
        )
    ]
    for name, quantity in MAP_QUANTITIES.items():
        value = points.clone().requires_grad_()
        known = radio.lookup(points).known[:, 0] & smooth
        (gradient,) = torch.autograd.grad(quantity(radio.lookup(value))[:, 0].double().sum(), value)
        values = {k: quantity(radio.lookup(points + k * step))[:, 0].double() for k in (0.5, -0.5, 1.0, -1.0)}
        noise = _noise(name, values[0.5], values[-0.5], scene.noise)
        parts = ((gradient * step).double().sum(1), _difference(values), noise, _disagreement(values))
        rows.append(_row(MAP_SCENE, "map", "RX position", name, [tuple(v[known].detach() for v in parts)]))  # type: ignore[list-item]
    return rows


def markdown_table(rows: list[GradientRow]) -> str:
    """Parameters × quantities, the worst of all scenes in each cell."""
    names = list(PATH_QUANTITIES)
    lines = [f"| of | by | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for mode, parameter in dict.fromkeys((row.mode, row.parameter) for row in rows):
        selected = [row for row in rows if (row.mode, row.parameter) == (mode, parameter)]
        lines.append(f"| {mode} | {parameter} | {' | '.join(_worst(selected, name) for name in names)} |")
    return "\n".join(lines)


def _worst(rows: list[GradientRow], quantity: str) -> str:
    selected = [row for row in rows if row.quantity in (quantity, "all")]
    failures = [row.status for row in selected if row.status.startswith("WRONG")]
    if failures:
        return failures[0]
    errors = [row.error for row in selected if row.error is not None]
    if errors:
        return f"{max(errors):.0e}".replace("e-0", "e-")
    return {"zero": "0", "refused": "refused"}.get(selected[0].status, "–") if selected else "–"


def _row(scene: str, mode: str, parameter: str, quantity: str, parts: list[Derivatives]) -> GradientRow:
    exact, difference, noise, disagreement = (torch.cat([part[k] for part in parts]) for k in range(4))
    flat = difference.abs() <= noise
    significant = ~flat & (disagreement <= MAX_STEP_DISAGREEMENT * difference.abs())
    if not bool(exact.isfinite().all()):
        return GradientRow(scene, mode, parameter, quantity, "WRONG: not finite", None, len(exact))
    zero = exact[flat].abs() <= 3 * noise[flat]
    if int(significant.sum()) < 0.02 * len(exact):
        status = "none" if not len(zero) else "zero" if bool(zero.float().mean() > 0.98) else "WRONG: not zero"
        return GradientRow(scene, mode, parameter, quantity, status, None, len(exact))
    error = float(((exact - difference)[significant] / difference[significant]).abs().median())
    return GradientRow(
        scene, mode, parameter, quantity, "ok" if error <= MAX_MEDIAN_ERROR else "WRONG", error, int(significant.sum())
    )


def _differences(case: GradientCase) -> tuple[dict[str, tuple[Tensor, Tensor, Tensor]], Tensor]:
    """Difference of every quantity over the step, its noise and its disagreement, per link, and which links count.

    Links that count have the same paths throughout.
    """
    with torch.no_grad():
        traces = {k: case.trace(case.value + k * case.step) for k in (0.0, 0.5, -0.5, 1.0, -1.0)}
        values = {name: {k: q(f).double() for k, f in traces.items()} for name, q in PATH_QUANTITIES.items()}
    counts = [f.count() for f in traces.values()]
    same = torch.stack([count == counts[0] for count in counts]).all(0) & traces[0.0].known()
    chosen = _one_link(same, case.rows_of)
    noise = {n: 2 * _noise(n, v[0.5], v[-0.5], case.noise, values["ToA"][0.0]) for n, v in values.items()}
    differences = {
        n: (_difference(v) * chosen, noise[n] * chosen, _disagreement(v) * chosen) for n, v in values.items()
    }
    return differences, chosen


def _difference(values: Mapping[float, Tensor]) -> Tensor:
    """Difference of fourth order, from values at half steps and whole ones: the phase in a slab turns fast."""
    return (8 * (values[0.5] - values[-0.5]) - (values[1.0] - values[-1.0])) / 6


def _disagreement(values: Mapping[float, Tensor]) -> Tensor:
    """Amount by which the differences over half a step and over a whole one disagree, by rounding or by curvature."""
    return (values[0.5] - values[-0.5] - (values[1.0] - values[-1.0]) / 2).abs()


def _noise(name: str, one: Tensor, other: Tensor, relative: float, arrival: Tensor | float = 0.0) -> Tensor:
    """Noise of a difference of two values, `relative` to them; a logarithm's is that of its argument.

    A delay spread also has the noise of the delays (ns) in it.
    """
    noise = relative * (torch.full_like(one, 2.0) if name == "path gain" else one.abs() + other.abs()) + 1e-9
    return noise + (DELAY_ROUNDING * arrival if name == "delay spread" else 0.0)


def _one_by_one(case: GradientCase) -> dict[str, Derivatives]:
    """Every quantity by itself: each receiver or cell is a configuration."""
    differences, chosen = _differences(case)
    axis = 1 if case.rows_of == "receiver" else 0
    has_link, derivatives = chosen.any(axis), {}
    for name, quantity in PATH_QUANTITIES.items():
        along = _along(case, lambda paths, q=quantity: (q(paths).double() * chosen).sum())
        per_row = along.reshape(len(case.value), -1).sum(1)
        derivatives[name] = (per_row[has_link], *(part.sum(axis)[has_link] for part in differences[name]))
    return derivatives


def _in_one_sum(case: GradientCase) -> dict[str, Derivatives]:
    """All quantities in two backward passes, scaled so that the error of any shows in the sum.

    Those that differ over the step well above the noise are scaled to a derivative of 1, those that do not to the
    noise of their difference. Those in between are neither, and are left out.
    """
    differences, chosen = _differences(case)
    if not bool(chosen.any()):
        return {}
    size = {name: tuple(float(part.sum()) for part in parts) for name, parts in differences.items()}
    moving = [
        name
        for name, (d, n, disagreement) in size.items()
        if abs(d) > MIN_SIGNAL_TO_NOISE * n and disagreement <= MAX_STEP_DISAGREEMENT * abs(d)
    ]
    flat = [name for name, (d, n, _) in size.items() if abs(d) <= n]

    def along(names: list[str], scale: dict[str, float]) -> float:
        def total(p):
            return torch.stack([(PATH_QUANTITIES[n](p).double() * chosen).sum() / scale[n] for n in names]).sum()

        return float(_along(case, total).sum()) if names else 0.0

    error = along(moving, {name: d for name, (d, *_) in size.items()}) - len(moving)
    remainder = along(flat, {name: n for name, (_, n, _) in size.items()})
    exact = {name: size[name][0] * (1 + error) for name in moving} | {name: size[name][1] * remainder for name in flat}

    def scalar(value):
        return torch.tensor([value], dtype=torch.float64, device="cpu")

    return {name: tuple(map(scalar, (value, *size[name]))) for name, value in exact.items()}  # type: ignore[misc]


def _along(case: GradientCase, total: Callable[[PathSet], Tensor]) -> Tensor:
    """Derivative of a number along the step, of each entry of the parameter."""
    value = case.value.clone().requires_grad_()
    result = total(case.trace(value))
    gradient = torch.autograd.grad(result, value, allow_unused=True)[0] if result.requires_grad else None
    return ((torch.zeros_like(value) if gradient is None else gradient) * case.step).double()


def _one_link(same: Tensor, rows_of: str) -> Float[Tensor, "receiver cell"]:
    """1 for one usable link of each receiver, of each cell, or of all."""
    weight = torch.rand(same.shape, generator=torch.Generator().manual_seed(1), device="cpu") * same
    if rows_of == "all":
        best = weight == weight.max()
    else:
        best = weight == weight.max(1 if rows_of == "receiver" else 0, keepdim=True).values
    return (best & same).double()
