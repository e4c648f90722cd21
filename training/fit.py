"""Fit a locator with Lightning: checkpoints after every epoch, resumed when killed, reused when done."""

import csv
import json
import logging
import shutil
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger

from training.task import LocatorTask
from training.world import Batch, World
from uel.errors import UelError
from uel.locator import Locator
from uel.reports import Reports

if TYPE_CHECKING:
    from training.demo import DemoConfig

log = logging.getLogger(__name__)

_ANEW = "copy a whole epoch=….ckpt beside it over it, or delete it to train anew"
VALIDATION = 192  # phones
EXPECTED = (
    ".*does not have many workers.*",  # batches are drawn from maps in memory, which workers would have to copy
    ".*LeafSpec.* is deprecated",  # Lightning 2.6 asks torch's pytrees in the old way
    "Checkpoint directory .* exists and is not empty",  # that is what a resumed run finds
)


class _Clock(Callback):
    """Adds the seconds of every epoch to the task's counters, before its checkpoint is written."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        self.start = time.perf_counter()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        if not trainer.sanity_checking:
            task.counters["wall_s"] += time.perf_counter() - self.start
            self.start = time.perf_counter()


def fit(
    folder: Path, key: str, config: "DemoConfig", train: list[World], validate: World
) -> tuple[Locator, dict[str, Any]]:
    """Train, or resume, or reuse what `folder` holds for this `key`; the epoch with the best validation wins.

    Returns the locator and the facts of its training: steps, batches, rt_batches, rt_links,
    rt_gradient_norm (mean norm of the ray-traced gradient at the predicted positions, 1/m), wall_s.
    """
    done = folder / "facts.json"
    if folder.exists() and (folder / "key").exists() and (folder / "key").read_text() != key:
        log.info("training: the configuration or the data changed, starting anew")
        shutil.rmtree(folder)
    if done.is_file():
        log.info("training: reusing %s", folder)
        return Locator.load(folder), json.loads(done.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").write_text(key)
    locator, facts = _train(folder, config, train, validate)
    locator.save(folder)
    _merge_logs(folder)
    done.write_text(json.dumps(facts, indent=1))
    return locator, facts


def _train(folder: Path, config: "DemoConfig", train: list[World], validate: World) -> tuple[Locator, dict[str, Any]]:
    lightning.seed_everything(config.seed, verbose=False)
    task = LocatorTask(
        config.training, config.locator, config.measurement, train, _validation(config, validate), validate, config.seed
    )
    best = ModelCheckpoint(folder, monitor="val_nll", save_top_k=3, save_last=True, filename="{epoch}-{val_nll:.4f}")
    last = folder / "last.ckpt"
    if last.is_file():
        _require_readable(last)
        log.info("training: resuming from %s", last)
    trainer = _trainer(folder, config, [best, _Clock(), RichProgressBar(leave=True)])
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        trainer.fit(task, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    task.load_state_dict(state)
    return task.locator.eval(), _facts(task, trainer.global_step)


def _require_readable(checkpoint: Path) -> None:
    """Raise `UelError` for a checkpoint that was cut or is none."""
    try:
        whole = "state_dict" in torch.load(checkpoint, weights_only=True)
    except Exception as error:  # torch raises what its unpickler and zip reader raise
        raise UelError("this checkpoint cannot be read", got=f"{checkpoint}: {error}", do=_ANEW) from error
    if not whole:
        raise UelError("this checkpoint holds no training", got=str(checkpoint), do=_ANEW)


def _trainer(folder: Path, config: "DemoConfig", callbacks: list[Callback]) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=config.training.epochs,
        accelerator="cpu",
        gradient_clip_val=config.training.clip,
        logger=CSVLogger(folder, name="log", version=f"part-{len(list(folder.glob('log/part-*'))):03}"),
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


def _validation(config: "DemoConfig", world: World) -> Batch:
    """Phones of the validation tile with all features, the same in every epoch, in the truths' shares of training."""
    generator = torch.Generator().manual_seed(config.seed + 7)
    share = round(VALIDATION * config.training.traced_share)
    traced, traced_at = world.from_survey(config.measurement, generator, share)
    drawn, drawn_at = world.from_map(VALIDATION - share, config.measurement, generator)
    return Batch(0, 0, Reports.cat([traced, drawn]), torch.cat([traced_at, drawn_at]))


def _facts(task: LocatorTask, steps: int) -> dict[str, Any]:
    counters = task.counters
    return {
        "steps": steps,
        "batches": counters["batches"],
        "rt_batches": counters["rt_batches"],
        "rt_links": counters["rt_links"],
        "rt_gradient_norm": counters["rt_gradient_sum"] / max(counters["rt_batches"], 1),
        "wall_s": round(counters["wall_s"], 1),
    }
