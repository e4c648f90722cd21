"""A training step whose physics loss asks the ray tracer on 10 % of batches, over one that looks up the map."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import scenes
from sim_bridge.channel.features import MeasurePlan
from sim_bridge.simulator import Tracing
from sim_bridge.simulator import open as open_simulator
from sim_bridge.survey.worker import Place, SurveyPlan, Work, survey_here
from tests.bench.common import compare
from training.data.batch import Batches, Drawing
from training.data.deployment import World
from training.locator.task import LocatorTask, TrainPlan
from uel.geo.tile_maps import Maps
from uel.measurement.model import MeasurementModel
from uel.mobility.trajectories import TrackPlan
from uel.models.locator import LocatorConfig
from uel.survey.dataset import Survey

SHARE = 0.1


def run() -> dict[str, float]:
    with TemporaryDirectory() as folder:
        world = _world(Path(folder))
        plan, model = TrainPlan(epochs=1, steps_per_epoch=60, rt_fraction=1.0), MeasurementModel()
        batches = Batches([world], Drawing(model=model, size=plan.batch, seed=1))
        tasks = [LocatorTask(TrainPlan(rt_fraction=share), LocatorConfig(), model, [world], 1) for share in (0.0, 1.0)]

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


def _world(folder: Path) -> World:
    tile = scenes.build("munich", folder / "tile", center=(-300.0, -150.0), progress=False)
    sites = scenes.place(tile, 8, seed=1, mast=8.0)
    tracing = Tracing(samples=2000, map_rays=200_000, diffraction=False)
    bulk = open_simulator(tile, sites, tracing)
    plan = SurveyPlan(tracks=TrackPlan(tracks=32), measure=MeasurePlan(layers=("rt",)), tracing=tracing)
    survey_here(Work(folder / "survey", (Place(tile, sites),), plan))
    live = open_simulator(tile, sites, Tracing(samples=10_000, diffraction=False))
    live.build_atlas()
    torch.manual_seed(0)
    return World(tile, Maps.of(tile, bulk.radio_map(tile.grid(4.0))), Survey.open(folder / "survey")[tile.name], live)
