"""Where an atlas looks: at open ground of every pixel that has some, so that no query outdoors needs a search."""

from pathlib import Path

import sim_bridge
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths.atlas_build import mast_entries
from tests.helpers.ray_traced_scenes import mast
from tests.helpers.village_tile import SIZE, village, write
from uel.core.grid import Grid
from uel.radio.tracing_config import TracingConfig

GRID = Grid(size=SIZE, pixel=16.0)  # the houses stand in the middle of its pixels


def test_no_place_outdoors_is_left_to_queries(tmp_path: Path) -> None:
    tile = write(tmp_path / "tile", village(4))
    middle = GRID.centres()[0, 0][None]
    assert not bool(tile.is_outdoor(middle).any())
    tracing = TracingConfig(samples=1000, max_depth=1, diffraction=False)
    sim = sim_bridge.open(tile, mast((0.0, 0.0, 20.0)), tracing)
    atlas = sim.build_atlas(AtlasConfig(rays=1, depth=1, pixel=16.0, audit=0), GRID)
    places = tile.raster_grid.centres().view(-1, 2)
    places = sim.at_height(places[tile.is_outdoor(places)])
    assert atlas.meta["settled"] > 4
    assert not bool(atlas.uncovered(places).any())


def test_edges_are_those_that_open_ground_sees(tmp_path: Path) -> None:
    """Inside the house no wave comes: entries of its pixel are of the ground beside it."""
    tile = write(tmp_path / "tile", village(4))
    sim = sim_bridge.open(tile, mast((-24.0, 20.0, 3.0)), TracingConfig(max_depth=1))
    entries = mast_entries(sim.radio_scene, AtlasConfig(rays=1, depth=1, pixel=16.0), GRID, 0)
    assert 0 in entries.edge_pixel.tolist()
