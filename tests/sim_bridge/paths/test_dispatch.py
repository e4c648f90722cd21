"""Receivers in batches that fit into the memory, with the same answers."""

import pytest
import torch

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths import dispatch
from sim_bridge.simulator import Sionna
from tests.helpers.ray_traced_scenes import bundled, mast
from uel.core.grid import Grid

GRID = Grid(size=128.0, pixel=8.0)
SITES = mast((-30.0, 2.0, 12.0)) + mast((30.0, -4.0, 9.0))


def canyon(**tracing: object) -> Sionna:
    return bundled("simple_street_canyon", SITES, **{"samples": 3000, "max_depth": 2, "diffraction": True, **tracing})


def test_a_small_budget_asks_the_atlas_in_parts_and_answers_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = (torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * torch.tensor([100.0, 12.0])
    places = torch.cat([flat, torch.full((40, 1), 1.5)], 1)
    whole, parts = canyon(), canyon(memory=0.0005)
    whole.build_atlas(AtlasConfig(rays=20_000, depth=2, settle=0, audit=0), GRID)
    assert whole.atlas is not None
    parts.attach_atlas(whole.atlas)
    asked = list[int]()
    find = dispatch.solver.from_atlas

    def counted(scene, atlas, endpoints, search):
        asked.append(len(endpoints.target))
        return find(scene, atlas, endpoints, search)

    monkeypatch.setattr(dispatch.solver, "from_atlas", counted)
    answers = []
    for sim in (whole, parts):
        position = places.clone().requires_grad_()
        gain = sim.finder.trace(position, {}).gain()
        (gradient,) = torch.autograd.grad(gain.clamp(min=1e-20).log().sum(), position)
        answers.append((gain.detach(), gradient))
    assert asked[0] == 40
    assert len(asked) > 3
    assert sum(asked[1:]) == 40
    (gain, gradient), (gain_of_parts, gradient_of_parts) = answers
    assert torch.equal(gain, gain_of_parts)
    assert bool(gradient.isfinite().all())  # near boundaries, and 40 waves from them
    torch.testing.assert_close(gradient, gradient_of_parts, rtol=1e-4, atol=1e-6)  # Dr.Jit adds in any order


def test_candidates_are_counted_as_they_are_given() -> None:
    sim = canyon()
    atlas = sim.build_atlas(AtlasConfig(rays=20_000, depth=2, settle=0, audit=0), GRID)
    places = torch.tensor([[25.0, -3.0, 1.5], [-50.0, 5.0, 1.5], [40.0, 2.0, 1.5]])
    found = (atlas.candidates(places), atlas.edge_candidates(places), atlas.pair_candidates(places))
    counts = sum(torch.bincount(receiver, minlength=3) for receiver, *_ in found)
    assert torch.equal(atlas.candidate_counts(places), counts)
