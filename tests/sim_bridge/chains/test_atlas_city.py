"""The atlas in a city: nobody outdoors without a path, and the power of the search."""

from pathlib import Path

import pytest
import torch

import scenes
import sim_bridge
from sim_bridge.chains.config import AtlasConfig
from uel.radio.tracing_config import TracingConfig


@pytest.mark.slow  # 150 CPU s: an atlas of eight masts, and 512 links by search
def test_outdoors_in_florence_every_place_has_a_path_and_its_power(tmp_path: Path) -> None:
    tile = scenes.build("florence", tmp_path / "florence", center=(0.0, 100.0), progress=False)
    everything = {"max_depth": 5, "diffraction_order": 2, "scattering": 0.3}
    tracing = TracingConfig(**everything, samples=20_000, max_paths=1_000_000, chunk=16, memory=2.0)
    sim = sim_bridge.open(tile, scenes.place(tile, 8, seed=1), tracing, backend="sionna")
    sim.build_atlas(AtlasConfig(rays=100_000, depth=5, settle=0, audit=0))
    flat = (torch.rand(8192, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * tile.raster_grid.size
    places = sim.at_height(flat[tile.is_outdoor(flat)][:1024])
    with torch.no_grad():
        gain = sim.finder.trace_points(places, {}).gain()
        searched = sim.finder.trace_points(places[:64], {}, search=True).gain()
    assert float((gain > 0).any(1).float().mean()) >= 0.97
    assert float(gain[:64].sum() / searched.sum()) == pytest.approx(1.0, abs=0.02)
