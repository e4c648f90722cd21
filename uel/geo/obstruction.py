"""What stands between a mast and every pixel, by the roofs on a raster: its strongest knife edge, metres of buildings.

A ray tracer's map says what few or wrong rays found; what a straight line meets on the way is told by the buildings
alone, and a network can hardly see it from pixel to pixel (`uel.models.map_restorer` is shown both).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.geo.tile_maps import HEIGHT_UNIT, TileMaps
from uel.radio.sites import cells_of

LINE_SAMPLES = 128  # points looked at on the way to each pixel
MIN_BUILT_FRACTION = 0.25  # share of a pixel from which on it counts as a building
CLEAR_PATH_NU = -0.78  # the parameter of a knife edge from which on P.526 counts a loss


def knife_edge_db(nu: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Diffraction loss in dB behind one knife edge of parameter ν (ITU-R P.526-15, equation 31; 0 below -0.78)."""
    off = nu - 0.1
    return torch.where(nu > CLEAR_PATH_NU, 6.9 + 20 * ((off.square() + 1).sqrt() + off).clamp(min=1e-6).log10(), 0.0)


def obstruction(maps: TileMaps, cell: int) -> Float[Tensor, "kind row column"]:
    """Loss in dB of the highest edge on the straight line from a cell's antenna to each pixel, and metres of the line
    that lie within buildings.

    Buildings are as the maps have them, but on ground that is as high as a phone's antenna (1.5 m, that is, too high);
    outside of their grid there are none. Edges count by ν = h·√(2d / (λ·d₁·d₂)),
    h metres above the line (P.526-15, equation 26), with distances on the ground.
    """
    radio, grid = maps.radio, maps.radio.grid
    mast, wavelength = radio.cell_position[cell], SPEED_OF_LIGHT / cells_of(radio.sites)[cell][1].carrier.frequency
    share = ((torch.arange(LINE_SAMPLES) + 0.5) / LINE_SAMPLES)[:, None, None]
    way = grid.centres() - mast[:2]
    far = way.norm(dim=-1).clamp(min=1.0)
    place = mast[:2] + share.unsqueeze(-1) * way
    covered = maps.buildings[1]
    roof = radio.elevation + HEIGHT_UNIT * maps.buildings[0] / covered.clamp(min=MIN_BUILT_FRACTION)
    roof = torch.where(covered >= MIN_BUILT_FRACTION, roof, -torch.inf)
    row, column = grid.pixel_of(place)
    line = mast[2] + share * (radio.elevation - mast[2])
    above = torch.where(grid.contains(place), roof[row, column] - line, -torch.inf)
    nu = (above * (2 / (wavelength * far * share * (1 - share))).sqrt()).amax(0)
    return torch.stack([knife_edge_db(nu), (above > 0).float().mean(0) * far])
