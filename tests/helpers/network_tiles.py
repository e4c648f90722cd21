"""The tile of a small synthetic measured network."""

from pathlib import Path

from scenes.measured_networks.config import NetworkConfig
from scenes.measured_networks.synthetic_district import write_district
from scenes.network_tile import build_network
from uel.geo.tile import Tile


def network_tile(folder: Path, masts: int = 2) -> Tile:
    """A square of 256 m with houses, masts of three sectors, and levels on the squares of its middle."""
    district = write_district(folder / "district", seed=3, side=160.0, masts=masts)
    return build_network(NetworkConfig(folder=district, out=folder, pixel=4.0, name="toy")).tile
