"""Posteriors over the squares of a district where a phone can be, and the answers made of them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.errors import UelError
from uel.estimation.credible_regions import grid_hpd_level
from uel.estimation.estimates import MIN_PIXEL_PROBABILITY
from uel.estimation.grid_posterior import geometric_median
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import ANSWERS, Answer, PlaceWeights

SURROUNDINGS_RADIUS = 50.0  # m
SURE_MASS = 1e-9  # squares with less probability have no part in the geometric median


@dataclass(frozen=True, eq=False, repr=False)
class Squares(ShortRepr):
    """Squares of a grid where a phone can be."""

    grid: Grid
    possible: Bool[Tensor, "row column"]

    def __len__(self) -> int:
        return len(self.index)

    @staticmethod
    def outdoors(network: MeasuredNetwork, known_alone: bool = False) -> "Squares":
        """Squares of the box around the network's reports that are not known to be a building; all of the box for a
        network whose phones may be anywhere.

        `known_alone` leaves out those of unknown height, where any height is known: where heights are known only where
        something was measured, such squares tell where phones were. Raises `UelError` where no square is left.
        """
        rasters = network.rasters
        possible = torch.zeros(network.grid.shape, dtype=torch.bool, device="cpu")
        rows, columns = (slice(int(v.min()), int(v.max()) + 1) for v in (network.row, network.column))
        possible[rows, columns] = True
        if network.is_outdoors:
            possible &= rasters.outdoors
            if rasters.building_known.any() and known_alone:
                possible &= rasters.building_known
        if not possible.any():
            do = "give building heights with squares of height 0: phones are looked for outdoors"
            raise UelError(f"{network.name} has no outdoor square", got="0 squares", do=do)
        return Squares(network.grid, possible)

    def prior(self, labels: MeasuredNetwork, weights: PlaceWeights) -> Float[Tensor, " square"]:
        """Probability of each square before any report: by the share of labels on ways, in buildings and elsewhere.

        Shares of labels are those of a Dirichlet distribution, whose prior are the classes' areas times their weights
        with the weight of `PlaceWeights.prior_labels` labels.
        """
        rasters = labels.rasters
        place_class = (~rasters.outdoors).long()
        if rasters.way is not None:
            place_class = torch.where(rasters.way, 2, place_class)
        own = place_class.flatten()[self.index]
        area = torch.bincount(own, minlength=3).float()
        expected = area * torch.tensor([1.0, weights.building, weights.way], device="cpu")
        count = torch.bincount(place_class[labels.row, labels.column], minlength=3).float()
        share = torch.where(area > 0, weights.prior_labels * expected / expected.sum() + count, 0.0)
        return (share / share.sum() / area.clamp(min=1.0))[own]

    @cached_property
    def index(self) -> Int[Tensor, " square"]:
        """Of the possible squares, row by row."""
        return self.possible.flatten().nonzero()[:, 0]

    @cached_property
    def position(self) -> Float[Tensor, "square 2"]:
        """Centres in metres."""
        return self.grid.centres().reshape(-1, 2)[self.index]

    @cached_property
    def number(self) -> Int[Tensor, "row column"]:
        """Number of each square of the grid among the possible ones, -1 for the others."""
        number = torch.full(self.grid.shape, -1, device="cpu")
        number.view(-1)[self.index] = torch.arange(len(self.index), device="cpu")
        return number

    @cached_property
    def _window(self) -> tuple[slice, slice]:
        """Rows and columns that hold all possible squares."""
        rows, columns = (self.possible.any(axis).nonzero()[:, 0] for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def mass_around(self, probability: Float[Tensor, "n square"], radius: float) -> Float[Tensor, "n square"]:
        """Probability within `radius` metres of each square's centre."""
        rows, columns = self._window
        raster = probability.new_zeros(len(probability), self.possible.numel())
        raster[:, self.index] = probability
        raster = raster.view(-1, *self.grid.shape)[:, rows, columns]
        reach = int(radius / self.grid.pixel)
        axis = torch.arange(-reach, reach + 1, device="cpu") * self.grid.pixel
        disc = (axis[:, None].square() + axis.square() <= radius**2).to(probability)
        shape = [side + 2 * reach for side in raster.shape[1:]]
        product = torch.fft.rfft2(raster, shape) * torch.fft.rfft2(disc, shape)
        around = torch.fft.irfft2(product, shape)[:, reach : shape[0] - reach, reach : shape[1] - reach]
        return around[:, self.possible[rows, columns]]


@dataclass(frozen=True, eq=False, repr=False)
class SquareEstimate(ShortRepr):
    """Probabilities of the squares where a phone can be; an `uel.estimation.estimates.Estimate`.

    `answer`: the position is the geometric median, the mean, or the centre of the most probable surroundings, the
    place with the greatest probability within `SURROUNDINGS_RADIUS` metres.
    """

    squares: Squares
    probability: Float[Tensor, "n square"]
    answer: Answer = "median"

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        return self._position

    @cached_property
    def _position(self) -> Float[Tensor, "n 2"]:
        places = self.squares.position
        if self.answer == "mean":
            return self.probability @ places
        if self.answer == "most-probable-surroundings":
            mass = self.squares.mass_around(self.probability, SURROUNDINGS_RADIUS)
            return places[mass.argmax(1)]
        if self.answer == "median":
            return torch.stack([self._median(probability) for probability in self.probability])
        raise UelError("unknown answer", got=self.answer, do=f"choose {', '.join(ANSWERS)}")

    def _median(self, probability: Float[Tensor, " square"]) -> Float[Tensor, " 2"]:
        likely = probability > SURE_MASS
        weight = probability[likely] / probability[likely].sum()
        variance = self.squares.grid.pixel**2 / 6  # anywhere in its square
        return geometric_median(self.squares.position[likely][None], weight[None], variance=variance)[0]

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        number = self._number(truth)
        probability = self.probability.gather(1, number.clamp(min=0)[:, None])[:, 0]
        probability = torch.where(number < 0, 0.0, probability).clamp(min=MIN_PIXEL_PROBABILITY)
        return (probability / self.squares.grid.pixel**2).log()

    def hpd_level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        number = self._number(truth)
        level = grid_hpd_level(self.probability, number.clamp(min=0), generator)
        return torch.where(number < 0, 1.0, level)

    def _number(self, truth: Float[Tensor, "n 2"]) -> Int[Tensor, " n"]:
        """Number of the square that holds each position; -1 where a phone cannot be."""
        row, column = self.squares.grid.pixel_of(truth)
        return self.squares.number[row, column]
