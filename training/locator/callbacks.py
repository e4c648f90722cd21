"""Lightning callbacks and loggers: epoch times, CSV files, pictures, TensorBoard, wandb."""

import logging
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from training.data.batch import Batch, to_device
from training.locator.config import LoggingConfig
from training.locator.task import LocatorTask
from training.locator.validation_metrics import ValidationScores, conditions_of, merge_scores
from uel.core.durations import duration_text
from uel.core.files.append_logs import read_csv_log
from uel.core.io import csv_bytes, replace_file
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.estimation.scoring import Scores, coverage
from uel.geo.tile_maps import TileMaps
from uel.measurement.reports import Reports

log = logging.getLogger(__name__)

NOMINAL_LEVELS = tuple(round(0.05 * n, 2) for n in range(1, 20))  # nominal coverage of regions, quantiles of the error
UNTIMED_STEPS = 2  # steps before the clock starts: kernels are compiled in them
TIMED_STEPS = 5
PHONES_PER_PICTURE = 4  # phones whose heatmaps are drawn


FixDrawing = Callable[[str, TileMaps, Reports, Fix, Tensor], Mapping[str, bytes]]
"""A function from a title, the maps that a locator was given, reports, its fixes and true positions (m) to PNG files
by name.
"""


class EpochTimer(Callback):
    """Adds the seconds of every epoch to the task's counters, before its checkpoint is written."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        self.start = time.perf_counter()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        if not trainer.sanity_checking:
            task.counters["wall_s"] += time.perf_counter() - self.start
            self.start = time.perf_counter()


class TrainingForecast(Callback):
    """Logs how long a training will take at most, from the time of its first steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.first_step, self.start = steps, -1, 0.0

    @rank_zero_only
    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:  # type: ignore[override]
        step = trainer.global_step  # also counts those before an interruption
        if self.first_step < 0:
            self.first_step = step + UNTIMED_STEPS
        if step == self.first_step and not self.start:
            self.start = time.perf_counter()
        elif step == self.first_step + TIMED_STEPS and self.start:
            seconds, left = (time.perf_counter() - self.start) / TIMED_STEPS, self.steps - step
            self.start = 0.0
            if left > 0:
                text = "training: %.2g s a step, at most some %s for the other %d, without validation"
                log.info(text, seconds, duration_text(seconds * left), left)


class ValidationLogger(Callback):
    """Writes `cdf.csv` and `calibration.csv` after each validation, and pictures if given a function that draws
    them."""

    def __init__(self, folder: Path, batch: Batch, draw: FixDrawing | None = None) -> None:
        self.folder, self.batch, self.draw = folder, batch, draw

    @rank_zero_only
    def on_validation_end(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        epoch = trainer.current_epoch
        for name, summarise in (("cdf", error_percentiles), ("calibration", region_coverage)):
            write_rows(
                self.folder / f"{name}.csv",
                epoch,
                {c: summarise(merge_scores(task.validation_scores, c)) for c in _conditions(task.validation_scores)},
            )
        if self.draw is not None:
            self._write_pictures(trainer, self._pictures(self.draw, epoch, task))

    def _pictures(self, draw: FixDrawing, epoch: int, task: LocatorTask) -> Mapping[str, bytes]:
        """Pictures of the first phones."""
        with torch.no_grad():
            batch = to_device(self.batch, task.device)
            fix = to_device(
                task.saved_locator(batch.reports[:PHONES_PER_PICTURE], batch.maps, batch.assumed_model), "cpu"
            )
        title = f"epoch {epoch}, maps {self.batch.condition}"
        return draw(
            title,
            self.batch.maps,
            self.batch.reports[:PHONES_PER_PICTURE],
            fix,
            self.batch.position[:PHONES_PER_PICTURE],
        )

    def _write_pictures(self, trainer: lightning.Trainer, pictures: Mapping[str, bytes]) -> None:
        for name, content in pictures.items():
            path = self.folder / "pictures" / f"{name}-{trainer.current_epoch:03}.png"
            replace_file(path, content)
            for logger in trainer.loggers:
                _send(logger, name, path, trainer.global_step)


def _send(logger: Logger, name: str, path: Path, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [str(path)], step=step)
    elif isinstance(logger, TensorBoardLogger):
        from matplotlib.image import imread

        logger.experiment.add_image(name, imread(path)[..., :3], step, dataformats="HWC")


def _conditions(scores: list[ValidationScores]) -> list[str | None]:
    return [None, *conditions_of(scores)]


def error_percentiles(scores: Scores) -> dict[str, float]:
    """Error in metres by fraction of phones."""
    return {f"{p}": round(float(scores.error.quantile(p)), 2) for p in NOMINAL_LEVELS}


def region_coverage(scores: Scores) -> dict[str, float]:
    """Fraction of phones inside regions, by the regions' probability."""
    assert scores.hpd_level is not None, "fixes have a density"
    return {f"{p}": round(coverage(scores.hpd_level, p), 4) for p in NOMINAL_LEVELS}


def write_rows(path: Path, epoch: int, rows: Mapping[str | None, Mapping[str, float]]) -> None:
    """Write one validation's rows into a CSV file, replacing those of an interrupted attempt."""
    kept = [row for row in read_csv_log(path) if int(row["epoch"]) < epoch]
    new = [{"epoch": epoch, "condition": condition or "all", **row} for condition, row in rows.items()]
    replace_file(path, csv_bytes(list(new[0]), [*kept, *new]))


def make_loggers(folder: Path, watch: LoggingConfig, run: str) -> list[Logger]:
    """Loggers: CSV always, TensorBoard if it is installed, wandb if it is configured."""
    part = f"part-{len(list(folder.glob('log/part-*'))):03}"
    created: list[Logger] = [CSVLogger(folder, name="log", version=part)]
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        created.append(TensorBoardLogger(folder, name="tensorboard", version=part))
    if watch.wandb != "off":
        created.append(_wandb(folder, watch, run))
    return created


def _wandb(folder: Path, watch: LoggingConfig, run: str) -> WandbLogger:
    from wandb.errors import Error

    folder.mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(name=run, project=watch.project, save_dir=folder, offline=watch.wandb == "offline")
    try:
        logger.experiment  # noqa: B018  (starts the run)
    except Error as error:
        raise UelError(
            "wandb could not start a run", got=error, do="wandb login, or give --watch.wandb offline"
        ) from error
    return logger


def close_loggers(opened_loggers: list[Logger]) -> None:
    """Finish the wandb run, so that all of it is written."""
    if any(isinstance(logger, WandbLogger) for logger in opened_loggers):
        import wandb

        if wandb.run is not None:
            wandb.finish()
