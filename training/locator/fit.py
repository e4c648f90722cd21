"""Fit a locator with Lightning: checkpoints after every epoch, resumed when killed, reused when done."""

import csv
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from training.cache import alone
from training.data.deployment import Deployment
from training.locator.callbacks import EpochTimer, FixDrawing, ValidationLogger, close, loggers
from training.locator.config import LocatorTrainingConfig
from training.locator.datamodule import LocatorDataModule
from training.locator.few_labels import FewLabelDataModule
from training.locator.task import LocatorTask
from uel.errors import UelError
from uel.models.locator import Locator
from uel.survey.dataset import Survey

log = logging.getLogger(__name__)

for library in ("lightning", "lightning.pytorch", "lightning.fabric"):
    # Said once, by the handler and at the level of whoever runs this (Lightning sets its own at import).
    logging.getLogger(library).handlers.clear()
    logging.getLogger(library).setLevel(logging.NOTSET)

_ANEW = "copy a whole epoch=….ckpt beside it over it, or delete it to train anew"
BEST = 3  # checkpoints kept beside the last one
EXPECTED = (
    ".*does not have many workers.*",  # batches are drawn from maps in memory, which workers would have to copy
    ".*LeafSpec.* is deprecated",  # Lightning 2.6 asks torch's pytrees in the old way
    "Checkpoint directory .* exists and is not empty",  # that is what a resumed run finds
)


def fit(
    folder: Path,
    key: str,
    recipe: LocatorTrainingConfig,
    train: Sequence[Deployment],
    validate: Sequence[Deployment],
    survey: Survey | None = None,
    draw: FixDrawing | None = None,
) -> tuple[Locator, dict[str, Any]]:
    """`fit_on` batches of some worlds, or of a survey."""
    return fit_on(folder, key, recipe, lambda: LocatorDataModule(recipe, train, validate, survey), draw)


def fit_on(
    folder: Path,
    key: str,
    recipe: LocatorTrainingConfig,
    data: Callable[[], LocatorDataModule | FewLabelDataModule],
    draw: FixDrawing | None = None,
) -> tuple[Locator, dict[str, Any]]:
    """Train, or resume, or reuse what `folder` holds for this `key`; the epoch with the best validation wins.

    Returns the locator and the facts of its training: steps, epochs, processes, wall_s, val_nll of the epoch that won,
    and of this process cpu_s (of its steps), rt_cpu_s (of their ray tracing), batches, rt_batches, rt_links,
    rt_gradient_norm (mean norm of the ray-traced gradient at the predicted positions, 1/m). With several processes each
    calls this; the first one writes.
    """
    if prepared(folder, key):
        log.info("training: reusing %s", folder)
        return Locator.load(folder), json.loads((folder / "facts.json").read_text())
    locator, facts = _train(folder, recipe, data(), draw)
    if first_process():
        locator.save(folder)
        _merge_logs(folder)
        (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    return locator, facts


def prepared(folder: Path, key: str) -> bool:
    """Whether a folder holds what was trained for `key`; what is there for another key is removed."""
    with alone(folder):
        mark = folder / "key"
        if mark.is_file() and mark.read_text() != key:
            log.info("training: the configuration or the data changed, starting anew")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(key)
    return (folder / "facts.json").is_file()


def first_process() -> bool:
    """Whether this is the process that writes, or the only one."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def _train(
    folder: Path, recipe: LocatorTrainingConfig, data: LocatorDataModule | FewLabelDataModule, draw: FixDrawing | None
) -> tuple[Locator, dict[str, Any]]:
    lightning.seed_everything(recipe.seed, verbose=False)
    task = LocatorTask(recipe.training, recipe.locator, recipe.measurement, data.train, recipe.seed)
    last = folder / "last.ckpt"
    if last.is_file():
        _require_readable(last)
        log.info("training: resuming from %s", last)
    best = ModelCheckpoint(folder, monitor="val_nll", save_top_k=BEST, save_last=True, filename="{epoch}-{val_nll:.4f}")
    stop = EarlyStopping("val_nll", patience=recipe.training.patience)
    told = loggers(folder, recipe.watch, folder.parent.name)
    callbacks = [
        EpochTimer(),
        ValidationLogger(folder, data.validation[0], draw),
        stop,
        best,
        RichProgressBar(leave=True),
    ]
    trainer = _trainer(folder, recipe, callbacks, told)
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        try:
            trainer.fit(task, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
        finally:
            close(told)
    state = torch.load(best.best_model_path, weights_only=True, map_location="cpu")["state_dict"]
    task.cpu().load_state_dict(state)
    return task.best.eval(), _facts(task, trainer, float(best.best_model_score or torch.nan))


def _require_readable(checkpoint: Path) -> None:
    """Raise `UelError` for a checkpoint that was cut or is none."""
    try:
        whole = "state_dict" in torch.load(checkpoint, weights_only=True)
    except Exception as error:  # torch raises what its unpickler and zip reader raise
        raise UelError("this checkpoint cannot be read", got=f"{checkpoint}: {error}", do=_ANEW) from error
    if not whole:
        raise UelError("this checkpoint holds no training", got=str(checkpoint), do=_ANEW)


def _trainer(
    folder: Path, recipe: LocatorTrainingConfig, callbacks: list[Callback], told: list[Logger]
) -> lightning.Trainer:
    plan, hardware = recipe.training, recipe.hardware
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", hardware.devices))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", hardware.nodes))
    for logger in told:
        logger.log_hyperparams({"seed": recipe.seed, **asdict(plan), **asdict(recipe.locator)})
    return lightning.Trainer(
        default_root_dir=folder,
        max_epochs=plan.epochs,
        accelerator=hardware.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=hardware.precision,
        use_distributed_sampler=False,  # the data module gives each process its own batches
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=plan.clip,
        logger=told,
        callbacks=callbacks,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=1,
        enable_model_summary=False,
    )


def _merge_logs(folder: Path) -> None:
    """One `metrics.csv` of the logs of all attempts; of a step that was run twice the later row stays."""
    rows: dict[tuple[str, bool], dict[str, str]] = {}
    for part in sorted(folder.glob("log/part-*/metrics.csv")):
        with part.open(newline="") as file:
            rows |= {(row["step"], bool(row.get("loss"))): row for row in csv.DictReader(file)}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(sorted(rows.values(), key=lambda row: int(row["step"])))


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
