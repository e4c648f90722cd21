"""Trees of a scene, and what they take from each path.

A path loses what ITU-R P.833 says for the length of all its legs inside crowns (`uel.radio.vegetation_attenuation`).
Its two attenuations can be given, and learned (`foliage/specific_attenuation`, `foliage/max_attenuation`). A wave that
leaves scatter and crowns diffract is not traced: the maximum stands for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import drjit as dr
import mitsuba as mi
import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.backend.canopy import Canopy
from uel.geo.tile import Tile
from uel.radio.vegetation_attenuation import max_attenuation, specific_attenuation


@dataclass(frozen=True, eq=False)
class Foliage:
    """Crowns of a scene, and how they attenuate a carrier."""

    canopy: Canopy
    specific_attenuation: float
    """dB/m"""
    max_attenuation: float
    """dB"""

    @staticmethod
    def of_tile(tile: Tile, frequency: float) -> "Foliage | None":
        """The vegetation of a tile; None where the tile has no such layer, or nothing in it."""
        rasters = tile.rasters
        if "canopy_top" not in rasters or not bool((rasters["canopy_top"] > rasters["canopy_base"]).any()):
            return None
        ends = (rasters["ground"] + rasters[name] for name in ("canopy_base", "canopy_top"))
        canopy = Canopy.of_rasters(tile.raster_grid, *ends)
        return Foliage(canopy, specific_attenuation(frequency), max_attenuation(frequency))

    def gain(self, length: Float[Tensor, " path"], given: Mapping[str, Tensor]) -> Float[Tensor, " path"]:
        """Factor of the power of paths with so many metres inside crowns, differentiable in these and in the
        attenuations that are `given`."""
        specific = given.get("foliage/specific_attenuation", self.specific_attenuation)
        most = given.get("foliage/max_attenuation", self.max_attenuation)
        loss_db = -most * torch.expm1(-specific * length / most)
        return torch.exp(-math.log(10) / 10 * loss_db)

    def ray_gain(self, length: mi.Float) -> mi.Float:
        """`gain` for rays of a radio map."""
        loss_db = self.max_attenuation * (1 - dr.exp(-self.specific_attenuation / self.max_attenuation * length))
        return dr.exp(-math.log(10) / 10 * loss_db)
