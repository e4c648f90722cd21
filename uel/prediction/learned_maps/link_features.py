"""Features of links between squares and cells from which levels are learned: geometry, antenna, obstruction,
surroundings of both ends and the other cells.

No feature depends on where north is, and none on a position: what is learned in one district holds in another.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import bearing_deg, wrap_deg
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.line_obstruction import line_obstruction
from uel.prediction.learned_maps.surroundings import (
    DIRECTION_COUNT,
    SURROUNDINGS_REACHES,
    Surroundings,
    direction_towards,
)
from uel.prediction.link_trend import UE_HEIGHT
from uel.radio.antennas.elements import parabolic_loss_db

LINKS_PER_CHUNK = 1 << 13  # so that intermediate values stay in a core's cache
MIN_DISTANCE = 3.0  # m on the ground
MAX_GROUND_DIFFERENCE = 60.0  # m between mast and square; a larger one is a mistake of the list, and counts as 0
# Width and limit across are those of TR 38.901, table 7.3-1, upright those of TR 36.814, table A.2.1.1-2.
HORIZONTAL_BEAMWIDTH_DEG, VERTICAL_BEAMWIDTH_DEG = 65.0, 10.0
MAX_HORIZONTAL_LOSS_DB, MAX_VERTICAL_LOSS_DB, MAX_PATTERN_LOSS_DB = 30.0, 20.0, 30.0
LAW_EXPONENT = 3.5  # of the distance in the law that cells are compared by
RANKED_CELLS = (1, 3, 6)  # a cell's level by the law is compared with that of these ranks
PATCH_POINTS = torch.cartesian_prod(
    torch.arange(-60.0, 121.0, 10.0, device="cpu"), torch.arange(-50.0, 51.0, 10.0, device="cpu")
)
"""m ahead, towards the antenna, and to the right of the square"""
PATCH_SIZE = len(PATCH_POINTS)
PATCH_MIRROR = torch.arange(PATCH_SIZE, device="cpu").view(-1, 11).flip(1).flatten()
"""indices of the points in the mirror image, right for left"""
PATCH_HEIGHT_UNIT, MAX_PATCH_HEIGHT, UNKNOWN_HEIGHT = 20.0, 3.0, -0.5  # m; units; in place of a height
OFF_GRID = -1.0  # surroundings of a mast that stands off the grid

LINK_FEATURES = (
    "log_distance", "free_space_dbm", "off_boresight_deg", "off_tilt_deg", "elevation_deg", "horizontal_loss_db",
    "vertical_loss_db", "antenna_height", "antenna_above_roofs", "antenna_above_square", "frequency_mhz", "power_dbm",
    "electrical_tilt_deg", "mechanical_tilt_deg", "roof_at_mast", "ground_difference",
    *(f"{quantity}_at_mast_{reach:.0f}" for quantity in ("built", "height") for reach in SURROUNDINGS_REACHES),
    "height_at_square", "clutter", "terrain_above_median",
    "nu", "nu_at_antenna", "cascade_db", "blocked_length", "blocked_length_near", "crossings", "first_building",
    "first_edge", "first_edge_height", "clearance", "unknown_length", "unknown_length_near",
    "free_towards", "free_away", "free_aside", "skyline_towards_deg", "skyline_mean_deg", "free_mean",
    *(f"{quantity}_{reach:.0f}" for quantity in ("built", "height") for reach in SURROUNDINGS_REACHES),
    "law_dbm", "law_rank", *(f"law_below_rank_{rank}" for rank in RANKED_CELLS),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class LinkFeatures:
    """Features of the links of a network's cells, which should be those that any of its reports names.

    Example:
        >>> LinkFeatures(network).of(torch.tensor([0, 0]), torch.tensor([3, 4]), torch.tensor([7, 7])).shape[1] == len(
        ...     LINK_FEATURES)  # doctest: +SKIP
        True
    """

    network: MeasuredNetwork

    @cached_property
    def _surroundings(self) -> Surroundings:
        return Surroundings.of(self.network.rasters, self.network.grid)

    @cached_property
    def _terrain(self) -> Float[Tensor, "row column"]:
        rasters = self.network.rasters
        return torch.where(rasters.terrain_known, rasters.terrain, rasters.datum)

    def of(
        self, cell: Int[Tensor, " link"], row: Int[Tensor, " link"], column: Int[Tensor, " link"]
    ) -> Float[Tensor, "link feature"]:
        """The features, in the order of `LINK_FEATURES`.

        Args:
            cell: index of each link's cell.
            row: of its square on the network's grid.
            column: likewise.
        """
        parts = zip(cell.split(LINKS_PER_CHUNK), row.split(LINKS_PER_CHUNK), column.split(LINKS_PER_CHUNK), strict=True)
        return torch.cat([torch.stack(self._chunk(*part), 1) for part in parts])

    def heights_around(
        self, cell: Int[Tensor, " link"], row: Int[Tensor, " link"], column: Int[Tensor, " link"]
    ) -> Float[Tensor, "link point"]:
        """Heights in units of 20 m around the squares, at `PATCH_POINTS`; `UNKNOWN_HEIGHT` where not known."""
        grid, rasters, cells = self.network.grid, self.network.rasters, self.network.cells
        square = (torch.stack([column, row], -1) + 0.5) * grid.pixel - grid.size / 2
        ahead = torch.nn.functional.normalize(cells.position[cell] - square, dim=1)
        right = torch.stack([ahead[:, 1], -ahead[:, 0]], 1)
        along, across = PATCH_POINTS.unbind(1)
        position = square[:, None] + along[:, None] * ahead[:, None] + across[:, None] * right[:, None]
        at_row, at_column = grid.pixel_of(position)
        known = grid.contains(position) & rasters.building_known[at_row, at_column]
        height = (rasters.building_height[at_row, at_column] / PATCH_HEIGHT_UNIT).clamp(max=MAX_PATCH_HEIGHT)
        return torch.where(known, height, UNKNOWN_HEIGHT)

    def _chunk(self, cell: Tensor, row: Tensor, column: Tensor) -> list[Tensor]:
        cells, grid, around = self.network.cells, self.network.grid, self._surroundings
        square = (torch.stack([column, row], -1) + 0.5) * grid.pixel - grid.size / 2
        terrain = self._terrain[row, column]
        ground_difference = cells.ground[cell] - terrain
        ground_difference = torch.where(ground_difference.abs() > MAX_GROUND_DIFFERENCE, 0.0, ground_difference)
        rise = ground_difference + cells.height[cell] - UE_HEIGHT
        distance = (cells.position[cell] - square).norm(dim=1).clamp(min=MIN_DISTANCE)
        elevation = torch.atan2(rise, distance).rad2deg()
        off_boresight = wrap_deg(bearing_deg(cells.position[cell], square) - cells.azimuth_deg[cell])
        tilt = cells.electrical_tilt_deg[cell] + cells.mechanical_tilt_deg[cell] * off_boresight.deg2rad().cos()
        horizontal = parabolic_loss_db(off_boresight, HORIZONTAL_BEAMWIDTH_DEG, MAX_HORIZONTAL_LOSS_DB)
        vertical = parabolic_loss_db(elevation - tilt, VERTICAL_BEAMWIDTH_DEG, MAX_VERTICAL_LOSS_DB)
        wavelength = SPEED_OF_LIGHT / cells.frequency[cell]
        free_space = 20 * (4 * torch.pi * (distance.square() + rise.square()).sqrt() / wavelength).log10()
        free_space_dbm = cells.power_dbm[cell] - (horizontal + vertical).clamp(max=MAX_PATTERN_LOSS_DB) - free_space
        phone_z = terrain + UE_HEIGHT
        line = line_obstruction(
            self.network.rasters,
            grid,
            torch.cat([square, phone_z[:, None]], 1),
            torch.cat([cells.position[cell], (phone_z + rise)[:, None]], 1),
            cells.frequency[cell],
        )
        at_mast = self._at_mast(cell)
        at_square = torch.cat([around.built[:, row, column], around.height[:, row, column]])
        towards = direction_towards(bearing_deg(square, cells.position[cell]))
        aside = [around.free_length[(towards + turn) % DIRECTION_COUNT, row, column] for turn in (2, 6)]
        return [
            distance.log10(), free_space_dbm, off_boresight.abs(), elevation - tilt, elevation, horizontal, vertical,
            cells.height[cell], cells.height[cell] - at_mast[-1].clamp(min=0.0),
            cells.height[cell] - self.network.rasters.building_height[row, column], cells.frequency[cell] / 1e6,
            cells.power_dbm[cell], cells.electrical_tilt_deg[cell], cells.mechanical_tilt_deg[cell], cells.roof[cell],
            ground_difference, *at_mast, self.network.rasters.building_height[row, column],
            self.network.rasters.clutter[row, column].float(), terrain - self.network.rasters.datum,
            line.nu, line.nu_at_antenna, line.cascade_db, line.blocked_length, line.blocked_length_near,
            line.crossings, line.first_building, line.first_edge, line.first_edge_height, line.clearance,
            line.unknown_length, line.unknown_length_near,
            around.free_length[towards, row, column],
            around.free_length[(towards + DIRECTION_COUNT // 2) % DIRECTION_COUNT, row, column],
            (aside[0] + aside[1]) / 2,
            around.skyline_deg[towards, row, column], around.skyline_deg[:, row, column].mean(0),
            around.free_length[:, row, column].mean(0), *at_square, *self._beside_other_cells(cell, square),
        ]  # fmt: skip

    def _at_mast(self, cell: Tensor) -> Float[Tensor, "quantity link"]:
        """Built fraction and mean height around the masts."""
        position, around = self.network.cells.position[cell], self._surroundings
        row, column = self.network.grid.pixel_of(position)
        values = torch.cat([around.built[:, row, column], around.height[:, row, column]])
        return torch.where(self.network.grid.contains(position), values, OFF_GRID)

    def _beside_other_cells(self, cell: Tensor, square: Float[Tensor, "link 2"]) -> list[Tensor]:
        """Level by a law of distance and sector alone, its rank among all cells, and how far it is below some ranks."""
        place, index = torch.unique(square, dim=0, return_inverse=True)
        cells = self.network.cells
        distance = torch.cdist(place, cells.position).clamp(min=20.0)
        off_boresight = wrap_deg(bearing_deg(cells.position, place[:, None]) - cells.azimuth_deg)
        loss = parabolic_loss_db(off_boresight, HORIZONTAL_BEAMWIDTH_DEG, MAX_HORIZONTAL_LOSS_DB)
        law = cells.power_dbm - loss - 10 * LAW_EXPONENT * distance.log10()
        ordered, order = law.sort(1, descending=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(law.shape[1], device="cpu").expand_as(order))
        own = law[index, cell]
        below = [own - ordered[index, min(number, law.shape[1]) - 1] for number in RANKED_CELLS]
        return [own, rank[index, cell].float(), *below]
