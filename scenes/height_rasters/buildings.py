"""Buildings from heights above the ground: pieces of one height each, outlined and simplified, that share no area."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Bool, Float, Int32, Int64
from pyproj import Transformer
from rasterio import Affine, features
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely import Polygon

from scenes.config import HeightRasterConfig
from scenes.height_rasters.reader import HeightGrid, raster_center, read_heights
from scenes.height_rasters.unknown_squares import fill_unknown
from scenes.mesh.mesh_parts import Array
from scenes.osm.footprints import LATTICE_STEP, square
from scenes.osm.map_features import Building, Exclusion, KnownSquares, MapExtract
from scenes.osm.queries import require_point
from scenes.osm.reader import utm_zone
from uel.core.io import file_hash
from uel.errors import UelError

DEFAULT_SIDE = 512.0
SIMPLIFICATION_PIXELS = 1.0  # pixels by which an outline may move: it then follows the wall, not the stairs of pixels
FINE_PIXEL = 2.0  # m: below it a lone pixel is a mast or a wire, above it a house or a gap between two
HEIGHT_STD = 0.5  # m, least standard deviation of a piece's height


def read_height_raster(
    file: Path,
    config: HeightRasterConfig,
    name: str,
    *,
    size: float | None = None,
    margin: float = 128.0,
    center: tuple[float, float] | None = None,
    dem: Path | None = None,
) -> MapExtract:
    """The buildings in a square of a raster of heights.

    Args:
        file: a GeoTIFF of heights above the ground in any CRS, or of elevations with `dem`.
        config: how it is read.
        name: of the tile.
        size: side of the square in metres; default: 512.
        margin: width in metres of the border in which buildings are kept, as far as the raster extends.
        center: latitude and longitude in degrees; default: the raster's middle.
        dem: the ground's elevation, for a raster of the surface's elevation.

    Returns:
        The buildings in metres of a UTM zone. Trees are buildings, too, unless the raster leaves them out.

    Raises:
        UelError: as `read_heights`, and where no building is in the square.
    """
    center = require_point(*(center or raster_center(file)))
    crs, side = utm_zone(*center), size or DEFAULT_SIDE
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(center[1], center[0])
    origin = (float(east), float(north))
    measured = read_heights(file, crs, origin, side, margin, config, dem)
    grid, known = fill_unknown(measured, config.fill, margin)
    buildings, exclusions = buildings_of(grid, config)
    if not any(square(side / 2).intersects(building.footprint) for building in buildings):
        got, do = f"{file}, size {side:g} m", "make the tile larger, move its centre, or lower --raster.min-height"
        raise UelError("the square has no building", got=got, do=do)
    return MapExtract(
        name=name,
        crs=crs,
        origin=origin,
        center=center,
        size=float(side),
        margin=float(margin),
        buildings=tuple(buildings),
        exclusions=tuple(exclusions),
        land_cover=(),
        provenance=_provenance(file, dem, grid, known),
        notes=known.notes,
        known_squares=known,
    )


def _provenance(file: Path, dem: Path | None, grid: HeightGrid, known: KnownSquares) -> dict[str, Any]:
    entry = {"source": "raster", "file": file.name, "sha256": file_hash(file), "heights": grid.note}
    return {**entry, **known.report, "ground": dem.name if dem else "flat"}


def buildings_of(grid: HeightGrid, config: HeightRasterConfig) -> tuple[list[Building], list[Exclusion]]:
    """A building for each connected piece of one height class, and an exclusion for those that are too small.

    Pixels of at least `min_height` are grouped by height (`_height_classes`), pieces below `min_area` go to the
    neighbour that surrounds them, and outlines of neighbours are simplified together, so that they share no area.
    """
    classes = _height_classes(grid, config)
    pieces = [(shape, label) for shape, label in _outlines(classes, grid) if label]
    if not pieces:
        return [], []
    simple: Any = shapely.coverage_simplify([shape for shape, _ in pieces], SIMPLIFICATION_PIXELS * grid.pixel)
    buildings, exclusions = [], []
    for number, (shape, (raw, _)) in enumerate(zip(simple, pieces, strict=True)):
        identity = f"raster/{number}"
        footprint = shapely.set_precision(shape, LATTICE_STEP)
        top, std = _height(raw, grid)
        if not isinstance(footprint, Polygon) or footprint.area < config.min_area:
            exclusions.append(Exclusion(id=identity, reason=f"smaller than {config.min_area:g} m²"))
        elif top < config.min_height:
            exclusions.append(Exclusion(id=identity, reason=f"lower than {config.min_height:g} m"))
        else:
            known = {"tags": {"building": "yes"}, "provenance": "raster", "top_std": std}
            buildings.append(Building(id=identity, footprint=footprint, top=round(top, 2), **known))
    return buildings, exclusions


def _height_classes(grid: HeightGrid, config: HeightRasterConfig) -> Int32[Array, "row column"]:
    """0 on the ground, else a number for each piece; small pieces belong to their neighbours.

    Neighbouring pixels that differ by less than `step` are of one roof. A roof that rises by more is cut into levels of
    `step` metres around its median, so that a flat one stays whole whatever its height is.
    """
    # A median keeps walls and drops masts and wires.
    smooth = ndimage.median_filter(grid.heights, size=3) if grid.pixel < FINE_PIXEL else grid.heights
    is_building = smooth >= config.min_height
    roof = _connected_roofs(smooth, is_building, config.step)
    median = np.atleast_1d(ndimage.median(smooth, roof, np.arange(roof.max() + 1)))
    level = np.round((smooth - median[roof]) / config.step).astype(np.int64)
    _, pieces = np.unique(np.stack([roof, level])[:, is_building], axis=1, return_inverse=True)
    classes = np.zeros(smooth.shape, np.int32)
    classes[is_building] = 1 + pieces.ravel()
    least = max(math.ceil(config.min_area / grid.pixel**2), 2)
    return features.sieve(classes, size=least, connectivity=4).astype(np.int32)


def _connected_roofs(
    heights: Float[Array, "row column"], is_building: Bool[Array, "row column"], step: float
) -> Int64[Array, "row column"]:
    """A number for each set of building pixels that are connected by neighbours of similar height."""
    index = np.arange(heights.size).reshape(heights.shape)
    pairs = []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        is_linked = is_building[one] & is_building[other] & (np.abs(heights[one] - heights[other]) < step)
        pairs.append(np.stack([index[one][is_linked], index[other][is_linked]]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(heights.size, heights.size))
    return connected_components(graph, directed=False)[1].reshape(heights.shape).astype(np.int64)


def _outlines(classes: Int32[Array, "row column"], grid: HeightGrid) -> Iterator[tuple[Polygon, int]]:
    """Polygon in metres of the tile and class of every connected piece, the ground's included."""
    pixels = Affine(grid.pixel, 0, -grid.half, 0, grid.pixel, -grid.half)
    for geometry, label in features.shapes(classes, connectivity=4, transform=pixels):
        outline = shapely.geometry.shape(geometry)
        assert isinstance(outline, Polygon)
        yield outline, int(label)


def _height(shape: Polygon, grid: HeightGrid) -> tuple[float, float]:
    """Median height in metres of a shape's pixels, and its standard deviation; 0 where no pixel has one."""
    rows, columns = _window(shape, grid)
    pixels = Affine(grid.pixel, 0, -grid.half, 0, grid.pixel, -grid.half)
    part = grid.heights[rows, columns]
    inside = features.geometry_mask(
        [shape], part.shape, pixels @ Affine.translation(columns.start, rows.start), invert=True
    )
    values = part[inside & np.isfinite(part)]
    return (float(np.median(values)), max(float(values.std()), HEIGHT_STD)) if len(values) else (0.0, 0.0)


def _window(shape: Polygon, grid: HeightGrid) -> tuple[slice, slice]:
    """Rows and columns around a shape."""
    west, south, east, north = ((bound + grid.half) / grid.pixel for bound in shape.bounds)
    return slice(round(south), round(north)), slice(round(west), round(east))
