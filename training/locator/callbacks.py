"""Who is told how training goes: the clock, CSV files, pictures, TensorBoard, wandb."""

import csv
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

from training.data.batch import Batch, moved
from training.locator.config import LoggingConfig
from training.locator.task import LocatorTask
from training.locator.validation_metrics import ValidationScores, conditions, merged
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.geo.tile_maps import TileMaps
from uel.measurement.reports import Reports

LEVELS = tuple(round(0.05 * n, 2) for n in range(1, 20))  # nominal coverage of regions, percentiles of the error
SHOWN = 4  # phones whose heatmaps are drawn


FixDrawing = Callable[[str, TileMaps, Reports, Fix, Tensor], Mapping[str, bytes]]
"""PNG files by name: of a title, the maps that a locator was given, reports, its fixes and true positions (m)."""


class EpochTimer(Callback):
    """Adds the seconds of every epoch to the task's counters, before its checkpoint is written."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        self.start = time.perf_counter()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        if not trainer.sanity_checking:
            task.counters["wall_s"] += time.perf_counter() - self.start
            self.start = time.perf_counter()


class ValidationLogger(Callback):
    """After each validation: `cdf.csv` and `calibration.csv`, and pictures where somebody draws them."""

    def __init__(self, folder: Path, batch: Batch, draw: FixDrawing | None = None) -> None:
        self.folder, self.batch, self.draw = folder, batch, draw

    @rank_zero_only
    def on_validation_end(self, trainer: lightning.Trainer, task: LocatorTask) -> None:  # type: ignore[override]
        epoch = trainer.current_epoch
        for name, of in (("cdf", percentiles), ("calibration", coverage)):
            write_rows(self.folder / f"{name}.csv", epoch, {c: of(merged(task.judged, c)) for c in _each(task.judged)})
        if self.draw is not None:
            self._show(trainer, self._pictures(self.draw, epoch, task))

    def _pictures(self, draw: FixDrawing, epoch: int, task: LocatorTask) -> Mapping[str, bytes]:
        """Of the first phones."""
        with torch.no_grad(), task.here():
            batch = moved(self.batch, task.device)
            fix = moved(task.best(batch.reports[:SHOWN], batch.maps, batch.believed), "cpu")
        title = f"epoch {epoch}, maps {self.batch.condition}"
        return draw(title, self.batch.maps, self.batch.reports[:SHOWN], fix, self.batch.position[:SHOWN])

    def _show(self, trainer: lightning.Trainer, pictures: Mapping[str, bytes]) -> None:
        for name, content in pictures.items():
            path = self.folder / "pictures" / f"{name}-{trainer.current_epoch:03}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            for logger in trainer.loggers:
                _send(logger, name, path, trainer.global_step)


def _send(logger: Logger, name: str, path: Path, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [str(path)], step=step)
    elif isinstance(logger, TensorBoardLogger):
        from matplotlib.image import imread

        logger.experiment.add_image(name, imread(path)[..., :3], step, dataformats="HWC")


def _each(judged: list[ValidationScores]) -> list[str | None]:
    return [None, *conditions(judged)]


def percentiles(judged: ValidationScores) -> dict[str, float]:
    """Error in metres by share of phones."""
    return {f"{p}": round(float(judged.error.quantile(p)), 2) for p in LEVELS}


def coverage(judged: ValidationScores) -> dict[str, float]:
    """Share of phones inside regions, by the regions' probability."""
    return {f"{p}": round(float((judged.level <= p).float().mean()), 4) for p in LEVELS}


def write_rows(path: Path, epoch: int, rows: Mapping[str | None, Mapping[str, float]]) -> None:
    """Put one validation's rows into a CSV file, in the place of those of an attempt that was cut off."""
    kept = []
    if path.is_file():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]
    new = [{"epoch": epoch, "condition": condition or "all", **row} for condition, row in rows.items()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]))
        writer.writeheader()
        writer.writerows([*kept, *new])


def loggers(folder: Path, watch: LoggingConfig, run: str) -> list[Logger]:
    """CSV always, TensorBoard where it is installed, wandb where it is asked for."""
    part = f"part-{len(list(folder.glob('log/part-*'))):03}"
    found: list[Logger] = [CSVLogger(folder, name="log", version=part)]
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        found.append(TensorBoardLogger(folder, name="tensorboard", version=part))
    if watch.wandb != "off":
        found.append(_wandb(folder, watch, run))
    return found


def _wandb(folder: Path, watch: LoggingConfig, run: str) -> WandbLogger:
    from wandb.errors import Error

    folder.mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(name=run, project=watch.project, save_dir=folder, offline=watch.wandb == "offline")
    try:
        logger.experiment  # noqa: B018  (begins now)
    except Error as error:
        raise UelError("wandb does not begin", got=error, do="wandb login, or give --watch.wandb offline") from error
    return logger


def close(opened: list[Logger]) -> None:
    """What wandb has not written yet is written."""
    if any(isinstance(logger, WandbLogger) for logger in opened):
        import wandb

        if wandb.run is not None:
            wandb.finish()
