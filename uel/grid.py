"""The geometry of a raster: square pixels, row 0 in the south, origin at the tile's centre."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Square pixels of side `pixel` metres that cover the square |x|, |y| ≤ `size` / 2.

    `values[row, column]` of a raster on this grid belongs to the pixel whose centre is
    x = -size/2 + (column + ½)·pixel, y = -size/2 + (row + ½)·pixel.
    """

    size: float
    """side of the square in metres"""
    pixel: float
    """side of one pixel in metres"""

    def __post_init__(self) -> None:
        count = self.size / self.pixel if self.pixel > 0 else 0.0
        if count < 1 or abs(count - round(count)) > 1e-6:
            raise UelError(
                "a grid needs a whole number of pixels on its side",
                got=f"size {self.size} m, pixel {self.pixel} m",
                do="choose a pixel that divides the size, for example 512 m and 4 m",
            )

    @property
    def count(self) -> int:
        """Pixels on a side."""
        return round(self.size / self.pixel)

    @property
    def shape(self) -> tuple[int, int]:
        return self.count, self.count

    def centres(self) -> Float[Tensor, "row column 2"]:
        """Pixel centres in metres, (x, y)."""
        axis = (torch.arange(self.count) + 0.5) * self.pixel - self.size / 2
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        return torch.stack([x, y], dim=-1)

    def contains(self, position: Float[Tensor, "*n dim"]) -> Bool[Tensor, "*n"]:
        """Whether x and y (metres) lie on the grid; False where any coordinate is not finite."""
        on_grid = (position[..., :2].abs() <= self.size / 2).all(dim=-1)
        return on_grid & position.isfinite().all(dim=-1)

    def require(self, position: Float[Tensor, "*n dim"]) -> None:
        """Raise `UelError` when a position is not finite or lies outside the grid."""
        inside = self.contains(position)
        if not bool(inside.all()):
            bad = position.detach()[~inside][:3].tolist()
            raise UelError(
                f"{int((~inside).sum())} of {inside.numel()} positions are not finite or off the tile",
                got=f"{bad}",
                do=f"give x and y in metres from the tile's centre, within ±{self.size / 2:g} m",
            )

    def pixel_of(self, position: Float[Tensor, "*n dim"]) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]]:
        """Row and column of the pixels that hold positions on the grid."""
        index = ((position[..., :2] + self.size / 2) / self.pixel).floor().long().clamp(0, self.count - 1)
        return index[..., 1], index[..., 0]

    def sample(
        self,
        values: Float[Tensor, "channel row column"],
        position: Float[Tensor, "*n dim"],
        valid: Bool[Tensor, "channel row column"] | None = None,
    ) -> tuple[Float[Tensor, "*n channel"], Bool[Tensor, "*n channel"]]:
        """Bilinear lookup between pixel centres, differentiable in `values` and `position`.

        Pixels that are not `valid` do not take part: the weights of the others are renormalised, and where
        none of the four is valid the result is 0 with mask False. Beyond the outermost centres the value is
        held constant. Gradients are finite everywhere.

        Returns: values and their validity, both `*n channel`.
        """
        index, weight = self._corners(position.reshape(-1, position.shape[-1]))
        channels = len(values)
        held = values.flatten(1) if valid is None else torch.cat([values * valid, valid.to(values.dtype)]).flatten(1)
        # One fused pass over the four corners, whose channels lie side by side in memory.
        found = torch.nn.functional.embedding_bag(index, held.T.contiguous(), per_sample_weights=weight, mode="sum")
        found = found.view(*position.shape[:-1], -1)
        if valid is None:
            return found, torch.ones_like(found, dtype=torch.bool)
        total, weight_sum = found.split(channels, dim=-1)
        # A vanishing weight means that only invalid pixels are near: no value, and no 1/0 in the gradient.
        known = weight_sum > 1e-3
        return torch.where(known, total / weight_sum.clamp(min=1e-3), 0.0), known

    def _corners(self, position: Float[Tensor, "n dim"]) -> tuple[Int[Tensor, "n 4"], Float[Tensor, "n 4"]]:
        """The four pixels around each position, counted row by row, and their bilinear weights."""
        scaled = ((position[:, :2] + self.size / 2) / self.pixel - 0.5).clamp(0, self.count - 1)
        low = scaled.detach().floor().clamp(max=max(self.count - 2, 0))
        (x, y), (column, row) = (scaled - low).unbind(1), low.to(torch.int32).unbind(1)
        first, right, up = row * self.count + column, int(self.count > 1), self.count * int(self.count > 1)
        index = torch.stack([first, first + right, first + up, first + up + right], 1)
        weight = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)
        return index, weight
