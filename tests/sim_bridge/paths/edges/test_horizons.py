"""Pairs of edges between a mast and the ground, by geometry: candidates of an atlas."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths.edges.edge_pairs import EdgePairs, edge_pairs
from sim_bridge.paths.edges.horizons import horizon_pairs
from sim_bridge.simulator import Sionna
from tests.helpers.blocks import rectangle, simulator
from tests.helpers.knife_edges import TWICE, epstein_peterson_db
from tests.helpers.ray_traced_scenes import friis, mast
from uel.core.grid import Grid

MAST, TALL = (-60.0, 0.0, 15.0), (-60.0, 0.0, 40.0)
ROOF = [(rectangle((0.0, 12.0), (-150.0, 150.0)), 20.0)]
# From a tall mast a wave goes over the far eave of the first house, then over that of the second one.
ROWS = [(rectangle((x, x + 12.0), (-40.0, 40.0)), top) for x, top in ((0.0, 36.0), (40.0, 25.0))]
GRID = Grid(size=160.0, pixel=8.0)
TINY = AtlasConfig(rays=1000, depth=2, settle=0, audit=0)


def with_atlas(buildings: list, place: tuple[float, float, float] = MAST) -> Sionna:
    sim = simulator(buildings, mast(place), **TWICE)
    sim.build_atlas(TINY, GRID)
    return sim


def test_over_a_flat_roof_an_atlas_finds_the_way_and_the_loss_of_two_knife_edges() -> None:
    phone = torch.tensor([[60.0, 0.0, 1.5]])
    paths = with_atlas(ROOF).trace(phone)
    assert paths.interactions[:, 2].tolist() == [2]
    line = torch.tensor(math.hypot(120.0, 13.5), dtype=torch.float64)
    loss = 10 * float((friis(line) / paths.gain()[0, 0]).log10())
    ends = [(-60.0, 15.0), (0.0, 20.0), (12.0, 20.0), (60.0, 1.5)]
    assert loss == pytest.approx(epstein_peterson_db(ends), abs=2.0)
    assert float(paths.delay[0]) * 299792458.0 == pytest.approx(sum(math.dist(a, b) for a, b in pairwise(ends)), 1e-4)


def test_over_rows_of_houses_it_finds_what_the_search_finds_over_them() -> None:
    random = torch.Generator().manual_seed(0)
    phones = torch.rand(40, 2, generator=random) * torch.tensor([20.0, 30.0]) + torch.tensor([54.0, -15.0])
    phones = torch.cat([phones, torch.full((40, 1), 1.5)], 1)
    found, full = (sim.trace(phones) for sim in (with_atlas(ROWS, TALL), simulator(ROWS, mast(TALL), **TWICE)))
    assert bool(found.known().all())
    # Ways around the houses' corners are the search's; the shortest way of each phone is over the roofs.
    torch.testing.assert_close(found.first_arrival(), full.first_arrival(), rtol=1e-6, atol=0)
    power = [paths.power[paths.strongest_row()[:, 0]] for paths in (found, full)]
    torch.testing.assert_close(*power, rtol=1e-3, atol=0)


def test_gradients_over_two_edges_of_an_atlas_are_those_of_the_search() -> None:
    phone, gradients = torch.tensor([[60.0, 5.0, 1.5]]), []
    for sim in (with_atlas(ROOF), simulator(ROOF, mast(MAST), **TWICE)):
        position = phone.clone().requires_grad_()
        paths = sim.trace(position)
        shortest = paths.power[paths.delay.argmin()]
        gradients.append(torch.autograd.grad(shortest.log(), position)[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_the_way_over_everything_is_among_the_candidates_wherever_it_bends_twice() -> None:
    """The slow twin tries all pairs of edges; of those over roofs, the shortest is a candidate."""
    sim = simulator(ROWS, mast(TALL), **TWICE)
    scene, edges = sim.scene.mi_scene, sim.radio_scene.edges
    source = np.array([TALL])
    targets = np.array([[x, y, 1.5] for x in (56.0, 70.0, 110.0) for y in (-20.0, 3.0, 17.0)])
    every = edge_pairs(scene, edges, source, targets, 0.0)
    level = (np.abs(every.first.direction[:, 2]) < 0.1) & (np.abs(every.second.direction[:, 2]) < 0.1)
    expected = every.select(np.flatnonzero(level)).shortest(source, targets, 1)
    target, one, other = horizon_pairs(edges, source[0], targets)
    pairs = EdgePairs.of_edges(edges, target, np.zeros_like(target), np.stack([one, other], 1))
    found = pairs.free(scene, source, targets, 0.0).shortest(source, targets, 1)
    assert len(expected) > 5
    assert found.target.tolist() == expected.target.tolist()
    assert found.number.tolist() == expected.number.tolist()


def test_an_atlas_without_pairs_is_refused_where_they_are_asked_for() -> None:
    once = simulator(ROOF, mast(MAST), **{**TWICE, "diffraction_order": 1})
    atlas = once.build_atlas(TINY, GRID)
    assert len(atlas.pairs) == 0
    with pytest.raises(ValueError, match="other pairs of edges"):
        simulator(ROOF, mast(MAST), **TWICE).attach_atlas(atlas)
