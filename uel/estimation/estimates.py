"""Results of localization methods behind one protocol, scored alike: a point, pixel probabilities, or a fix."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.estimation.credible_regions import grid_hpd_level
from uel.estimation.fix import SAMPLES_PER_FIX, Fix
from uel.estimation.grid_posterior import geometric_median

MIN_PIXEL_PROBABILITY = 1e-38  # single precision: a confident wrong answer costs 87 nats at most


@runtime_checkable
class Estimate(Protocol):
    """Estimated positions of some phones."""

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        """The position of least expected error, in metres."""
        ...

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"] | None:
        """Log-density in 1/m² at the true positions; None for a method without a density."""
        ...

    def hpd_level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"] | None:
        """Probability of the smallest highest-density region that holds the truth; None without a density."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class PointEstimate(ShortRepr):
    """Positions without a density."""

    position: Float[Tensor, "n 2"]

    def log_density(self, truth: Float[Tensor, "n 2"]) -> None:
        return None

    def hpd_level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> None:
        return None


@dataclass(frozen=True, eq=False, repr=False)
class GridEstimate(ShortRepr):
    """Probabilities of a grid's pixels; the density is uniform within each."""

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
        points = self.grid.centres(flat.device).reshape(1, -1, 2)[:, possible]
        return geometric_median(points, flat[:, possible], variance=self.grid.pixel**2 / 6)  # anywhere in its pixel

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        probability = self.probability.flatten(1).gather(1, self._pixel(truth)).squeeze(1)
        return (probability.clamp(min=MIN_PIXEL_PROBABILITY) / self.grid.pixel**2).log()

    def hpd_level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        return grid_hpd_level(self.probability.flatten(1), self._pixel(truth).squeeze(1), generator)

    def _pixel(self, truth: Float[Tensor, "n 2"]) -> Tensor:
        row, column = self.grid.pixel_of(truth)
        return (row * self.grid.count + column).unsqueeze(1)


@dataclass(frozen=True, eq=False)
class FixEstimate:
    """Fixes of a locator."""

    fix: Fix
    samples: int = SAMPLES_PER_FIX
    """samples of each fix that tell a credible level"""

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        return self.fix.position

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        return self.fix.log_density(truth)

    def hpd_level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        return self.fix.hpd_level(truth, generator, self.samples)


def fix_raster(fix: Fix, grid: Grid) -> Float[Tensor, "n row column"]:
    """Log-density in 1/m² of fixes at pixel centres, from the components of a pixel's patch and its eight
    neighbours."""
    side = round(fix.log_heatmap.shape[1] ** 0.5)
    centres = grid.centres(fix.mean.device)
    row, column = Grid(size=grid.size, pixel=grid.size / side).pixel_of(centres)
    total = torch.full((len(fix.log_heatmap), *grid.shape), -torch.inf, device=fix.log_heatmap.device)
    for north in (-1, 0, 1):
        for east in (-1, 0, 1):
            patch = (row + north).clamp(0, side - 1) * side + (column + east).clamp(0, side - 1)
            on_tile = ((row + north) % side == row + north) & ((column + east) % side == column + east)
            term = _component(fix, patch.flatten(), centres.reshape(-1, 2)).view_as(total)
            total = torch.logaddexp(total, torch.where(on_tile, term, -torch.inf))
    return total


def _component(fix: Fix, patch: Tensor, point: Float[Tensor, "pixel 2"]) -> Float[Tensor, "n pixel"]:
    """Weighted log-density of one component for each pixel."""
    components = Fix(fix.log_heatmap[:, patch], fix.mean[:, patch], fix.component_covariance[:, patch])
    centred = Fix(components.log_heatmap, components.mean - point, components.component_covariance)
    return centred.log_heatmap + centred.component_log_density(
        torch.zeros(len(centred.mean), 2, device=centred.mean.device)
    )
