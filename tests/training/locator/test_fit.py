"""Training: the same seed gives the same losses, a killed run resumes, and the tracer's gradient arrives."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from tests.helpers.toy_city import toy_deployment
from training.cache import StageCache
from training.data.batch import BatchConfig, BatchDataset
from training.data.config import AugmentationConfig, DomainRandomizationConfig
from training.locator import callbacks
from training.locator.config import OptimizationConfig
from training.locator.fit import discard_training, finished_training, fit, require_no_other_training
from training.locator.losses import MAX_LINK_COST, link_cost, patch_of, physics_loss
from training.locator.setup import LocatorTrainingConfig
from uel.core.grid import Grid
from uel.core.interruption import Terminated
from uel.core.units import from_db
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.locator import Locator

GOLDEN = Path(__file__).parents[2] / "golden" / "losses.json"
MODEL = ObservationModel()


RECIPE = LocatorTrainingConfig(
    locator=LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1),
    training=OptimizationConfig(epochs=2, steps_per_epoch=5, batch=8, rt_fraction=0.3),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


def losses(folder: Path) -> list[float]:
    """The loss of every logged step."""
    lines = (folder / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    return [float(cells[column]) for cells in (line.split(",") for line in lines[1:]) if cells[column]]


def test_first_five_losses_are_golden(tmp_path: Path, world: Deployment) -> None:
    """Run with UEL_GOLDEN=write to accept new losses after a change that is meant to move them."""
    config = replace(RECIPE, training=replace(RECIPE.training, epochs=1))
    _, facts = fit(tmp_path / "run", "key", config, [world], [world])
    first = losses(tmp_path / "run")
    assert len(first) == facts["batches"] == 5
    if os.environ.get("UEL_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(first))
    assert first == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-3)
    assert facts["rt_batches"] >= 0.3 * 5
    assert facts["rt_gradient_norm"] > 0


def test_killed_training_resumes_to_the_same_weights(tmp_path: Path, world: Deployment) -> None:
    """Bit by bit, with everything that is drawn and averaged on the way."""
    config = replace(
        RECIPE,
        training=replace(RECIPE.training, ema=0.8, accumulate=2, steps_per_epoch=3),
        realism=DomainRandomizationConfig(shadowing_db=(6.0, 10.0), cells_max=(4, 2)),
        augment=AugmentationConfig(symmetries=True, angle_deg=5.0, scale=0.1),
    )
    whole, facts = fit(tmp_path / "whole", "key", config, [world], [world])

    class Killed(Exception):
        pass

    class DyingWorld(Deployment):
        calls = 0

        def reports_from_map(self, *args):  # type: ignore[no-untyped-def]
            DyingWorld.calls += 1
            if DyingWorld.calls > 8:  # in the second epoch
                raise Killed
            return super().reports_from_map(*args)

    dying = DyingWorld(world.tile, world.maps, world.survey, world.simulator)
    with pytest.raises(Killed):
        fit(tmp_path / "cut", "key", config, [dying], [world])
    assert (tmp_path / "cut" / "last.ckpt").is_file()
    resumed, facts_resumed = fit(tmp_path / "cut", "key", config, [world], [world])
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    untimed = [{k: v for k, v in f.items() if not k.endswith("_s")} for f in (facts, facts_resumed)]
    assert untimed[0] == pytest.approx(untimed[1], rel=1e-3)
    reused, _ = fit(tmp_path / "cut", "key", config, [], [])  # nothing is trained
    assert torch.equal(next(reused.parameters()), next(resumed.parameters()))


@pytest.mark.parametrize(
    "network",
    [{"encoder": "vit", "patch_pixels": 2}, {"encoder": "two_stream"}, {"encoder": "unet", "evidence": "none"}],
)
def test_every_network_is_trained_alike(tmp_path: Path, world: Deployment, network: dict[str, Any]) -> None:
    """Averaged, seen from all sides, with physics in its loss; what is saved says which network it is."""
    sizes = replace(RECIPE.locator, **network)
    plan = replace(RECIPE.training, epochs=1, steps_per_epoch=4, ema=0.8)
    recipe = replace(RECIPE, locator=sizes, training=plan, augment=AugmentationConfig(symmetries=True, angle_deg=5.0))
    _, facts = fit(tmp_path / "run", "key", recipe, [world], [world])
    assert facts["rt_gradient_norm"] > 0
    trained = Locator.load(tmp_path / "run")
    assert trained.config == sizes
    torch.manual_seed(recipe.seed)
    fresh = dict(Locator(sizes, MODEL).named_parameters())
    assert not [name for name, weight in trained.named_parameters() if torch.equal(weight, fresh[name])]


KEY = {"config": {"training": {"rate": 0.001, "epochs": 3}}, "tiles": ["a", "b"]}


def finished(run: Path) -> Path:
    """A finished training, as far as its files tell."""
    assert finished_training(run, KEY) is None
    (run / "facts.json").write_text("{}")
    assert finished_training(run, KEY) == {}
    return run


def test_a_training_of_another_key_is_kept_and_named(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    with pytest.raises(UelError, match=r'tiles\.1 "b" → "c"[\s\S]*--overwrite'):
        finished_training(run, KEY | {"tiles": ["a", "c"]})
    with pytest.raises(UelError, match=r"epochs 3 → 4"):  # known before its tiles are made
        require_no_other_training(run, {"config": {"training": {"rate": 0.001, "epochs": 4}}})
    require_no_other_training(run, {"config": KEY["config"]})
    assert finished_training(run, KEY) == {}


def test_a_training_is_removed_when_the_user_says_so_and_nothing_else_is(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    discard_training(run)
    assert not run.exists()
    run.mkdir()
    (run / "precious.py").write_text("x = 1")
    discard_training(run)
    assert (run / "precious.py").is_file()
    (run / "facts.json").write_text("{}")  # of somebody else: no key beside it
    with pytest.raises(UelError, match="not a training"):
        discard_training(run)
    assert (run / "precious.py").is_file()


def test_a_training_says_how_long_it_takes(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was interrupted counts the steps before."""
    caplog.set_level("INFO")

    class TrainerAt(lightning.Trainer):
        global_step = 100  # type: ignore[assignment]

        def __init__(self) -> None:
            pass

    times = iter((1000.0, 1010.0))
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(times))
    forecast, trainer = callbacks.TrainingForecast(steps=1000), TrainerAt()
    for number in range(100, 140):
        trainer.global_step = number  # type: ignore[misc]
        forecast.on_train_batch_end(trainer)
    assert caplog.messages == ["training: 2 s a step, at most some 30 min for the other 893, without validation"]


def test_an_interrupted_training_stays_an_interrupt(tmp_path: Path, world: Deployment) -> None:
    """Lightning would end the program, and nobody would hear how to go on."""

    class StoppedWorld(Deployment):
        def reports_from_map(self, *args):  # type: ignore[no-untyped-def]
            raise Terminated

    before = signal.getsignal(signal.SIGINT)
    stopped = StoppedWorld(world.tile, world.maps, world.survey, world.simulator)
    try:
        with pytest.raises(Terminated):
            fit(tmp_path / "run", "key", RECIPE, [stopped], [world])
    finally:
        signal.signal(signal.SIGINT, before)  # which Lightning ignores from then on


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_checkpoint_is_refused_and_nothing_is_lost(tmp_path: Path, world: Deployment, damage: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "key.json").write_text(json.dumps("key"))
    (run / "epoch=0.ckpt").write_bytes(b"precious")
    if damage == "cut":
        (run / "last.ckpt").write_bytes(b"PK half a checkpoint")
    else:
        torch.save({"something": "else"}, run / "last.ckpt")
    with pytest.raises(UelError, match=r"last\.ckpt[\s\S]*do:  copy a whole epoch"):
        fit(run, "key", RECIPE, [world], [world])
    assert (run / "epoch=0.ckpt").read_bytes() == b"precious"


def test_batches_depend_on_their_number_alone(world: Deployment) -> None:
    drawing = BatchConfig(model=MODEL, size=8, seed=1)
    ahead, along = BatchDataset([world], drawing, first=3)[0], BatchDataset([world], drawing)[3]
    assert torch.equal(ahead.position, along.position)
    assert torch.equal(ahead.reports.rsrp_dbm, along.reports.rsrp_dbm)
    assert not torch.equal(ahead.position, BatchDataset([world], replace(drawing, seed=2), first=3)[0].position)


@pytest.mark.parametrize("fraction", [0.03, 0.1, 0.25, 1.0])
def test_tracer_is_asked_often_enough(fraction: float) -> None:
    plan = OptimizationConfig(rt_fraction=fraction)
    asked = sum(plan.queries_ray_tracer(step) for step in range(437))
    assert fraction * 437 <= asked < fraction * 437 + 1


def one_fix(mean: torch.Tensor) -> Fix:
    count = mean.shape[1]
    logits = torch.zeros(len(mean), count).log_softmax(-1)
    return Fix(logits, mean, torch.eye(2).expand(len(mean), count, 2, 2) * 25.0)


def test_physics_loss_pulls_a_fix_to_where_the_levels_fit(world: Deployment) -> None:
    """From 30 m off, descending the physics loss alone through the simulator lowers the position's error."""
    truth = torch.tensor([[30.0, -20.0]])
    levels = world.simulator.path_gain(truth).log10() * 10 + world.maps.power_dbm
    heard = torch.ones(1, 4, dtype=torch.bool)
    zero, no = torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    reports = Reports(levels, heard, levels.argmax(-1), zero, no, zero, no)
    mean = (truth + torch.tensor([20.0, 22.0])).unsqueeze(1).requires_grad_()
    optimizer = torch.optim.Adam([mean], lr=2.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = physics_loss(
            one_fix(mean), reports, world.simulator, world.maps.radio.grid, world.maps.power_dbm, MODEL, 1
        )
        loss.backward()
        optimizer.step()
    assert (mean[0, 0] - truth[0]).norm() < 3.0


def test_link_cost_by_hand() -> None:
    model = ObservationModel(shadowing_db=8.0)
    heard = torch.tensor([[True, True, False, False]])
    none = torch.zeros(1)
    no = torch.zeros(1, dtype=torch.bool)
    reports = Reports(
        torch.tensor([[-90.0, -90.0, 0.0, 0.0]]), heard, torch.zeros(1, dtype=torch.long), none, no, none, no
    )
    power = torch.full((4,), 10.0)
    # 8 dB off; no path though heard; silent far below the sensitivity; silent without a path.
    gain = from_db(torch.tensor([[[-92.0, -90.0, -200.0, -90.0]]]))
    gain[0, 0, 1] = gain[0, 0, 3] = 0.0
    expected = (MAX_LINK_COST * torch.tanh(torch.tensor([0.5, MAX_LINK_COST, 0.0, 0.0]) / MAX_LINK_COST)).mean()
    assert link_cost(gain, reports, power, model)[0, 0] == pytest.approx(float(expected), abs=1e-4)


def test_patch_counts_rows_from_the_south_west() -> None:
    position = torch.tensor([[-99.0, -99.0], [99.0, -99.0], [-99.0, 99.0], [100.0, 100.0]])
    assert patch_of(position, Grid(size=200.0, pixel=10.0), 10).tolist() == [0, 9, 90, 99]


def test_stage_is_made_once_and_again_after_a_kill(tmp_path: Path) -> None:
    made = []

    def build(folder: Path) -> None:
        (folder / "half").touch()
        made.append(folder)
        if len(made) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StageCache(tmp_path).make("tile", {"a": 1}, build)
    whole = StageCache(tmp_path).make("tile", {"a": 1}, build)
    assert StageCache(tmp_path).make("tile", {"a": 1}, build) == whole
    assert len(made) == 2
    assert StageCache(tmp_path).make("tile", {"a": 2}, build) != whole


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(UelError, match="rt_fraction"):
        OptimizationConfig(rt_fraction=1.5)
    with pytest.raises(UelError, match="epochs"):
        OptimizationConfig(epochs=0)
