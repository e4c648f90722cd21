"""Rasters of a tile: elevations where vertical rays through pixel centres hit the triangles, land cover and crowns."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from rasterio import Affine, warp
from rasterio.enums import Resampling
from rasterio.features import rasterize

from scenes.mesh.mesh_parts import Array, MeshKind, MeshPart, merge_parts
from scenes.osm.map_features import KnownSquares, LandCoverPatch, VegetationPatch
from uel.core.grid import Grid
from uel.errors import UelError

CANDIDATES_PER_CHUNK = 2_000_000  # candidate pixels in memory at a time: about 0.3 GB
BARYCENTRIC_TOLERANCE = 1e-9  # so that a ray through a shared edge hits at least one of the triangles
MIN_PROJECTED_AREA = 1e-9  # pixel²: smaller triangles are vertical, and their neighbours are hit instead
MIN_BUILDING_CLEARANCE = 0.5  # m: lower objects above the ground count as ground
LAND_COVERS = ("open", "road", "path", "water", "green")  # classes that the raster `cover` indexes


def rasterise_parts(parts: list[MeshPart], grid: Grid) -> dict[str, Array]:
    """The rasters of a `uel.geo.tile.Tile`, `row column`, row 0 in the south, without NaN.

    `material` is an index into `material_names(parts)`. Raises `UelError` when a ray meets
    no terrain.
    """
    parts = merge_parts(parts)  # few parts instead of thousands
    hits = np.stack([highest_hits(part.triangles, grid) for part in parts])
    ground = _highest(parts, hits, "terrain")
    _require_ground(ground, grid)
    building = _highest(parts, hits, "building")
    names = material_names(parts)
    material = np.array([names.index(part.material) for part in parts])[hits.argmax(axis=0)]
    return {
        "ground": ground.astype(np.float32),
        "height": np.maximum(ground, building).astype(np.float32),
        "footprint": (building > ground + MIN_BUILDING_CLEARANCE).astype(np.uint8),
        "material": material.astype(np.uint8),
    }


def material_names(parts: list[MeshPart]) -> list[str]:
    """Names of the parts' materials, in order of first appearance."""
    return list(dict.fromkeys(part.material for part in parts))


def rasterise_land_cover(ground: Sequence[LandCoverPatch], grid: Grid) -> UInt8[Array, "row column"]:
    """Land cover, index into `LAND_COVERS`, row 0 in the south: of the last patch with a pixel's centre, or open."""
    shapes = [(patch.footprint, LAND_COVERS.index(patch.kind)) for patch in ground if not patch.footprint.is_empty]
    if not shapes:
        return np.zeros(grid.shape, np.uint8)
    return rasterize(shapes, out_shape=grid.shape, transform=_pixels(grid), dtype=np.uint8)


def rasterise_vegetation(
    patches: Sequence[VegetationPatch], footprint: Array, grid: Grid
) -> dict[str, Float[Array, "row column"]]:
    """Lower and upper end of crowns in metres above the ground (`canopy_base`, `canopy_top`), row 0 in the south; both
    0 where there are none, and on the `footprint` of buildings.

    Where crowns lie above each other a pixel has one from the lowest end to the highest.
    """
    low, high = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    if patches:
        for values, ends in (
            (low, sorted([(patch.footprint, patch.base) for patch in patches], key=lambda end: -end[1])),
            (high, sorted([(patch.footprint, patch.top) for patch in patches], key=lambda end: end[1])),
        ):
            rasterize(ends, out=values, transform=_pixels(grid))
    is_free = footprint < 0.5
    return {"canopy_base": low * is_free, "canopy_top": high * is_free}


def _pixels(grid: Grid) -> Affine:
    """Row 0 in the south and a positive step, which rasterio accepts."""
    return Affine(grid.pixel, 0, -grid.size / 2, 0, grid.pixel, -grid.size / 2)


def rasterise_known(squares: KnownSquares, grid: Grid) -> UInt8[Array, "row column"]:
    """1 where the source knows the height of a building or of open ground, else 0; row 0 in the south."""
    known = np.zeros(grid.shape, np.uint8)
    source, low = 2 * squares.half / len(squares.is_known), -grid.size / 2
    crs = "EPSG:32601"  # any in metres: both grids are the tile's
    warp.reproject(
        squares.is_known.astype(np.uint8),
        known,
        src_transform=Affine(source, 0, -squares.half, 0, source, -squares.half),
        src_crs=crs,
        dst_transform=Affine(grid.pixel, 0, low, 0, grid.pixel, low),
        dst_crs=crs,
        resampling=Resampling.nearest,
    )
    return known


def _highest(
    parts: list[MeshPart], hits: Float[Array, "part row column"], kind: MeshKind
) -> Float[Array, "row column"]:
    hits_of_kind = hits[[part.kind == kind for part in parts]]
    return hits_of_kind.max(axis=0, initial=-np.inf)


def _require_ground(ground: Float[Array, "row column"], grid: Grid) -> None:
    is_bare = ~np.isfinite(ground)
    if is_bare.any():
        row, column = np.argwhere(is_bare)[0]
        x, y = (np.array([column, row]) + 0.5) * grid.pixel - grid.size / 2
        raise UelError(
            "the terrain does not cover the tile",
            got=f"{is_bare.mean():.1%} of the tile without terrain, first at x = {x:g} m, y = {y:g} m",
            do="move the centre or make the tile smaller",
        )


def highest_hits(triangles: Float[Array, "face 3 3"], grid: Grid) -> Float[Array, "row column"]:
    """Elevation in metres of the highest triangle at every pixel centre; -inf without one."""
    corners = triangles.astype(np.float64)
    # In units of pixels, with pixel centres at integers.
    corners[..., :2] = (corners[..., :2] + grid.size / 2) / grid.pixel - 0.5
    low = np.ceil(corners[..., :2].min(axis=1) - BARYCENTRIC_TOLERANCE).clip(0, None).astype(np.int64)
    high = np.floor(corners[..., :2].max(axis=1) + BARYCENTRIC_TOLERANCE).clip(None, grid.count - 1).astype(np.int64)
    span = (high - low + 1).clip(0, None)
    top = np.full(grid.count**2, -np.inf)
    for chunk in _chunks(span.prod(axis=1)):
        pixel, z = _hits(corners[chunk], low[chunk], span[chunk])
        np.maximum.at(top, pixel[:, 1] * grid.count + pixel[:, 0], z)
    return top.reshape(grid.shape)


def _chunks(work: Integer[Array, " face"]) -> Iterator[Integer[Array, " chunk"]]:
    """Indices of the faces with candidate pixels, in chunks of about `CANDIDATES_PER_CHUNK` candidates."""
    faces = np.flatnonzero(work)
    batch = np.cumsum(work[faces]) // CANDIDATES_PER_CHUNK
    yield from np.split(faces, np.flatnonzero(np.diff(batch)) + 1)


def _hits(
    corners: Float[Array, "face 3 3"], low: Integer[Array, "face 2"], span: Integer[Array, "face 2"]
) -> tuple[Integer[Array, "hit 2"], Float[Array, " hit"]]:
    """Pixels (column, row) that the faces cover, and the faces' elevation there in metres."""
    face, pixel = _candidates(low, span)
    a, b, c = (corners[:, k] for k in range(3))
    area = _cross(b - a, c - a)
    is_visible = np.abs(area[face]) > MIN_PROJECTED_AREA
    face, pixel = face[is_visible], pixel[is_visible]
    offset = pixel - a[face, :2]
    weight_b = _cross(offset, (c - a)[face]) / area[face]
    weight_c = _cross((b - a)[face], offset) / area[face]
    inside = np.minimum(np.minimum(weight_b, weight_c), 1 - weight_b - weight_c) >= -BARYCENTRIC_TOLERANCE
    z = a[face, 2] + weight_b * (b - a)[face, 2] + weight_c * (c - a)[face, 2]
    return pixel[inside], z[inside]


def _candidates(
    low: Integer[Array, "face 2"], span: Integer[Array, "face 2"]
) -> tuple[Integer[Array, " candidate"], Integer[Array, "candidate 2"]]:
    """Every pixel of every face's bounding box, with the index of the face."""
    work = span.prod(axis=1)
    face = np.repeat(np.arange(len(work)), work)
    rank = np.arange(len(face)) - np.repeat(np.cumsum(work) - work, work)
    width = span[face, 0]
    return face, low[face] + np.stack([rank % width, rank // width], axis=1)


def _cross(u: Float[Array, "n _"], v: Float[Array, "n _"]) -> Float[Array, " n"]:
    """Third component of the cross product of the horizontal parts."""
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
