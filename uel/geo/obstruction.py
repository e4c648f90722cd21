"""Obstruction of the straight line from an antenna to each pixel: strongest knife edge, and metres inside buildings.

It depends on the buildings alone, not on the rays of a map, and a convolutional network can hardly derive it from
rasters (`uel.models.map_restorer` takes both as inputs).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.geo.tile_maps import HEIGHT_UNIT, TileMaps
from uel.radio.sites import cells_of

LINE_SAMPLES = 128  # points on the line to each pixel
MIN_BUILT_FRACTION = 0.25  # covered fraction of a pixel from which it counts as a building
CLEAR_PATH_NU = -0.78  # knife-edge parameter ν above which P.526 has a loss


def knife_edge_db(nu: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Diffraction loss in dB behind one knife edge of parameter ν (ITU-R P.526-15, equation 31; 0 below -0.78)."""
    offset = nu - 0.1
    return torch.where(
        nu > CLEAR_PATH_NU, 6.9 + 20 * ((offset.square() + 1).sqrt() + offset).clamp(min=1e-6).log10(), 0.0
    )


def obstruction(maps: TileMaps, cell: int) -> Float[Tensor, "kind row column"]:
    """Loss in dB of the strongest edge on the straight line from a cell's antenna to each pixel, and metres of the line
    inside buildings.

    Buildings are the maps' own, put on ground as high as a phone's antenna (1.5 m too high); there are none outside of
    the grid. Edges are compared by ν = h·√(2d / (λ·d₁·d₂)),
    h metres above the line (P.526-15, equation 26), with distances on the ground.
    """
    radio, grid = maps.radio, maps.radio.grid
    antenna, wavelength = radio.cell_position[cell], SPEED_OF_LIGHT / cells_of(radio.sites)[cell][1].carrier.frequency
    fraction = ((torch.arange(LINE_SAMPLES, device=antenna.device) + 0.5) / LINE_SAMPLES)[:, None, None]
    offset = grid.centres(antenna.device) - antenna[:2]
    distance = offset.norm(dim=-1).clamp(min=1.0)
    position = antenna[:2] + fraction.unsqueeze(-1) * offset
    covered = maps.buildings[1]
    roof = radio.elevation + HEIGHT_UNIT * maps.buildings[0] / covered.clamp(min=MIN_BUILT_FRACTION)
    roof = torch.where(covered >= MIN_BUILT_FRACTION, roof, -torch.inf)
    row, column = grid.pixel_of(position)
    line = antenna[2] + fraction * (radio.elevation - antenna[2])
    above = torch.where(grid.contains(position), roof[row, column] - line, -torch.inf)
    nu = (above * (2 / (wavelength * distance * fraction * (1 - fraction))).sqrt()).amax(0)
    return torch.stack([knife_edge_db(nu), (above > 0).float().mean(0) * distance])
