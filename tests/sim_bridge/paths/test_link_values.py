"""A budget of memory cuts calls into parts and changes no result."""

from dataclasses import replace

import pytest
import torch

import sim_bridge.simulator  # noqa: F401  (first: it finds a usable LLVM)
from sim_bridge.backend import memory, sionna_internals
from sim_bridge.paths import link_values
from sim_bridge.paths.solver import _drjit
from tests.helpers.ray_traced_scenes import STREET_POSITIONS, bundled, gain_gradient, mast, street_canyon
from uel.errors import UelError
from uel.radio.tracing_config import TracingConfig, tracing_key


def test_parts_have_the_gains_and_gradients_of_the_whole(monkeypatch) -> None:
    sim = street_canyon()
    whole = sim.path_gain(STREET_POSITIONS), gain_gradient(sim, STREET_POSITIONS), sim.paths(STREET_POSITIONS)
    monkeypatch.setattr(link_values, "_receivers_at_once", lambda finder, learned: 3)
    torch.testing.assert_close(sim.path_gain(STREET_POSITIONS), whole[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gain_gradient(sim, STREET_POSITIONS), whole[1], rtol=1e-5, atol=0)
    for name, value in vars(sim.paths(STREET_POSITIONS)).items():
        torch.testing.assert_close(value, getattr(whole[2], name), rtol=1e-6, atol=0)


def test_parts_keep_no_graph_and_refuse_second_derivatives(monkeypatch) -> None:
    sim = street_canyon()
    monkeypatch.setattr(link_values, "_receivers_at_once", lambda finder, learned: 1)
    position = STREET_POSITIONS.clone().requires_grad_()
    gain = sim.path_gain(position).clamp(min=1e-20).log().sum()
    with pytest.raises(UelError, match="first derivatives only"):
        torch.autograd.grad(gain, position, create_graph=True)


def test_cells_searched_one_after_the_other_have_the_same_candidates() -> None:
    """As each has the random numbers that it has in a search of all."""
    sites = mast((-30.0, 2.0, 12.0)) + mast((20.0, 3.0, 10.0)) + mast((-5.0, -4.0, 8.0))
    sim = bundled("simple_street_canyon", sites, samples=3000, max_depth=2, scattering=0.3, diffraction=True)
    search, endpoints = sim.finder.path_search(), _drjit(sim.radio_scene.endpoints_of(STREET_POSITIONS, {}))
    found = []
    for at_once in (1, 2, 3):
        paths = sionna_internals.search(sim.scene, endpoints, replace(search, sources_at_once=at_once))
        columns = (paths.source_indices, paths.target_indices, paths.interaction_types.array, paths.vertices_x.array)
        rows = [torch.from_numpy(column.numpy().astype(float)).view(paths.buffer_size, -1) for column in columns]
        found.append(torch.cat(rows, 1).unique(dim=0))
    assert len(found[0]) > 20
    for other in found[1:]:
        assert torch.equal(other, found[0])


def test_a_small_budget_searches_fewer_cells_at_once() -> None:
    sites = mast((-30.0, 2.0, 12.0)) * 3
    large, small = (bundled("simple_street_canyon", sites, samples=3000, memory=gb) for gb in (8.0, 0.2))
    assert large.finder.path_search().sources_at_once == 3
    assert small.finder.path_search().sources_at_once == 1
    torch.testing.assert_close(small.path_gain(STREET_POSITIONS), large.path_gain(STREET_POSITIONS), rtol=1e-6, atol=0)


def test_the_budget_is_a_quarter_of_what_is_free_and_no_part_of_a_key() -> None:
    assert memory.memory_budget(3.0) == 3e9
    assert memory.memory_budget(0.0) == pytest.approx(memory.free_memory() / 4, rel=0.5)
    assert tracing_key(TracingConfig(memory=2.0)) == tracing_key(TracingConfig())
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UelError, match="memory"):
            TracingConfig(memory=wrong)
