"""Where a phone is with so much probability: densities on a grid, the smallest regions, and their outlines."""

import itertools
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.fix import Fix

PIXELS_PER_CHUNK = 2048  # points whose densities are held at once: bounds memory

Ring = list[list[float]]


def pixel_probability(fix: Fix, grid: Grid) -> Float[Tensor, "row column"]:
    """Probability of every pixel under a single fix: its mixture's density at the centres, as shares of the grid.

    Components narrower than a pixel are taken as wide as one, so that none falls between the centres.
    """
    assert len(fix.log_heatmap) == 1, "one fix at a time"
    wide = torch.eye(2) * grid.pixel**2 / 4
    smooth = Fix(fix.log_heatmap, fix.mean, fix.component_covariance + wide)
    likely = smooth.log_heatmap[0] > smooth.log_heatmap.max() - 16.0  # the others add less than 1e-4 in all
    few = Fix(*(v[:, likely] for v in (smooth.log_heatmap, smooth.mean, smooth.component_covariance)))
    parts = [_log_density(few, points) for points in grid.centres().reshape(-1, 2).split(PIXELS_PER_CHUNK)]
    return torch.cat(parts).softmax(0).view(grid.shape)


def _log_density(fix: Fix, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    count = len(points)
    many = Fix(*(v.expand(count, *v.shape[1:]) for v in (fix.log_heatmap, fix.mean, fix.component_covariance)))
    return many.log_density(points)


def hpd_region(pixels: Float[Tensor, "row column"], share: float) -> Bool[Tensor, "row column"]:
    """The fewest pixels that hold `share` of the probability (highest density region)."""
    return pixels >= hpd_threshold(pixels, share)


def hpd_threshold(pixels: Float[Tensor, "row column"], share: float) -> float:
    """Probability of the last pixel that the smallest region with `share` takes in."""
    falling = pixels.flatten().double().sort(descending=True).values
    reached = int((falling.cumsum(0) < share * falling.sum()).sum())
    return float(falling[min(reached, len(falling) - 1)].float())


def hpd_outlines(pixels: Float[Tensor, "row column"], grid: Grid, share: float) -> list[list[Ring]]:
    """The smallest region as polygons in metres: each a ring around it and rings around its holes, all closed.

    The outline runs where probability, bilinear between pixel centres, crosses the threshold.
    """
    import contourpy

    mask = hpd_region(pixels, share)
    level = hpd_threshold(pixels, share)
    below = pixels[~mask]
    between = 0.5 * (level + (float(below.max()) if len(below) else 0.0))
    axis = np.concatenate([[-grid.size / 2], grid.centres()[0, :, 0].numpy(), [grid.size / 2]])
    padded = np.pad(pixels.double().numpy(), 1)  # regions that reach the tile's edge are closed there
    drawn: Any = contourpy.contour_generator(axis, axis, padded, fill_type="OuterOffset")
    points, offsets = drawn.filled(between, np.inf)
    return [
        [_ring(polygon[a:b]) for a, b in itertools.pairwise(ends)]
        for polygon, ends in zip(points, offsets, strict=True)
    ]


def _ring(points: np.ndarray) -> Ring:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
