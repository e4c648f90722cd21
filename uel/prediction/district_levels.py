"""Levels of all cells of a district kriged from labelled squares: universal kriging with effects that cells share.

The level of cell c at place x is drift + f(x)·b + f(x)·u_c + g_c(x) + noise. b are the effects that all cells share
(coefficients of the trend, an offset of each mast and of each make of phones) with a Gaussian prior from other
districts; u_c are the cell's own deviations from the trend, g_c two Gaussian fields. Cells are independent given b, so
that the posterior of b and all predictions are exact at the cost of one Cholesky factor a cell (Rasmussen and Williams,
2006, section 2.7).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.measurement.measured_network import MeasuredCells, MeasuredNetwork
from uel.prediction.config import PredictionParameters
from uel.prediction.level_covariance import LevelPrior, distance_between, effect_columns
from uel.prediction.link_trend import link_features

POINTS_PER_CHUNK = 4096  # bounds memory


@dataclass(frozen=True, eq=False, repr=False)
class LevelPrediction(ShortRepr):
    """Levels of cells at places."""

    mean: Float[Tensor, "cell point"]
    """dBm, of a phone of the average make"""
    std: Float[Tensor, "cell point"]
    """dB, of a measured level: with its noise"""


@dataclass(frozen=True, eq=False, repr=False)
class WhiteCell(ShortRepr):
    """Levels and design of one cell, divided by the Cholesky factor of their covariance."""

    label: Int[Tensor, " n"]
    """squares that report the cell"""
    column: Int[Tensor, " effect"]
    """numbers of its shared effects"""
    features: Float[Tensor, "n feature"]
    factor: Float[Tensor, "n n"]
    design: Float[Tensor, "n effect"]
    innovation: Float[Tensor, " n"]
    """level less what the prior expects"""


@dataclass(frozen=True, eq=False, repr=False)
class EffectPosterior(ShortRepr):
    """Posterior of the effects that all cells share: trend, masts, makes of phones."""

    mean: Float[Tensor, " effect"]
    change: Float[Tensor, " effect"]
    """mean less the prior's mean"""
    covariance: Float[Tensor, "effect effect"]
    log_evidence: Float[Tensor, ""]
    """log-density of all levels under the prior, nats"""


def whiten_cells(labels: MeasuredNetwork, base: Float[Tensor, "label cell"], prior: LevelPrior) -> list[WhiteCell]:
    """The cells of labelled squares, whose levels are expected `base` dBm above the trend's mean."""
    position, features = labels.position.double(), link_features(labels.cells, labels.position).double()
    mast, devices = labels.cells.mast, len(labels.devices)
    mean, _ = prior.effects(int(mast.max()) + 1, devices)
    make = torch.nn.functional.one_hot(labels.device, devices).double()
    white = []
    for cell, reported in enumerate(labels.is_reported.unbind(1)):
        label = reported.nonzero()[:, 0]
        own = features[cell, label]
        column = effect_columns(int(mast[cell]), len(mean), devices)
        design = torch.cat([own, torch.ones(len(label), 1, dtype=torch.float64, device="cpu"), make[label]], 1)
        innovation = (labels.level_dbm[label, cell] - base[label, cell]).double() - design @ mean[column]
        factor = torch.linalg.cholesky(prior.of_cell(position[label], own))
        both = torch.cat([design, innovation[:, None]], 1)
        both = torch.linalg.solve_triangular(factor, both, upper=False)
        white.append(WhiteCell(label, column, own, factor, both[:, :-1], both[:, -1]))
    return white


def effect_posterior(white: list[WhiteCell], prior: LevelPrior, masts: int, devices: int) -> EffectPosterior:
    """Bayesian regression of the shared effects on all cells."""
    mean, variance = prior.effects(masts, devices)
    precision, pull = variance.reciprocal().diag(), torch.zeros_like(mean)
    log_density = -variance.log().sum() / 2
    for cell in white:
        index = cell.column[:, None].expand(-1, len(cell.column)), cell.column.expand(len(cell.column), -1)
        precision = precision.index_put(index, cell.design.T @ cell.design, accumulate=True)
        pull = pull.index_put((cell.column,), cell.design.T @ cell.innovation, accumulate=True)
        density = cell.innovation.square().sum() / 2 + cell.factor.diagonal().log().sum()
        log_density = log_density - density - len(cell.label) / 2 * math.log(2 * math.pi)
    factor = torch.linalg.cholesky(precision)
    change = torch.cholesky_solve(pull[:, None], factor)[:, 0]
    log_evidence = log_density + pull @ change / 2 - factor.diagonal().log().sum()
    return EffectPosterior(mean + change, change, torch.cholesky_inverse(factor), log_evidence)


@dataclass(frozen=True, eq=False, repr=False)
class _KrigedCell(ShortRepr):
    """What predictions of one cell need, in single precision."""

    label: Int[Tensor, " n"]
    inverse_factor: Float[Tensor, "n n"]
    weight: Float[Tensor, " n"]
    projection: Float[Tensor, "effect n"]
    own_features: Float[Tensor, "n feature"]
    """the trend's features at the labels, times the variances of the cell's deviations"""

    @staticmethod
    def of(white: WhiteCell, change: Float[Tensor, " effect"], cell_std: Float[Tensor, " feature"]) -> "_KrigedCell":
        identity = torch.eye(len(white.factor), dtype=torch.float64, device="cpu")
        inverse = torch.linalg.solve_triangular(white.factor, identity, upper=False)
        weight = inverse.T @ (white.innovation - white.design @ change)
        projection, own = white.design.T @ inverse, white.features * cell_std.square()
        return _KrigedCell(white.label, inverse.float(), weight.float(), projection.float(), own.float())


@dataclass(frozen=True, eq=False, repr=False)
class DistrictKriging(ShortRepr):
    """The levels of a district's cells, given some labelled squares."""

    cells: MeasuredCells
    devices: int
    position: Float[Tensor, "label 2"]
    prior: LevelPrior
    effects: EffectPosterior
    kriged: tuple[_KrigedCell, ...]

    @staticmethod
    def fit(
        labels: MeasuredNetwork, parameters: PredictionParameters, drift: Float[Tensor, "label cell"] | None = None
    ) -> "DistrictKriging":
        """Krige the levels of labelled squares.

        Args:
            labels: a network with the labelled squares alone; without any the prior remains.
            parameters: learned from other districts, with this drift.
            drift: dBm, a predicted level of each cell at the labels; None: the power of the reference signal.
        """
        prior = LevelPrior.of(parameters.trend, parameters.residual)
        base = labels.cells.power_dbm.expand(len(labels), -1) if drift is None else drift
        white = whiten_cells(labels, base, prior)
        effects = effect_posterior(white, prior, int(labels.cells.mast.max()) + 1, len(labels.devices))
        kriged = tuple(_KrigedCell.of(cell, effects.change[cell.column], prior.cell_std) for cell in white)
        return DistrictKriging(labels.cells, len(labels.devices), labels.position, prior, effects, kriged)

    @property
    def device_offset(self) -> Float[Tensor, " device"]:
        """dB by which the levels of each make of phones differ from those of the average make."""
        return self.effects.mean[len(self.effects.mean) - self.devices :].float()

    def predict(
        self, position: Float[Tensor, "point 2"], drift: Float[Tensor, "cell point"] | None = None
    ) -> LevelPrediction:
        """Levels at places; `drift` in dBm as at the fit."""
        mean, std = (torch.empty(len(self.cells), len(position), device="cpu") for _ in range(2))
        for start in range(0, len(position), POINTS_PER_CHUNK):
            part = slice(start, start + POINTS_PER_CHUNK)
            mean[:, part], std[:, part] = self._predict_chunk(position[part])
        base = self.cells.power_dbm[:, None] if drift is None else drift
        return LevelPrediction(mean + base, std)

    def _predict_chunk(
        self, position: Float[Tensor, "point 2"]
    ) -> tuple[Float[Tensor, "cell point"], Float[Tensor, "cell point"]]:
        effect_mean, effect_covariance = self.effects.mean.float(), self.effects.covariance.float()
        own_std, variance = self.prior.cell_std.float(), float(self.prior.variance)
        fields = self.prior.fields(distance_between(self.position, position)).float()
        means, variances = [], []
        for mast, features, kriged in zip(
            self.cells.mast.tolist(), link_features(self.cells, position), self.kriged, strict=True
        ):
            column = effect_columns(mast, len(effect_mean), self.devices)
            no_make = features.new_zeros(len(features), self.devices)
            design = torch.cat([features, features.new_ones(len(features), 1), no_make], 1)
            between = fields[kriged.label] + kriged.own_features @ features.T
            unexplained = design - (kriged.projection @ between).T
            known = (kriged.inverse_factor @ between).square().sum(0)
            of_effects = ((unexplained @ effect_covariance[column[:, None], column]) * unexplained).sum(1)
            means.append(design @ effect_mean[column] + kriged.weight @ between)
            variances.append((features * own_std).square().sum(1) + variance - known + of_effects)
        least = float(self.prior.noise_std.square())
        return torch.stack(means), torch.stack(variances).clamp(min=least).sqrt()
