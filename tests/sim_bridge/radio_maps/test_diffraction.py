"""Radio maps in the shadow: what paths have there, and the same map for the same seed."""

import os
import subprocess
import sys

import torch

from sim_bridge.chains.wedges import edges_in_sight
from tests.helpers.blocks import rectangle, simulator
from tests.helpers.ray_traced_scenes import friis, mast
from uel.core.grid import Grid
from uel.radio.radio_map import RadioMap

LONG = rectangle((0.0, 2.0), (-60.0, 60.0))
GRID = Grid(size=160.0, pixel=8.0)


def _map(**tracing: object) -> RadioMap:
    sim = simulator([(LONG, 20.0)], mast((-40.0, 0.0, 30.0)), max_depth=1, diffraction=True, **tracing)
    return sim.radio_map(GRID)


def test_pixels_behind_a_roof_have_the_gain_of_their_paths() -> None:
    sim = simulator([(LONG, 20.0)], mast((-40.0, 0.0, 30.0)), max_depth=1, diffraction=True, map_rays=2_000_000)
    radio = sim.radio_map(GRID)
    centre = GRID.centres()
    shadow = (centre[..., 0] > 8) & (centre[..., 0] < 60) & (centre[..., 1].abs() < 40) & ~radio.los[0]
    assert int(shadow.sum()) > 20
    assert bool(radio.known[0][shadow].all())
    within = (torch.arange(4) + 0.5) / 4 * GRID.pixel - GRID.pixel / 2
    offset = torch.cartesian_prod(within, within)
    points = (centre[shadow][:, None] + offset).reshape(-1, 2)
    mean = sim.path_gain(points)[:, 0].view(-1, len(offset)).mean(1)
    apart = 10 * (radio.gain[0][shadow] / mean).log10()
    assert float(apart.abs().median()) < 0.3
    assert float((10 * (radio.gain[0][shadow].sum() / mean.sum()).log10()).abs()) < 0.2


def test_one_seed_is_one_map_on_a_busy_machine() -> None:
    loop = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(loop) for _ in range(os.cpu_count() or 1)]
    try:
        maps = [_map(map_rays=40_000, map_batches=2) for _ in range(4)]
    finally:
        for other in others:
            other.kill()
            other.wait()
    for again in maps[1:]:
        assert again.gain.numpy().tobytes() == maps[0].gain.numpy().tobytes()
        assert torch.equal(again.channels.first_arrival, maps[0].channels.first_arrival)
        assert torch.equal(again.relative_error, maps[0].relative_error)


def test_a_cell_sees_the_edges_in_front_of_it_and_none_behind() -> None:
    tall = (rectangle((-2.0, 2.0), (-50.0, 50.0)), 40.0)
    low = (rectangle((20.0, 30.0), (-5.0, 5.0)), 10.0)
    sim = simulator([tall, low], mast((-40.0, 0.0, 20.0)))
    edges, scene = sim.radio_scene.edges, sim.scene.mi_scene
    middle = edges.origin + edges.length[:, None] / 2 * edges.direction
    seen = middle[edges_in_sight(scene, edges, torch.tensor([-40.0, 0.0, 20.0]).double().numpy())]
    assert len(seen) == 3  # the eave and the corners of the tall block's front
    assert (seen[:, 0] == -2.0).all()


def test_an_inner_corner_sends_nothing() -> None:
    """Two wings around a yard: the mast in the yard sees no edge where they meet."""
    wings = [(rectangle((0.0, 30.0), (0.0, 10.0)), 12.0), (rectangle((0.0, 10.0), (10.0, 40.0)), 12.0)]
    sim = simulator(wings, mast((20.0, 25.0, 3.0)))
    edges, source = sim.radio_scene.edges, torch.tensor([20.0, 25.0, 3.0]).double().numpy()
    seen = edges.select(edges_in_sight(sim.scene.mi_scene, edges, source))
    corner = (abs(seen.direction[:, 2]) > 0.9) & (abs(seen.origin[:, :2] - 10.0) < 0.1).all(1)
    assert len(seen)
    assert not corner.any()


def test_pixels_beside_a_shadow_have_the_gain_of_their_paths() -> None:
    """On both sides of the boundary, where powers would make them 1 dB brighter than free space."""
    wall = rectangle((0.0, 0.3), (-60.0, 60.0))
    sim = simulator([(wall, 20.0)], mast((-40.0, 0.0, 30.0)), max_depth=1, diffraction=True, map_rays=1_000_000)
    grid = Grid(size=160.0, pixel=2.0)
    radio, centre = sim.radio_map(grid), grid.centres()
    edge = 40 * 28.5 / 10 - 40  # x where the shadow ends
    row = (centre[..., 1].abs() < 10) & ((centre[..., 0] - edge).abs() < 12)
    within = (torch.arange(3) + 0.5) / 3 * grid.pixel - grid.pixel / 2
    points = (centre[row][:, None] + torch.cartesian_prod(within, within)).reshape(-1, 2)
    paths = sim.path_gain(points)[:, 0].view(int(row.sum()), -1).mean(1)
    lit, gain = radio.los[0][row], radio.gain[0][row]
    for side, within_db in ((lit, 0.5), (~lit, 1.0)):  # half the rays would do in the light
        assert int(side.sum()) >= 30
        assert float((10 * (gain[side].sum() / paths[side].sum()).log10()).abs()) < within_db
    beside = lit & (centre[row][:, 0] < edge + 4)
    direct = friis((centre[row] - torch.tensor([-40.0, 0.0])).norm(dim=-1).double().square().add(28.5**2).sqrt())
    assert float(10 * (gain[beside].sum() / direct[beside].sum()).log10()) < -4
