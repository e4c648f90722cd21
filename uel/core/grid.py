"""Raster geometry: square pixels, row 0 in the south, origin at the tile's centre."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError

POSITIONS_PER_LOOKUP = 1 << 16  # so that intermediate values stay in a core's cache


MAX_SIDE = 1e7  # m
MAX_COUNT = 50_000


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid of square pixels of side `pixel` metres over the square |x|, |y| ≤ `size` / 2.

    `values[row, column]` of a raster on this grid belongs to the pixel whose centre is
    x = -size/2 + (column + ½)·pixel, y = -size/2 + (row + ½)·pixel.

    Raises:
        UelError: where pixels do not divide the side.

    Example:
        >>> import uel
        >>> grid = uel.Grid(size=256.0, pixel=4.0)
        >>> grid.shape, tuple(grid.centres()[0, 0].tolist())
        ((64, 64), (-126.0, -126.0))
    """

    size: float
    """side of the square in metres"""
    pixel: float
    """side of one pixel in metres"""

    def __post_init__(self) -> None:
        require_numbers(self, size=(0.0, MAX_SIDE), pixel=(0.0, MAX_SIDE))
        count = self.size / self.pixel if self.pixel > 0 else 0.0
        if count > MAX_COUNT:
            got, do = f"{count:.0f} pixels on a side", "choose larger pixels, or a smaller square"
            raise UelError(f"a grid has more than {MAX_COUNT} pixels on a side", got=got, do=do)
        if count < 1 or abs(count - round(count)) > 1e-6:
            raise UelError(
                "size is not a whole number of pixels",
                got=f"size {self.size} m, pixel {self.pixel} m",
                do="choose a pixel that divides the size, for example 512 m and 4 m",
            )

    @property
    def count(self) -> int:
        """Number of pixels on a side."""
        return round(self.size / self.pixel)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.count, self.count

    def centres(self, device: torch.device | str = "cpu") -> Float[Tensor, "row column 2"]:
        """Pixel centres in metres, (x, y)."""
        axis = (torch.arange(self.count, device=device) + 0.5) * self.pixel - self.size / 2
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        return torch.stack([x, y], dim=-1)

    def contains(self, position: Float[Tensor, "*n dim"]) -> Bool[Tensor, "*n"]:
        """Whether x and y (metres) lie on the grid; False where any coordinate is not finite."""
        on_grid = (position[..., :2].abs() <= self.size / 2).all(dim=-1)
        return on_grid & position.isfinite().all(dim=-1)

    def require(self, position: Float[Tensor, "*n dim"]) -> None:
        """Raise `UelError` when a position is not finite or lies outside the grid."""
        if position.numel() and not self._contains_all(position.detach()):
            inside = self.contains(position)
            bad = position.detach()[~inside][:3].tolist()
            raise UelError(
                f"{int((~inside).sum())} of {inside.numel()} positions are not finite or off the tile",
                got=f"{bad}",
                do=f"give x and y in metres from the tile's centre, within ±{self.size / 2:g} m",
            )

    def _contains_all(self, position: Float[Tensor, "*n dim"]) -> bool:
        """`contains(position).all()` in one pass over the coordinates, and whether z is finite."""
        low, high = torch.aminmax(position[..., :2])
        flat = position.shape[-1] == 2 or bool(position[..., 2].isfinite().all())
        return flat and bool(low >= -self.size / 2) and bool(high <= self.size / 2)

    def pixel_of(self, position: Float[Tensor, "*n dim"]) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]]:
        """Row and column of the pixels that hold positions on the grid."""
        index = ((position[..., :2] + self.size / 2) / self.pixel).floor().long().clamp(0, self.count - 1)
        return index[..., 1], index[..., 0]

    def sample(
        self, values: Float[Tensor, "channel row column"], position: Float[Tensor, "*n dim"]
    ) -> Float[Tensor, "*n channel"]:
        """Bilinear lookup between pixel centres, differentiable in `values` and `position` with finite gradients.

        Constant beyond the outermost centres. Fill invalid pixels first (`fill_from_neighbours`); `sample_mask` tells
        which positions are valid.
        """
        scaled = (position[..., :2].reshape(1, 1, -1, 2) * (2 / self.size)).to(values.dtype)
        # PyTorch works on an image in one thread, so an even number of channels makes two.
        images = values.unflatten(0, (math.gcd(len(values), 2), -1))
        points = scaled.expand(len(images), -1, -1, -1)
        sampled = torch.nn.functional.grid_sample(images, points, padding_mode="border", align_corners=False)
        return sampled[:, :, 0].flatten(0, 1).T.reshape(*position.shape[:-1], len(values))

    def sample_mask(
        self, valid: Bool[Tensor, "channel row column"], position: Float[Tensor, "*n dim"]
    ) -> Bool[Tensor, "*n channel"]:
        """Whether the pixels at positions on the grid are valid."""
        # Eight channels are read at once as one int64; indexing one dimension takes half the time of two.
        padded = torch.nn.functional.pad(valid.flatten(1), (0, 0, 0, -len(valid) % 8))
        table = padded.T.contiguous().view(torch.int64).unbind(1)
        flat = position.detach()[..., :2].reshape(-1, 2)
        packed = torch.empty(len(flat), len(table), dtype=torch.int64, device=flat.device)
        for part, rows in zip(flat.split(POSITIONS_PER_LOOKUP), packed.split(POSITIONS_PER_LOOKUP), strict=True):
            index = torch.add(self.count / 2, part, alpha=1 / self.pixel).to(torch.int32).clamp_(0, self.count - 1)
            pixel = torch.add(index[:, 0], index[:, 1], alpha=self.count)
            for group, column in zip(table, rows.unbind(1), strict=True):
                torch.index_select(group, 0, pixel, out=column)
        return packed.view(torch.bool)[:, : len(valid)].reshape(*position.shape[:-1], len(valid))


def fill_from_neighbours(
    values: Float[Tensor, "channel row column"], valid: Bool[Tensor, "channel row column"]
) -> Float[Tensor, "channel row column"]:
    """Values with each invalid pixel replaced by the mean of its valid neighbours, or 0 without any."""
    valid_fraction = _box(valid.to(values.dtype))
    return torch.where(valid, values, _box(torch.where(valid, values, 0.0)) / valid_fraction.clamp(min=0.1))


def _box(values: Float[Tensor, "channel row column"]) -> Float[Tensor, "channel row column"]:
    """Mean over 3 × 3 pixels; pixels off the grid count as 0."""
    return torch.nn.functional.avg_pool2d(values[None], 3, stride=1, padding=1)[0]
