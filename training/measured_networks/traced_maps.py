"""Ray-traced levels of a district's cells on its squares, from the tile and the radio map in the data folder."""

from jaxtyping import Float
from torch import Tensor

from uel.core.files.folder_names import folder_in
from uel.core.io import data_folder
from uel.errors import UelError, quoted
from uel.geo.tile import Tile
from uel.inference.deployment import find_radio_map
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import TrendPrior
from uel.prediction.square_posterior import Squares
from uel.prediction.traced_levels import traced_level_dbm
from uel.radio import radio_map_io
from uel.radio.tracing_config import TracingConfig

MAX_ORIGIN_DISTANCE = 0.1  # m, between the middles of tile and network
TRACED_TREND = TrendPrior(mean=(0.0, 0.0, 0.0, 0.0), district_std=(8.0, 8.0, 0.15, 0.15))
"""what measured levels are expected to differ by from traced ones: nothing, as well as it is known"""


def traced_levels_of_tile(
    network: MeasuredNetwork, squares: Squares, trend: TrendPrior, backend: str = TracingConfig().backend
) -> Float[Tensor, "cell square"]:
    """Levels in dBm by the radio map of the tile that has the network's name.

    Args:
        network: of which the tile was made (`uel network`).
        squares: where phones can be, on the network's grid.
        trend: levels of cells that the map does not have.
        backend: simulator of the map.

    Raises:
        UelError: where `data/tiles` has no such tile, or `data/maps` no radio map of it.
    """
    folder = folder_in(data_folder() / "tiles", network.name, "the network's name")
    if not (folder / "tile.json").is_file():
        do = "make it: uel network FOLDER, then uel map TILE"
        raise UelError(f"{network.name} has no tile to trace on", got=str(folder), do=do)
    tile = Tile.open(folder)
    _require_same_place(tile, network)
    radio = find_radio_map(tile, 1, data_folder() / "maps", backend)
    if radio is None:
        do = f"trace one: uel map {quoted(folder)} --pixel 4"
        raise UelError(f"{network.name} has no radio map", got=f"none in {data_folder() / 'maps'}", do=do)
    return traced_level_dbm(network.cells, squares.position, radio_map_io.load(radio), trend)


def _require_same_place(tile: Tile, network: MeasuredNetwork) -> None:
    """Raise `UelError` unless the tile's metres are those of the network's grid."""
    apart = max(abs(a - b) for a, b in zip(tile.meta["origin"], network.origin, strict=True))
    if tile.meta["crs"] != network.crs or apart > MAX_ORIGIN_DISTANCE:
        got = f"{tile.meta['crs']}, {apart:.1f} m from the middle of a network in {network.crs}"
        do = "give rasters in the UTM zone of their place, and make the tile of them: uel network"
        raise UelError(f"the tile of {network.name} lies elsewhere", got=got, do=do)
