"""Area of a tile where phones can be, and the order in which a survey visits it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import require_map_of_tile
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, reference_power_dbm

MIN_OUTDOOR_AREA = 100.0  # m², least outdoor area for a survey, and least road area for vehicles


@dataclass(frozen=True, eq=False)
class SamplingCurve:
    """Pixels along a space-filling curve, with the cumulative probability of a phone along it."""

    pixel: Int64[np.ndarray, " n"]
    """flat index"""
    cumulative: Float64[np.ndarray, " n"]
    """cumulative probability, ends at 1"""

    @staticmethod
    def from_weights(weight: Float[Tensor, "row column"]) -> "SamplingCurve":
        """The curve in quadrant-recursive order over pixels of positive weight: neighbours on it are near on the
        tile."""
        row, column = np.indices(weight.shape)
        order = np.argsort(_interleaved(row, column).ravel(), kind="stable")
        dense = weight.double().numpy().ravel()[order]
        order, dense = order[dense > 0], dense[dense > 0]
        return SamplingCurve(order, np.cumsum(dense) / dense.sum())

    def pixels_at(self, quantile: Float64[np.ndarray, " track"]) -> Int64[np.ndarray, " track"]:
        """The pixels at quantiles of the curve's probability."""
        return self.pixel[np.searchsorted(self.cumulative, quantile, side="right").clip(max=len(self.pixel) - 1)]


@dataclass(frozen=True, eq=False, repr=False)
class OutdoorArea(ShortRepr):
    """Pixels for pedestrians and vehicles, and the curves on which their tracks start."""

    grid: Grid
    free: Bool[Tensor, "row column"]
    """pixels that phones may stand on"""
    road: Bool[Tensor, "row column"] | None
    """free pixels on a road; None on a tile without roads"""
    pedestrian_curve: SamplingCurve
    vehicle_curve: SamplingCurve

    def start_positions(
        self, quantile: Float64[np.ndarray, " track"], drives: Bool[Tensor, " track"], within: Float[Tensor, "track 2"]
    ) -> Float[Tensor, "track 2"]:
        """Positions in metres at quantiles of the curves; `within` in [0, 1) is the position inside the pixel."""
        pixel = np.where(
            drives.numpy(), self.vehicle_curve.pixels_at(quantile), self.pedestrian_curve.pixels_at(quantile)
        )
        centre = self.grid.centres().reshape(-1, 2)[torch.from_numpy(pixel)]
        return centre + (within - 0.5) * (
            0.998 * self.grid.pixel
        )  # less than 1, so that rounding stays inside the pixel


def outdoor_area(
    tile: Tile,
    sites: tuple[Site, ...],
    distance: tuple[float, float],
    coverage_dbm: float | None,
    by_coverage: bool,
    radio: RadioMap | None,
) -> OutdoorArea:
    """Pixels outdoors, off the water, wholly within `distance` (least, greatest, m) of the nearest site, and covered.

    A pixel is covered where the best cell of `radio` has `coverage_dbm` or more; `by_coverage` weights start positions
    by the decibels above. Raises `UelError` for a threshold without a map of this tile, and when less than
    `MIN_OUTDOOR_AREA` is left.
    """
    grid = tile.raster_grid
    margin = grid.pixel / 2**0.5
    centres = grid.centres().reshape(-1, 2)
    free = allowed_positions(tile, sites, centres, distance[0] + margin, distance[1] - margin).view(grid.shape)
    free &= ~_covered_by(tile, "water")
    weight = free.float()
    if coverage_dbm is not None:
        above = _best_dbm(tile, radio) - coverage_dbm
        free = free & (above >= 0)
        weight = torch.where(free, above + 1e-3 if by_coverage else 1.0, 0.0)
    if _area(free, grid) < MIN_OUTDOOR_AREA:
        raise UelError(
            "hardly any outdoor place on this tile",
            got=f"{_area(free, grid):.0f} m² of {tile.name}",
            do="choose another centre, distance limits or coverage threshold",
        )
    road = free & _covered_by(tile, "road")
    pedestrian_curve = SamplingCurve.from_weights(weight)
    if _area(road, grid) < MIN_OUTDOOR_AREA:
        return OutdoorArea(grid, free, None, pedestrian_curve, pedestrian_curve)
    return OutdoorArea(grid, free, road, pedestrian_curve, SamplingCurve.from_weights(weight * road))


def allowed_positions(
    tile: Tile, sites: tuple[Site, ...], position: Float[Tensor, "n 2"], least: float, greatest: float
) -> Bool[Tensor, " n"]:
    """Whether positions (m) are outdoors, on the tile and within distances (m) of the nearest site."""
    nearest = torch.full(position.shape[:1], torch.inf, device=position.device)
    for site in sites:  # one at a time bounds the memory on a large tile
        nearest = torch.minimum(
            nearest, (position - torch.tensor(site.position[:2], device=position.device)).norm(dim=-1)
        )
    near_enough = (nearest >= least) & (nearest <= greatest)
    return near_enough & tile.raster_grid.contains(position) & tile.is_outdoor(position)


def _covered_by(tile: Tile, cover: str) -> Bool[Tensor, "row column"]:
    """Pixels with a kind of land cover; none on a tile without it."""
    if "cover" not in tile.rasters or cover not in tile.covers:
        return torch.zeros(tile.raster_grid.shape, dtype=torch.bool, device="cpu")
    return tile.rasters["cover"] == tile.covers.index(cover)


def _best_dbm(tile: Tile, radio: RadioMap | None) -> Float[Tensor, "row column"]:
    """RSRP of the best cell in dBm on another grid, -inf where no cell has a path."""
    if radio is None:
        raise UelError("a coverage threshold needs a radio map", got="radio=None", do="give draw_tracks the tile's map")
    require_map_of_tile(radio.made_on, radio.grid, tile)
    level = to_db(torch.where(radio.known, radio.gain, 1.0)) + reference_power_dbm(radio.sites)[:, None, None]
    row, column = radio.grid.pixel_of(tile.raster_grid.centres())
    return torch.where(radio.known, level, -torch.inf).amax(0)[row, column]


def _area(mask: Tensor, grid: Grid) -> float:
    """m²"""
    return float(mask.sum()) * grid.pixel**2


def _interleaved(row: Int64[np.ndarray, "*n"], column: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """Morton code: the bits of row and column in turn."""
    code = np.zeros_like(row)
    for bit in range(int(max(row.max(), column.max())).bit_length()):
        code |= (row >> bit & 1) << 2 * bit + 1 | (column >> bit & 1) << 2 * bit
    return code
