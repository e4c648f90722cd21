"""Kriging of levels between measurements, on a trend or on a radio map, with given variances.

`KrigedLevels` has a linear trend; `MapErrorKriging` has the map as its trend.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from scipy.optimize import lsq_linear
from torch import Tensor

from uel.core.display.short_repr import ShortRepr

CORRELATION_LENGTHS = (15.0, 30.0, 60.0, 120.0)  # m after which the correlation of residuals has fallen to 1/e
CORRELATED_FRACTIONS = (0.3, 0.5, 0.7, 0.9)  # of the residuals' variance; the rest is independent (nugget)
RIDGE_PENALTY = 1e-3  # on the trend's standardised slopes, per measurement


@dataclass(frozen=True, eq=False, repr=False)
class KrigedLevels(ShortRepr):
    """Fitted trend and kriging weights of one cell (Rasmussen and Williams, 2006, algorithm 2.1)."""

    position: Float[Tensor, "n 2"]
    feature_mean: Float[Tensor, " feature"]
    feature_std: Float[Tensor, " feature"]
    feature_range: Float[Tensor, "2 feature"]
    """least and greatest: the trend is not extrapolated"""
    slope: Float[Tensor, " feature_1"]
    variance: float
    length: float
    correlated_fraction: float
    cholesky: Float[Tensor, "n n"]
    weight: Float[Tensor, " n"]

    @staticmethod
    def fit(
        position: Float[Tensor, "n 2"],
        feature: Float[Tensor, "n feature"],
        level: Float[Tensor, " n"],
        sign: Float[Tensor, " feature"] | None = None,
    ) -> "KrigedLevels":
        """Fit slopes by ridge regression, and the likeliest of `CORRELATION_LENGTHS` and `CORRELATED_FRACTIONS`.

        `sign` is 1 where a level can only rise with a feature, -1 where it can only fall, 0 where it may do either:
        features that are much alike would otherwise take slopes that no physics has.
        """
        position, feature, level = position.double(), feature.double(), level.double()
        mean, std = feature.mean(0), feature.std(0).clamp(min=1e-6)
        feature_range = torch.stack([feature.amin(0), feature.amax(0)])
        design = _design_matrix(feature, mean, std)
        slope = _fit_slopes(
            design, level, torch.zeros(design.shape[1] - 1, device=design.device) if sign is None else sign
        )
        residual = level - design @ slope
        distance = torch.cdist(position, position)
        fits = [
            _fit_covariance(distance, residual, length, fraction)
            for length in CORRELATION_LENGTHS
            for fraction in CORRELATED_FRACTIONS
        ]
        _, variance, length, fraction, cholesky = max(fits, key=lambda fit: fit[0])
        weight = torch.cholesky_solve(residual.unsqueeze(1), cholesky)[:, 0]
        return KrigedLevels(position, mean, std, feature_range, slope, variance, length, fraction, cholesky, weight)

    def predict(
        self, position: Float[Tensor, "m 2"], feature: Float[Tensor, "m feature"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Mean and standard deviation in dB of a measurement at each position."""
        distance = torch.cdist(position.double(), self.position)
        correlation = self.correlated_fraction * (-distance / self.length).exp()
        clamped = feature.double().clamp(*self.feature_range)
        mean = _design_matrix(clamped, self.feature_mean, self.feature_std) @ self.slope + correlation @ self.weight
        known = torch.linalg.solve_triangular(self.cholesky, correlation.T, upper=False).square().sum(0)
        return mean, (self.variance * (1 - known).clamp(min=1 - self.correlated_fraction)).sqrt()


def _fit_slopes(design: Tensor, level: Tensor, sign: Tensor) -> Float[Tensor, " feature_1"]:
    """Bounded least squares with a ridge on all but the intercept."""
    ridge = (
        math.sqrt(RIDGE_PENALTY * len(level))
        * torch.eye(design.shape[1], dtype=torch.float64, device=design.device)[1:]
    )
    low = [-math.inf, *(0.0 if s > 0 else -math.inf for s in sign.tolist())]
    high = [math.inf, *(0.0 if s < 0 else math.inf for s in sign.tolist())]
    rows, target = (
        torch.cat([design, ridge]),
        torch.cat([level, torch.zeros(len(ridge), dtype=torch.float64, device=design.device)]),
    )
    return torch.from_numpy(lsq_linear(rows.numpy(), target.numpy(), (low, high), method="bvls").x)


def _design_matrix(feature: Tensor, mean: Tensor, std: Tensor) -> Float[Tensor, "n feature_1"]:
    """A column of ones, and standardised features."""
    return torch.cat(
        [torch.ones(len(feature), 1, dtype=torch.float64, device=feature.device), (feature - mean) / std], 1
    )


def _fit_covariance(
    distance: Tensor, residual: Tensor, length: float, fraction: float
) -> tuple[float, float, float, float, Tensor]:
    """Log-likelihood, the variance that maximises it, length, correlated fraction, and the Cholesky factor."""
    correlation = fraction * (-distance / length).exp() + (1 - fraction) * torch.eye(
        len(residual), dtype=torch.float64, device=residual.device
    )
    cholesky = torch.linalg.cholesky(correlation)
    white = torch.linalg.solve_triangular(cholesky, residual.unsqueeze(1), upper=False)
    variance = float(white.square().mean().clamp(min=1e-6))
    log_p = -len(residual) / 2 * math.log(variance) - float(cholesky.diagonal().log().sum())
    return log_p, variance, length, fraction, cholesky


# ---- errors of a map -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ErrorCovariance:
    """Covariance of a map's errors at two positions: a·b·exp(-distance / `length`).

    a and b are the correlated standard deviations at the two positions: a² = `std_db`² + (`bar_fraction` · error bar)²,
    where the map has error bars.
    """

    std_db: float
    length: float
    """m"""
    bar_fraction: float = 0.0
    """fraction of a map's own error bars that is correlated; the rest is independent between pixels"""

    def correlated_std(self, bar: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Standard deviation in dB of correlated errors, where the map has error bars of `bar` dB."""
        return (self.std_db**2 + (self.bar_fraction * bar) ** 2).sqrt()

    def independent_std(self, bar: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Standard deviation in dB of the independent part of error bars of `bar` dB."""
        return math.sqrt(1 - self.bar_fraction**2) * bar


@dataclass(frozen=True, eq=False, repr=False)
class MapErrorKriging(ShortRepr):
    """Errors of one cell's map, kriged from measured levels; without a trend, unlike `KrigedLevels`."""

    position: Float[Tensor, "n 2"]
    std: Float[Tensor, " n"]
    covariance: ErrorCovariance
    cholesky: Float[Tensor, "n n"]
    weight: Float[Tensor, " n"]

    @staticmethod
    def fit(
        position: Float[Tensor, "n 2"],
        error: Float[Tensor, " n"],
        bar: Float[Tensor, " n"],
        fading: float,
        heard: Bool[Tensor, " n"],
        covariance: ErrorCovariance,
    ) -> "MapErrorKriging":
        """Krige `error`, dB of level above the map, or of the censoring level above it where nothing was `heard`.

        `bar` are the map's error bars there and `fading` is the standard deviation of each report's own fading, both in
        dB. The level of a silent cell is below the limit: it counts as the measurement with the mean and the variance
        of the truncated distribution (expectation propagation's first step; Rasmussen and Williams, 2006, section 3.6).
        """
        error, bar, position = error.double(), bar.double(), position.double()
        std, noise = covariance.correlated_std(bar), covariance.independent_std(bar).square() + fading**2
        total = std.square() + noise
        z = error / total.sqrt()
        hazard = (-z.square() / 2 - math.log(math.sqrt(2 * math.pi)) - torch.special.log_ndtr(z)).exp()
        # The fraction of its variance that a level loses by being below the limit.
        lost_variance = (hazard * (z + hazard)).clamp(min=1e-9)
        level = torch.where(heard, error, -total.sqrt() * hazard / lost_variance)
        variance = torch.where(heard, noise, total / lost_variance - std.square())
        between = _covariance(position, std, position, std, covariance.length)
        cholesky = torch.linalg.cholesky(between + variance.diag())
        weight = torch.cholesky_solve(level.unsqueeze(1), cholesky)[:, 0]
        return MapErrorKriging(position, std, covariance, cholesky, weight)

    def predict(
        self, position: Float[Tensor, "m 2"], bar: Float[Tensor, " m"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Mean and standard deviation in dB of the map's error at positions where it has error bars of `bar` dB.

        Computed in the precision of `position`: thousands of pixels take six tenths of the time in single precision.
        """
        measured, measured_std, cholesky, weight = (
            value.to(position) for value in (self.position, self.std, self.cholesky, self.weight)
        )
        std = self.covariance.correlated_std(bar)
        between = _covariance(position, std, measured, measured_std, self.covariance.length)
        known = torch.linalg.solve_triangular(cholesky, between.T, upper=False).square().sum(0)
        variance = (std.square() - known).clamp(min=0.0) + self.covariance.independent_std(bar).square()
        return between @ weight, variance.sqrt()


def _covariance(
    a: Float[Tensor, "n 2"],
    std_a: Float[Tensor, " n"],
    b: Float[Tensor, "m 2"],
    std_b: Float[Tensor, " m"],
    length: float,
) -> Float[Tensor, "n m"]:
    """Covariance in dB² of the map's errors at two sets of positions."""
    # cdist by matrix products loses small distances in single precision.
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return std_a.unsqueeze(1) * std_b * (-distance / length).exp()
