"""What an antenna sees of a tile: rays over the height raster, marched from pixel to antenna."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from scenes.mesh.mesh_parts import Array
from uel.geo.tile import Tile

RAY_STEP = 0.5  # pixels between two looks at the raster: at most a pixel's corner slips through


def line_of_sight_raster(
    tile: Tile, position: tuple[float, float, float], height: float = 1.5, every: int = 1
) -> Bool[Array, "row column"]:
    """Outdoor pixels where a point `height` metres above the ground sees an antenna at `position` (metres).

    Of every `every` rows and columns one is looked at; the others are False.

    The city is the tile's `height` raster, constant in each pixel. A ray starts at the centre of every outdoor pixel
    and ends at the antenna, which must be on the tile; the pixel that the antenna stands on does not block.
    """
    roofs, ground, footprint = (tile.rasters[name].numpy() for name in ("height", "ground", "footprint"))
    outdoor = np.argwhere(footprint[::every, ::every] < 0.5) * every
    eye = np.column_stack([outdoor + 0.5, ground[tuple(outdoor.T)] + height])
    x, y, z = position
    # The northern and the eastern edge belong to the last pixels.
    foot = np.clip((np.array([y, x]) + tile.size / 2) / tile.raster_grid.pixel, 0, tile.raster_grid.count - 1e-9)
    clear = _march(roofs.astype(np.float64), eye.astype(np.float64), np.append(foot, z))
    seen = np.zeros(roofs.shape, bool)
    seen[tuple(outdoor[clear].T)] = True
    return seen


def _march(
    roofs: Float[Array, "row column"], eye: Float[Array, "ray 3"], mast: Float[Array, "3"]
) -> Integer[Array, " clear"]:
    """Indices of the rays that no roof blocks; positions are row and column from the raster's corner, z in metres."""
    walls = roofs.copy()
    walls[tuple(mast[:2].astype(np.int64))] = -np.inf
    looks = np.ceil(np.hypot(*(mast - eye)[:, :2].T) / RAY_STEP).astype(np.int64).clip(1, None)
    step = (mast - eye) / looks[:, None]
    # Above this elevation nothing blocks any more; a ray that falls meets its mast before.
    safe = np.where(step[:, 2] > 0, walls.max(), np.inf)
    ray, clear = np.arange(len(eye)), []
    for look in range(1, looks.max(initial=0) + 1):
        row, column, z = (eye[ray] + look * step[ray]).T
        done = (look >= looks[ray]) | (z > safe[ray])
        free = done | (walls[row.astype(np.int64), column.astype(np.int64)] <= z)
        clear.append(ray[done])
        ray = ray[free & ~done]
    return np.concatenate([ray, *clear])
