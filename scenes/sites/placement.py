"""Places sites on a tile: on roofs, on a lattice, on poles, or as far apart as possible."""

import math
import warnings
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer

from scenes.mesh.mesh_parts import Array
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Array as Antennas
from uel.radio.sites import Cell, Site

PlacementKind = Literal["rooftop", "grid", "random", "farthest"]
MIN_ROOF_HEIGHT = 8.0  # m above ground: garages and kiosks carry no site
ROOF_PERCENTILES = (
    60.0,
    95.0,
)  # percentiles of roof height between which a roof carries a site: tall houses, but no spires
POLE_HEIGHT = 10.0  # m above ground, a lamp post: antenna height of kind `random`
ROOF_SEARCH_RADIUS = 3.0  # m: a rooftop antenna stands above the highest roof within this distance


def place(
    tile: Tile,
    count: int,
    seed: int = 0,
    *,
    kind: PlacementKind = "rooftop",
    mast: float = 3.0,
    spacing: float | None = None,
    sectors: int = 1,
    template: Cell | None = None,
) -> tuple[Site, ...]:
    """Place `count` sites on a tile; the same seed gives the same sites.

    Args:
        tile: to place on; it is not changed (`scenes.tiles.writer.write_sites` writes sites into a tile).
        count: number of sites.
        seed: of positions and azimuths.
        kind: rooftop – roofs drawn uniformly from those that can carry a site; grid – the roofs nearest to a regular
            lattice; random – 10 m poles outdoors; farthest – a drawn roof, then each time the one farthest from all
            before it.
        mast: height in metres of the antenna above the highest roof within 3 m (not for poles).
        spacing: least horizontal distance in metres between two sites, for rooftop and random; default:
            size / (2·√count). It is relaxed where it cannot be kept, with a warning if it was given.
        sectors: cells of each site, at evenly spaced azimuths from a drawn one; a single cell keeps the template's.
        template: of every cell; default: an isotropic antenna for a single cell, and TR 38.901's element with 6°
            downtilt for sectors.

    Raises:
        UelError: for less than one site or sector, and when the tile has too few positions.

    Example:
        >>> import tempfile, scenes
        >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> sites = scenes.place(tile, count=2, seed=0, sectors=3)
        >>> [len(site.cells) for site in sites]
        [3, 3]
    """
    _require_counts(count, sectors)
    random = np.random.default_rng(seed)
    candidates = np.argwhere(_outdoor_pixels(tile) if kind == "random" else _roof_pixels(tile))
    _require_room(len(candidates), count, kind)
    if kind == "grid":
        chosen = _lattice(tile, candidates, count)
    elif kind == "farthest":
        chosen = _farthest(candidates, count, random)
    else:
        chosen = _scatter(tile, candidates, count, spacing, random)
    positions = _positions(tile, chosen, kind, mast)
    sites = tuple(Site(position=position, cells=_cells(sectors, template, random)) for position in positions)
    tile.require_sites(sites)
    return sites


def _require_counts(count: int, sectors: int) -> None:
    if count < 1 or sectors < 1:
        raise UelError(
            "the number of sites and of sectors must be at least 1",
            got=f"count {count}, sectors {sectors}",
            do="give 1 or more of each",
        )


def _require_room(available: int, count: int, kind: str) -> None:
    if available < count:
        raise UelError(
            f"the tile has too few positions for sites of kind {kind}",
            got=f"count {count}, {available} possible pixels",
            do="ask for fewer sites, another kind or a larger tile",
        )


def _roof_pixels(tile: Tile) -> Bool[Array, "row column"]:
    """Pixels of roofs that can carry a site; every roof where none can."""
    height, ground, footprint = (tile.rasters[name].numpy() for name in ("height", "ground", "footprint"))
    is_roof = footprint > 0.5
    if not is_roof.any():
        return is_roof
    lowest, highest = np.percentile((height - ground)[is_roof], ROOF_PERCENTILES)
    low_enough = is_roof & (_highest_roof_nearby(tile) - ground <= highest)
    suitable = low_enough & (height - ground >= max(lowest, MIN_ROOF_HEIGHT))
    return suitable if suitable.any() else is_roof


def _outdoor_pixels(tile: Tile) -> Bool[Array, "row column"]:
    """Outdoor pixels."""
    return tile.rasters["footprint"].numpy() < 0.5


def _scatter(
    tile: Tile,
    candidates: Integer[Array, "candidate 2"],
    count: int,
    spacing: float | None,
    random: np.random.Generator,
) -> Integer[Array, "site 2"]:
    """Pixels drawn uniformly, at least `spacing` apart, or less where that cannot be kept."""
    target = tile.size / (2 * math.sqrt(count)) if spacing is None else spacing
    order = candidates[random.permutation(len(candidates))]
    distance = target / tile.raster_grid.pixel
    while len(chosen := _keep_distance(order, count, distance)) < count:
        distance = 0.9 * distance if distance > 1 else 0.0
    if spacing is not None and distance < target / tile.raster_grid.pixel:
        reached = distance * tile.raster_grid.pixel
        warnings.warn(f"spacing relaxed from {target:g} m to {reached:.1f} m to fit {count} sites", stacklevel=3)
    return chosen


def _keep_distance(order: Integer[Array, "candidate 2"], count: int, distance: float) -> Integer[Array, "site 2"]:
    """At most `count` pixels: in `order`, each at least `distance` pixels from all before it."""
    chosen: list[np.ndarray] = []
    while len(order) and len(chosen) < count:
        first, order = order[0], order[1:]
        chosen.append(first)
        order = order[((order - first) ** 2).sum(axis=1) >= distance**2]
    return np.array(chosen)


def _farthest(
    candidates: Integer[Array, "candidate 2"], count: int, random: np.random.Generator
) -> Integer[Array, "site 2"]:
    """Farthest-point sampling: each next pixel is the one farthest from all chosen ones."""
    chosen = [candidates[random.integers(len(candidates))]]
    nearest = np.full(len(candidates), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((candidates - chosen[-1]) ** 2).sum(axis=1))
        chosen.append(candidates[nearest.argmax()])
    return np.array(chosen)


def _lattice(tile: Tile, candidates: Integer[Array, "candidate 2"], count: int) -> Integer[Array, "site 2"]:
    """The candidates nearest to the points of a regular lattice, each used once."""
    chosen = []
    for point in _lattice_points(count) * tile.raster_grid.count - 0.5:
        nearest = ((candidates - point) ** 2).sum(axis=1).argmin()
        chosen.append(candidates[nearest])
        candidates = np.delete(candidates, nearest, axis=0)
    return np.array(chosen)


def _lattice_points(count: int) -> Float[Array, "site 2"]:
    """Points (y, x) in the unit square, in rows of nearly equal length."""
    rows = np.array_split(np.arange(count), round(math.sqrt(count)))
    return np.array(
        [((k + 0.5) / len(rows), (m + 0.5) / len(row)) for k, row in enumerate(rows) for m in range(len(row))]
    )


def _positions(
    tile: Tile, chosen: Integer[Array, "site 2"], kind: PlacementKind, mast: float
) -> list[tuple[float, float, float]]:
    """Antenna positions in metres over the centres of pixels (row, column)."""
    row, column = chosen.T
    x, y = ((axis + 0.5) * tile.raster_grid.pixel - tile.size / 2 for axis in (column, row))
    base = tile.rasters["ground"].numpy() + POLE_HEIGHT if kind == "random" else _highest_roof_nearby(tile) + mast
    return [(float(a), float(b), float(c)) for a, b, c in zip(x, y, base[row, column], strict=True)]


def _highest_roof_nearby(tile: Tile) -> Float[Array, "row column"]:
    """Elevation in metres of the highest roof within `ROOF_SEARCH_RADIUS` of every pixel, east, west, north and
    south."""
    reach = math.floor(ROOF_SEARCH_RADIUS / tile.raster_grid.pixel)
    highest = tile.rasters["height"][None]
    # The maximum over a square is the maximum of its columns' maxima: 2·n steps for a window of n² pixels.
    for window, padding in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        highest = torch.nn.functional.max_pool2d(highest, window, stride=1, padding=padding)
    return highest[0].numpy()


def _cells(sectors: int, template: Cell | None, random: np.random.Generator) -> tuple[Cell, ...]:
    """`sectors` copies of the template at evenly spaced azimuths."""
    if sectors == 1:
        return (template or Cell(),)
    template = template or Cell(tilt_deg=6.0, array=Antennas(pattern="tr38901"))
    start = float(random.uniform(0, 360 / sectors))
    return tuple(replace(template, azimuth_deg=start + 360 * k / sectors) for k in range(sectors))
