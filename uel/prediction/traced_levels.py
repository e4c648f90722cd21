"""Levels of a measured network's cells by a radio map: the drift of kriging, or a prediction without any label."""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import to_db
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredCells
from uel.prediction.config import TrendPrior
from uel.prediction.link_trend import link_features
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cells_of

UNREACHED_DROP_DB = 15.0  # below the law of distance, of a pixel that no path reaches


def traced_level_dbm(
    cells: MeasuredCells, position: Float[Tensor, "point 2"], radio: RadioMap, trend: TrendPrior
) -> Float[Tensor, "cell point"]:
    """Levels in dBm of cells at places: the power of the reference signal plus the radio map's gain.

    A cell that the map does not have (its mast stands beyond the tile, or is not known) has the law of distance and
    antenna that `trend` expects; a pixel that no path reaches has `UNREACHED_DROP_DB` less than that.

    Args:
        cells: of the network, in metres of the map's centre.
        position: places, m; all on the map.
        radio: of the district's tile, made with the same identities of cells.
        trend: expectation of levels without a map.

    Raises:
        UelError: for a map of which no cell is of the network.
    """
    number_of = {cell.cell_id: number for number, (_, cell) in enumerate(cells_of(radio.sites))}
    pairs = [(cell, number_of[name]) for cell, name in enumerate(cells.cell_id) if name in number_of]
    if not pairs:
        got = f"{len(number_of)} cells of the map, {len(cells)} of the network"
        raise UelError("the radio map has no cell of this network", got=got, do="map the tile that uel network makes")
    expected = cells.power_dbm[:, None] + link_features(cells, position) @ torch.tensor(trend.mean, device="cpu")
    row, column = radio.grid.pixel_of(position)
    own, traced = (torch.tensor(numbers, device="cpu") for numbers in zip(*pairs, strict=True))
    is_reached = radio.known[traced][:, row, column]
    gain = torch.where(is_reached, radio.gain[traced][:, row, column], 1.0)
    level = torch.where(is_reached, cells.power_dbm[own, None] + to_db(gain), expected[own] - UNREACHED_DROP_DB)
    return expected.index_copy(0, own, level.to(expected))
