"""`uel train`: averages, early stopping, several processes, watchers, sweeps, and what it refuses."""

import copy
import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.helpers.toy_city import toy_deployment
from tests.helpers.training_process import LOCATOR, PLAN
from tests.helpers.training_process import main as train_toy
from training.cache import StageCache
from training.commands.config import MapConditionWeights, TrainConfig
from training.data.config import DomainRandomizationConfig
from training.locator.callbacks import NOMINAL_LEVELS, write_rows
from training.locator.config import HardwareConfig, LoggingConfig, OptimizationConfig
from training.locator.fit import fit
from training.locator.setup import LocatorTrainingConfig
from training.locator.task import EMA_WARMUP_STEPS, update_average
from uel import cli
from uel.config import load
from uel.inference.deployment import Deployment
from uel.inference.run_folder import Run
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# ---- pieces --------------------------------------------------------------------------------------------


def test_average_of_weights_against_its_sum() -> None:
    """The recursion, written out: each step's weights times all that later steps keep."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    average, seen = copy.deepcopy(network), [network.weight.detach().clone()]
    keeps = []
    for step in range(30):
        with torch.no_grad():
            network.weight += torch.randn_like(network.weight)
        update_average(average, network, 0.7, step)
        seen.append(network.weight.detach().clone())
        keeps.append(min(0.7, (1 + step) / (EMA_WARMUP_STEPS + step)))
    expected = torch.zeros_like(network.weight)
    for index, weight in enumerate(seen):
        share = 1.0 if index == 0 else 1 - keeps[index - 1]
        for keep in keeps[index:]:
            share *= keep
        expected += share * weight
    torch.testing.assert_close(average.weight.detach(), expected)


def test_rate_warms_up_and_falls_to_nothing() -> None:
    plan = OptimizationConfig(epochs=10, steps_per_epoch=20, warmup=40)
    assert plan.rate_factor(0) == pytest.approx(1 / 40)
    assert plan.rate_factor(39) == pytest.approx(1.0)
    assert plan.rate_factor(120) == pytest.approx(0.5)
    assert plan.rate_factor(200) == pytest.approx(0.0, abs=1e-9)
    assert OptimizationConfig(epochs=10, steps_per_epoch=20).rate_factor(9) == pytest.approx(0.5)


def test_rows_of_a_cut_attempt_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cdf.csv"
    for epoch, value in ((0, 1.0), (1, 2.0), (2, 3.0), (1, 20.0)):
        write_rows(path, epoch, {None: {"0.5": value}, "wrong_buildings": {"0.5": 2 * value}})
    assert [(row["epoch"], row["condition"], row["0.5"]) for row in rows(path)] == [
        ("0", "all", "1.0"), ("0", "wrong_buildings", "2.0"), ("1", "all", "20.0"), ("1", "wrong_buildings", "40.0"),
    ]  # fmt: skip


# ---- whole trainings in a toy world --------------------------------------------------------------------


def test_a_restorer_of_another_schema_is_not_reused(
    tmp_path: Path, world: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.commands import train

    made = list[str]()
    monkeypatch.setattr(train, "fit_restorer", lambda *_: made.append(train.RESTORER_SCHEMA))
    config = TrainConfig(locator=replace(LOCATOR, corrected_maps=True), conditions=MapConditionWeights(few_rays=1.0))
    there = [replace(world, variants={"few_rays": world.maps})]
    for schema in ("one", "one", "other"):
        monkeypatch.setattr(train, "RESTORER_SCHEMA", schema)
        train._restorer(config, StageCache(tmp_path), there, there)
    assert made == ["one", "other"]


def test_training_without_progress_ends_early_and_keeps_three(tmp_path: Path, world: Deployment) -> None:
    plan = OptimizationConfig(
        epochs=9, steps_per_epoch=1, batch=2, validation=4, patience=4, learning_rate=1e-30, rt_fraction=0.0
    )
    _, facts = fit(tmp_path / "run", "key", LocatorTrainingConfig(locator=LOCATOR, training=plan), [world], [world])
    assert facts["epochs"] == facts["steps"] == 5
    assert len(list((tmp_path / "run").glob("epoch=*.ckpt"))) == 3
    assert {row["epoch"] for row in rows(tmp_path / "run" / "cdf.csv")} == {"0", "1", "2", "3", "4"}


def test_everybody_is_told(tmp_path: Path, world: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two map conditions in half precision: CSV files, pictures, and a run that `wandb sync` could take."""
    from explorer.reports.train import validation_pictures

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    recipe = LocatorTrainingConfig(
        locator=LOCATOR,
        training=OptimizationConfig(epochs=1, steps_per_epoch=2, batch=4, validation=8, rt_fraction=0.0, ema=0.9),
        realism=DomainRandomizationConfig(cells_max=(2, 4)),
        conditions={"exact": 1.0, "no_radio_map": 1.0},
        hardware=HardwareConfig(precision="bf16-mixed"),
        watch=LoggingConfig(wandb="offline"),
    )
    silent = replace(world.maps, radio=replace(world.maps.radio, known=torch.zeros_like(world.maps.radio.known)))
    two = replace(world, variants={"no_radio_map": silent})
    folder = tmp_path / "run" / "training"
    locator, facts = fit(folder, "key", recipe, [two], [two], draw=validation_pictures)
    assert all(parameter.isfinite().all() for parameter in locator.parameters())
    assert facts["val_nll"] == pytest.approx(float(rows(folder / "metrics.csv")[-1]["val_nll"]), rel=1e-4)
    for name in ("cdf", "calibration"):
        told = rows(folder / f"{name}.csv")
        assert [row["condition"] for row in told] == ["all", "exact", "no_radio_map"]
        values = [[float(row[str(at)]) for at in NOMINAL_LEVELS] for row in told]
        assert all(value == sorted(value) for value in values)
    (picture,) = (folder / "pictures").glob("heatmaps-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    (run,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    assert b"val_nll" in run.read_bytes()
    assert list(folder.glob("wandb/offline-run-*/files/media/images/heatmaps*.png"))


@pytest.mark.slow
def test_two_processes_learn_what_one_does_from_both_batches(tmp_path: Path) -> None:
    """Gradients of two processes are averaged: the same weights as of one that averages the same two batches."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "tests.helpers.training_process", str(tmp_path / "two" / "run")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "two" / "run" / "facts.json").read_text())
    alone = train_toy(tmp_path / "one" / "run", replace(PLAN, accumulate=2))
    assert (facts["processes"], alone["processes"]) == (2, 1)
    assert facts["steps"] == alone["steps"] == 4
    assert (facts["batches"], alone["batches"]) == (4, 8)
    ours, theirs = (torch.load(tmp_path / n / "run" / "last.ckpt", weights_only=True) for n in ("one", "two"))
    for name, value in ours["state_dict"].items():
        # A constant that is added to all logits has no gradient but roundoff, which AdamW scales to full steps.
        if not name.endswith("pixel_logit.bias"):
            torch.testing.assert_close(theirs["state_dict"][name], value, rtol=1e-4, atol=1e-6)
    assert ours["state_dict"]["locator.fine.weight"].any()  # zero before training


# ---- configuration -------------------------------------------------------------------------------------


def test_base_has_less_than_a_hundred_million_parameters() -> None:
    from training.commands.train import locator_training_config

    config = load(TrainConfig, "train", ["--config", "train/base"])
    for sizes in (config.locator, replace(config.locator, patch_pixels=16)):  # maps of 4 m, and of 1 m
        with torch.device("meta"):
            locator = Locator(sizes, ObservationModel.from_parameters(config.measurement))
        assert 5e7 < sum(parameter.numel() for parameter in locator.parameters()) < 1e8
    assert config.augment.symmetries  # a vision transformer knows directions
    assert locator_training_config(config).conditions == {
        "exact": 2.0,
        "few_rays": 1.0,
        "wrong_materials": 1.0,
        "wrong_buildings": 1.0,
        "wrong_sites": 1.0,
        "no_radio_map": 0.5,
    }


def test_the_unet_learns_what_the_small_locator_learns() -> None:
    """The same worlds, phones and steps; only the network differs, and that it sees all symmetries."""
    small, unet = (load(TrainConfig, "train", ["--config", f"train/{name}"]) for name in ("small", "locunet"))
    assert unet.augment.symmetries
    augment = replace(unet.augment, symmetries=False)
    assert replace(unet, run=small.run, locator=small.locator, augment=augment) == small
    count = sum(
        parameter.numel()
        for parameter in Locator(unet.locator, ObservationModel.from_parameters(unet.measurement)).parameters()
    )
    assert 4e5 < count < 2e6


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--locator.encoder unet", ["give --locator.evidence none"]),
        ("--locator.encoder cnn", ["two_stream"]),
        ("--validate munich@9,9", ["validation city must be unseen", "munich@0,0"]),
        ("--train nowhere@0,0", ["nowhere"]),
        ("--train munich@a,b", ["cannot read this tile"]),
        ("--maps.pixel 3", ["do:"]),
        ("--locator.patches 30", ["patches must divide"]),
        ("--conditions.M0 0", ["weights"]),
        ("--conditions.M7 1", ["--conditions.M7"]),
        ("--conditions.M1 -1", ["conditions.few_rays must be a weight"]),
        ("--site-counts 0", ["sites.count must be"]),
        ("--deployments 0", ["deployments must be at least 1"]),
        ("--survey nowhere", ["nowhere"]),
        ("--training.ema 1", ["training.ema"]),
        ("--training.learning-rate 0", ["training.learning_rate must be positive"]),
        ("--hardware.precision 16-mixed", ["needs a GPU"]),
        ("--hardware.devices 0", ["devices"]),
        ("--realism.cells-max 0", ["cell"]),
        ("--augment.scale 0.9", ["augment.scale"]),
        ("--watch.wandb perhaps", ["perhaps"]),
        ("--wandb-sweep", ["add --sweep"]),
        ("--sweep nowhere.yaml", ["cannot read this sweep"]),
    ],
)
def test_bad_input_is_refused_before_any_work(
    typed: str, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *typed.split()]) == 2
    told = capsys.readouterr().err
    assert all(part in told for part in said), told
    assert not list(tmp_path.iterdir())


def test_a_run_of_a_wandb_agent_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.commands.train import run_name

    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    assert run_name("base") == "base"
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "r1")
    assert run_name("base") == "base-r1"


# ---- the verb ------------------------------------------------------------------------------------------

QUICK = """
run: quick
train: ["munich@0,0"]
deployments: 1
sites: {count: 3}
maps: {pixel: 16.0, few_rays: 20000, tracing: {samples: 1000, map_rays: 100000, max_depth: 2, diffraction: false}}
conditions: {exact: 1, few_rays: 1, wrong_sites: 1, no_radio_map: 1}
tracks: {tracks: 8}
augment: {symmetries: true}
locator: {corrected_maps: true}
map_adaptation: {labelled_reports: 80}
map_restorer: {steps: 4, batch: 2, network: {width: 4, levels: 2}}
training: {epochs: 2, steps_per_epoch: 2, batch: 4, rt_fraction: 0.0, validation: 8}
"""


@pytest.mark.slow
def test_the_verb_leaves_a_run_that_repeats_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UEL_DATA", raising=False)
    (tmp_path / "quick.yaml").write_text(QUICK)
    assert cli.main(["train", "--config", "quick.yaml"]) == 0
    run = tmp_path / "runs" / "quick"
    told = json.loads((run / "metrics.json").read_text())
    assert told["training"]["steps"] == 4
    assert {"val_p50_m_wrong_sites", "val_cover90", "loss"} <= rows(run / "metrics.csv")[0].keys()
    assert {"few_rays", "wrong_sites", "no_radio_map"} == told["restorer"].keys()
    for name in ("report.md", "restorer.pt", "figures/training.png", "figures/cdf.png", "figures/calibration.png"):
        assert (run / name).stat().st_size > 100
    assert Run.open(run).tile.meta["place"] == "etoile"
    first = Locator.load(run).state_dict()
    repeat = ["train", "--config", str(run / "config.yaml")]
    capsys.readouterr()
    assert cli.main(repeat) == 0
    said = capsys.readouterr().err
    assert "making" not in said
    assert "training: reusing" in said
    assert cli.main([*repeat, "--run", "again"]) == 0
    again = Locator.load(tmp_path / "runs" / "again").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
