"""A training step whose physics loss asks the ray tracer on 10 % of batches, over one that looks up the map."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import scenes
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.simulator import TracingConfig
from sim_bridge.simulator import open_tile as open_simulator
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.worker import SurveyJob, TileWithSites, make_survey_locally
from tests.bench.common import compare
from training.data.batch import BatchConfig, BatchDataset
from training.locator.config import OptimizationConfig
from training.locator.task import LocatorTask
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.mobility.config import TrackConfig
from uel.models.config import LocatorConfig
from uel.survey.dataset import Survey

SHARE = 0.1


def run() -> dict[str, float]:
    with TemporaryDirectory() as folder:
        world = _world(Path(folder))
        plan, model = OptimizationConfig(epochs=1, steps_per_epoch=60, rt_fraction=1.0), ObservationModel()
        batches = BatchDataset([world], BatchConfig(model=model, size=plan.batch, seed=1))
        tasks = [
            LocatorTask(OptimizationConfig(rt_fraction=share), LocatorConfig(), model, [world], 1)
            for share in (0.0, 1.0)
        ]

        def step(task: LocatorTask, turn: int) -> None:
            for number in range(3 * turn, 3 * turn + 3):
                task.zero_grad()
                task.training_step(batches[number], 0).backward()

        for task in tasks:
            task.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  (no trainer to log to)
            for turn in range(4):  # the buffers' sizes that occur are compiled
                step(task, turn)
        by_map, by_tracing, ratio = compare(
            lambda turn: step(tasks[0], turn), lambda turn: step(tasks[1], turn), "training steps"
        )
    mean = (1 - SHARE) + SHARE * ratio
    return {"map_step_ms": 1e3 * by_map / 3, "rt_step_ms": 1e3 * by_tracing / 3, "step_ratio": mean}


def _world(folder: Path) -> Deployment:
    tile = scenes.build("munich", folder / "tile", center=(-300.0, -150.0), progress=False)
    sites = scenes.place(tile, 8, seed=1, mast=8.0)
    tracing = TracingConfig(samples=2000, map_rays=200_000, diffraction=False)
    bulk = open_simulator(tile, sites, tracing)
    plan = SurveyMakingConfig(tracks=TrackConfig(tracks=32), measure=FeatureConfig(layers=("rt",)), tracing=tracing)
    make_survey_locally(SurveyJob(folder / "survey", (TileWithSites(tile, sites),), plan))
    live = open_simulator(tile, sites, TracingConfig(samples=10_000, diffraction=False))
    live.build_atlas()
    torch.manual_seed(0)
    return Deployment(
        tile, TileMaps.from_tile(tile, bulk.radio_map(tile.grid(4.0))), Survey.open(folder / "survey")[tile.name], live
    )
