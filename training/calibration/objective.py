"""Measured levels beside those of frozen paths: residuals, how they move with every unknown, and what that costs."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.paths.chain_pool import ChainPool
from sim_bridge.paths.frozen_paths import STALE, FrozenPaths
from sim_bridge.paths.path_set import PathSet
from training.calibration.parameters import MATERIAL, CalibrationParameters
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import to_db
from uel.measurement.drive_test import Drive
from uel.radio.sites import reference_power_dbm

FREEDOM = 4.0  # degrees of freedom of Student's t: links whose paths are others than the map's must not pull
LOST = 6.0  # standard deviations that a measured link counts of which the world has no path
STEP = 0.005  # of the belief's deviation, for differences: slabs ring, single precision rounds to some 1e-4 dB


@dataclass(frozen=True, eq=False)
class PredictedLinks:
    """Levels (dB path gain, power included) and first arrivals (m) of all links, and how many paths are behind them."""

    level_db: Float[Tensor, "report cell"]
    arrival: Float[Tensor, "report cell"]
    paths: Int[Tensor, "report cell"]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Of measured levels (dB), then of measured arrivals (m): what the world says more than the phone."""

    value: Float[Tensor, " link"]
    found: Bool[Tensor, " link"]
    """whether the world has a path there"""


@dataclass(frozen=True, eq=False)
class FitState:
    """A world on its way: where it is, by which paths, and what it costs there."""

    theta: Float[Tensor, " parameter"]
    frozen: FrozenPaths
    said: PredictedLinks
    left: Residuals
    scale: float
    """dB, deviation of levels"""
    cost: float


@dataclass(frozen=True, eq=False)
class CalibrationObjective:
    """A pool of paths, what is unknown, and reports of it."""

    pool: ChainPool
    unknowns: CalibrationParameters
    level_db: Float[Tensor, "report cell"]
    """measured level less the believed power per resource element"""
    heard: Bool[Tensor, "report cell"]
    arrival: Float[Tensor, "report cell"]
    """m"""
    timed: Bool[Tensor, "report cell"]
    least_db: float = 0.5
    """below which the deviation of levels is not estimated: maps of walls are no better"""
    range_noise: float = 5.0
    """m, of measured arrivals"""

    @staticmethod
    def of(
        pool: ChainPool, unknowns: CalibrationParameters, drive: Drive, range_noise: float = 5.0
    ) -> "CalibrationObjective":
        """`drive`'s reports are those of the pool's receivers, in order."""
        reports = drive.reports
        level = reports.rsrp_dbm - reference_power_dbm(unknowns.sites)
        arrival = reports.toa * SPEED_OF_LIGHT
        return CalibrationObjective(
            pool, unknowns, level.double(), reports.heard, arrival.double(), reports.has_toa, 0.5, range_noise
        )

    # ---- the world -------------------------------------------------------------------------------------

    def freeze(self, theta: Float[Tensor, " parameter"]) -> FrozenPaths:
        """The paths of a world."""
        with torch.no_grad():
            heights = {k: v for k, v in self.unknowns.given(theta).items() if k == "cell_height"}
            return self.pool.freeze(**heights)

    def predict(self, frozen: FrozenPaths, theta: Float[Tensor, " parameter"]) -> PredictedLinks:
        """What a world says, by frozen paths; differentiable in `theta`."""
        return self.predicted(frozen.trace(**self.unknowns.given(theta)), self.unknowns.power_db(theta))

    @staticmethod
    def predicted(found: PathSet, power_db: Float[Tensor, " cell"]) -> PredictedLinks:
        paths = found.count()
        gain = torch.where(paths > 0, found.gain(), 1.0)
        level = to_db(gain.double()) + power_db
        return PredictedLinks(level, found.first_arrival().double() * SPEED_OF_LIGHT, paths)

    def residuals(self, said: PredictedLinks) -> Residuals:
        value = torch.cat([(said.level_db - self.level_db)[self.heard], (said.arrival - self.arrival)[self.timed]])
        found = torch.cat([said.paths[self.heard], said.paths[self.timed]]) > 0
        return Residuals(torch.where(found, value, 0.0), found)

    def state(self, theta: Float[Tensor, " parameter"], frozen: FrozenPaths, scale: float | None = None) -> FitState:
        """Everything about a world on these paths; the scale is estimated unless given."""
        with torch.no_grad():
            said = self.predict(frozen, theta)
            left = self.residuals(said)
            scale = self.scale(left) if scale is None else scale
            return FitState(theta, frozen, said, left, scale, float(self.cost(left, theta, scale)))

    def stale(self, frozen: FrozenPaths, fresh: FrozenPaths, theta: Float[Tensor, " parameter"]) -> bool:
        """Whether frozen paths lack more than `STALE` of what links have, on average, or have that much too many."""
        with torch.no_grad():
            old, new = (paths.trace(**self.unknowns.given(theta)).gain() for paths in (frozen, fresh))
        most, least = torch.maximum(old, new), torch.minimum(old, new)
        links = self.heard & (most > 0)
        return bool((1 - least[links] / most[links]).mean() > STALE)

    # ---- what it costs ---------------------------------------------------------------------------------

    @property
    def levels(self) -> int:
        """How many of the residuals are levels."""
        return int(self.heard.sum())

    def unit(self, scale: float) -> Float[Tensor, " link"]:
        """Standard deviation of each residual: `scale` dB of levels."""
        timed = int(self.timed.sum())
        return torch.cat([torch.full((self.levels,), scale), torch.full((timed,), self.range_noise)]).double()

    def cost(self, left: Residuals, theta: Float[Tensor, " parameter"], scale: float) -> Tensor:
        """Negative log of the posterior: Student's t over links, the belief over parameters; differentiable."""
        z = torch.where(left.found, left.value / self.unit(scale), LOST)
        likely = (FREEDOM + 1) / 2 * torch.log1p(z.square() / FREEDOM)
        return likely.sum() + self.levels * math.log(scale) + theta.square().sum() / 2

    def weight(self, left: Residuals, scale: float) -> Float[Tensor, " link"]:
        """Of each link in a least-squares step that lowers the cost (Lange, Little and Taylor, JASA 1989)."""
        z = left.value / self.unit(scale)
        return torch.where(left.found, (FREEDOM + 1) / (FREEDOM + z.square()), 0.0)

    def scale(self, left: Residuals) -> float:
        """Deviation of levels in dB, most likely under Student's t."""
        value = left.value[: self.levels][left.found[: self.levels]].detach()
        if not len(value):
            return self.least_db
        scale = max(1.4826 * float(value.abs().median()), self.least_db)
        for _ in range(30):
            z = value / scale
            weight = (FREEDOM + 1) / (FREEDOM + z.square())
            scale = max(float((weight * value.square()).mean().sqrt()), self.least_db)
        return scale

    # ---- how it moves ----------------------------------------------------------------------------------

    def jacobian(
        self, frozen: FrozenPaths, theta: Float[Tensor, " parameter"], at: PredictedLinks, rows: list[int] | None = None
    ) -> Float[Tensor, "link parameter"]:
        """Derivative of every residual by every parameter, or by those of some `rows`; 0 by the others.

        A link depends on its own cell and mast alone, so all cells move at once: one trace for each kind, one more
        for each material. Links that gain or lose a path on the way have none.
        """
        owner = torch.arange(self.heard.shape[1]).expand_as(self.heard)
        cell = torch.cat([owner[self.heard], owner[self.timed]])
        mast = torch.tensor(self.unknowns.mast_of_cell)[cell]
        table = torch.zeros(len(cell), len(self.unknowns), dtype=torch.float64)
        for group in self._together():
            if rows is not None and not set(group) & set(rows):
                continue
            kind = self.unknowns.kind[group[0]]
            along = self._along(frozen, theta, at, group)
            if kind in MATERIAL:
                table[:, group[0]] = along
            else:
                first = torch.tensor(group)[mast if kind == "height" else cell]
                table[torch.arange(len(cell)), first] = along
        return table

    def _together(self) -> list[list[int]]:
        """Parameters that no two share a link, so that one difference tells of all."""
        kinds = dict.fromkeys(self.unknowns.kind)
        return [
            group
            for kind in kinds
            for group in (
                [[row] for row in self.unknowns.rows(kind)] if kind in MATERIAL else [self.unknowns.rows(kind)]
            )
        ]

    def _along(self, frozen: FrozenPaths, theta: Tensor, at: PredictedLinks, rows: list[int]) -> Float[Tensor, " link"]:
        """Difference of all residuals over a step of some parameters."""
        if self.unknowns.kind[rows[0]] == "power_db":
            one = torch.cat([(at.paths > 0)[self.heard].double(), torch.zeros(int(self.timed.sum())).double()])
            return one * self.unknowns.spread[rows[0]]
        moved = theta.clone()
        moved[rows] += STEP
        with torch.no_grad():
            there = self.predict(frozen, moved)
        same = (there.paths == at.paths) & (at.paths > 0)
        level = torch.where(same, there.level_db - at.level_db, 0.0)
        arrival = torch.where(same, there.arrival - at.arrival, 0.0)
        return torch.cat([level[self.heard], arrival[self.timed]]) / STEP
