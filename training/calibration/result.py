"""The result of a calibration: values with their widths, parameters that are not identified, and errors on held-out
links.
"""

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
from uel.core.io import csv_bytes

IDENTIFIED_WIDTH = 0.25  # of the prior's width: parameters narrowed to less are identified
UNIDENTIFIED_WIDTH = 0.9  # of the prior's width: parameters that stay wider keep the prior mean
SAME_VALLEY_DEVIATIONS = (
    3.0  # posterior standard deviations from the best fit, within them starts converged to the same minimum
)
COST_TOLERANCE = (
    15.0  # nats: ends at the same values differ by as much (munich 10, geneva 17), as paths appear and disappear
)
REFLECTION_STEP = 1e-3  # step of a parameter's number, for the derivative of a reflection


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """The best fit and its uncertainty."""

    parameters: CalibrationParameters
    known: dict[str, dict[str, float]]
    fits: list[FitResult]
    """fits from all starts"""
    covariance: Float[Tensor, "parameter parameter"]
    """in prior standard deviations, within the minimum of the best fit"""
    information: Float[Tensor, " parameter"]
    """Fisher information of the links on each parameter alone, in the same unit"""
    frequency: float

    @property
    def fit(self) -> FitResult:
        """The fit of lowest cost."""
        return min(self.fits, key=lambda fit_result: fit_result.cost)

    @property
    def total_covariance(self) -> Float[Tensor, "parameter parameter"]:
        """Covariance within the best minimum and between it and the others, a mixture of normal distributions by
        likelihood.

        Ends of all starts, and the other minima that these searched, widen it if their cost is nearly the same (within
        `COST_TOLERANCE`: the same).
        """
        valleys = self._valleys
        excess_cost = torch.tensor([cost - self.fit.cost for cost, _ in valleys], dtype=torch.float64, device="cpu")
        weight = (-(excess_cost - COST_TOLERANCE).clamp(min=0)).softmax(0)
        distance = torch.stack([theta for _, theta in valleys]) - self.fit.theta
        return self.covariance + distance.T @ (weight.unsqueeze(1) * distance)

    @cached_property
    def _valleys(self) -> list[tuple[float, Tensor]]:
        """Cost and parameters of every local minimum, the lowest first."""
        result: list[tuple[float, Tensor]] = []
        for cost, theta in sorted(
            (end for fit_result in self.fits for end in fit_result.valleys), key=lambda end: end[0]
        ):
            if not any(bool((self._deviation(theta, other) <= SAME_VALLEY_DEVIATIONS).all()) for _, other in result):
                result.append((cost, theta))
        return result

    def _deviation(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of two ends in the parameters identified within the best minimum, in posterior standard
        deviations."""
        width = self.covariance.diagonal().sqrt()
        return ((a - b).abs() / width)[width <= IDENTIFIED_WIDTH]

    @property
    def width(self) -> Float[Tensor, " parameter"]:
        """Posterior over prior standard deviation."""
        return self.total_covariance.diagonal().sqrt()

    @property
    def estimate(self) -> Float[Tensor, " parameter"]:
        """The fit; parameters that the links do not determine stay at the prior mean."""
        return torch.where(self.width > UNIDENTIFIED_WIDTH, 0.0, self.fit.theta)

    @property
    def identified(self) -> list[str]:
        """Names of the identified parameters."""
        return [
            name
            for name, width in zip(self.parameters.names, self.width.tolist(), strict=True)
            if width <= IDENTIFIED_WIDTH
        ]

    def verdict(self, row: int) -> str:
        """ "identified", "weak" or "not identified" with the reason."""
        if float(self.information[row]) < 1e-6:
            return "not identified: no link depends on it"
        if (width := float(self.width[row])) > UNIDENTIFIED_WIDTH:
            return "not identified: the links say next to nothing"
        return "identified" if width <= IDENTIFIED_WIDTH else "weak"

    def rows(self, true: Tensor | None) -> list[dict[str, Any]]:
        """Table rows: one for each parameter, then |reflection| at 45° of each material."""
        parameters, theta = self.parameters, self.estimate
        value, slope, prior_values = (
            parameters.value(theta),
            parameters.derivative(theta),
            parameters.value(torch.zeros_like(theta)),
        )
        table = []
        for row, kind in enumerate(parameters.kind):
            result = {
                "parameter": kind,
                "of": parameters.owner_name(kind, parameters.owner[row]),
                "unit": PARAMETER_UNITS.get(kind, ""),
            }
            result |= {"believed": float(prior_values[row]), "found": float(value[row])}
            result |= {"width": float(self.width[row] * slope[row].abs()), "left": float(self.width[row])}
            result |= {"away": abs(float(theta[row])), "information": float(self.information[row])}
            result["verdict"] = self.verdict(row)
            table.append(result | _true_columns(float(value[row]), true, row, kind))
        return table + (self._reflections(true) if any(kind in MATERIAL_KINDS for kind in parameters.kind) else [])

    def _reflections(self, true: Tensor | None) -> list[dict[str, Any]]:
        """Rows of reflection coefficients: root mean square of a vertical and a horizontal field."""
        parameters, theta = self.parameters, self.estimate
        prior_values, result = self._reflect(torch.zeros_like(theta)), self._reflect(theta)
        truth = self._reflect_values(true) if true is not None else {}
        table = []
        for name, value in result.items():
            rows = [
                n
                for n, kind in enumerate(parameters.kind)
                if kind in MATERIAL_KINDS and parameters.materials[parameters.owner[n]] == name
            ]
            moved_values = [
                self._reflect(theta + REFLECTION_STEP * torch.eye(len(theta), dtype=torch.float64, device="cpu")[n])[
                    name
                ]
                for n in rows
            ]
            slope = torch.tensor(
                [(moved_value - value) / REFLECTION_STEP for moved_value in moved_values],
                dtype=torch.float64,
                device="cpu",
            )
            block = self.total_covariance[rows][:, rows]
            width, prior = float((slope @ block @ slope).sqrt()), float(slope.norm())
            relative_width = width / max(prior, 1e-12)
            row = {
                "parameter": "reflection at 45°",
                "of": name,
                "unit": "",
                "believed": prior_values[name],
                "found": value,
            }
            row |= {"width": width, "left": relative_width, "away": None, "information": None}
            row["verdict"] = (
                "identified"
                if relative_width <= IDENTIFIED_WIDTH
                else "weak"
                if relative_width <= UNIDENTIFIED_WIDTH
                else "not identified"
            )
            table.append(row | ({"true": truth[name], "error": value / truth[name] - 1} if truth else {}))
        return table

    def _reflect(self, theta: Tensor) -> dict[str, float]:
        slabs = materials_of(self.parameters, theta, self.known)
        return {name: _rms(slab, self.frequency) for name, slab in slabs.items()}

    def _reflect_values(self, value: Tensor) -> dict[str, float]:
        parameters, table = self.parameters, {}
        for name in parameters.materials:
            full = dict(self.known[name])
            full |= {
                k: float(value[n])
                for n, k in enumerate(parameters.kind)
                if k in MATERIAL_KINDS and parameters.materials[parameters.owner[n]] == name
            }
            slab = (full["relative_permittivity"], full["conductivity"], full["thickness"])
            names = ("relative_permittivity", "conductivity", "thickness")
            table[name] = _rms(RadioMaterial(**dict(zip(names, slab, strict=True))), self.frequency)
        return table

    def start_summary(self) -> dict[str, Any]:
        """Number of starts that converged to the best minimum, in the parameters identified within it, and each end."""
        deviation = [self._deviation(fit_result.theta, self.fit.theta) for fit_result in self.fits]
        same = [bool((d <= SAME_VALLEY_DEVIATIONS).all()) for d in deviation]
        table = [
            {
                "cost": fit_result.cost,
                "scale_db": fit_result.scale,
                "status": fit_result.status,
                "converged": converged,
                "steps": len(fit_result.curve),
            }
            | {"retraced": fit_result.retraced, "farthest": float(d.max()) if len(d) else 0.0}
            for fit_result, converged, d in zip(self.fits, same, deviation, strict=True)
        ]
        return {"count": len(same), "converged": sum(same), "share": sum(same) / len(same), "each": table}


def _rms(slab: RadioMaterial, frequency: float) -> float:
    te, tm = reflection_coefficients(slab, frequency)
    return math.sqrt((te**2 + tm**2) / 2)


def _true_columns(value: float, true: Tensor | None, row: int, kind: str) -> dict[str, Any]:
    """The true value and the error: relative for materials, in their unit for other kinds."""
    if true is None:
        return {}
    truth = float(true[row])
    deviation = value / truth - 1 if kind in MATERIAL_KINDS else value - truth
    return {"true": truth, "error": (deviation + 180) % 360 - 180 if kind == "azimuth_deg" else deviation}


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Rows as CSV, with the keys of the first row as header; an empty line if there are none."""
    plain = ({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return csv_bytes(list(rows[0]) if rows else [], plain)


def held_out_links(objective: CalibrationObjective, result: CalibrationResult) -> list[dict[str, Any]]:
    """Every held-out link: measured level, and predicted levels at the prior mean and at the estimate, as path gain."""
    table = {"before": torch.zeros_like(result.fit.theta), "after": result.estimate}
    with torch.no_grad():
        predicted = {name: objective.predict(objective.freeze(theta), theta) for name, theta in table.items()}
    rows = []
    for report, cell in objective.heard.nonzero().tolist():
        x, y, _ = objective.pool.points[report].tolist()
        row = {"x": x, "y": y, "cell": cell, "measured": float(objective.level_db[report, cell])}
        for name, links in predicted.items():
            row[name] = float(links.level_db[report, cell]) if links.paths[report, cell] else math.nan
        rows.append(row)
    return rows


def held_out_errors(objective: CalibrationObjective, result: CalibrationResult) -> dict[str, Any]:
    """Errors of held-out levels in dB at the prior mean ("before") and at the estimate ("after").

    "powers alone": the prior mean with each cell's median error removed, which is a fit of powers alone.
    """
    parameters, table = result.parameters, {}
    for name, theta in (("before", torch.zeros_like(result.fit.theta)), ("after", result.estimate)):
        with torch.no_grad():
            table[name] = _errors(objective, objective.predict(objective.freeze(theta), theta))
    if "power_db" in parameters.kind:
        theta = torch.zeros_like(result.fit.theta)
        with torch.no_grad():
            predicted = objective.predict(objective.freeze(theta), theta)
        table["powers alone"] = _errors(objective, predicted, remove_cell_median=True)
    return table


def _errors(
    objective: CalibrationObjective, predicted: PredictedLinks, remove_cell_median: bool = False
) -> dict[str, Any]:
    """Median, 90th percentile and bias of level errors; with `remove_cell_median` each cell's median is removed
    first."""
    compared = objective.heard & (predicted.paths > 0)
    error = torch.where(compared, predicted.level_db - objective.level_db, torch.nan)
    if remove_cell_median:
        error = error - error.nanmedian(0, keepdim=True).values
    errors = error[compared]
    fraction_without_path = float((objective.heard & (predicted.paths == 0)).sum() / objective.heard.sum().clamp(min=1))
    if not len(errors):
        return {"links": 0, "without_path": fraction_without_path}
    return {
        "links": len(errors),
        "without_path": fraction_without_path,
        "median_abs_db": float(errors.abs().median()),
        "p90_abs_db": float(errors.abs().quantile(0.9)),
        "rms_db": float(errors.square().mean().sqrt()),
        "bias_db": float(errors.median()),
    }
