"""Chains that are left out before a ray is traced: none of them is a path."""

import pytest
import torch

from sim_bridge.backend import candidate_buffers, sionna_internals
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths import atlas_candidates, solver
from tests.helpers.ray_traced_scenes import bundled, mast
from uel.core.grid import Grid

import drjit as dr  # isort: skip
import mitsuba as mi  # isort: skip

SITES = mast((-30.0, 2.0, 12.0)) + mast((30.0, -4.0, 9.0))


def test_what_arithmetic_leaves_out_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = bundled("simple_street_canyon", SITES, samples=3000, max_depth=3)
    config = AtlasConfig(rays=30_000, depth=3, pixel=8.0, settle=0, audit=0)
    atlas = sim.build_atlas(config, Grid(size=128.0, pixel=8.0))
    flat = (torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * torch.tensor([110.0, 50.0])
    endpoints = sim.radio_scene.endpoints_of(sim.at_height(flat), {})
    chains, ends = atlas.candidates(endpoints.target), solver._drjit(endpoints)
    found = []
    for keep_all in (False, True):
        if keep_all:
            monkeypatch.setattr(
                candidate_buffers, "_meets_walls", lambda *rows: dr.full(mi.Bool, True, dr.width(rows[-1].x))
            )
        buffer = atlas_candidates.chain_candidates(sim.radio_scene, chains, ends, False)
        rows = buffer.buffer_size
        paths = solver.ResolvedPaths(
            *sionna_internals.resolve(sim.scene, sim.facets.base, buffer, ends, False), sim.finder.path_search()
        )
        # By their planes: where houses stand on the floor, two triangles coincide, and a ray meets either.
        columns = [column[:, None] for column in solver.chains_of(paths, sim.facets)[:2]]
        found.append((rows, torch.cat([*columns, solver.chains_of(paths, sim.facets)[2]], 1).unique(dim=0)))
    (kept, some), (tried, every) = found
    assert tried == len(chains[0])
    assert 0 < kept < 0.8 * tried
    assert len(every) > 200
    assert torch.equal(some, every)
