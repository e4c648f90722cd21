"""Calibration objective: residuals of measured levels against frozen paths, their derivatives, and the cost."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.paths.chain_pool import ChainPool
from sim_bridge.paths.frozen_paths import MAX_STALENESS, FrozenPaths
from sim_bridge.paths.path_set import PathSet
from training.calibration.parameters import MATERIAL_KINDS, CalibrationParameters
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import to_db
from uel.measurement.drive_test import Drive
from uel.radio.sites import reference_power_dbm

STUDENT_T_DEGREES = 4.0  # degrees of freedom of Student's t: links with paths that the map lacks must not dominate
LOST_PATH_DEVIATIONS = 6.0  # standard deviations that a measured link without a predicted path counts as
DIFFERENCE_STEP = (
    0.005  # prior standard deviations, step of finite differences: slabs ring, single precision rounds to some 1e-4 dB
)


@dataclass(frozen=True, eq=False)
class PredictedLinks:
    """Levels (dB path gain, power offset included), first arrivals (m) and path counts of all links."""

    level_db: Float[Tensor, "report cell"]
    arrival: Float[Tensor, "report cell"]
    paths: Int[Tensor, "report cell"]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Predicted minus measured levels (dB), followed by predicted minus measured arrivals (m)."""

    value: Float[Tensor, " link"]
    has_path: Bool[Tensor, " link"]
    """whether a path is predicted for the link"""


@dataclass(frozen=True, eq=False)
class FitState:
    """Parameter values with their paths, predictions, residuals and cost."""

    theta: Float[Tensor, " parameter"]
    frozen: FrozenPaths
    predicted: PredictedLinks
    residuals: Residuals
    scale: float
    """dB, standard deviation of levels"""
    cost: float


@dataclass(frozen=True, eq=False)
class CalibrationObjective:
    """Measured links, the calibration parameters, and a pool of paths."""

    pool: ChainPool
    parameters: CalibrationParameters
    level_db: Float[Tensor, "report cell"]
    """measured level minus the assumed power per resource element"""
    heard: Bool[Tensor, "report cell"]
    arrival: Float[Tensor, "report cell"]
    """m, measured first arrival"""
    timed: Bool[Tensor, "report cell"]
    min_level_std_db: float = 0.5
    """lower bound of the estimated standard deviation of levels: building maps are not better"""
    range_noise: float = 5.0
    """m, standard deviation of measured arrivals"""

    @staticmethod
    def of(
        pool: ChainPool, parameters: CalibrationParameters, drive: Drive, range_noise: float = 5.0
    ) -> "CalibrationObjective":
        """The objective of a drive whose reports are at the pool's receivers, in their order."""
        reports = drive.reports
        level = reports.rsrp_dbm - reference_power_dbm(parameters.sites)
        arrival = reports.toa * SPEED_OF_LIGHT
        return CalibrationObjective(
            pool, parameters, level.double(), reports.heard, arrival.double(), reports.has_toa, 0.5, range_noise
        )

    # ---- predictions -------------------------------------------------------------------------------------

    def freeze(self, theta: Float[Tensor, " parameter"]) -> FrozenPaths:
        """The paths at these parameter values."""
        with torch.no_grad():
            heights = {k: v for k, v in self.parameters.trace_arguments(theta).items() if k == "cell_height"}
            return self.pool.freeze(**heights)

    def predict(self, frozen: FrozenPaths, theta: Float[Tensor, " parameter"]) -> PredictedLinks:
        """Predicted links at these parameter values, along frozen paths; differentiable in `theta`."""
        return self.links_of(frozen.trace(**self.parameters.trace_arguments(theta)), self.parameters.power_db(theta))

    @staticmethod
    def links_of(paths: PathSet, power_db: Float[Tensor, " cell"]) -> PredictedLinks:
        """Levels and first arrivals of traced paths, with `power_db` more power of each cell."""
        count = paths.count()
        gain = torch.where(count > 0, paths.gain(), 1.0)
        level = to_db(gain.double()) + power_db
        return PredictedLinks(level, paths.first_arrival().double() * SPEED_OF_LIGHT, count)

    def residuals_of(self, predicted: PredictedLinks) -> Residuals:
        """The residuals of predicted links; 0 for links without a predicted path."""
        value = torch.cat(
            [(predicted.level_db - self.level_db)[self.heard], (predicted.arrival - self.arrival)[self.timed]]
        )
        has_path = torch.cat([predicted.paths[self.heard], predicted.paths[self.timed]]) > 0
        return Residuals(torch.where(has_path, value, 0.0), has_path)

    def state_at(self, theta: Float[Tensor, " parameter"], frozen: FrozenPaths, scale: float | None = None) -> FitState:
        """The fit state at these values on these paths; `scale` is estimated unless given."""
        with torch.no_grad():
            predicted = self.predict(frozen, theta)
            residuals = self.residuals_of(predicted)
            scale = self.scale(residuals) if scale is None else scale
            return FitState(theta, frozen, predicted, residuals, scale, float(self.cost(residuals, theta, scale)))

    def is_stale(self, frozen: FrozenPaths, fresh: FrozenPaths, theta: Float[Tensor, " parameter"]) -> bool:
        """Whether, averaged over links, the gain of frozen and fresh paths differs by more than a fixed fraction."""
        with torch.no_grad():
            old, new = (paths.trace(**self.parameters.trace_arguments(theta)).gain() for paths in (frozen, fresh))
        most, least = torch.maximum(old, new), torch.minimum(old, new)
        links = self.heard & (most > 0)
        return bool((1 - least[links] / most[links]).mean() > MAX_STALENESS)

    # ---- cost ---------------------------------------------------------------------------------

    @property
    def level_count(self) -> int:
        """Number of residuals that are levels."""
        return int(self.heard.sum())

    def residual_std(self, scale: float) -> Float[Tensor, " link"]:
        """Standard deviation of each residual, `scale` dB for levels."""
        timed = int(self.timed.sum())
        return torch.cat(
            [torch.full((self.level_count,), scale, device="cpu"), torch.full((timed,), self.range_noise, device="cpu")]
        ).double()

    def cost(self, residuals: Residuals, theta: Float[Tensor, " parameter"], scale: float) -> Tensor:
        """Negative log-posterior: Student's t over links, the normal prior over parameters; differentiable."""
        z = torch.where(residuals.has_path, residuals.value / self.residual_std(scale), LOST_PATH_DEVIATIONS)
        nll = (STUDENT_T_DEGREES + 1) / 2 * torch.log1p(z.square() / STUDENT_T_DEGREES)
        return nll.sum() + self.level_count * math.log(scale) + theta.square().sum() / 2

    def link_weight(self, residuals: Residuals, scale: float) -> Float[Tensor, " link"]:
        """Weight of each link in a least-squares step that lowers the cost (Lange, Little and Taylor, JASA 1989)."""
        z = residuals.value / self.residual_std(scale)
        return torch.where(residuals.has_path, (STUDENT_T_DEGREES + 1) / (STUDENT_T_DEGREES + z.square()), 0.0)

    def scale(self, residuals: Residuals) -> float:
        """Maximum-likelihood standard deviation of levels in dB under Student's t."""
        value = residuals.value[: self.level_count][residuals.has_path[: self.level_count]].detach()
        if not len(value):
            return self.min_level_std_db
        scale = max(1.4826 * float(value.abs().median()), self.min_level_std_db)
        for _ in range(30):
            z = value / scale
            link_weight = (STUDENT_T_DEGREES + 1) / (STUDENT_T_DEGREES + z.square())
            scale = max(float((link_weight * value.square()).mean().sqrt()), self.min_level_std_db)
        return scale

    # ---- derivatives ----------------------------------------------------------------------------------

    def jacobian(
        self,
        frozen: FrozenPaths,
        theta: Float[Tensor, " parameter"],
        base: PredictedLinks,
        rows: list[int] | None = None,
    ) -> Float[Tensor, "link parameter"]:
        """Derivative of every residual by every parameter, or by the parameters of some `rows`; 0 for the others.

        A link depends on its own cell and site alone, so all cells move at once: one trace for each kind, one more for
        each material. Links that gain or lose a path within the step have derivative 0.
        """
        owner = torch.arange(self.heard.shape[1], device="cpu").expand_as(self.heard)
        cell = torch.cat([owner[self.heard], owner[self.timed]])
        site = torch.tensor(self.parameters.site_of_cell, device="cpu")[cell]
        table = torch.zeros(len(cell), len(self.parameters), dtype=torch.float64, device="cpu")
        for group in self._independent_groups():
            if rows is not None and not set(group) & set(rows):
                continue
            kind = self.parameters.kind[group[0]]
            difference = self._difference(frozen, theta, base, group)
            if kind in MATERIAL_KINDS:
                table[:, group[0]] = difference
            else:
                first = torch.tensor(group, device="cpu")[site if kind == "height" else cell]
                table[torch.arange(len(cell), device="cpu"), first] = difference
        return table

    def _independent_groups(self) -> list[list[int]]:
        """Groups of parameters that share no link, so that one difference serves the whole group."""
        kinds = dict.fromkeys(self.parameters.kind)
        return [
            group
            for kind in kinds
            for group in (
                [[row] for row in self.parameters.rows(kind)]
                if kind in MATERIAL_KINDS
                else [self.parameters.rows(kind)]
            )
        ]

    def _difference(
        self, frozen: FrozenPaths, theta: Tensor, base: PredictedLinks, rows: list[int]
    ) -> Float[Tensor, " link"]:
        """Finite difference of all residuals over a step of some parameters."""
        if self.parameters.kind[rows[0]] == "power_db":
            has_level = torch.cat(
                [(base.paths > 0)[self.heard].double(), torch.zeros(int(self.timed.sum()), device="cpu").double()]
            )
            return has_level * self.parameters.prior_std[rows[0]]
        moved = theta.clone()
        moved[rows] += DIFFERENCE_STEP
        with torch.no_grad():
            moved_links = self.predict(frozen, moved)
        same = (moved_links.paths == base.paths) & (base.paths > 0)
        level = torch.where(same, moved_links.level_db - base.level_db, 0.0)
        arrival = torch.where(same, moved_links.arrival - base.arrival, 0.0)
        return torch.cat([level[self.heard], arrival[self.timed]]) / DIFFERENCE_STEP
