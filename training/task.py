"""The Lightning task: every batch learns from the maps, a chosen share of them asks the ray tracer too."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from training.losses import coarse_loss, fine_loss, patch_of, physics_loss
from training.world import Batch, Batches, World
from uel.errors import UelError
from uel.locator import Locator, LocatorConfig
from uel.measurement import MeasurementModel
from uel.metrics import position_error


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """How long, how fast, and how often the ray tracer is asked."""

    epochs: int = 9
    """epochs; after each the locator is validated and the run can resume"""
    steps_per_epoch: int = 50
    """batches in an epoch"""
    batch: int = 16
    """phones in a batch, all on one tile"""
    learning_rate: float = 1e-3
    """peak rate of AdamW, after a warm-up of one epoch, before a cosine to zero"""
    weight_decay: float = 0.01
    """of AdamW"""
    clip: float = 1.0
    """greatest gradient norm"""
    fine: float = 0.3
    """weight of the offset's negative log-likelihood"""
    physics: float = 0.1
    """weight of the physics loss, by lookup and by ray tracing alike"""
    traced_share: float = 0.25
    """share of phones whose truth is ray-traced (the survey); the others are drawn from the radio map"""
    candidates: int = 2
    """likeliest patches that the physics loss looks at"""
    rt_fraction: float = 0.1
    """share of batches whose physics loss queries the ray tracer instead of the map"""
    rt_samples: int = 10_000
    """rays per cell in those queries, where no atlas answers"""
    rt_depth: int = 3
    """interactions on a path in those queries"""
    rt_diffraction: bool = False
    """diffraction in those queries: right gradients in shadows, but a full search each time and slow first batches"""

    def __post_init__(self) -> None:
        if min(self.epochs, self.steps_per_epoch, self.batch - 1, self.candidates, self.rt_samples) < 1:
            raise UelError(
                "training needs epochs, steps, batches of two or more, candidates and rays", got=self, do="raise them"
            )
        if not 0 <= self.rt_fraction <= 1:
            raise UelError("a share lies between 0 and 1", got=f"rt_fraction={self.rt_fraction}", do="try 0.1")

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def asks_tracer(self, step: int) -> bool:
        """Whether batch `step` queries the ray tracer: evenly spread, never fewer than the fraction."""
        return math.ceil((step + 1) * self.rt_fraction) > math.ceil(step * self.rt_fraction)


class LocatorTask(lightning.LightningModule):
    """Trains a `Locator` on some worlds and validates it on another."""

    def __init__(
        self,
        plan: TrainPlan,
        locator: LocatorConfig,
        measurement: MeasurementModel,
        worlds: Sequence[World],
        val: Batch,
        val_world: World,
        seed: int,
    ) -> None:
        super().__init__()
        self.plan, self.worlds, self.val, self.val_world, self.seed = plan, worlds, val, val_world, seed
        self.locator = Locator(locator, measurement)
        self.save_hyperparameters({"plan": asdict(plan), "seed": seed})
        self.counters = {"batches": 0, "rt_batches": 0, "rt_links": 0, "rt_gradient_sum": 0.0, "wall_s": 0.0}

    def train_dataloader(self) -> DataLoader:
        """One epoch's batches (Lightning asks again at each epoch, so that a resumed run sees the same ones)."""
        start = self.current_epoch * self.plan.steps_per_epoch
        batches = Batches(
            self.worlds,
            self.locator.measurement,
            self.plan.batch,
            self.seed,
            start,
            self.plan.steps_per_epoch,
            traced_share=self.plan.traced_share,
        )
        return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)

    def val_dataloader(self) -> DataLoader:
        return DataLoader([self.val], batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        world = self.worlds[batch.world]
        grid, plan = world.maps.radio.grid, self.plan
        fix = self.locator(batch.reports, world.maps)
        patch = patch_of(batch.position, grid, self.locator.config.patches)
        coarse = coarse_loss(fix, patch)
        fine = fine_loss(fix, patch, batch.position, grid.size / self.locator.config.patches)
        tracer = world.simulator if plan.asks_tracer(batch.index) else None
        source = world.maps.radio if tracer is None else tracer
        physics, position = physics_loss(
            fix, batch.reports, source, grid, world.maps.power_dbm, self.locator.measurement, plan.candidates
        )
        self.counters["batches"] += 1
        if tracer is not None:
            self._count_tracing(position, batch)
        loss = coarse + plan.fine * fine + plan.physics * physics
        asked = "physics_map" if tracer is None else "physics_rt"
        parts = {"loss": loss, "coarse": coarse, "fine": fine, asked: physics}
        self.log_dict({k: v.detach() for k, v in parts.items()}, batch_size=len(batch.position))
        return loss

    def _count_tracing(self, position: Tensor, batch: Batch) -> None:
        """Note how many links were traced, and the gradient that comes back to the predicted positions."""
        self.counters["rt_batches"] += 1
        self.counters["rt_links"] += position[..., 0].numel() * batch.reports.heard.shape[-1]
        # Only the physics loss reads these positions: what arrives here came through the ray tracer.
        position.register_hook(self._note_gradient)

    def _note_gradient(self, gradient: Tensor) -> None:
        self.counters["rt_gradient_sum"] += float(gradient.norm())

    def validation_step(self, batch: Batch, _: int) -> None:
        fix = self.locator(batch.reports, self.val_world.maps)
        error = position_error(fix.position, batch.position)
        nll = -fix.log_density(batch.position).mean()
        self.log_dict({"val_p50_m": error.median(), "val_mean_m": error.mean(), "val_nll": nll}, batch_size=len(error))

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.plan.learning_rate, weight_decay=self.plan.weight_decay
        )
        warm = self.plan.steps_per_epoch

        def factor(step: int) -> float:
            progress = max(step - warm, 0) / max(self.plan.steps - warm, 1)
            return min((step + 1) / warm, 1.0) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["counters"] = dict(self.counters)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.counters = dict(checkpoint["counters"])
