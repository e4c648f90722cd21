"""Levels between measurements: a trend, or a map, and what is left of it by distance (kriging with given variances)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from scipy.optimize import lsq_linear
from torch import Tensor

CORRELATION_LENGTHS = (15.0, 30.0, 60.0, 120.0)  # m, after which what is left is alike by 1/e
CORRELATED_FRACTIONS = (0.3, 0.5, 0.7, 0.9)  # of the variance that is alike at all, the rest being each place's own
RIDGE_PENALTY = 1e-3  # of the trend's standardised slopes, relative to the number of places


@dataclass(frozen=True, eq=False)
class KrigedLevels:
    """Of one cell: trend and measurements, ready to be asked anywhere (Rasmussen and Williams, 2006, algorithm 2.1)."""

    position: Float[Tensor, "n 2"]
    middle: Float[Tensor, " feature"]
    spread: Float[Tensor, " feature"]
    seen: Float[Tensor, "2 feature"]
    """least and greatest: the trend goes no further"""
    slope: Float[Tensor, " feature_1"]
    variance: float
    length: float
    share: float
    factor: Float[Tensor, "n n"]
    pull: Float[Tensor, " n"]

    @staticmethod
    def of(
        position: Float[Tensor, "n 2"],
        feature: Float[Tensor, "n feature"],
        level: Float[Tensor, " n"],
        sign: Float[Tensor, " feature"] | None = None,
    ) -> "KrigedLevels":
        """Fit slopes by ridge regression, and of `CORRELATION_LENGTHS` and `CORRELATED_FRACTIONS` the likeliest.

        `sign` is 1 where a level can only rise with a feature, -1 where it can only fall, 0 where it may do either:
        features that are much alike would otherwise take slopes that no physics has.
        """
        position, feature, level = position.double(), feature.double(), level.double()
        middle, spread = feature.mean(0), feature.std(0).clamp(min=1e-6)
        seen = torch.stack([feature.amin(0), feature.amax(0)])
        table = _table(feature, middle, spread)
        slope = _slopes(table, level, torch.zeros(table.shape[1] - 1) if sign is None else sign)
        left = level - table @ slope
        distance = torch.cdist(position, position)
        fits = [
            _fitted(distance, left, length, share) for length in CORRELATION_LENGTHS for share in CORRELATED_FRACTIONS
        ]
        _, variance, length, share, factor = max(fits, key=lambda fit: fit[0])
        pull = torch.cholesky_solve(left.unsqueeze(1), factor)[:, 0]
        return KrigedLevels(position, middle, spread, seen, slope, variance, length, share, factor, pull)

    def at(
        self, position: Float[Tensor, "m 2"], feature: Float[Tensor, "m feature"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Mean and standard deviation in dB of a measurement at each place."""
        near = self.share * (-torch.cdist(position.double(), self.position) / self.length).exp()
        told = feature.double().clamp(*self.seen)
        mean = _table(told, self.middle, self.spread) @ self.slope + near @ self.pull
        known = torch.linalg.solve_triangular(self.factor, near.T, upper=False).square().sum(0)
        return mean, (self.variance * (1 - known).clamp(min=1 - self.share)).sqrt()


def _slopes(table: Tensor, level: Tensor, sign: Tensor) -> Float[Tensor, " feature_1"]:
    """Bounded least squares with a ridge on all but the intercept."""
    ridge = math.sqrt(RIDGE_PENALTY * len(level)) * torch.eye(table.shape[1], dtype=torch.float64)[1:]
    low = [-math.inf, *(0.0 if s > 0 else -math.inf for s in sign.tolist())]
    high = [math.inf, *(0.0 if s < 0 else math.inf for s in sign.tolist())]
    rows, wanted = torch.cat([table, ridge]), torch.cat([level, torch.zeros(len(ridge), dtype=torch.float64)])
    return torch.from_numpy(lsq_linear(rows.numpy(), wanted.numpy(), (low, high), method="bvls").x)


def _table(feature: Tensor, middle: Tensor, spread: Tensor) -> Float[Tensor, "n feature_1"]:
    """A column of ones, and features of mean 0 and deviation 1."""
    return torch.cat([torch.ones(len(feature), 1, dtype=torch.float64), (feature - middle) / spread], 1)


def _fitted(distance: Tensor, left: Tensor, length: float, share: float) -> tuple[float, float, float, float, Tensor]:
    """Log-likelihood with the variance that makes it greatest, that variance, length, share, and the factor."""
    alike = share * (-distance / length).exp() + (1 - share) * torch.eye(len(left), dtype=torch.float64)
    factor = torch.linalg.cholesky(alike)
    white = torch.linalg.solve_triangular(factor, left.unsqueeze(1), upper=False)
    variance = float(white.square().mean().clamp(min=1e-6))
    log_p = -len(left) / 2 * math.log(variance) - float(factor.diagonal().log().sum())
    return log_p, variance, length, share, factor


# ---- what a map gets wrong -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ErrorCovariance:
    """How what a map gets wrong is alike from place to place: covariance a·b·exp(-distance / `length`).

    a and b are its deviations at the two places: a² = `spread`² + (`share` · error bar)², where the map has error bars.
    """

    spread: float
    """dB"""
    length: float
    """m"""
    share: float = 0.0
    """of a map's own error bars; what is left of these is each pixel's own"""

    def size(self, bar: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """dB, deviation of what is alike, where the map has such error bars in dB."""
        return (self.spread**2 + (self.share * bar) ** 2).sqrt()

    def own(self, bar: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """dB, what is left of the error bars."""
        return math.sqrt(1 - self.share**2) * bar


@dataclass(frozen=True, eq=False)
class MapErrorKriging:
    """Of one cell: what measured levels say of a map's error, ready to be asked anywhere; no trend, unlike
    `KrigedLevels`."""

    position: Float[Tensor, "n 2"]
    size: Float[Tensor, " n"]
    alike: ErrorCovariance
    factor: Float[Tensor, "n n"]
    pull: Float[Tensor, " n"]

    @staticmethod
    def of(
        position: Float[Tensor, "n 2"],
        off: Float[Tensor, " n"],
        bar: Float[Tensor, " n"],
        fading: float,
        heard: Bool[Tensor, " n"],
        alike: ErrorCovariance,
    ) -> "MapErrorKriging":
        """`off`: dB of level above the map, or of the limit above it where nothing was `heard`.

        `bar` are the map's error bars there and `fading` is what each report has of its own, both in dB. A silent cell
        says that the level is below the limit: it counts as the measurement that has the mean and the variance which
        that leaves (expectation propagation's first step; Rasmussen and Williams, 2006, section 3.6).
        """
        off, bar, position = off.double(), bar.double(), position.double()
        size, noise = alike.size(bar), alike.own(bar).square() + fading**2
        total = size.square() + noise
        z = off / total.sqrt()
        lean = (-z.square() / 2 - math.log(math.sqrt(2 * math.pi)) - torch.special.log_ndtr(z)).exp()
        less = (lean * (z + lean)).clamp(min=1e-9)  # share of its variance that a level loses by being below the limit
        level = torch.where(heard, off, -total.sqrt() * lean / less)
        variance = torch.where(heard, noise, total / less - size.square())
        between = _between(position, size, position, size, alike.length)
        factor = torch.linalg.cholesky(between + variance.diag())
        return MapErrorKriging(position, size, alike, factor, torch.cholesky_solve(level.unsqueeze(1), factor)[:, 0])

    def at(
        self, position: Float[Tensor, "m 2"], bar: Float[Tensor, " m"]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Mean and standard deviation in dB of what the map, with such error bars, gets wrong at places.

        In the precision of `position`: that of thousands of pixels takes six tenths of the time in single.
        """
        there, own, factor, pull = (value.to(position) for value in (self.position, self.size, self.factor, self.pull))
        size = self.alike.size(bar)
        near = _between(position, size, there, own, self.alike.length)
        known = torch.linalg.solve_triangular(factor, near.T, upper=False).square().sum(0)
        left = (size.square() - known).clamp(min=0.0) + self.alike.own(bar).square()
        return near @ pull, left.sqrt()


def _between(
    a: Float[Tensor, "n 2"],
    size_a: Float[Tensor, " n"],
    b: Float[Tensor, "m 2"],
    size_b: Float[Tensor, " m"],
    length: float,
) -> Float[Tensor, "n m"]:
    """Covariance in dB² of what is wrong at two sets of places."""
    # By products of matrices, single precision loses what is near.
    far = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return size_a.unsqueeze(1) * size_b * (-far / length).exp()
