"""Verbs with units of work: their configurations are read again by the tasks of a job array, and refuse nonsense."""

from pathlib import Path
from typing import Any

import pytest

from sim_bridge.commands.config import RadioMapConfig, SurveyConfig
from sim_bridge.engines.config import EngineConfig, without_engine
from training.ablation.config import AblateConfig
from training.calibration.config import CalibrateConfig
from training.commands.config import TrainConfig
from training.evaluation.protocol import EvalConfig
from uel import cli
from uel.config import load, save

CONFIGS: dict[str, type] = {
    "map": RadioMapConfig, "survey": SurveyConfig, "eval": EvalConfig, "ablate": AblateConfig,
    "calibrate": CalibrateConfig, "train": TrainConfig,
}  # fmt: skip
NEEDED: dict[str, dict[str, Any]] = {
    "map": {"tiles": (Path("a"), Path("b"))}, "survey": {"tiles": (Path("a"),)}, "eval": {"run": Path("runs/demo")},
}  # fmt: skip
SLURM = {"engine": "slurm", "workers": 3, "gpus": 2.0}


@pytest.mark.parametrize("verb", CONFIGS)
def test_a_task_reads_what_the_verb_wrote(verb: str, tmp_path: Path) -> None:
    config = CONFIGS[verb](**NEEDED.get(verb, {}), **SLURM)
    assert isinstance(config, EngineConfig)
    save(config, tmp_path / "config.yaml")
    task = load(CONFIGS[verb], verb, ["--config", str(tmp_path / "config.yaml"), "--unit", "4", "5"])
    assert task.unit == (4, 5)
    assert task.is_partial
    assert task.workers_and_threads[0] == 1
    assert without_engine(task) == without_engine(config)


@pytest.mark.parametrize("verb", CONFIGS)
def test_impossible_engines_are_refused(verb: str, capsys: pytest.CaptureFixture) -> None:
    needed = (
        [str(value) for values in NEEDED.get(verb, {}).values() for value in values] if verb != "eval" else ["runs"]
    )
    for option, said in (("--workers=-1", "must not be negative"), ("--engine=steam", "steam")):
        assert cli.main([verb, *needed, option]) == 2
        assert said in capsys.readouterr().err
