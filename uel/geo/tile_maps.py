"""What a locator may look at: the radio map and the buildings of one tile, on one grid."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from uel.geo.tile import Tile
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

HEIGHT_UNIT = 30.0  # m, of heights as a network is shown them
MATERIAL_CLASSES = ("concrete", "brick", "marble", "metal", "wood", "glass")  # ITU-R P.2040 classes seen in cities


@dataclass(frozen=True, eq=False)
class TileMaps:
    """Co-registered maps of a tile.

    `buildings`: height above ground / `HEIGHT_UNIT`, covered share, shares of `MATERIAL_CLASSES`.
    """

    radio: RadioMap
    buildings: Float[Tensor, "channel row column"]
    prior: Float[Tensor, "row column"]
    """share of each pixel where a phone can be (outdoors); a prior up to its sum"""

    @staticmethod
    def from_tile(tile: Tile, radio: RadioMap) -> "TileMaps":
        """The maps of a tile on its radio map's grid."""
        grid = radio.grid
        covered = tile.coarsen("footprint", grid)
        above_ground = tile.coarsen("height", grid) - tile.coarsen("ground", grid)
        channels = [above_ground / HEIGHT_UNIT, covered, *_material_shares(tile, radio)]
        return TileMaps(radio, torch.stack(channels), 1.0 - covered)

    @cached_property
    def power_dbm(self) -> Float[Tensor, " cell"]:
        return reference_power_dbm(self.radio.sites)


def _material_shares(tile: Tile, radio: RadioMap) -> list[Float[Tensor, "row column"]]:
    step = round(radio.grid.pixel / tile.raster_grid.pixel)
    index = tile.rasters["material"]
    names = [tile.materials[i] if i < len(tile.materials) else "" for i in range(int(index.max()) + 1)]
    shares = []
    for material in MATERIAL_CLASSES:
        ours = torch.tensor([float(material in name) for name in names])
        shares.append(torch.nn.functional.avg_pool2d(ours[index.long()][None], step)[0])
    return shares
