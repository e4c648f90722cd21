"""Sweeps: the same training with other values, as a grid on this machine or by wandb, from one file."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.engines.config import EngineConfig, without_engine
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import UnitDone
from training.cache import digest
from training.commands.config import TrainConfig
from training.commands.train import run_name
from training.locator.fit import first_process
from uel.config import load
from uel.core.files.folder_names import fit_for_name, run_folder
from uel.core.io import csv_bytes, replace_file
from uel.core.outside.json_text import read_json_object
from uel.core.outside.yaml_text import read_yaml
from uel.errors import UelError, brief
from uel.inference.run_folder import write_sweep

SWEEP_METRIC = {"name": "val_nll", "goal": "minimize"}
SWEEP_FORM = "write wandb's form: parameters: {training.learning_rate: {values: [1e-3, 3e-4]}}"


def read_sweep(file: Path) -> dict[str, Any]:
    """A sweep as wandb defines it: `parameters`, each with `values` or one `value`.

    Raises `UelError` for a file that is missing or has another form.
    """
    try:
        content = read_yaml(file, yaml.BaseLoader)
    except UelError as error:
        raise UelError("cannot read this sweep", got=brief(error), do=SWEEP_FORM) from error
    parameters = content.get("parameters") if isinstance(content, Mapping) else None
    if not isinstance(parameters, Mapping) or not parameters:
        raise UelError("the sweep has no parameters", got=file, do=SWEEP_FORM)
    for name, spec in parameters.items():
        if not isinstance(spec, Mapping) or not _parameter_values(spec):
            raise UelError("a parameter of the sweep has no values", got=f"{name} in {file}", do=SWEEP_FORM)
    return dict(content)


def _parameter_values(spec: Mapping[str, Any]) -> list[str]:
    values = spec.get("values", [spec["value"]] if "value" in spec else [])
    return values if isinstance(values, list) and all(isinstance(value, str) for value in values) else []


def combinations(sweep: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Every combination of the values, the last parameter changing fastest."""
    names = list(sweep["parameters"])
    for values in itertools.product(*(_parameter_values(spec) for spec in sweep["parameters"].values())):
        yield dict(zip(names, values, strict=True))


def command_arguments(combination: Mapping[str, str]) -> list[str]:
    """A combination as command-line arguments."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in combination.items()]


def without_sweep(args: Sequence[str]) -> list[str]:
    """The arguments of one training."""
    kept, rest = [], iter(args)
    for arg in rest:
        if arg == "--sweep":
            next(rest, None)
        elif arg != "--wandb-sweep" and not arg.startswith("--sweep="):
            kept.append(arg)
    return kept


def folder_label(combination: Mapping[str, str]) -> str:
    """Folder name of a combination: `learning_rate=1e-3,ema=0.999`."""
    text = ",".join(f"{name.rpartition('.')[2]}={value}" for name, value in combination.items())
    name = fit_for_name(text)
    return name if len(name) == len(text) else f"{name[:80]},{digest(text)}"


def wandb_yaml(file: Path, args: Sequence[str]) -> str:
    """The YAML for `wandb sweep`; its agents call `uel train` with the values."""
    command = ["${env}", "uel", "train", *without_sweep(args), "--watch.wandb=online", "${args}"]
    whole = {"method": "grid", "metric": SWEEP_METRIC, **read_sweep(file), "command": command}
    return yaml.safe_dump(whole, sort_keys=False)


@dataclass(frozen=True)
class SweepJob:
    """Trainings with all combinations of a sweep's values, each a unit. A finished one is reused by its training."""

    folder: Path
    combinations: tuple[Mapping[str, str], ...]
    configs: tuple[TrainConfig, ...]
    """of the combinations, in their order"""
    train: Callable[[TrainConfig], Path | None]
    """trains, and returns the run's folder in the process that writes, None in others; pickled by reference"""

    @property
    def phases(self) -> tuple[range, ...]:
        return (range(len(self.configs)),)

    def is_done(self, number: int) -> bool:
        return False  # tiles may have changed: whether a training is reused, it finds out itself

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return self.make

    def make(self, number: int) -> UnitDone:
        """Train a combination."""
        self.train(self.configs[number])
        return UnitDone(number, folder_label(self.combinations[number]))

    def score(self, number: int) -> float:
        """The metric of a finished combination."""
        run = run_folder(run_name(self.configs[number].run))
        return read_json_object(run / "metrics.json")["training"][SWEEP_METRIC["name"]]


def sweep_job(config: TrainConfig, args: Sequence[str], train: Callable[[TrainConfig], Path | None]) -> SweepJob:
    """The trainings of a sweep: `args` of `uel train` with the values of each combination, all checked at once."""
    assert config.sweep is not None, "a training without a sweep is no job"
    common, values = without_sweep(args), tuple(combinations(read_sweep(config.sweep)))

    def config_of(combination: Mapping[str, str]) -> TrainConfig:
        run = f"--run={config.run}/{folder_label(combination)}"
        one = load(TrainConfig, "train", [*common, *command_arguments(combination), run])
        return replace(without_engine(one), sweep=None)

    labels = Counter(map(folder_label, values))
    if repeated := [label for label, count in labels.items() if count > 1]:
        do = "name each value once, without signs that a folder cannot have"
        raise UelError("two combinations of the sweep would have one folder", got=repeated[0], do=do)
    return SweepJob(run_folder(config.run), values, tuple(map(config_of, values)), train)


def run_sweep(job: SweepJob, config: EngineConfig) -> list[tuple[Mapping[str, str], float]]:
    """Train every combination, best first, and write `sweep.csv` and `sweep.json` after each; finished ones are reused.

    Raises `UnitError` where trainings failed.
    """
    scores: dict[int, float] = {}

    def ranking() -> list[tuple[Mapping[str, str], float]]:
        """Equal ones in the order of the sweep."""
        return [(job.combinations[number], scores[number]) for number in sorted(scores, key=lambda n: (scores[n], n))]

    def add(number: int) -> None:
        if first_process():
            scores[number] = job.score(number)
            _write(job.folder, ranking())

    make_all(job, "train", config, "trainings", add if not config.unit else None)
    return ranking()


def _write(folder: Path, results: Sequence[tuple[Mapping[str, str], float]]) -> None:
    metric = SWEEP_METRIC["name"]
    rows = [{**combination, metric: score} for combination, score in results]
    replace_file(folder / "sweep.csv", csv_bytes([*results[0][0], metric], rows))
    write_sweep(folder, folder_label(results[0][0]))
