"""Sweeps of `uel train`: the grid of a file, its table, and the form that wandb reads."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from sim_bridge.engines.config import EngineConfig
from training.commands import sweep
from training.commands.config import TrainConfig
from uel import cli
from uel.errors import UelError
from uel.inference.run_folder import Run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


SWEEP = "parameters:\n  training.learning_rate: {values: [1e-3, 3e-4]}\n  training.ema: {value: 0.99}\n"


def test_a_sweep_is_a_grid_here_and_wandbs_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    grid = sweep.read_sweep(file)
    assert [sweep.command_arguments(c) for c in sweep.combinations(grid)] == [
        ["--training.learning-rate=1e-3", "--training.ema=0.99"],
        ["--training.learning-rate=3e-4", "--training.ema=0.99"],
    ]
    assert cli.main(["train", "--sweep", str(file), "--wandb-sweep", "--seed", "3"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["method"] == "grid"
    assert printed["metric"]["name"] == "val_nll"
    assert printed["command"] == ["${env}", "uel", "train", "--seed", "3", "--watch.wandb=online", "${args}"]
    assert printed["parameters"] == yaml.load(SWEEP, yaml.BaseLoader)["parameters"]


def test_a_grid_writes_its_table_after_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written: list[int] = []

    def train(config: TrainConfig) -> Path:
        (folder := tmp_path / "runs" / config.run).mkdir(parents=True)
        written.append(len(rows(folder.parent / "sweep.csv")) if len(written) else 0)
        (folder / "metrics.json").write_text(json.dumps({"training": {"val_nll": -float(config.seed)}}))
        return folder

    combinations = tuple({"a.seed": str(seed)} for seed in (1, 3, 2))
    configs = tuple(TrainConfig(run=f"grid/seed={c['a.seed']}", seed=int(c["a.seed"])) for c in combinations)
    job = sweep.SweepJob(tmp_path / "runs" / "grid", combinations, configs, train)
    assert [combination["a.seed"] for combination, _ in sweep.run_sweep(job, EngineConfig())] == ["3", "2", "1"]
    assert [row["a.seed"] for row in rows(job.folder / "sweep.csv")] == ["3", "2", "1"]
    assert written == [0, 1, 2]
    (best := job.folder / "seed=3" / "locator.pt").touch()
    assert Run.open(job.folder).folder == best.parent


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "parameters: {}\n", "parameters: {a: 1}\n", "parameters: {a: {values: []}}\n", "a: [\n"]
)
def test_files_that_are_no_sweep(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(UelError, match="sweep"):
        sweep.read_sweep(tmp_path / "sweep.yaml")
