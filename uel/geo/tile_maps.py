"""The maps that a locator takes: radio map, building rasters and prior of one tile, on one grid."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.core.tile_reference import TileReference, require_same_tile
from uel.errors import UelError, quoted
from uel.geo.tile import Tile
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

HEIGHT_UNIT = 30.0  # m, unit of building heights in network inputs
MATERIAL_CLASSES = ("concrete", "brick", "marble", "metal", "wood", "glass")  # ITU-R P.2040 classes seen in cities


@dataclass(frozen=True, eq=False, repr=False)
class TileMaps(ShortRepr):
    """Maps of a tile on one grid.

    Channels of `buildings`: height above ground / `HEIGHT_UNIT`, covered fraction, fractions of `MATERIAL_CLASSES`.

    Shapes: `buildings` is (channel, row, column), `prior` (row, column), the probability of a phone in each pixel.

    Example:
        >>> import torch, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> radio = uel.FreeSpace(sites, size=128.0).radio_map(uel.Grid(size=128.0, pixel=8.0))
        >>> from uel.models.inputs import BUILDING_CHANNELS
        >>> maps = uel.TileMaps(radio, torch.zeros(BUILDING_CHANNELS, 16, 16), torch.full((16, 16), 1 / 256))
        >>> maps.power_dbm.shape
        torch.Size([1])
    """

    radio: RadioMap
    """path gain of every cell"""
    buildings: Float[Tensor, "channel row column"]
    """heights, footprints and materials, by `uel.models.inputs`"""
    prior: Float[Tensor, "row column"]
    """outdoor fraction of each pixel: the prior of a phone's position, not normalised"""

    @staticmethod
    def from_tile(tile: Tile, radio: RadioMap) -> "TileMaps":
        """The maps of a tile on its radio map's grid.

        Raises `UelError` for a radio map of another tile or size, and for a tile without a place outdoors.
        """
        require_map_of_tile(radio.made_on, radio.grid, tile)
        grid = radio.grid
        covered = tile.coarsen("footprint", grid)
        if not bool((covered < 1).any()):
            got, do = f"{tile.name}: a building on every pixel", "choose another part of the city, or a larger one"
            raise UelError("this tile has no place outdoors where a phone could be", got=got, do=do)
        above_ground = tile.coarsen("height", grid) - tile.coarsen("ground", grid)
        channels = [above_ground / HEIGHT_UNIT, covered, *_material_fractions(tile, radio)]
        return TileMaps(radio, torch.stack(channels), 1.0 - covered)

    @cached_property
    def power_dbm(self) -> Float[Tensor, " cell"]:
        """Power of one resource element of each cell, to which RSRP refers."""
        return reference_power_dbm(self.radio.sites).to(self.prior.device)


def require_map_of_tile(made_on: TileReference | None, grid: Grid, tile: Tile, artefact: str = "radio map") -> None:
    """Raise `UelError` for a map on `grid` that was made on another tile, or that is of another size."""
    do = f"make one of {tile.reference}, {tile.size:g} m: uel map {quoted(tile.folder)}"
    require_same_tile(artefact, made_on, tile.reference, do)
    if grid.size != tile.size:
        got = f"a map of {grid.size:g} m, used with {tile.name} of {tile.size:g} m"
        raise UelError(f"this {artefact} is of another tile", got=got, do=do)


def _material_fractions(tile: Tile, radio: RadioMap) -> list[Float[Tensor, "row column"]]:
    step = round(radio.grid.pixel / tile.raster_grid.pixel)
    index = tile.rasters["material"]
    names = [tile.materials[i] if i < len(tile.materials) else "" for i in range(int(index.max()) + 1)]
    fractions = []
    for material in MATERIAL_CLASSES:
        is_material = torch.tensor([float(material in name) for name in names], device=index.device)
        fractions.append(torch.nn.functional.avg_pool2d(is_material[index.long()][None], step)[0])
    return fractions
