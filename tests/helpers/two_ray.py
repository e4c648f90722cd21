"""A simulator that the library does not know: the direct path and one that the flat ground reflects, in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.core.units import bearing_deg, to_db
from uel.geo.tile import Tile
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.simulator import require_position_rows
from uel.radio.sites import Site, cell_positions, require_sites
from uel.radio.tracing_config import TracingConfig

GROUND_REFLECTION = 0.5  # power that the ground reflects


def two_ray_gain(sites: tuple[Site, ...], point: Tensor) -> Tensor:
    """(λ/4π)² (1/d² + ρ/r²) with direct length d and reflected length r: points (…, 3) to (…, cell)."""
    wavelength, source = SPEED_OF_LIGHT / require_sites(sites).frequency, cell_positions(sites)
    direct = (point.unsqueeze(-2) - source).square().sum(-1)
    reflected = (point.unsqueeze(-2) - source * torch.tensor([1.0, 1.0, -1.0])).square().sum(-1)
    return (wavelength / (4 * math.pi)) ** 2 * (1 / direct + GROUND_REFLECTION / reflected)


@dataclass(frozen=True)
class TwoRay:
    """Isotropic antennas above a flat tile at elevation 0."""

    tile: Tile
    sites: tuple[Site, ...]
    ue_height: float

    def path_gain(self, position: Tensor) -> Tensor:
        return two_ray_gain(self.sites, self._points(position))

    def paths(self, position: Tensor) -> LinkTruth:
        require_position_rows(position)
        gain, delay = self.path_gain(position), self._distance(position) / SPEED_OF_LIGHT
        azimuth = bearing_deg(cell_positions(self.sites)[:, :2], position[:, None, :2])
        los = torch.ones_like(gain, dtype=torch.bool)
        return LinkTruth(position[:, :2], to_db(gain), los, delay, azimuth, los)

    def radio_map(self, grid: Grid) -> RadioMap:
        points = self._points(grid.centres())
        gain, distance = (values.movedim(-1, 0) for values in (self.path_gain(points), self._distance(points)))
        offset = (points - cell_positions(self.sites)[:, None, None]) / distance.unsqueeze(-1)
        departure, zero = offset.movedim(-1, 1), torch.zeros_like(gain)
        los = torch.ones_like(gain, dtype=torch.bool)
        channels = PropagationChannels(distance / SPEED_OF_LIGHT, zero, -departure, departure, zero + 1)
        return RadioMap(grid, self.sites, gain, zero, los, los, points[..., 2], channels)

    def _points(self, position: Tensor) -> Tensor:
        self.tile.raster_grid.require(position)
        return self.tile.at_height(position, self.ue_height)

    def _distance(self, position: Tensor) -> Tensor:
        return (self._points(position).unsqueeze(-2) - cell_positions(self.sites)).norm(dim=-1)


def open_tile(tile: Tile, sites: tuple[Site, ...], tracing: TracingConfig) -> TwoRay:
    """What a backend's line in the registry names."""
    tile.require_sites(sites)
    return TwoRay(tile, sites, tracing.ue_height)
