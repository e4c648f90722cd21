"""Places of a district where a phone may be, one for each block of squares: a grid coarse enough for thousands of
fixes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.prediction.square_posterior import Squares

SQUARES_PER_BLOCK = 3  # on a block's side


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Candidates(ShortRepr):
    """Blocks of squares in which a phone may be, one entry a block."""

    row: Int[Tensor, " place"]
    """of the square that stands for the block, on the network's grid"""
    column: Int[Tensor, " place"]
    position: Float[Tensor, "place 2"]
    """m from the grid's centre, the mean of the block's squares where a phone may be"""
    squares: Float[Tensor, " place"]
    """how many squares of the block these are: the prior"""
    place_of_square: Int[Tensor, " square"]
    """the block of each square where a phone may be, row by row"""
    raster_index: Int[Tensor, " place"]
    """of the block in the flattened raster of blocks"""
    raster_shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.row)

    @staticmethod
    def of(possible: Squares) -> "Candidates":
        """The blocks that hold a square where a phone may be."""
        squares = possible.possible.nonzero()
        block = (squares - squares.amin(0)) // SQUARES_PER_BLOCK
        rows, columns = (block.amax(0) + 1).tolist()
        index, inverse, count = torch.unique(
            block @ torch.tensor([columns, 1], device="cpu"), return_inverse=True, return_counts=True
        )
        first = torch.full_like(index, len(squares)).scatter_reduce(
            0, inverse, torch.arange(len(squares), device="cpu"), "amin"
        )
        position = torch.zeros(len(index), 2, device="cpu").index_add(0, inverse, possible.position) / count[:, None]
        row, column = squares[first].unbind(1)
        return Candidates(
            row=row, column=column, position=position, squares=count.float(), place_of_square=inverse,
            raster_index=index, raster_shape=(rows, columns),
        )  # fmt: skip

    def nearest(self, position: Float[Tensor, "n 2"]) -> Int[Tensor, " n"]:
        """Index of the place that is nearest to each position."""
        return torch.cdist(position, self.position).argmin(1)
