"""Squares of a raster without a height: filled from their neighbours, or taken for open ground, and counted."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from scenes.height_rasters.reader import HeightGrid
from scenes.osm.map_features import KnownSquares


def fill_unknown(grid: HeightGrid, fill: float, margin: float) -> tuple[HeightGrid, KnownSquares]:
    """The heights with every square that has none filled, and where they are known.

    A square without a height takes that of the nearest square with one, up to `fill` metres away (between centres);
    farther squares are open ground, 0 m. `margin` is the width in metres of the grid's border that is not the tile.

    Example:
        >>> import numpy as np
        >>> from scenes.height_rasters.reader import HeightGrid
        >>> row = np.array([[9.0, np.nan, np.nan, np.nan, np.nan]]).repeat(5, 0)
        >>> grid, squares = fill_unknown(HeightGrid(row, half=12.5, note=""), fill=10.0, margin=0.0)
        >>> grid.heights[0].tolist(), squares.report
        ([9.0, 9.0, 9.0, 0.0, 0.0], {'known': 0.2, 'filled': 0.4, 'open': 0.4})
    """
    is_known = np.isfinite(grid.heights)
    distance, nearest = ndimage.distance_transform_edt(~is_known, return_indices=True)  # type: ignore[misc]
    is_near = distance * grid.pixel <= fill * (1 + 1e-9)
    heights = np.where(is_near, grid.heights[tuple(nearest)], 0.0)
    border = round(margin / grid.pixel)
    tile = np.s_[border : len(heights) - border, border : len(heights) - border]
    known, filled = float(is_known[tile].mean()), float((is_near & ~is_known)[tile].mean())
    return replace(grid, heights=heights), KnownSquares(is_known, grid.half, fill, known, filled)
