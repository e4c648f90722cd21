"""Digital elevation models: samples a raster file at the nodes of a square lattice."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from rasterio import warp
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.fill import fillnodata
from rasterio.io import DatasetReader
from rasterio.windows import Window

from scenes.mesh.mesh_parts import Array
from scenes.mesh.raster_files import open_geotiff, require_readable_size
from uel.errors import UelError

PLAUSIBLE_ELEVATIONS = (
    -500.0,
    9000.0,
)  # m: values outside are holes that the file does not declare, such as -9999 or 32767
METRE_UNITS = {"", "m", "metre", "metres", "meter", "meters"}
MAX_OVERHANG_PIXELS = 1e-3  # by which a square may pass the raster's edge: rounding of coordinates


def sample_dem(
    file: Path | str, crs: str, origin: tuple[float, float], half: float, count: int
) -> Float[Array, "row column"]:
    """Elevations in metres at `count`² nodes, row 0 in the south, that span |x|, |y| ≤ `half` around `origin`.

    `crs` is a projection in metres, `origin` an easting and northing in it. The file's first band is interpolated
    bilinearly between its pixels' centres, not averaged; its heights stay above its own datum. A file that names no
    vertical unit is in metres.

    Raises `UelError` for a file that is no raster, has no CRS or another vertical unit, does not cover the square
    or has a hole there, and for a `crs` that is not in metres.
    """
    with open_geotiff(file, "elevation raster") as dem:
        heights = _interpolate(*_window_of(dem, file, crs, origin, half, count, None)).reshape(count, count)
    _require_no_holes(heights, file)
    return heights


def sample_dem_with_holes(
    file: Path | str, crs: str, origin: tuple[float, float], half: float, count: int, unknown: float | None = None
) -> tuple[Float[Array, "row column"], Bool[Array, "row column"]]:
    """As `sample_dem`, but holes are interpolated from their edges (GDAL's inverse distance weighting).

    `unknown` is the value of a hole that the file does not declare. Returns the elevations, and the nodes at which the
    file has one. Raises `UelError` as `sample_dem`, and where the whole square is a hole.
    """
    with open_geotiff(file, "elevation raster") as dem:
        values, position = _window_of(dem, file, crs, origin, half, count, unknown)
    is_known = np.isfinite(_interpolate(values, position))
    if not np.isfinite(values).any():
        _require_no_holes(np.where(is_known, 0.0, np.nan), file)
    filled = fillnodata(np.nan_to_num(values), mask=np.isfinite(values), max_search_distance=float(max(values.shape)))
    return _interpolate(filled, position).reshape(count, count), is_known.reshape(count, count)


def _crs_in_metres(crs: str) -> CRS:
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        raise UelError("unknown coordinate reference system", got=crs, do="give one such as EPSG:32632") from error
    if not parsed.is_projected or parsed.linear_units_factor[1] != 1.0:
        raise UelError(
            "the coordinate reference system is not in metres", got=crs, do="give a UTM zone, such as EPSG:32632"
        )
    return parsed


def _require_units(dem: DatasetReader, file: Path | str) -> None:
    if dem.crs is None:
        raise UelError("the elevation raster has no CRS", got=str(file), do="set one: gdal_edit.py -a_srs EPSG:… FILE")
    unit = dem.units[0] or ""
    if unit.lower() not in METRE_UNITS:
        raise UelError("the elevation raster is not in metres", got=f"{file}: {unit}", do="convert it to metres")


def _pixels_of(
    dem: DatasetReader, crs: CRS, origin: tuple[float, float], half: float, count: int
) -> Float[Array, "node 2"]:
    """Column and line in the file of every node; integers are corners of the file's pixels."""
    axis = np.linspace(-half, half, count)
    x, y = np.meshgrid(axis + origin[0], axis + origin[1])
    column, line = ~dem.transform @ np.array(warp.transform(crs, dem.crs, x.ravel(), y.ravel())[:2])
    return np.stack([column, line], axis=1)


def _require_cover(
    dem: DatasetReader, crs: CRS, origin: tuple[float, float], half: float, pixel: Float[Array, "node 2"]
) -> None:
    slack = MAX_OVERHANG_PIXELS
    is_covered = ((pixel >= -slack) & (pixel <= (dem.width + slack, dem.height + slack))).all(axis=1)
    if is_covered.all():
        return
    west, south, east, north = warp.transform_bounds(dem.crs, crs, *dem.bounds)
    gaps = {
        "west": west - (origin[0] - half),
        "east": origin[0] + half - east,
        "south": south - (origin[1] - half),
        "north": origin[1] + half - north,
    }
    sides = ", ".join(f"{gap:.0f} m short in the {side}" for side, gap in gaps.items() if gap > 0)
    end = sides or "at an angle to the square"
    raise UelError(
        "the elevation raster does not cover the square",
        got=f"{1 - is_covered.mean():.1%} of the square without elevation; it ends {end}",
        do="give a larger raster, move the tile or make its size or margin smaller",
    )


def _window_of(
    dem: DatasetReader,
    file: Path | str,
    crs: str,
    origin: tuple[float, float],
    half: float,
    count: int,
    unknown: float | None,
) -> tuple[Float[Array, "line sample"], Float[Array, "node 2"]]:
    """The part of the file around a square, NaN in holes; and the column and line of every node in that part."""
    target = _crs_in_metres(crs)
    _require_units(dem, file)
    pixel = _pixels_of(dem, target, origin, half, count)
    _require_cover(dem, target, origin, half, pixel)
    position = (pixel - 0.5).clip(0, (dem.width - 1, dem.height - 1))  # constant beyond the outermost centres
    first = np.floor(position).astype(np.int64)
    corner, size = first.min(axis=0), np.ptp(first, axis=0) + 2
    window = Window(*corner.tolist(), *size.tolist())  # pyright: ignore[reportCallIssue]  (attrs class)
    require_readable_size(dem, file, window)
    values = _read_window(dem, window, unknown)
    return values, position - corner


def _interpolate(values: Float[Array, "line sample"], position: Float[Array, "node 2"]) -> Float[Array, " node"]:
    """Elevation in metres at positions (column and line), NaN where one of the four pixels around has none."""
    # GDAL's warper would fill small holes, and its positions are approximate at any tolerance.
    first = np.floor(position).astype(np.int64)
    (x, y), (column, line) = (position - first).T, first.T
    right, down = np.minimum(column + 1, values.shape[1] - 1), np.minimum(line + 1, values.shape[0] - 1)
    above = (1 - x) * values[line, column] + x * values[line, right]
    below = (1 - x) * values[down, column] + x * values[down, right]
    return (1 - y) * above + y * below


def _read_window(dem: DatasetReader, window: Window, unknown: float | None) -> Float[Array, "line sample"]:
    """Elevations of a window of the file in metres, NaN in holes."""
    values = dem.read(1, window=window, masked=True).astype(np.float64).filled(np.nan)
    if unknown is not None:
        values[values == unknown] = np.nan
    values = values * dem.scales[0] + dem.offsets[0]
    return np.where((values > PLAUSIBLE_ELEVATIONS[0]) & (values < PLAUSIBLE_ELEVATIONS[1]), values, np.nan)


def _require_no_holes(heights: Float[Array, "row column"], file: Path | str) -> None:
    hole = np.isnan(heights)
    if hole.any():
        raise UelError(
            "the elevation raster has holes in the square",
            got=f"{file}: {hole.mean():.1%} of the square without elevation",
            do="fill them (gdal_fillnodata.py) or give another raster",
        )
