"""What a method answers, whichever way it says it: a point, probabilities of pixels, or a fix; judged alike."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.fix import Fix
from uel.estimation.grid_posterior import geometric_median
from uel.estimation.metrics import grid_hpd_level

MIN_PIXEL_PROBABILITY = (
    1e-38  # probability of a pixel in single precision: costs of being sure and wrong end at 87 nats
)


@runtime_checkable
class Estimate(Protocol):
    """Where some phones are."""

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        """The estimate of least expected error, in metres."""
        ...

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"] | None:
        """Log-density in 1/m² at the true positions; None of a method that gives none."""
        ...

    def level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"] | None:
        """The least share of probability whose region of highest density holds the truth; None without a density."""
        ...


@dataclass(frozen=True, eq=False)
class PointEstimate:
    """A position and nothing else."""

    position: Float[Tensor, "n 2"]

    def log_density(self, truth: Float[Tensor, "n 2"]) -> None:
        return None

    def level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> None:
        return None


@dataclass(frozen=True, eq=False)
class GridEstimate:
    """Probabilities of a grid's pixels; the density is even within each."""

    grid: Grid
    probability: Float[Tensor, "n row column"]

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        return self._median

    @cached_property
    def _median(self) -> Float[Tensor, "n 2"]:
        flat = self.probability.flatten(1)
        # Pixels without weight, most of them in a single report, are left out for speed: together 1e-5 at most.
        possible = (flat > 1e-9).any(0)
        points = self.grid.centres().reshape(1, -1, 2)[:, possible]
        return geometric_median(points, flat[:, possible], spread=self.grid.pixel**2 / 6)  # anywhere in its pixel

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        there = self.probability.flatten(1).gather(1, self._pixel(truth)).squeeze(1)
        return (there.clamp(min=MIN_PIXEL_PROBABILITY) / self.grid.pixel**2).log()

    def level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        return grid_hpd_level(self.probability.flatten(1), self._pixel(truth).squeeze(1), generator)

    def _pixel(self, truth: Float[Tensor, "n 2"]) -> Tensor:
        row, column = self.grid.pixel_of(truth)
        return (row * self.grid.count + column).unsqueeze(1)


@dataclass(frozen=True, eq=False)
class FixEstimate:
    """A locator's answer."""

    fix: Fix

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        return self.fix.position

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        return self.fix.log_density(truth)

    def level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        return self.fix.hpd(truth, generator)


def fix_raster(fix: Fix, grid: Grid) -> Float[Tensor, "n row column"]:
    """Log-density in 1/m² of fixes at pixel centres, of the patch around each and the eight next to it."""
    side = round(fix.log_heatmap.shape[1] ** 0.5)
    centres = grid.centres()
    row, column = Grid(size=grid.size, pixel=grid.size / side).pixel_of(centres)
    total = torch.full((len(fix.log_heatmap), *grid.shape), -torch.inf)
    for north in (-1, 0, 1):
        for east in (-1, 0, 1):
            there = (row + north).clamp(0, side - 1) * side + (column + east).clamp(0, side - 1)
            real = ((row + north) % side == row + north) & ((column + east) % side == column + east)
            term = _component(fix, there.flatten(), centres.reshape(-1, 2)).view_as(total)
            total = torch.logaddexp(total, torch.where(real, term, -torch.inf))
    return total


def _component(fix: Fix, patch: Tensor, point: Float[Tensor, "pixel 2"]) -> Float[Tensor, "n pixel"]:
    """Weighted log-density of one component for each pixel."""
    one = Fix(fix.log_heatmap[:, patch], fix.mean[:, patch], fix.component_covariance[:, patch])
    off = Fix(one.log_heatmap, one.mean - point, one.component_covariance)
    return off.log_heatmap + off.component_log_density(torch.zeros(len(off.mean), 2))
