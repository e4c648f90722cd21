"""The Lightning task: every batch trains on the maps, a fraction of them queries the ray tracer too."""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning
import torch
from torch import Tensor

from training.data.batch import Batch, to_device
from training.locator.config import OptimizationConfig
from training.locator.losses import coarse_loss, fine_loss, patch_of, physics_loss
from training.locator.physics_schedule import TimedSimulator, TracingScheduler, mean_map_error
from training.locator.validation_metrics import (
    ValidationScores,
    conditions_of,
    merge_scores,
    score_validation,
    summarise_scores,
)
from uel.estimation.fix import Fix
from uel.geo.similarity_transform import TransformedSimulator
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.simulator import Paths

EMA_WARMUP_STEPS = 10  # step t keeps at most (1 + t) / (10 + t) of the average: its first weights were random


@torch.no_grad()
def update_average(average: torch.nn.Module, network: torch.nn.Module, ema: float, step: int) -> None:
    """Update the running average of the weights with those of a network after `step` steps."""
    kept = min(ema, (1 + step) / (EMA_WARMUP_STEPS + step))
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - kept)


class LocatorTask(lightning.LightningModule):
    """Trains a `Locator` on some deployments and validates it on batches of others."""

    def __init__(
        self,
        optimization: OptimizationConfig,
        locator: LocatorConfig,
        measurement: ObservationModel,
        deployments: Sequence[Deployment],
        seed: int,
    ) -> None:
        super().__init__()
        self.optimization, self.deployments, self.seed = optimization, deployments, seed
        self.locator = Locator(locator, measurement)
        self.average = copy.deepcopy(self.locator).requires_grad_(False) if optimization.ema else None
        self.save_hyperparameters({"optimization": asdict(optimization), "seed": seed})
        self.counters = {"batches": 0, "rt_batches": 0, "rt_links": 0, "rt_gradient_sum": 0.0, "wall_s": 0.0}
        self.counters |= {"cpu_s": 0.0, "rt_cpu_s": 0.0}
        self.tracing_scheduler = TracingScheduler(optimization.rt_fraction)
        self.validation_scores: list[ValidationScores] = []

    @property
    def saved_locator(self) -> Locator:
        """The locator that is validated and saved: the average of the weights if there is one."""
        return self.average or self.locator

    # ---- learning ------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        # Dropout draws from torch's global generator: seeded per epoch, a resumed epoch repeats its draws.
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) * 1_003 + self.global_rank)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.step_start = time.process_time()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.counters["cpu_s"] += time.process_time() - self.step_start

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Coarse and fine loss of the labelled phones, physics loss of all."""
        grid, optimization, labelled = batch.maps.radio.grid, self.optimization, slice(batch.labelled_count)
        fix = self.locator(batch.reports, batch.maps, batch.assumed_model)
        position, labelled_fix = batch.position[labelled], fix[labelled]
        patch = patch_of(position, grid, self.locator.config.patches)
        parts = {"coarse": coarse_loss(labelled_fix, patch)}
        parts["fine"] = fine_loss(labelled_fix, patch, position, grid.size / self.locator.config.patches)
        loss = parts["coarse"] + optimization.fine * parts["fine"]
        for name, physics in self._physics(fix, batch).items():
            parts[name] = physics
            loss = loss + optimization.physics * physics
        self.counters["batches"] += 1
        logged = {"loss": loss} | parts
        self.log_dict({k: v.detach() for k, v in logged.items()}, batch_size=len(position))
        return loss

    def _physics(self, fix: Fix, batch: Batch) -> dict[str, Tensor]:
        """The physics loss by its name, under the deployment's map, or under the ray tracer if this batch queries
        it."""
        optimization, deployment = self.optimization, self.deployments[batch.deployment_index]
        tracer = deployment.simulator if optimization.uses_ray_tracer and self._queries_ray_tracer(fix, batch) else None
        if optimization.loss == "none" or (optimization.loss == "rt" and tracer is None):
            return {}
        radio = deployment.maps.radio
        if tracer is not None:
            source: Paths = TimedSimulator(tracer, self.counters)
        else:
            source = radio if radio.gain.device == fix.mean.device else to_device(radio, fix.mean.device)
        if not batch.similarity.is_identity:
            source = TransformedSimulator(source, batch.similarity, deployment.tile.size)
        physics, position = physics_loss(
            fix,
            batch.reports,
            source,
            batch.maps.radio.grid,
            batch.maps.power_dbm,
            self.locator.measurement,
            optimization.candidates,
            optimization.features,
            tracer is not None,
        )
        if tracer is None:
            return {"physics_map": physics}
        self._count_tracing(position, batch.reports)
        # A traced batch stands for those that are not traced: the same mean gradient for every fraction.
        return {"physics_rt": physics / optimization.rt_fraction if optimization.loss == "rt" else physics}

    def _queries_ray_tracer(self, fix: Fix, batch: Batch) -> bool:
        """Whether this batch queries the ray tracer."""
        optimization = self.optimization
        if optimization.loss != "hybrid":
            return optimization.queries_ray_tracer(batch.number)
        error = mean_map_error(fix, batch.reports, batch.maps, optimization.candidates)
        return self.tracing_scheduler.should_trace(entropy=float(fix.entropy().detach().mean()), error=error)

    def _count_tracing(self, position: Tensor, reports: Reports) -> None:
        """Count the traced links and the gradient at the predicted positions."""
        self.counters["rt_batches"] += 1
        self.counters["rt_links"] += position[..., 0].numel() * reports.heard.shape[-1]
        # Only the physics loss reads these positions: their gradient came through the ray tracer.
        position.register_hook(self._note_gradient)

    def _note_gradient(self, gradient: Tensor) -> None:
        self.counters["rt_gradient_sum"] += float(gradient.norm())

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the weights, then update their average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            update_average(self.average, self.locator, self.optimization.ema, self.global_step)

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        optimizer = torch.optim.AdamW(
            self.locator.parameters(), lr=self.optimization.learning_rate, weight_decay=self.optimization.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.optimization.rate_factor(step)
        )  # a lambda is not stored in checkpoints
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ---- validation ----------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.validation_scores = []

    def validation_step(self, batch: Batch, index: int) -> None:
        fix = self.saved_locator(batch.reports, batch.maps, batch.assumed_model)
        generator = torch.Generator().manual_seed(self.seed + index)
        self.validation_scores.append(score_validation(fix, batch.position, batch.condition, generator))

    def on_validation_epoch_end(self) -> None:
        """Log scores of all phones, and of each map condition if there are several."""
        labelled = {
            f"val_{name}": value for name, value in summarise_scores(merge_scores(self.validation_scores)).items()
        }
        for condition in (
            conditions_of(self.validation_scores) if len(conditions_of(self.validation_scores)) > 1 else ()
        ):
            summary = summarise_scores(merge_scores(self.validation_scores, condition))
            labelled |= {f"val_{name}_{condition}": value for name, value in summary.items()}
        # Every process validates on the same phones: the mean over processes is the value of each.
        self.log_dict(labelled, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["counters"] = dict(self.counters)
        checkpoint["tracing_scheduler"] = self.tracing_scheduler.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.counters |= checkpoint["counters"]
        self.tracing_scheduler.load_state(checkpoint["tracing_scheduler"])
