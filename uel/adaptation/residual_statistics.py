"""Strength, reach and alikeness of the differences between measured levels and a map's.

A residual is a level minus the map's, less the median of its cell: an offset of a cell is power, cable and gain, not
fading. What is left is a field in space: its standard deviation, the distance over which it is alike, and how alike it
is between cells of one mast, of different masts, and between makes of phones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.errors import UelError
from uel.estimation.scoring import bootstrap
from uel.measurement.drive_test import block_index
from uel.measurement.measured_network import BLOCK_SIDE, MeasuredNetwork

DISTANCE_EDGES = (2.5, 7.5, 15.0, 25.0, 40.0, 60.0, 90.0, 140.0, 220.0, 350.0)  # m, of the bins of the correlogram
TRIED_LENGTHS = tuple(float(length) for length in range(5, 301, 5))  # m, that are tried
MIN_LEVELS = 50  # of a cell: fewer have no median to subtract
SQUARES_PER_CELL = 600  # pairs are made of at most so many squares of a cell
MAD_TO_STD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Estimated:
    """A number with its 90 % interval, by bootstrap over blocks of 64 m."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, eq=False, repr=False)
class ResidualStatistics(ShortRepr):
    """Of one district."""

    levels: int
    rms_db: Estimated
    robust_std_db: Estimated
    """1.4826 times the median of absolute residuals: without the tails"""
    correlation: Float[Tensor, " bin"]
    """of two squares of one cell, by distance; 0 where a bin has no pair"""
    distance: Float[Tensor, " bin"]
    """m, the bins' middles"""
    length: float
    """m, of sill · exp(-distance / length) fitted to the correlation"""
    sill: float
    """correlation at distance 0 of the field: 1 less the white part of the variance"""
    same_mast: Estimated
    """correlation of two cells of one mast on one square"""
    other_mast: Estimated


def residuals(
    network: MeasuredNetwork, predicted_dbm: Float[Tensor, "square cell"]
) -> tuple[Float[Tensor, "square cell"], Bool[Tensor, "square cell"]]:
    """Level minus the predicted one less the cell's median, and where there is one; 0 elsewhere.

    Cells with fewer than `MIN_LEVELS` levels are left out. Raises `UelError` where no cell is left.
    """
    known = network.is_reported & (network.is_reported.sum(0) >= MIN_LEVELS)
    if not known.any():
        got = f"{int(network.is_reported.sum(0).max())} levels of one cell at most"
        raise UelError(f"no cell of {network.name} has {MIN_LEVELS} levels", got=got, do="measure more squares")
    difference = torch.where(known, network.level_dbm - predicted_dbm, torch.nan)
    centred = difference - difference.nanmedian(0).values.nan_to_num()
    return torch.where(known, centred, 0.0), known


def residual_statistics(
    network: MeasuredNetwork, predicted_dbm: Float[Tensor, "square cell"], seed: int = 0
) -> ResidualStatistics:
    """Strength, reach and alikeness of the residuals around a prediction.

    Args:
        network: the measured squares.
        predicted_dbm: what the map says there.
        seed: of the squares from which pairs are made, and of bootstraps.
    """
    residual, known = residuals(network, predicted_dbm)
    _, block = torch.unique(block_index(network.position, BLOCK_SIDE), return_inverse=True)
    square = known.nonzero()[:, 0]
    values = residual[known]
    of_block = [values[block[square] == number] for number in range(int(block.max()) + 1)]
    of_block = [part for part in of_block if len(part)]
    distance, correlation, has_pair = correlogram(network.position, residual, known, seed)
    sill, length = fit_exponential(distance[has_pair], correlation[has_pair])
    masts = network.cells.mast
    pairs = {
        name: _pair_products(residual, known, block, (masts[:, None] == masts) == is_same)
        for name, is_same in (("same", True), ("other", False))
    }
    return ResidualStatistics(
        levels=len(values),
        rms_db=_estimated(of_block, lambda part: float(part.square().mean().sqrt()), seed),
        robust_std_db=_estimated(of_block, lambda part: MAD_TO_STD * float(part.abs().median()), seed),
        correlation=correlation,
        distance=distance,
        length=length,
        sill=sill,
        same_mast=_estimated(pairs["same"], _pair_correlation, seed),
        other_mast=_estimated(pairs["other"], _pair_correlation, seed),
    )


def correlogram(
    position: Float[Tensor, "square 2"],
    residual: Float[Tensor, "square cell"],
    known: Bool[Tensor, "square cell"],
    seed: int,
) -> tuple[Float[Tensor, " bin"], Float[Tensor, " bin"], Bool[Tensor, " bin"]]:
    """Middles of the bins in m, correlation of two squares of one cell there, and which bins have a pair."""
    edges = torch.tensor(DISTANCE_EDGES, device="cpu")
    product, count = torch.zeros(2, len(edges) - 1, dtype=torch.float64, device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for cell in known.any(0).nonzero()[:, 0].tolist():
        squares = known[:, cell].nonzero()[:, 0]
        squares = squares[torch.randperm(len(squares), generator=generator, device=generator.device)[:SQUARES_PER_CELL]]
        value = residual[squares, cell].double()
        first, second = torch.triu_indices(len(squares), len(squares), 1, device="cpu")
        apart = (position[squares[first]] - position[squares[second]]).norm(dim=1)
        bin_of = torch.bucketize(apart, edges) - 1
        inside = (bin_of >= 0) & (bin_of < len(edges) - 1)
        product.index_add_(0, bin_of[inside], (value[first] * value[second])[inside])
        count.index_add_(0, bin_of[inside], torch.ones(int(inside.sum()), dtype=torch.float64, device="cpu"))
    variance = float(residual[known].square().mean())
    correlation = (product / count.clamp(min=1) / max(variance, 1e-12)).float()
    return (edges[1:] + edges[:-1]) / 2, correlation, count > 0


def fit_exponential(distance: Float[Tensor, " bin"], correlation: Float[Tensor, " bin"]) -> tuple[float, float]:
    """Sill and length in m of sill · exp(-distance / length) with the least squares, the length of `TRIED_LENGTHS`.

    Example:
        >>> import torch
        >>> distance = torch.tensor([5.0, 20.0, 50.0, 100.0])
        >>> fit_exponential(distance, 0.8 * (-distance / 40).exp())
        (0.8, 40.0)
    """
    shapes = (-distance / torch.tensor(TRIED_LENGTHS, device="cpu")[:, None]).exp()
    sills = (shapes @ correlation) / shapes.square().sum(1)
    costs = (correlation - sills[:, None] * shapes).square().sum(1)
    best = int(costs.argmin())
    return round(float(sills[best]), 4), TRIED_LENGTHS[best]


def _pair_products(
    residual: Float[Tensor, "square cell"],
    known: Bool[Tensor, "square cell"],
    block: Int[Tensor, " square"],
    is_pair: Bool[Tensor, "cell cell"],
) -> list[Float[Tensor, "1 3"]]:
    """For each block: the sum of products of two cells' residuals on one square, and of both squares."""
    pair = torch.triu(is_pair, 1).double()
    value, heard = residual.double(), known.double()
    power = value.square()
    product = ((value @ pair) * value).sum(1)
    first = ((power @ pair) * heard).sum(1)
    second = ((heard @ pair) * power).sum(1)
    sums = torch.zeros(int(block.max()) + 1, 3, dtype=torch.float64, device="cpu")
    sums.index_add_(0, block, torch.stack([product, first, second], 1))
    parts = [row[None] for row in sums if row[1] > 0]
    return parts or [torch.zeros(1, 3, dtype=torch.float64, device="cpu")]


def _pair_correlation(sums: Float[Tensor, "block 3"]) -> float:
    product, first, second = sums.sum(0).tolist()
    return product / (first * second) ** 0.5 if first * second > 0 else 0.0


def _estimated(parts: list[Tensor], statistic: Callable[[Tensor], float], seed: int) -> Estimated:
    return Estimated(statistic(torch.cat(parts)), *bootstrap(parts, statistic, seed))
