"""The Lightning task: every batch learns from the maps, a chosen share of them asks the ray tracer too."""

import copy
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import lightning
import torch
from torch import Tensor

from training.data.augmentation import TransformedSimulator
from training.data.batch import Batch, moved
from training.data.deployment import Deployment
from training.locator.config import OptimizationConfig
from training.locator.losses import coarse_loss, fine_loss, patch_of, physics_loss
from training.locator.physics_schedule import TimedSimulator, TracingScheduler, map_error
from training.locator.validation_metrics import ValidationScores, conditions, merged, score_validation, scores
from uel.estimation.fix import Fix
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.simulator import Paths

YOUNG = 10  # in step t an average keeps (1 + t) / (YOUNG + t) at most: its first weights were random


@torch.no_grad()
def average_in(average: torch.nn.Module, network: torch.nn.Module, ema: float, step: int) -> None:
    """Put the weights of a network after `step` steps into their running average."""
    keep = min(ema, (1 + step) / (YOUNG + step))
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - keep)


class LocatorTask(lightning.LightningModule):
    """Trains a `Locator` on some worlds and validates it on batches of others."""

    def __init__(
        self,
        plan: OptimizationConfig,
        locator: LocatorConfig,
        measurement: ObservationModel,
        worlds: Sequence[Deployment],
        seed: int,
    ) -> None:
        super().__init__()
        self.plan, self.worlds, self.seed = plan, worlds, seed
        self.locator = Locator(locator, measurement)
        self.average = copy.deepcopy(self.locator).requires_grad_(False) if plan.ema else None
        self.save_hyperparameters({"plan": asdict(plan), "seed": seed})
        self.counters = {"batches": 0, "rt_batches": 0, "rt_links": 0, "rt_gradient_sum": 0.0, "wall_s": 0.0}
        self.counters |= {"cpu_s": 0.0, "rt_cpu_s": 0.0}
        self.doubt = TracingScheduler(plan.rt_fraction)
        self.judged: list[ValidationScores] = []

    @property
    def best(self) -> Locator:
        """What is validated and saved: the average of the weights, where there is one."""
        return self.average or self.locator

    def here(self) -> AbstractContextManager[Any]:
        """Grids and tables that the locator makes as it goes are made on its device."""
        return nullcontext() if self.device.type == "cpu" else self.device

    # ---- learning ------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        # Dropout draws from torch's own generator: a resumed epoch draws what it would have drawn.
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) * 1_003 + self.global_rank)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.began = time.process_time()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.counters["cpu_s"] += time.process_time() - self.began

    def training_step(self, batch: Batch, _: int) -> Tensor:
        with self.here():
            return self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        """Coarse and fine of the phones whose place is told, physics of all."""
        grid, plan, told = batch.maps.radio.grid, self.plan, slice(batch.labelled)
        fix = self.locator(batch.reports, batch.maps, batch.believed)
        position, at = batch.position[told], fix[told]
        patch = patch_of(position, grid, self.locator.config.patches)
        parts = {"coarse": coarse_loss(at, patch)}
        parts["fine"] = fine_loss(at, patch, position, grid.size / self.locator.config.patches)
        loss = parts["coarse"] + plan.fine * parts["fine"]
        for name, physics in self._physics(fix, batch).items():
            parts[name] = physics
            loss = loss + plan.physics * physics
        self.counters["batches"] += 1
        every = {"loss": loss} | parts
        self.log_dict({k: v.detach() for k, v in every.items()}, batch_size=len(position))
        return loss

    def _physics(self, fix: Fix, batch: Batch) -> dict[str, Tensor]:
        """The physics loss by its name, under the world's map, or the ray tracer where it is this batch's turn."""
        plan, world = self.plan, self.worlds[batch.world]
        tracer = world.simulator if plan.uses_ray_tracer and self._turn(fix, batch) else None
        if plan.loss == "none" or (plan.loss == "rt" and tracer is None):
            return {}
        source: Paths = world.maps.radio if tracer is None else TimedSimulator(tracer, self.counters)
        if tracer is None and self.device.type != "cpu":
            source = moved(world.maps.radio, self.device)
        if not batch.similarity.identity:
            source = TransformedSimulator(source, batch.similarity, world.tile.size)
        physics, position = physics_loss(
            fix,
            batch.reports,
            source,
            batch.maps.radio.grid,
            batch.maps.power_dbm,
            self.locator.measurement,
            plan.candidates,
            plan.features,
            tracer is not None,
        )
        if tracer is None:
            return {"physics_map": physics}
        self._count_tracing(position, batch.reports)
        # By itself a traced batch stands for those that are not: the same mean gradient whatever the fraction.
        return {"physics_rt": physics / plan.rt_fraction if plan.loss == "rt" else physics}

    def _turn(self, fix: Fix, batch: Batch) -> bool:
        """Whether this batch asks the ray tracer."""
        plan = self.plan
        if plan.loss != "hybrid":
            return plan.queries_ray_tracer(batch.index)
        error = map_error(fix, batch.reports, batch.maps, plan.candidates)
        return self.doubt.asks(entropy=float(fix.entropy().detach().mean()), error=error)

    def _count_tracing(self, position: Tensor, reports: Reports) -> None:
        """Note how many links were traced, and the gradient that comes back to the predicted positions."""
        self.counters["rt_batches"] += 1
        self.counters["rt_links"] += position[..., 0].numel() * reports.heard.shape[-1]
        # Only the physics loss reads these positions: what arrives here came through the ray tracer.
        position.register_hook(self._note_gradient)

    def _note_gradient(self, gradient: Tensor) -> None:
        self.counters["rt_gradient_sum"] += float(gradient.norm())

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step of the weights, then of their average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            average_in(self.average, self.locator, self.plan.ema, self.global_step)

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        optimizer = torch.optim.AdamW(
            self.locator.parameters(), lr=self.plan.learning_rate, weight_decay=self.plan.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.plan.rate_factor(step)
        )  # unbound: no part of checkpoints
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ---- validation ----------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.judged = []

    def validation_step(self, batch: Batch, index: int) -> None:
        with self.here():
            fix = self.best(batch.reports, batch.maps, batch.believed)
            draws = torch.Generator().manual_seed(self.seed + index)
            self.judged.append(score_validation(fix, batch.position, batch.condition, draws))

    def on_validation_epoch_end(self) -> None:
        """Scores of all phones, and of those of each map condition where there are several."""
        told = {f"val_{name}": value for name, value in scores(merged(self.judged)).items()}
        for condition in conditions(self.judged) if len(conditions(self.judged)) > 1 else ():
            of = scores(merged(self.judged, condition))
            told |= {f"val_{name}_{condition}": value for name, value in of.items()}
        # Every process validates on the same phones: the mean over processes is what each has.
        self.log_dict(told, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["counters"] = dict(self.counters)
        checkpoint["doubt"] = self.doubt.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.counters |= checkpoint["counters"]
        if "doubt" in checkpoint:
            self.doubt.load(checkpoint["doubt"])
