"""The result of a locator: a position density that is a mixture of one Gaussian per patch of the tile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from uel._lazy import function_named
from uel.core.display.short_repr import range_text
from uel.core.display.viewable import Viewable
from uel.core.grid import Grid
from uel.estimation.grid_posterior import geometric_median
from uel.geo.tile import Tile

if TYPE_CHECKING:
    import geopandas
    import matplotlib.axes
    import pandas

SAMPLES_PER_FIX = 256  # credible levels in steps of 0.4 %
MIN_COMPONENT_WEIGHT = 1e-8  # of components that count in a credible level: the others are 1e-5 together at most


@dataclass(frozen=True, eq=False, repr=False)
class Fix(Viewable):
    """Position densities over the tile, one for each report. Patches are counted row by row from the south-west.

    Example:
        >>> import torch, uel
        >>> fix = uel.Fix(  # one report, four patches, all probability in the first
        ...     torch.tensor([[0.0, -40.0, -40.0, -40.0]]),
        ...     torch.tensor([[[-32.0, -32.0], [32.0, -32.0], [-32.0, 32.0], [32.0, 32.0]]]),
        ...     100.0 * torch.eye(2).expand(1, 4, 2, 2),
        ... )
        >>> fix.position.round().tolist()
        [[-32.0, -32.0]]
    """

    log_heatmap: Float[Tensor, "batch patch"]
    """log-probability of each patch"""
    mean: Float[Tensor, "batch patch 2"]
    """m, mean position of the phone given the patch"""
    component_covariance: Float[Tensor, "batch patch 2 2"]
    """m², covariance of the position given the patch"""

    def __getitem__(self, index: object) -> "Fix":
        """Some of the fixes."""
        return Fix(self.log_heatmap[index], self.mean[index], self.component_covariance[index])  # type: ignore[index]

    @cached_property
    def position(self) -> Float[Tensor, "batch 2"]:
        """The geometric median of the density in metres: the estimate with the least expected error."""
        variance = self.component_covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
        return geometric_median(self.mean, self.log_heatmap.exp(), variance)

    @property
    def covariance(self) -> Float[Tensor, "batch 2 2"]:
        """Second moment of the density about `position`, in m²."""
        offset = self.mean - self.position.unsqueeze(1)
        outer = offset.unsqueeze(-1) * offset.unsqueeze(-2) + self.component_covariance
        return (self.log_heatmap.exp()[..., None, None] * outer).sum(1)

    def candidates(
        self, count: int
    ) -> tuple[Float[Tensor, "batch k 2"], Float[Tensor, "batch k"], Int[Tensor, "batch k"]]:
        """The `count` likeliest patches, or all of fewer: positions in metres, probabilities, patch indices."""
        log_p, index = self.log_heatmap.topk(min(count, self.log_heatmap.shape[-1]), dim=-1)
        return self.mean.gather(1, index.unsqueeze(-1).expand(-1, -1, 2)), log_p.exp(), index

    def component_log_density(self, position: Float[Tensor, "*n batch 2"]) -> Float[Tensor, "*n batch patch"]:
        """Log-density in 1/m² of every component, at one position per fix or at several (leading axes)."""
        offset = position.unsqueeze(-2) - self.mean
        a, b, d = (self.component_covariance[..., i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
        determinant = a * d - b * b
        x, y = offset.unbind(-1)
        distance = (d * x * x - 2 * b * x * y + a * y * y) / determinant
        return -0.5 * distance - 0.5 * determinant.log() - math.log(2 * math.pi)

    def log_density(self, position: Float[Tensor, "*n batch 2"]) -> Float[Tensor, "*n batch"]:
        """Log-density in 1/m² of the whole mixture, at one position per fix or at several (leading axes)."""
        return (self.log_heatmap + self.component_log_density(position)).logsumexp(-1)

    def entropy(self) -> Float[Tensor, " batch"]:
        """Entropy of the heatmap in nats, a measure of how undecided the fix is between patches."""
        return -(self.log_heatmap.exp() * self.log_heatmap.clamp(min=-100)).sum(-1)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count batch 2"]:
        """Positions in metres drawn from the density of every fix. The generator must be a CPU generator, whatever
        the fix's device."""
        device = self.mean.device
        index = torch.multinomial(self.log_heatmap.exp().cpu(), count, replacement=True, generator=generator).to(device)
        patch = torch.arange(len(index), device=device).unsqueeze(1), index
        a, b, d = (self.component_covariance[..., i, j][patch] for i, j in ((0, 0), (0, 1), (1, 1)))
        x, y = torch.randn(2, *index.shape, generator=generator, device=generator.device).to(device)
        # The Cholesky factor of a covariance in two dimensions.
        factor = a.sqrt()
        offset = torch.stack([factor * x, b / factor * x + (d - b * b / a).clamp(min=0).sqrt() * y], -1)
        return (self.mean[patch] + offset).transpose(0, 1)

    def hpd_level(
        self, position: Float[Tensor, "batch 2"], generator: torch.Generator, count: int = SAMPLES_PER_FIX
    ) -> Float[Tensor, " batch"]:
        """Probability of the smallest highest-density region that holds a position, estimated from `count` samples.

        The position lies in the region of 90 % where this is at most 0.9 (Hyndman, The American Statistician 1996).
        """
        levels = []
        for index, points in enumerate(torch.cat([position[None], self.sample(count, generator)]).unbind(1)):
            density = self._likely_components(index).log_density(points.unsqueeze(1))[:, 0]
            levels.append((density[1:] > density[0]).float().mean())
        return torch.stack(levels)

    def _likely_components(self, index: int) -> "Fix":
        """One fix without the components that have next to no weight, most of them."""
        likely = self.log_heatmap[index] > math.log(MIN_COMPONENT_WEIGHT)
        return Fix(
            self.log_heatmap[index, likely][None],
            self.mean[index, likely][None],
            self.component_covariance[index, likely][None],
        )

    # ---- views ---------------------------------------------------------------------------------------

    @property
    def std(self) -> Float[Tensor, " batch"]:
        """Root of the summed variances about `position` in metres."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()

    @property
    def facts(self) -> dict[str, str]:
        """Number of fixes and patches, the first position, and the standard deviations."""
        facts = {"fixes": str(len(self.mean)), "patches": str(self.mean.shape[1])}
        if not len(self.mean):
            return facts
        x, y = self.position[0].tolist()
        where = "position" if len(self.mean) == 1 else "first position"
        return {**facts, where: f"({x:.0f}, {y:.0f}) m", "standard deviation": range_text(self.std, "m")}

    def plot(
        self,
        ax: "matplotlib.axes.Axes | None" = None,
        *,
        number: int = 0,
        tile: Tile | None = None,
        truth: Sequence[float] | None = None,
    ) -> "matplotlib.axes.Axes":
        """Draw one fix in metres of the tile, north up: density, regions of 50 and 90 %, position.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            number: of the fix in the batch.
            tile: below the density, with its buildings and sites; None: a square around all patches.
            truth: the true (x, y) in metres, where it is known.

        Raises:
            UelError: for a number that the batch does not have.
        """
        return function_named("uel.plots.fix:plot_fix")(self, ax, number, tile, truth)

    def to_dataframe(self) -> "pandas.DataFrame":
        """A row for each fix: position, standard deviations and their correlation, entropy."""
        return function_named("uel.conversion.tables:fix_rows")(self)

    def to_geodataframe(self, tile: Tile) -> "geopandas.GeoDataFrame":
        """`to_dataframe` with points in the tile's projection. Raises `UelError` for a tile without one."""
        return function_named("uel.conversion.points:fix_points")(self, tile)


def pool_to_patches(log_p: Float[Tensor, "batch row column"], grid: Grid, patches: int) -> Fix:
    """One Gaussian per patch from log-weights of pixels: their sum is the heatmap, their moments the components'."""
    inside = split_into_patches(log_p.unsqueeze(-1), patches)[..., 0]
    points = split_into_patches(grid.centres(log_p.device)[None], patches)
    heat = inside.logsumexp(-1).log_softmax(-1)
    weight = inside.softmax(-1).unsqueeze(-1)
    mean = (weight * points).sum(-2)
    offset = points - mean.unsqueeze(-2)
    covariance = (weight.unsqueeze(-1) * offset.unsqueeze(-1) * offset.unsqueeze(-2)).sum(-3)
    return Fix(
        heat, mean, covariance + torch.eye(2, device=covariance.device) * grid.pixel**2 / 12
    )  # a phone anywhere in its pixel


def split_into_patches(
    values: Shaped[Tensor, "batch row column k"], patches: int
) -> Shaped[Tensor, "batch patch pixel k"]:
    """Pixel values sorted by the patch that holds the pixel, with `patches` on a side of the tile."""
    blocks = values.unflatten(2, (patches, -1)).unflatten(1, (patches, -1)).transpose(2, 3)
    return blocks.flatten(3, 4).flatten(1, 2)


def join_patches(values: Float[Tensor, "batch patch pixel"], patches: int) -> Float[Tensor, "batch row column"]:
    """The inverse of `split_into_patches`."""
    side = round(values.shape[-1] ** 0.5)
    blocks = values.unflatten(2, (side, side)).unflatten(1, (patches, patches)).transpose(2, 3)
    return blocks.flatten(3, 4).flatten(1, 2)
