"""Masts on a tile: where to put them, and whether they stand where a mast can stand."""

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
MIN_ROOF_HEIGHT = 8.0  # m above ground: garages and kiosks carry no mast
ROOF_PERCENTILES = (60.0, 95.0)  # percentiles of the tile's roofs: a mast stands on a tall house, not on the spire
POLE_HEIGHT = 10.0  # m above ground, a lamp post: where `random` puts its sites
ROOF_SEARCH_RADIUS = 3.0  # m: a rooftop mast overlooks the roof this far around it


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
    """Put `count` sites on a tile; the same seed gives the same sites.

    `kind`: rooftop – drawn evenly from the roofs that carry masts; grid – on the roofs nearest to an even
    lattice; random – on 10 m poles outdoors; farthest – a drawn roof, then each time the one farthest from all
    before it. `mast` is the height in metres above the highest roof within 3 m
    (not for poles). `spacing` is the least horizontal distance in metres between two sites, size / (2·√count)
    by default, for rooftop and random alone: it is relaxed where it cannot be met, with a warning if you gave it.
    Each site has `sectors` cells like `template`, at evenly spaced azimuths from a drawn one; a single cell is the
    template as it is. Without a template a lone cell is isotropic and a sector has TR 38.901's element,
    tilted by 6°.

    Raises `UelError` for a count or a number of sectors below one, and when the tile has no room for `count`.
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
            "a network needs at least one site and one sector",
            got=f"count {count}, sectors {sectors}",
            do="give 1 or more",
        )


def _require_room(available: int, count: int, kind: str) -> None:
    if available < count:
        raise UelError(
            f"no room for that many sites of kind {kind}",
            got=f"count {count}, {available} pixels to stand on",
            do="ask for fewer sites, another kind or a larger tile",
        )


def _roof_pixels(tile: Tile) -> Bool[Array, "row column"]:
    """Pixels of roofs that carry masts; any roof where none does."""
    height, ground, footprint = (tile.rasters[name].numpy() for name in ("height", "ground", "footprint"))
    stands = footprint > 0.5
    if not stands.any():
        return stands
    lowest, highest = np.percentile((height - ground)[stands], ROOF_PERCENTILES)
    low_enough = stands & (_highest_roof_nearby(tile) - ground <= highest)
    good = low_enough & (height - ground >= max(lowest, MIN_ROOF_HEIGHT))
    return good if good.any() else stands


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
    """Pixels drawn without preference, `spacing` or more apart; less where that cannot be met."""
    wanted = tile.size / (2 * math.sqrt(count)) if spacing is None else spacing
    order = candidates[random.permutation(len(candidates))]
    distance = wanted / tile.raster_grid.pixel
    while len(chosen := _keep_distance(order, count, distance)) < count:
        distance = 0.9 * distance if distance > 1 else 0.0
    if spacing is not None and distance < wanted / tile.raster_grid.pixel:
        reached = distance * tile.raster_grid.pixel
        warnings.warn(f"spacing relaxed from {wanted:g} m to {reached:.1f} m to fit {count} sites", stacklevel=3)
    return chosen


def _keep_distance(order: Integer[Array, "candidate 2"], count: int, distance: float) -> Integer[Array, "site 2"]:
    """The first of `order`, the next that is `distance` pixels from it, and so on: at most `count`."""
    chosen: list[np.ndarray] = []
    while len(order) and len(chosen) < count:
        first, order = order[0], order[1:]
        chosen.append(first)
        order = order[((order - first) ** 2).sum(axis=1) >= distance**2]
    return np.array(chosen)


def _farthest(
    candidates: Integer[Array, "candidate 2"], count: int, random: np.random.Generator
) -> Integer[Array, "site 2"]:
    """Farthest-point sampling: each next pixel is the one whose nearest chosen one is farthest away."""
    chosen = [candidates[random.integers(len(candidates))]]
    nearest = np.full(len(candidates), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((candidates - chosen[-1]) ** 2).sum(axis=1))
        chosen.append(candidates[nearest.argmax()])
    return np.array(chosen)


def _lattice(tile: Tile, candidates: Integer[Array, "candidate 2"], count: int) -> Integer[Array, "site 2"]:
    """The candidates nearest to an even lattice, each taken once."""
    chosen = []
    for point in _lattice_points(count) * tile.raster_grid.count - 0.5:
        nearest = ((candidates - point) ** 2).sum(axis=1).argmin()
        chosen.append(candidates[nearest])
        candidates = np.delete(candidates, nearest, axis=0)
    return np.array(chosen)


def _lattice_points(count: int) -> Float[Array, "site 2"]:
    """Points (y, x) in the unit square, in rows as long as possible alike."""
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
    # A square's maximum is that of its columns' maxima: 2·n steps for a window of n² pixels.
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
