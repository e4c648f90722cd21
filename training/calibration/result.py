"""What a calibration found: values with their widths, what is not identified, and how it does where it did not look."""

import csv
import io
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scenes.materials.itu_p2040 import RadioMaterial, reflection_coefficients
from training.calibration.objective import CalibrationObjective, PredictedLinks
from training.calibration.optimizers import FitResult
from training.calibration.parameters import MATERIAL_KINDS, PARAMETER_UNITS, CalibrationParameters
from training.calibration.synthetic_truth import materials_of

IDENTIFIED_WIDTH = 0.25  # of the belief's width: what measurements have narrowed to less is identified
UNIDENTIFIED_WIDTH = 0.9  # of the belief's width: what they have not even narrowed to this stays as it was believed
SAME_VALLEY_DEVIATIONS = 3.0  # posterior deviations from the best fit: nearer starts came to the same place
COST_TOLERANCE = (
    15.0  # nats: ends at the same values differ by as much (munich 10, geneva 17), for paths come and go on the way
)
REFLECTION_STEP = 1e-3  # of a parameter's number, for the derivative of a reflection


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """The best fit and how sure it is."""

    parameters: CalibrationParameters
    known: dict[str, dict[str, float]]
    fits: list[FitResult]
    """of all starts"""
    covariance: Float[Tensor, "parameter parameter"]
    """in deviations of the belief, within the valley of the best fit"""
    information: Float[Tensor, " parameter"]
    """Fisher information of the links on each parameter alone, in the same unit"""
    frequency: float

    @property
    def fit(self) -> FitResult:
        return min(self.fits, key=lambda done: done.cost)

    @property
    def spread(self) -> Float[Tensor, "parameter parameter"]:
        """Covariance within the best valley and between it and the others, a mixture of normal laws by likelihood.

        Ends of all starts, and the other valleys that these walked down, widen it where their cost is nearly the same
        (within `COST_TOLERANCE`: the same).
        """
        ends = self._valleys
        above = torch.tensor([cost - self.fit.cost for cost, _ in ends], dtype=torch.float64)
        weight = (-(above - COST_TOLERANCE).clamp(min=0)).softmax(0)
        away = torch.stack([theta for _, theta in ends]) - self.fit.theta
        return self.covariance + away.T @ (weight.unsqueeze(1) * away)

    @cached_property
    def _valleys(self) -> list[tuple[float, Tensor]]:
        """Cost and parameters at the bottom of every valley, the deepest first."""
        found: list[tuple[float, Tensor]] = []
        for cost, theta in sorted((end for done in self.fits for end in done.valleys), key=lambda end: end[0]):
            if not any(bool((self._off(theta, other) <= SAME_VALLEY_DEVIATIONS).all()) for _, other in found):
                found.append((cost, theta))
        return found

    def _off(self, a: Tensor, b: Tensor) -> Tensor:
        """How far apart two ends are in all that is identified within the best valley, in posterior deviations."""
        width = self.covariance.diagonal().sqrt()
        return ((a - b).abs() / width)[width <= IDENTIFIED_WIDTH]

    @property
    def width(self) -> Float[Tensor, " parameter"]:
        """Posterior deviation over that of the belief."""
        return self.spread.diagonal().sqrt()

    @property
    def settled(self) -> Float[Tensor, " parameter"]:
        """The fit, but for parameters of which the links say nothing: those stay as they were believed."""
        return torch.where(self.width > UNIDENTIFIED_WIDTH, 0.0, self.fit.theta)

    @property
    def identified(self) -> list[str]:
        return [
            name
            for name, width in zip(self.parameters.names, self.width.tolist(), strict=True)
            if width <= IDENTIFIED_WIDTH
        ]

    def verdict(self, row: int) -> str:
        """identified, weak or silent, and why."""
        if float(self.information[row]) < 1e-6:
            return "not identified: no link depends on it"
        if (width := float(self.width[row])) > UNIDENTIFIED_WIDTH:
            return "not identified: the links say next to nothing"
        return "identified" if width <= IDENTIFIED_WIDTH else "weak"

    def rows(self, true: Tensor | None) -> list[dict[str, Any]]:
        """One for each parameter, then |reflection| at 45° of each material."""
        u, theta = self.parameters, self.estimate
        value, slope, believed = u.value(theta), u.derivative(theta), u.value(torch.zeros_like(theta))
        told = []
        for row, kind in enumerate(u.kind):
            found = {"parameter": kind, "of": u.owner_name(kind, u.owner[row]), "unit": PARAMETER_UNITS.get(kind, "")}
            found |= {"believed": float(believed[row]), "found": float(value[row])}
            found |= {"width": float(self.width[row] * slope[row].abs()), "left": float(self.width[row])}
            found |= {"away": abs(float(theta[row])), "information": float(self.information[row])}
            found["verdict"] = self.verdict(row)
            told.append(found | _true_columns(float(value[row]), true, row, kind))
        return told + (self._reflections(true) if any(kind in MATERIAL_KINDS for kind in u.kind) else [])

    def _reflections(self, true: Tensor | None) -> list[dict[str, Any]]:
        """Of a vertical and of a horizontal field together, root mean square."""
        u, theta = self.parameters, self.estimate
        believed, found = self._reflect(torch.zeros_like(theta)), self._reflect(theta)
        truth = self._reflect_values(true) if true is not None else {}
        told = []
        for name, value in found.items():
            mine = [n for n, kind in enumerate(u.kind) if kind in MATERIAL_KINDS and u.materials[u.owner[n]] == name]
            moved = [
                self._reflect(theta + REFLECTION_STEP * torch.eye(len(theta), dtype=torch.float64)[n])[name]
                for n in mine
            ]
            slope = torch.tensor([(there - value) / REFLECTION_STEP for there in moved], dtype=torch.float64)
            block = self.spread[mine][:, mine]
            width, prior = float((slope @ block @ slope).sqrt()), float(slope.norm())
            left = width / max(prior, 1e-12)
            row = {"parameter": "reflection at 45°", "of": name, "unit": "", "believed": believed[name], "found": value}
            row |= {"width": width, "left": left, "away": None, "information": None}
            row["verdict"] = (
                "identified" if left <= IDENTIFIED_WIDTH else "weak" if left <= UNIDENTIFIED_WIDTH else "not identified"
            )
            told.append(row | ({"true": truth[name], "error": value / truth[name] - 1} if truth else {}))
        return told

    def _reflect(self, theta: Tensor) -> dict[str, float]:
        slabs = materials_of(self.parameters, theta, self.known)
        return {name: _rms(slab, self.frequency) for name, slab in slabs.items()}

    def _reflect_values(self, value: Tensor) -> dict[str, float]:
        u, told = self.parameters, {}
        for name in u.materials:
            full = dict(self.known[name])
            full |= {
                k: float(value[n])
                for n, k in enumerate(u.kind)
                if k in MATERIAL_KINDS and u.materials[u.owner[n]] == name
            }
            slab = (full["relative_permittivity"], full["conductivity"], full["thickness"])
            names = ("relative_permittivity", "conductivity", "thickness")
            told[name] = _rms(RadioMaterial(**dict(zip(names, slab, strict=True))), self.frequency)
        return told

    def starts(self) -> dict[str, Any]:
        """How many starts came to the same place as the best one, in all that is identified within its valley."""
        off = [self._off(done.theta, self.fit.theta) for done in self.fits]
        same = [bool((o <= SAME_VALLEY_DEVIATIONS).all()) for o in off]
        told = [
            {
                "cost": done.cost,
                "scale_db": done.scale,
                "status": done.status,
                "converged": at_best,
                "steps": len(done.curve),
            }
            | {"retraced": done.retraced, "farthest": float(o.max()) if len(o) else 0.0}
            for done, at_best, o in zip(self.fits, same, off, strict=True)
        ]
        return {"count": len(same), "converged": sum(same), "share": sum(same) / len(same), "each": told}


def _rms(slab: RadioMaterial, frequency: float) -> float:
    te, tm = reflection_coefficients(slab, frequency)
    return math.sqrt((te**2 + tm**2) / 2)


def _true_columns(value: float, true: Tensor | None, row: int, kind: str) -> dict[str, Any]:
    """The true value and the error: relative of materials, in the unit of the rest."""
    if true is None:
        return {}
    truth = float(true[row])
    off = value / truth - 1 if kind in MATERIAL_KINDS else value - truth
    return {"true": truth, "error": (off + 180) % 360 - 180 if kind == "azimuth_deg" else off}


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows under the names of the first one's values; nothing of none."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return stream.getvalue()


def held_out_links(held: CalibrationObjective, found: CalibrationResult) -> list[dict[str, Any]]:
    """Every link at places that were not learned from: measured level and what was believed and found, as path gain."""
    told = {"before": torch.zeros_like(found.fit.theta), "after": found.estimate}
    with torch.no_grad():
        said = {name: held.predict(held.freeze(theta), theta) for name, theta in told.items()}
    rows = []
    for place, cell in held.heard.nonzero().tolist():
        x, y, _ = held.pool.points[place].tolist()
        row = {"x": x, "y": y, "cell": cell, "measured": float(held.level_db[place, cell])}
        for name, world in said.items():
            row[name] = float(world.level_db[place, cell]) if world.paths[place, cell] else math.nan
        rows.append(row)
    return rows


def held_out_errors(held: CalibrationObjective, found: CalibrationResult) -> dict[str, Any]:
    """Levels at places that were not learned from, by what was believed and by what was found, in dB.

    Beside them, what is believed with nothing learned but each cell's power: a fit of powers alone.
    """
    parameters, told = found.parameters, {}
    for name, theta in (("before", torch.zeros_like(found.fit.theta)), ("after", found.estimate)):
        with torch.no_grad():
            told[name] = _errors(held, held.predict(held.freeze(theta), theta))
    if "power_db" in parameters.kind:
        theta = torch.zeros_like(found.fit.theta)
        with torch.no_grad():
            said = held.predict(held.freeze(theta), theta)
        told["powers alone"] = _errors(held, said, level=True)
    return told


def _errors(held: CalibrationObjective, said: PredictedLinks, level: bool = False) -> dict[str, Any]:
    """Median, 90th percentile and bias of level errors; with `level` each cell's median is taken out."""
    both = held.heard & (said.paths > 0)
    error = torch.where(both, said.level_db - held.level_db, torch.nan)
    if level:
        error = error - error.nanmedian(0, keepdim=True).values
    kept = error[both]
    lost = float((held.heard & (said.paths == 0)).sum() / held.heard.sum().clamp(min=1))
    if not len(kept):
        return {"links": 0, "without_path": lost}
    return {
        "links": len(kept),
        "without_path": lost,
        "median_abs_db": float(kept.abs().median()),
        "p90_abs_db": float(kept.abs().quantile(0.9)),
        "rms_db": float(kept.square().mean().sqrt()),
        "bias_db": float(kept.median()),
    }
