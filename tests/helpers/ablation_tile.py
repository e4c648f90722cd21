"""A new tile in empty space, where every phone's answer is known, and small trainings on it."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.toy_city import SITES, SIZE
from training.ablation.config import AblateConfig
from training.ablation.grid import Variant
from training.ablation.scenario import AblationScenario
from training.data.batch import Batch
from training.locator.config import OptimizationConfig
from training.locator.few_labels import FewLabelDataset
from training.locator.setup import LocatorTrainingConfig
from training.locator.task import LocatorTask
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.mobility.trajectories import draw_positions
from uel.models.config import LocatorConfig

MODEL = ObservationModel(sensitivity_dbm=-72.0)  # in empty space all is heard by -120 dBm
ALL = ("rsrp", "ta", "aoa")
LOCATOR = LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1)
PLAN = OptimizationConfig(
    epochs=2, steps_per_epoch=3, batch=4, candidates=2, features=ALL, patience=99, rt_fraction=0.5
)
CONFIG = AblateConfig(
    run="toy", tile="toy@0,0", size=SIZE, maps=replace(AblateConfig().maps, pixel=8.0), truth="map", pool=60, phones=40,
    labels=(30,), seeds=1, fractions=(0.5,), single_features=("ta",), conditions=("exact",), budgets=("steps",),
    evidence=("input",), unlabelled=4, measurement=MODEL, locator=LOCATOR, training=PLAN,
)  # fmt: skip


def town_of(world: Deployment, config: AblateConfig) -> AblationScenario:
    """Empty space, where map and simulator agree; under few_rays the map is 3 dB off."""
    wrong = replace(world.maps, radio=replace(world.maps.radio, gain=2 * world.maps.radio.gain))
    given = {"exact": world.maps, "few_rays": wrong}
    truth = world.maps.radio.pixel_truth(places(world, 200))
    return AblationScenario(config, world, truth, lambda c: Deployment(world.tile, given[c], simulator=world.simulator))


def places(world: Deployment, count: int, seed: int = 0) -> torch.Tensor:
    return draw_positions(world.tile, SITES, count, torch.Generator().manual_seed(seed))


def task_of(world: Deployment, plan: OptimizationConfig, monkeypatch: pytest.MonkeyPatch) -> LocatorTask:
    """Outside of a trainer, which is who logs."""
    torch.manual_seed(0)
    task = LocatorTask(plan, LOCATOR, MODEL, [world], seed=1)
    monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
    return task


def a_batch(scenario: AblationScenario, unlabelled: int = 4, number: int = 0) -> Batch:
    recipe = LocatorTrainingConfig(training=PLAN, locator=LOCATOR, measurement=MODEL)
    pool = scenario.pool(Variant(labels=30))
    return FewLabelDataset(recipe, scenario.assumed("exact"), pool, unlabelled, range(number, number + 1))[0]
