"""OptiX traces one pipeline and one shader binding table a kernel, and silently leaves out every other trace."""

import pytest
import torch

from sim_bridge.chains.config import AtlasConfig
from tests.helpers.ray_traced_scenes import bundled, empty, mast
from uel.core.grid import Grid

import mitsuba as mi  # isort: skip

GRID = Grid(size=128.0, pixel=16.0)


@pytest.fixture
def traced_hosts(monkeypatch) -> set[int]:
    """The scenes whose shader binding tables were traced with, by `id`; a scene shares that of its `host`."""
    host_of, hosts, load = {}, set(), mi.load_dict

    def load_dict(description, *args, **options):
        scene = load(description, *args, **options)
        if isinstance(description, dict) and isinstance(description.get("host"), mi.Scene):
            host_of[id(scene)] = id(description["host"])
        return scene

    def recorded(method):
        def trace(scene, *args, **options):
            hosts.add(host_of.get(id(scene), id(scene)))
            return method(scene, *args, **options)

        return trace

    monkeypatch.setattr(mi, "load_dict", load_dict)
    for name in ("ray_intersect", "ray_test", "ray_intersect_preliminary"):
        monkeypatch.setattr(mi.Scene, name, recorded(getattr(mi.Scene, name)))
    return hosts


def test_a_map_with_diffraction_is_traced_with_one_shader_binding_table(traced_hosts):
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), diffraction=True, map_rays=2000, map_batches=2)
    sim.radio_map(GRID)
    assert traced_hosts == {id(sim.scene.mi_scene)}


def test_an_atlas_is_shot_with_one_shader_binding_table(traced_hosts):
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), max_depth=1)
    sim.build_atlas(AtlasConfig(rays=2000, depth=1, settle=1, audit=0), GRID)
    assert traced_hosts == {id(sim.scene.mi_scene)}


def test_a_surface_above_nothing_is_met():
    radio = empty(mast(), max_depth=0, map_rays=20_000, map_batches=2).radio_map(GRID)
    assert torch.equal(radio.known, torch.ones_like(radio.known))
