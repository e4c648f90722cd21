"""The simulator of an ablation: what a training's searches teach its atlas is not there in the next one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sim_bridge
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.simulator import Sionna
from tests.helpers.ablation_tile import CONFIG, LOCATOR, MODEL, PLAN
from tests.helpers.four_houses import houses
from training.ablation.grid import Variant
from training.ablation.scenario import AblationScenario
from training.locator.few_labels import FewLabelDataModule
from training.locator.setup import LocatorTrainingConfig
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.mobility.trajectories import draw_positions
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

SITES = tuple(Site(position=(x, y, 24.0)) for x, y in ((4.0, 4.0), (-20.0, -20.0), (12.0, 4.0)))


@pytest.mark.slow
def test_a_training_begins_with_the_atlas_as_it_was_built(tmp_path: Path) -> None:
    tile = houses(tmp_path / "tile")
    simulator = sim_bridge.open(tile, SITES, TracingConfig(max_depth=1, samples=2000, diffraction=False))
    assert isinstance(simulator, Sionna)
    built = simulator.build_atlas(AtlasConfig(rays=200, depth=1, pixel=4.0, settle=0, audit=0))
    maps = TileMaps.from_tile(tile, FreeSpace(SITES, size=tile.size).radio_map(tile.grid(4.0)))
    deployment = Deployment(tile, maps, simulator=simulator)
    position = draw_positions(tile, SITES, 300, torch.Generator().manual_seed(1))
    model = replace(MODEL, sensitivity_dbm=-120.0)
    config = replace(CONFIG, size=tile.size, measurement=model, maps=replace(CONFIG.maps, pixel=4.0))
    scenario = AblationScenario(config, deployment, maps.radio.pixel_truth(position), lambda _: deployment)
    recipe = LocatorTrainingConfig(training=replace(PLAN, loss="rt"), locator=LOCATOR, measurement=model)
    data = FewLabelDataModule(recipe, deployment, scenario.pool(Variant(labels=30)), 4)
    for _ in range(2):
        scenario.warm_up("exact", recipe, data)
        assert simulator.atlas is built
        simulator.paths(position)  # as a training asks
        assert simulator.atlas is not built
