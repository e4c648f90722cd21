"""A radio map keeps to its memory, and is the same, to the byte, in whatever parts it is made."""

from dataclasses import fields

import pytest
import torch

from tests.helpers.blocks import rectangle, simulator
from tests.helpers.ray_traced_scenes import mast
from uel.core.grid import Grid
from uel.radio.radio_map import RadioMap

from sim_bridge.backend.memory import BYTES_PER_MAP_PIXEL, BYTES_PER_RAY  # isort: skip
from sim_bridge.radio_maps.ray_launches import CELLS_PER_LAUNCH, RayLaunch, cell_groups, ray_launches  # isort: skip


@pytest.mark.parametrize("budget", [1.0, 1e4, 3e5, 7e6, 1e9])
def test_every_ray_of_every_cell_is_shot_once_within_the_budget(budget):
    rays, shot = 1000, torch.zeros(60, 1000, dtype=torch.long)
    for cells in cell_groups(60, 64, budget):
        assert len(cells) == 1 or len(cells) * 64 * BYTES_PER_MAP_PIXEL <= budget / 2
        for launch in ray_launches(cells, rays, budget):
            assert launch.width == 1 or launch.width * BYTES_PER_RAY <= budget / 2
            assert launch.cells.start // CELLS_PER_LAUNCH == (launch.cells.stop - 1) // CELLS_PER_LAUNCH
            shot[launch.cells.start : launch.cells.stop, launch.first : launch.first + launch.count] += 1
    assert bool((shot == 1).all())


def test_rays_have_the_random_numbers_of_their_place():
    whole = RayLaunch(range(24, 27), 0, 8, 8)
    part = RayLaunch(range(25, 26), 3, 4, 8)
    everything, some = (torch.from_numpy(launch.random(5).next_float32().numpy()) for launch in (whole, part))
    assert torch.equal(everything[8 + 3 : 8 + 7], some)
    assert len(everything.unique()) == 24


def test_a_small_budget_gives_the_same_bytes():
    """Edges, scattering, a mast in the plane of the map: at once, and by 500 kB, a cell and half its rays at a time."""
    houses = [(rectangle((x, x + 8.0), (y, y + 8.0)), 12.0) for x in (-40.0, 0.0, 40.0) for y in (-40.0, 20.0)]
    sites = mast((-20.0, 0.0, 1.5)) + mast((-10.0, 0.0, 25.0)) + mast((20.0, 0.0, 25.0))
    options = {"max_depth": 2, "diffraction": True, "scattering": 0.3, "map_rays": 3000, "map_batches": 2}

    def made(memory: float) -> RadioMap:
        return simulator(houses, sites, memory=memory, **options).radio_map(Grid(size=128.0, pixel=4.0))

    one, other = made(0.0), made(5e-4)
    assert one.channels is not None
    assert other.channels is not None
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("gain", "relative_error", "known")]
    pairs += [(getattr(one.channels, f.name), getattr(other.channels, f.name)) for f in fields(one.channels)]
    assert len(pairs) == 8
    for whole, parts in pairs:
        assert torch.equal(whole, parts)
