"""A toy city in empty space: a tile folder with blocks of houses, and a world that answers in closed form."""

from pathlib import Path

import numpy as np

from scenes.folder import write_tile
from training.world import World
from uel.maps import Maps
from uel.reports import Truth
from uel.simulator import FreeSpace
from uel.sites import Site
from uel.survey import TileSurvey
from uel.tile import Tile
from uel.tracks import TrackPlan, draw_tracks

SIZE = 256.0
SITES = tuple(Site(position=(x, y, 25.0)) for x, y in ((-90.0, -60.0), (80.0, -95.0), (20.0, 85.0), (-100.0, 70.0)))


def toy_tile(folder: Path, name: str = "toy") -> Tile:
    """Rasters at 2 m with houses in every other block; no mesh, so only `FreeSpace` can simulate it."""
    count = int(SIZE / 2)
    row, column = np.mgrid[:count, :count] // 16
    house = ((row + 2 * column) % 5 == 0).astype(np.float32)
    rasters = {"ground": 0 * house, "height": 15 * house, "footprint": house, "material": house}
    meta = {"name": name, "size": SIZE, "pixel": 2.0, "materials": ["concrete", "brick"]}
    return write_tile(folder, [], {}, rasters, meta)


def toy_world(folder: Path, tracks: int = 12) -> World:
    """Free-space map at 8 m, a survey of short tracks, and `FreeSpace` as the live simulator."""
    tile = toy_tile(folder)
    simulator = FreeSpace(SITES, size=SIZE)
    drawn = draw_tracks(tile, SITES, TrackPlan(tracks=tracks, reports=2), seed=3)
    flat = simulator.paths(drawn.position.reshape(-1, 2))
    truth = Truth(**{name: value.reshape(tracks, 2, *value.shape[1:]) for name, value in vars(flat).items()})
    maps = Maps.of(tile, simulator.radio_map(tile.grid(8.0)))
    return World(tile, maps, TileSurvey(truth, drawn.time, drawn.valid, drawn.velocity, SITES), simulator)
