"""Verbs that train and judge locators, and that calibrate."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.commands.config import TrainConfig


def demo(args: Sequence[str]) -> int:
    """Run the whole pipeline on real cities: maps, surveys, training, evaluation, report."""
    from training.commands.config import DemoConfig
    from uel.config import load, save

    config = load(DemoConfig, "demo", args)
    from explorer.reports.run import write_run_report
    from sim_bridge.engines.config import without_engine
    from training.commands.demo import run

    folder = run(config)
    save(replace(without_engine(config), overwrite=False), folder / "config.yaml")
    write_run_report(folder)
    print(folder)
    return 0


def train(args: Sequence[str]) -> int:
    """Train a locator on many tiles, sets of sites and map conditions; once, or for each combination of a sweep."""
    from training.commands.config import TrainConfig
    from uel.config import load

    config = load(TrainConfig, "train", args)
    from sim_bridge.engines.terminal import say_partial_result
    from training.commands import sweep

    if config.sweep is None:
        print(*filter(None, [train_once(config)]), sep="\n")
        return 0
    if config.wandb_sweep:
        print(sweep.wandb_yaml(config.sweep, args), end="")
        return 0
    job = sweep.sweep_job(config, args, train_once)
    for combination, score in sweep.run_sweep(job, config):
        print(f"{score:9.4f}  {sweep.folder_label(combination)}")
    return say_partial_result("train", config, job.folder)


def train_once(config: "TrainConfig") -> Path | None:
    """Train one locator and write its report; None in processes that do not write. Workers of a sweep call it, too."""
    from explorer.reports.train import validation_pictures, write_training_report
    from training.commands.train import run

    folder = run(config, validation_pictures)
    if folder is not None:
        write_training_report(folder)
    return folder


def train_maps(args: Sequence[str]) -> int:
    """Learn maps of levels from measured districts, for districts of which no level is labelled."""
    from training.level_maps.config import TrainMapsConfig
    from uel.config import load

    config = load(TrainMapsConfig, "train-maps", args)
    from training.level_maps.run import train_maps as run

    print(run(config))
    return 0


def evaluate(args: Sequence[str]) -> int:
    """Evaluate a run beside the physical limit of the same data; with --data FOLDER, methods on measured networks.

    Measured networks have the protocols chengdu, duke-blocks and duke-days.
    """
    from training.measured_networks.config import is_measured

    if is_measured(args):
        return _evaluate_measured(args)
    from training.evaluation.protocol import EvalConfig
    from uel.config import load

    # A protocol is a config file of this verb, by the name that people give it.
    config = load(EvalConfig, "eval", [re.sub(r"^--protocol(?=$|=)", "--config", arg) for arg in args])
    from explorer.reports.evaluation import write_evaluation_report
    from sim_bridge.engines.terminal import say_result
    from training.evaluation.runner import run_protocol

    return say_result("eval", config, run_protocol(config), write_evaluation_report)


def _evaluate_measured(args: Sequence[str]) -> int:
    """Judge methods on measured networks by districts, draws of blocks and label budgets."""
    from training.measured_networks.config import MeasuredEvalConfig
    from uel.config import load

    config = load(MeasuredEvalConfig, "eval", args)
    from explorer.reports.measured_networks import write_measured_report
    from sim_bridge.engines.terminal import say_result
    from training.measured_networks.runner import run_measured

    return say_result("eval", config, run_measured(config), write_measured_report)


def ablate(args: Sequence[str]) -> int:
    """Compare ray tracing with precomputed maps in the loss, on a new tile with few labels; --quick in minutes."""
    from training.ablation.config import AblateConfig
    from uel.config import load

    config = load(AblateConfig, "ablate", ["--config=ablate/quick" if arg == "--quick" else arg for arg in args])
    from explorer.reports.ablation import write_ablation_report
    from sim_bridge.engines.terminal import say_result
    from training.ablation.runner import ablate as run

    return say_result("ablate", config, run(config), write_ablation_report)


def antennas(args: Sequence[str]) -> int:
    """Fit azimuths and tilts of measured networks to levels, labelled or not; or see if wrong ones are found again."""
    from training.antennas.config import AntennasConfig
    from uel.config import load

    config = load(AntennasConfig, "antennas", args)
    from explorer.reports.networks.antennas import write_antennas_report
    from training.antennas.experiment import run

    report = write_antennas_report(run(config))
    print(report.read_text(encoding="utf-8"))
    return 0


def residuals(args: Sequence[str]) -> int:
    """Compare measured levels with radio maps: how strong the differences are, how far alike, and between which."""
    from training.residuals.config import ResidualsConfig
    from uel.config import load

    config = load(ResidualsConfig, "residuals", args)
    from training.residuals.run import run

    file = run(config)
    print(file.read_text(encoding="utf-8"))
    print(file)
    return 0


def calibrate(args: Sequence[str]) -> int:
    """Fit materials and antennas to measured levels, with error bars: a calibrated tile, and how much it helps."""
    from training.calibration.config import CalibrateConfig
    from uel.config import load

    config = load(CalibrateConfig, "calibrate", args)
    from explorer.reports.calibration import write_calibration_report
    from sim_bridge.engines.terminal import say_result
    from training.calibration.run import run

    return say_result("calibrate", config, run(config), write_calibration_report)
