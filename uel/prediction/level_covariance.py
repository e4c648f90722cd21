"""Prior of the levels of a district as tensors: mean and variance of shared effects, covariance of one cell's levels.

Tensors instead of numbers, because `hyperparameters.py` differentiates with respect to them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.prediction.config import TREND_FEATURES, ResidualCovariance, TrendPrior

SINGLE_MAKE_STD = 1e-3  # dB: the offset of a single make of phones is in the intercept


@dataclass(frozen=True, eq=False, repr=False)
class LevelPrior(ShortRepr):
    """Numbers of `TrendPrior` and `ResidualCovariance` in double precision."""

    mean: Float[Tensor, " feature"]
    district_std: Float[Tensor, " feature"]
    cell_std: Float[Tensor, " feature"]
    offset_std: Float[Tensor, "2"]
    """dB, of masts and of makes of phones"""
    field_std: Float[Tensor, "2"]
    """dB, of the long and the short field"""
    field_length: Float[Tensor, "2"]
    """m"""
    noise_std: Float[Tensor, ""]
    """dB"""

    @staticmethod
    def of(trend: TrendPrior, residual: ResidualCovariance) -> "LevelPrior":
        def tensor(*values: float) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device="cpu")

        return LevelPrior(
            tensor(*trend.mean),
            tensor(*trend.district_std),
            tensor(*trend.cell_std),
            tensor(trend.mast_std, trend.device_std),
            tensor(residual.long_std_db, residual.short_std_db),
            tensor(residual.long_length, residual.short_length),
            tensor(residual.noise_std_db)[0],
        )

    def parameters(self) -> tuple[TrendPrior, ResidualCovariance]:
        """The same as configurations, rounded to four digits."""
        mean, district, cell, offset, std, length = (
            tuple(float(f"{value:.4g}") for value in values.tolist())
            for values in (
                self.mean, self.district_std, self.cell_std, self.offset_std, self.field_std, self.field_length
            )
        )  # fmt: skip
        offsets = {"mast_std": offset[0], "device_std": offset[1]}
        trend = TrendPrior(mean=mean, district_std=district, cell_std=cell, **offsets)
        lengths = {"long_length": length[0], "short_length": length[1], "noise_std_db": float(f"{self.noise_std:.4g}")}
        return trend, ResidualCovariance(long_std_db=std[0], short_std_db=std[1], **lengths)

    def effects(self, masts: int, devices: int) -> tuple[Float[Tensor, " effect"], Float[Tensor, " effect"]]:
        """Mean and variance of the shared effects: trend, offsets of masts, offsets of makes of phones."""
        mean = torch.cat([self.mean, self.mean.new_zeros(masts + devices)])
        device_std = self.offset_std[1] if devices > 1 else self.mean.new_tensor(SINGLE_MAKE_STD)
        std = torch.cat([self.district_std, self.offset_std[:1].expand(masts), device_std.expand(devices)])
        return mean, std.square()

    @property
    def variance(self) -> Float[Tensor, ""]:
        """dB², of the fields and the noise of one level."""
        return self.field_std.square().sum() + self.noise_std.square()

    def fields(self, distance: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        """Covariance in dB² of the two fields at places so many metres apart."""
        long, short = (
            std.square() * (-distance / length).exp()
            for std, length in zip(self.field_std, self.field_length, strict=True)
        )
        return long + short

    def of_cell(self, position: Float[Tensor, "n 2"], features: Float[Tensor, "n feature"]) -> Float[Tensor, "n n"]:
        """Covariance in dB² of one cell's levels given the shared effects."""
        own = (features * self.cell_std.square()) @ features.T
        noise = self.noise_std.square() * torch.eye(len(position), dtype=position.dtype, device="cpu")
        return self.fields(distance_between(position, position)) + own + noise


def distance_between(a: Float[Tensor, "n 2"], b: Float[Tensor, "m 2"]) -> Float[Tensor, "n m"]:
    """Metres; by differences, since matrix products lose small distances in single precision."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def effect_columns(mast: int, effects: int, devices: int) -> Int[Tensor, " effect"]:
    """Numbers of the shared effects that a cell on a mast has: trend, its mast, all makes of phones."""
    trend = len(TREND_FEATURES)
    return torch.tensor([*range(trend), trend + mast, *range(effects - devices, effects)], device="cpu")
