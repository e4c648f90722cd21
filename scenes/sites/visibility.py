"""Line of sight of an antenna: rays over the height raster, marched from pixels to the antenna."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from scenes.mesh.mesh_parts import Array
from uel.geo.tile import Tile

RAY_STEP = 0.5  # pixels between two samples of the raster: at most a corner of a pixel is missed


def line_of_sight_raster(
    tile: Tile, position: tuple[float, float, float], height: float = 1.5, every: int = 1
) -> Bool[Array, "row column"]:
    """Whether each outdoor pixel has a line of sight from `height` metres above its ground to an antenna at `position`.

    `position` is in metres. Only every `every`-th row and column is evaluated; the other pixels are False, and so are
    pixels of buildings.

    The city is the tile's `height` raster, constant in each pixel. A ray runs from the centre of a pixel to the
    antenna, which must be on the tile; the antenna's own pixel does not block it.
    """
    roofs, ground, footprint = (tile.rasters[name].numpy() for name in ("height", "ground", "footprint"))
    outdoor = np.argwhere(footprint[::every, ::every] < 0.5) * every
    eye = np.column_stack([outdoor + 0.5, ground[tuple(outdoor.T)] + height])
    x, y, z = position
    # Positions on the northern and eastern edge belong to the last pixels.
    foot = np.clip((np.array([y, x]) + tile.size / 2) / tile.raster_grid.pixel, 0, tile.raster_grid.count - 1e-9)
    clear = _march(roofs.astype(np.float64), eye.astype(np.float64), np.append(foot, z))
    visible = np.zeros(roofs.shape, bool)
    visible[tuple(outdoor[clear].T)] = True
    return visible


def _march(
    roofs: Float[Array, "row column"], eye: Float[Array, "ray 3"], antenna: Float[Array, "3"]
) -> Integer[Array, " clear"]:
    """Indices of the rays that no roof blocks; positions are row and column from the raster's corner, z in metres."""
    heights = roofs.copy()
    heights[tuple(antenna[:2].astype(np.int64))] = -np.inf
    samples = np.ceil(np.hypot(*(antenna - eye)[:, :2].T) / RAY_STEP).astype(np.int64).clip(1, None)
    step = (antenna - eye) / samples[:, None]
    # A rising ray is clear above this elevation; a falling ray is followed to its antenna.
    safe = np.where(step[:, 2] > 0, heights.max(), np.inf)
    ray, clear = np.arange(len(eye)), []
    for sample in range(1, samples.max(initial=0) + 1):
        row, column, z = (eye[ray] + sample * step[ray]).T
        done = (sample >= samples[ray]) | (z > safe[ray])
        free = done | (heights[row.astype(np.int64), column.astype(np.int64)] <= z)
        clear.append(ray[done])
        ray = ray[free & ~done]
    return np.concatenate([ray, *clear])
