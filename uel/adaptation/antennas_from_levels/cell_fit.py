"""Azimuth and tilt of one cell from levels at places, where it was reported and where it was not.

The level at a place is a law of distance, minus the antenna's attenuation times a strength, plus a smooth field: a
Gaussian process, of which the pattern is the drift. Where the cell is reported the level is that plus noise; where it
is not, the level was below a threshold: a Tobit model. All coefficients are linear, so that each pair of azimuth and
tilt is a generalised linear model, fitted by Newton's method, and its evidence is Laplace's approximation (Rasmussen
and Williams, 2006, section 3.4). Places have weights: of a phone that may be at several, each gets its probability.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.antennas_from_levels.config import AntennaFitConfig
from uel.adaptation.antennas_from_levels.sector_pattern import (
    attenuation_by_azimuth_db,
    attenuation_by_tilt_db,
    log_distance,
)
from uel.core.display.short_repr import ShortRepr

NEWTON_STEPS = 6
CENTRES_PER_LENGTH = 1.0  # centres of the field's basis functions in each length of its kernel
MIN_CURVATURE = 1e-6  # of a censored place, in 1/dB²
LEAST_WEIGHT = 1e-4  # of a place that is used


@dataclass(frozen=True, eq=False, repr=False)
class CellObservations(ShortRepr):
    """What is known of the levels of one cell."""

    offset: Float[Tensor, "place 2"]
    """m east and north of the antenna"""
    level_db: Float[Tensor, " place"]
    """mean reported level minus the power of the reference signal; 0 where it was never reported"""
    heard: Float[Tensor, " place"]
    """number of reports of the cell there, a fraction where the place of a report is uncertain"""
    silent: Float[Tensor, " place"]
    """number of reports without the cell there"""


@dataclass(frozen=True, eq=False, repr=False)
class CellFit(ShortRepr):
    """The posterior of an antenna, on grids of its azimuth and of its tilt, and the fitted levels."""

    azimuth_deg: Float[Tensor, " azimuth"]
    azimuth_probability: Float[Tensor, " azimuth"]
    tilt_deg: Float[Tensor, " tilt"]
    tilt_probability: Float[Tensor, " tilt"]
    coefficients: Float[Tensor, "4"]
    """intercept, slope and strengths of the likeliest antenna"""

    @property
    def azimuth(self) -> tuple[float, float]:
        """Expectation and standard deviation, degrees; on a grid around the believed azimuth, thus not wrapped."""
        return _moments(self.azimuth_deg, self.azimuth_probability)

    @property
    def tilt(self) -> tuple[float, float]:
        """Expectation and standard deviation, degrees."""
        return _moments(self.tilt_deg, self.tilt_probability)


def fit_cell(
    observations: CellObservations,
    azimuth_deg: float,
    tilt_deg: float,
    height: float,
    threshold_db: float,
    config: AntennaFitConfig,
) -> CellFit:
    """Fit the antenna of one cell.

    Args:
        observations: its levels.
        azimuth_deg: believed, clockwise from north.
        tilt_deg: believed, electrical and mechanical together.
        height: of the antenna above the ground, m.
        threshold_db: level from which the cell is reported, minus the power of its reference signal.
        config: priors.
    """
    azimuths = azimuth_deg + _grid(config.azimuth_range_deg, config.azimuth_step_deg)
    tilts = tilt_deg + _grid(config.tilt_range_deg, config.tilt_step_deg)
    model = _CellModel(observations, height, threshold_db, config)
    azimuth_prior = _log_prior(azimuths - azimuth_deg, config.azimuth_std_deg)
    tilt_prior = _log_prior(tilts - tilt_deg, config.tilt_std_deg)
    tilt = torch.tensor(tilt_deg, device="cpu")
    for _ in range(2):  # the azimuth again at the likeliest tilt
        evidence, coefficients = model.evidence(azimuths, tilt.expand(len(azimuths)))
        azimuth_posterior = (config.evidence_exponent * evidence + azimuth_prior).softmax(0)
        chosen = azimuth_posterior.argmax()
        evidence, _ = model.evidence(azimuths[chosen].expand(len(tilts)), tilts)
        tilt_posterior = (config.evidence_exponent * evidence + tilt_prior).softmax(0)
        tilt = tilts[tilt_posterior.argmax()]
    law = coefficients[chosen].float()
    return CellFit(azimuths, azimuth_posterior.float(), tilts, tilt_posterior.float(), law)


class _CellModel:
    """The generalised linear model of one cell's levels, for any azimuths and tilts."""

    def __init__(self, seen: CellObservations, height: float, threshold_db: float, config: AntennaFitConfig) -> None:
        self.seen, self.height, self.threshold_db, self.config = seen, height, threshold_db, config
        law = torch.stack([torch.ones(len(seen.offset), device="cpu"), log_distance(seen.offset, height)], 1)
        field = _field_basis(seen.offset, config)
        self._fixed = torch.cat([law, field], 1).double()
        pairs = (config.intercept, config.slope, config.horizontal_strength, config.vertical_strength)
        mean, std = zip(*pairs, strict=True)
        ones = torch.ones(field.shape[1], device="cpu")
        self._mean = torch.cat([torch.tensor(mean, device="cpu"), 0 * ones]).double()
        self._precision = torch.cat([torch.tensor(std, device="cpu"), ones]).double().square().reciprocal()

    def evidence(
        self, azimuth_deg: Float[Tensor, " candidate"], tilt_deg: Float[Tensor, " candidate"]
    ) -> tuple[Float[Tensor, " candidate"], Float[Tensor, "candidate 4"]]:
        """Laplace's log-evidence of candidates, and their four coefficients."""
        horizontal = -attenuation_by_azimuth_db(self.seen.offset, azimuth_deg)
        vertical = -attenuation_by_tilt_db(self.seen.offset, self.height, tilt_deg)
        fixed = self._fixed.expand(len(azimuth_deg), -1, -1)
        antenna = torch.stack([horizontal, vertical], -1).double()
        design = torch.cat([fixed[..., :2], antenna, fixed[..., 2:]], -1)
        beta = self._mean.expand(len(design), -1).clone()
        for _ in range(NEWTON_STEPS):
            _, gradient, curvature = self._likelihood((design @ beta[..., None])[..., 0])
            hessian = design.mT @ (curvature[..., None] * design) + self._precision.diag()
            slope = (design.mT @ gradient[..., None])[..., 0] - self._precision * (beta - self._mean)
            beta = beta + torch.linalg.solve(hessian, slope)
        log_p, _, curvature = self._likelihood((design @ beta[..., None])[..., 0])
        hessian = design.mT @ (curvature[..., None] * design) + self._precision.diag()
        log_prior = -((beta - self._mean).square() * self._precision).sum(-1) / 2
        return log_p + log_prior - torch.logdet(hessian) / 2, beta[:, :4]

    def _likelihood(
        self, level: Float[Tensor, "candidate place"]
    ) -> tuple[Float[Tensor, " candidate"], Float[Tensor, "candidate place"], Float[Tensor, "candidate place"]]:
        """Log-likelihood, its derivative by the level, and minus its second derivative, positive."""
        seen, config = self.seen, self.config
        precision = 1 / config.noise_std_db**2
        residual = seen.level_db - level
        width = math.hypot(config.noise_std_db, config.threshold_width_db)
        z = (level - self.threshold_db) / width
        density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
        unheard = 1 - config.ceiling * torch.special.ndtr(z)
        rate = config.ceiling * density / unheard  # minus the derivative of log(unheard) by z
        log_p = -seen.heard * residual.square() * precision / 2 + seen.silent * unheard.log()
        gradient = seen.heard * residual * precision - seen.silent * rate / width
        bend = (rate * (rate - z)).clamp(min=0.0) / width**2  # the ceiling makes far levels bend the other way
        curvature = (seen.heard * precision + seen.silent * bend).clamp(min=MIN_CURVATURE)
        return log_p.sum(-1), gradient, curvature


def _field_basis(offset: Float[Tensor, "place 2"], config: AntennaFitConfig) -> Float[Tensor, "place centre"]:
    """Basis functions of the field, whose weights are independent with unit variance.

    The Gaussian process is projected on its values at a lattice of centres (Rasmussen and Williams, 2006, equation
    8.14: subset of regressors).
    """
    step = config.field_length / CENTRES_PER_LENGTH
    low, high = offset.amin(0), offset.amax(0)
    axes = [torch.arange(float(a), float(b) + step, step, device="cpu") for a, b in zip(low, high, strict=True)]
    centres = torch.cartesian_prod(*axes)
    near = torch.cdist(centres, offset).amin(1) < step
    centres = centres[near]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (-torch.cdist(a.double(), b.double()).square() / (2 * config.field_length**2)).exp()

    jitter = 1e-6 * torch.eye(len(centres), dtype=torch.float64, device="cpu")
    factor = torch.linalg.cholesky(kernel(centres, centres) + jitter)
    basis = torch.linalg.solve_triangular(factor, kernel(centres, offset), upper=False)
    return (config.field_std_db * basis.T).float()


def _grid(reach: float, step: float) -> Float[Tensor, " offset"]:
    count = round(reach / step)
    return step * torch.arange(-count, count + 1, device="cpu").float()


def _log_prior(offset: Float[Tensor, " candidate"], std: float) -> Float[Tensor, " candidate"]:
    return -(offset / std).square() / 2


def _moments(values: Float[Tensor, " value"], probability: Float[Tensor, " value"]) -> tuple[float, float]:
    mean = (probability * values).sum()
    within_step = float(values[1] - values[0]) ** 2 / 12  # a value stands for all around it
    return float(mean), float((probability * (values - mean).square()).sum() + within_step) ** 0.5
