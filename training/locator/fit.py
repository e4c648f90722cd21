"""Fit a locator with Lightning: a checkpoint after every epoch, resumed if killed, reused if complete."""

import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only

from training.locator.callbacks import (
    EpochTimer,
    FixDrawing,
    TrainingForecast,
    ValidationLogger,
    close_loggers,
    make_loggers,
)
from training.locator.checkpoints import WholeCheckpoints
from training.locator.datamodule import LocatorDataModule
from training.locator.few_labels import FewLabelDataModule
from training.locator.setup import LocatorTrainingConfig
from training.locator.task import LocatorTask
from uel.core.files.append_logs import read_csv_log
from uel.core.files.locks import folder_lock
from uel.core.files.own_folders import remove_own_folder
from uel.core.io import as_json, csv_bytes, replace_file
from uel.core.key_differences import difference_text, key_differences
from uel.core.outside.json_text import read_json, read_json_object
from uel.core.outside.weight_files import read_weights
from uel.errors import UelError
from uel.inference.deployment import Deployment
from uel.models.locator import Locator
from uel.survey.dataset import Survey

log = logging.getLogger(__name__)

for library in ("lightning", "lightning.pytorch", "lightning.fabric"):
    # Messages go once, to the root handler at its level (Lightning installs its own handlers at import).
    logging.getLogger(library).handlers.clear()
    logging.getLogger(library).setLevel(logging.NOTSET)

_ANEW = "copy a whole epoch=….ckpt of the folder over it, or delete it to train anew"
KEY_FILE, FACTS_FILE = "key.json", "facts.json"  # what a training is made from; what it came to
LAST_CHECKPOINT = "last.ckpt"
KEPT_CHECKPOINTS = 3  # best checkpoints that are kept beside the last one
EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # batches are drawn from maps in memory, which workers would have to copy
    ".*LeafSpec.* is deprecated",  # Lightning 2.6 asks torch's pytrees in the old way
    "Checkpoint directory .* exists and is not empty",  # as in every resumed run
)


def fit(
    folder: Path,
    key: Any,
    config: LocatorTrainingConfig,
    train: Sequence[Deployment],
    validate: Sequence[Deployment],
    survey: Survey | None = None,
    draw: FixDrawing | None = None,
) -> tuple[Locator, dict[str, Any]]:
    """`fit_with_data` on batches of some deployments, or of a survey."""
    return fit_with_data(folder, key, config, lambda: LocatorDataModule(config, train, validate, survey), draw)


def fit_with_data(
    folder: Path,
    key: Any,
    config: LocatorTrainingConfig,
    data: Callable[[], LocatorDataModule | FewLabelDataModule],
    draw: FixDrawing | None = None,
) -> tuple[Locator, dict[str, Any]]:
    """Train, resume or reuse the locator of `folder` for this `key`, with the weights of the best validation epoch.

    Returns the locator and the facts of its training: steps, epochs, processes, wall_s, val_nll of the best epoch, and
    of this process cpu_s (of its steps), rt_cpu_s (of their ray tracing), batches, rt_batches, rt_links,
    rt_gradient_norm (mean norm of the ray-traced gradient at the predicted positions, 1/m). With several processes
    each calls this; the first one writes. Raises `UelError` for a damaged checkpoint.
    """
    if (facts := finished_training(folder, key)) is not None:
        log.info("training: reusing %s", folder)
        return Locator.load(folder), facts
    locator, facts = _train(folder, config, data(), draw)
    if first_process():
        locator.save(folder)
        _merge_logs(folder)
        replace_file(folder / FACTS_FILE, as_json(facts))
    return locator, facts


def finished_training(folder: Path, key: Any) -> dict[str, Any] | None:
    """The facts of a complete training for `key` in a folder; None where it has to be made, or goes on.

    `key` is a name of the training, or all that it is made from. Raises `UelError` where the folder holds a training
    for another key: nothing is removed unless the user says so (`discard_training`).
    """
    with folder_lock(folder):
        require_no_other_training(folder, key)
        replace_file(folder / KEY_FILE, json.dumps(key, default=str).encode())
    try:
        return read_json_object(folder / FACTS_FILE) if (folder / FACTS_FILE).is_file() else None
    except UelError as error:
        log.warning("training: %s is damaged, and is written again: %s", folder / FACTS_FILE, error)
        return None  # goes on after the last epoch, which is written


def require_no_other_training(folder: Path, key: Any) -> None:
    """Raise `UelError` where a folder holds a training, finished or not, of another key, or of none that can be read.

    A part of a key is compared with that part alone: what is known before maps are made.
    """
    if not _has_results(folder):
        return
    try:
        former = read_json(folder / KEY_FILE)
    except UelError:
        differences = f"{KEY_FILE} of it cannot be read"
    else:
        if isinstance(former, dict) and isinstance(key, dict):
            former = {name: value for name, value in former.items() if name in key}
        changes = key_differences(former, key)
        if not changes:
            return
        differences = difference_text(changes)
    do = "give another --run, or --overwrite to remove it and train anew"
    raise UelError("this folder holds a training of another configuration", got=f"{folder}: {differences}", do=do)


def is_training(folder: Path) -> bool:
    """Whether a folder holds a training: the mark without which none is removed."""
    return _has_results(folder) and (folder / KEY_FILE).is_file()


def _has_results(folder: Path) -> bool:
    """Whether at least one epoch was trained."""
    return any((folder / name).is_file() for name in (LAST_CHECKPOINT, FACTS_FILE))


def discard_training(folder: Path) -> None:
    """Remove a training, if there is one. Raises `UelError` where it has no mark of this library."""
    with folder_lock(folder):
        if _has_results(folder):
            log.info("training: removing the one in %s", folder)
            remove_own_folder(folder, is_training, "training")


def first_process() -> bool:
    """Whether this is the process that writes, or the only one."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def _train(
    folder: Path, config: LocatorTrainingConfig, data: LocatorDataModule | FewLabelDataModule, draw: FixDrawing | None
) -> tuple[Locator, dict[str, Any]]:
    lightning.seed_everything(config.seed, verbose=False)
    task = LocatorTask(config.training, config.locator, config.measurement, data.train, config.seed)
    last_checkpoint = folder / LAST_CHECKPOINT
    if last_checkpoint.is_file():
        _require_readable(last_checkpoint)
        log.info("training: resuming from %s", last_checkpoint)
    best_checkpoints = ModelCheckpoint(
        folder, monitor="val_nll", save_top_k=KEPT_CHECKPOINTS, save_last=True, filename="{epoch}-{val_nll:.4f}"
    )
    early_stopping = EarlyStopping("val_nll", patience=config.training.patience)
    log_writers = make_loggers(folder, config.watch, folder.parent.name)
    callbacks = [
        EpochTimer(),
        TrainingForecast(config.training.steps),
        ValidationLogger(folder, data.validation[0], draw),
        early_stopping,
        best_checkpoints,
        RichProgressBar(leave=True),
    ]
    trainer = _trainer(folder, config, callbacks, log_writers)
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        try:
            trainer.fit(
                task, data, ckpt_path=str(last_checkpoint) if last_checkpoint.is_file() else None, weights_only=True
            )
        except SystemExit as stop:
            # Lightning ends the program where it is interrupted, before anybody can say how to go on.
            raise (stop.__context__ if isinstance(stop.__context__, KeyboardInterrupt) else stop) from None
        finally:
            close_loggers(log_writers)
    state = read_weights(Path(best_checkpoints.best_model_path), "cpu")["state_dict"]
    task.cpu().load_state_dict(state)
    return task.saved_locator.eval(), _facts(task, trainer, float(best_checkpoints.best_model_score or torch.nan))


def _require_readable(checkpoint: Path) -> None:
    """Raise `UelError` for a checkpoint that is damaged or foreign."""
    try:
        has_weights = "state_dict" in read_weights(checkpoint, "cpu")
    except UelError as error:
        raise UelError("the checkpoint is damaged", got=f"{checkpoint}: {error}", do=_ANEW) from error
    if not has_weights:
        raise UelError("the checkpoint is not one of a training", got=str(checkpoint), do=_ANEW)


def _trainer(
    folder: Path, config: LocatorTrainingConfig, callbacks: list[Callback], log_writers: list[Logger]
) -> lightning.Trainer:
    plan, hardware = config.training, config.hardware
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", hardware.devices))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", hardware.nodes))
    for logger in log_writers:
        logger.log_hyperparams({"seed": config.seed, **asdict(plan), **asdict(config.locator)})
    return lightning.Trainer(
        default_root_dir=folder,
        max_epochs=plan.epochs,
        accelerator=hardware.accelerator,
        num_nodes=nodes,
        **_devices(hardware.accelerator, devices, nodes),
        precision=hardware.precision,
        use_distributed_sampler=False,  # the data module gives each process its own batches
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=plan.clip,
        logger=log_writers,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=1,
        enable_model_summary=False,
    )


def _devices(accelerator: str, devices: int, nodes: int) -> dict[str, Any]:
    """Arguments of the trainer for `devices` processes on each of `nodes` machines.

    Each process sees the GPU of its rank alone (`sim_bridge.backend.runtime.use_gpu_of_rank`), as its first.
    """
    if devices * nodes == 1:
        return {"devices": 1, "strategy": "auto"}
    if accelerator == "cpu":
        return {"devices": devices, "strategy": "ddp"}
    return {"devices": 1, "strategy": DDPStrategy(parallel_devices=[torch.device("cuda", 0)] * devices)}


def _merge_logs(folder: Path) -> None:
    """Merge the logs of all attempts into one `metrics.csv`; of a repeated step the later row stays."""
    rows: dict[tuple[str, bool], dict[str, str]] = {}
    for log_file in sorted(folder.glob("log/part-*/metrics.csv")):
        rows |= {(row["step"], bool(row.get("loss"))): row for row in read_csv_log(log_file) if row["step"].isdigit()}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    replace_file(folder / "metrics.csv", csv_bytes(names, sorted(rows.values(), key=lambda row: int(row["step"]))))


def _facts(task: LocatorTask, trainer: lightning.Trainer, score: float) -> dict[str, Any]:
    counters = task.counters
    return {
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "processes": trainer.world_size,
        "batches": counters["batches"],
        "rt_batches": counters["rt_batches"],
        "rt_links": counters["rt_links"],
        "rt_gradient_norm": counters["rt_gradient_sum"] / max(counters["rt_batches"], 1),
        "val_nll": score,
        "wall_s": round(counters["wall_s"], 1),
        "cpu_s": round(counters["cpu_s"], 3),
        "rt_cpu_s": round(counters["rt_cpu_s"], 3),
    }
