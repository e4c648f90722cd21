"""A toy city in empty space: a tile folder with blocks of houses, and a world that answers in closed form."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from scenes.tiles.writer import write_tile
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.mobility.config import TrackConfig
from uel.mobility.trajectories import draw_tracks
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site
from uel.survey.dataset import TileSurvey

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


def toy_deployment(folder: Path, tracks: int = 12) -> Deployment:
    """Free-space map at 8 m, a survey of short tracks, and `FreeSpace` as the live simulator."""
    tile = toy_tile(folder)
    simulator = FreeSpace(SITES, size=SIZE)
    drawn = draw_tracks(tile, SITES, TrackConfig(tracks=tracks, reports=2), seed=3)
    flat = simulator.paths(drawn.position.reshape(-1, 2))
    truth = LinkTruth(**{name: value.reshape(tracks, 2, *value.shape[1:]) for name, value in vars(flat).items()})
    maps = TileMaps.from_tile(tile, simulator.radio_map(tile.grid(8.0)))
    return Deployment(tile, maps, TileSurvey(truth, drawn.time, drawn.valid, drawn.velocity, SITES), simulator)


def standing(maps: TileMaps, moved: Callable[[float, float], tuple[float, float]] = lambda x, y: (x, y)) -> TileMaps:
    """With masts off the pixels' symmetry, where no line of sight runs along a border of two."""
    sites = tuple(Site(position=(*moved(s.position[0] + 0.37, s.position[1] + 1.21), 25.0)) for s in SITES)
    return replace(maps, radio=replace(maps.radio, sites=sites))


def images(here: TileMaps) -> Iterator[tuple[TileMaps, Callable[[Tensor], Tensor]]]:
    """The toy world `standing` elsewhere, turned by 90° and mirrored, and what that does to a raster."""
    turned = (lambda values: values.rot90(-1, (-2, -1)), lambda x, y: (-y, x))
    mirrored = (lambda values: values.flip(-1), lambda x, y: (-x, y))
    for image, moved in (turned, mirrored):
        fields = {n: image(getattr(here.radio, n)) for n in ("gain", "relative_error", "known", "los", "elevation")}
        yield standing(TileMaps(replace(here.radio, **fields), image(here.buildings), image(here.prior)), moved), image
