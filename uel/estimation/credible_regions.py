"""Credible regions on a grid: pixel probabilities of a fix, levels and outlines of highest-density regions."""

import itertools
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.fix import Fix

PIXELS_PER_CHUNK = 2048  # pixels whose densities are held at once: bounds memory

Ring = list[list[float]]


def pixel_probability(fix: Fix, grid: Grid) -> Float[Tensor, "row column"]:
    """Probability of every pixel under a single fix: its density at the pixels' centres, normalised over the grid.

    Components narrower than a pixel are taken as wide as one, so that none falls between the centres.
    """
    assert len(fix.log_heatmap) == 1, "one fix at a time"
    widening = torch.eye(2, device=fix.mean.device) * grid.pixel**2 / 4
    smooth = Fix(fix.log_heatmap, fix.mean, fix.component_covariance + widening)
    likely = smooth.log_heatmap[0] > smooth.log_heatmap.max() - 16.0  # the others add less than 1e-4 in all
    pruned = Fix(*(v[:, likely] for v in (smooth.log_heatmap, smooth.mean, smooth.component_covariance)))
    chunks = [
        _log_density(pruned, points) for points in grid.centres(fix.mean.device).reshape(-1, 2).split(PIXELS_PER_CHUNK)
    ]
    return torch.cat(chunks).softmax(0).view(grid.shape)


def _log_density(fix: Fix, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    count = len(points)
    repeated = Fix(*(v.expand(count, *v.shape[1:]) for v in (fix.log_heatmap, fix.mean, fix.component_covariance)))
    return repeated.log_density(points)


def grid_hpd_level(
    posterior: Float[Tensor, "n pixel"], pixel: Int[Tensor, " n"], generator: torch.Generator
) -> Float[Tensor, " n"]:
    """Probability of the smallest region of likeliest pixels that holds a given pixel.

    A pixel is a lump of probability. The part of the last pixel that belongs to the region is drawn at random, so that
    the level is uniform where the posterior is calibrated, as with a continuous density.
    """
    probability = posterior.gather(1, pixel.unsqueeze(1))
    above = (posterior * (posterior > probability)).sum(1)
    tied = (posterior * (posterior == probability)).sum(1)
    return (above + torch.rand(len(pixel), generator=generator, device=generator.device).to(tied.device) * tied).clamp(
        max=1.0
    )


def hpd_region(pixels: Float[Tensor, "row column"], hpd_level: float) -> Bool[Tensor, "row column"]:
    """The fewest pixels that hold a probability of `hpd_level` (highest-posterior-density region)."""
    return pixels >= hpd_threshold(pixels, hpd_level)


def hpd_threshold(pixels: Float[Tensor, "row column"], hpd_level: float) -> float:
    """Probability of the least likely pixel of the region that holds `hpd_level`."""
    falling = pixels.flatten().double().sort(descending=True).values
    count = int((falling.cumsum(0) < hpd_level * falling.sum()).sum())
    return float(falling[min(count, len(falling) - 1)].float())


def hpd_outlines(pixels: Float[Tensor, "row column"], grid: Grid, hpd_level: float) -> list[list[Ring]]:
    """The highest-density region as polygons in metres: each one outer ring and rings around its holes, all closed.

    The outline runs where probability, bilinear between pixel centres, crosses the threshold.
    """
    import contourpy

    mask = hpd_region(pixels, hpd_level)
    lowest_inside = hpd_threshold(pixels, hpd_level)
    outside = pixels[~mask]
    contour_level = 0.5 * (lowest_inside + (float(outside.max()) if len(outside) else 0.0))
    axis = np.concatenate([[-grid.size / 2], grid.centres()[0, :, 0].numpy(), [grid.size / 2]])
    padded = np.pad(pixels.double().numpy(), 1)  # regions that reach the tile's edge are closed there
    generator: Any = contourpy.contour_generator(axis, axis, padded, fill_type="OuterOffset")
    points, offsets = generator.filled(contour_level, np.inf)
    return [
        [_ring(polygon[a:b]) for a, b in itertools.pairwise(ends)]
        for polygon, ends in zip(points, offsets, strict=True)
    ]


def _ring(points: np.ndarray) -> Ring:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
