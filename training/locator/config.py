"""Configurations of a locator's training. No framework is imported here."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.models.config import RestorerConfig
from uel.radio.tracing_config import TracingConfig

LossFeature = Literal["rsrp", "ta", "aoa"]
"""Report features that the physics loss compares: levels; timing advances and times of arrival; azimuths."""


LossKind = Literal["none", "map", "rt", "map+rt", "hybrid"]
"""No physics loss; map lookup; ray tracing on a fraction of batches and nothing on the others; ray tracing on that
fraction and map lookup on the others; the same, with that fraction where uncertainty is largest.
"""


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """Length, learning rate and losses of a training, and how often its loss queries the ray tracer."""

    epochs: int = 9
    """epochs; the locator is validated after each, and a killed run resumes after the last whole one"""
    steps_per_epoch: int = 50
    """optimizer steps in an epoch"""
    batch: int = 16
    """phones in a batch, all on one tile"""
    accumulate: int = 1
    """batches of each process in one optimizer step"""
    learning_rate: float = 1e-3
    """peak learning rate of AdamW, after the warm-up and before a cosine decay to zero"""
    warmup: int = 0
    """warm-up steps; 0: one epoch"""
    weight_decay: float = 0.01
    """weight decay of AdamW"""
    clip: float = 1.0
    """largest gradient norm"""
    ema: float = 0.0
    """fraction that the exponential moving average of the weights keeps in each step, for example 0.999; the average is
    then validated and saved. 0: the weights themselves"""
    patience: int = 10
    """epochs without a better validation after which training stops early"""
    validation: int = 192
    """phones of each validation deployment and map condition"""
    fine: float = 0.3
    """weight of the offset's negative log-likelihood"""
    loss: LossKind = "map+rt"
    """what the physics loss queries, see `training.locator.physics_schedule`"""
    features: tuple[LossFeature, ...] = ("rsrp",)
    """report features that the physics loss compares, see `training.locator.losses`"""
    physics: float = 0.1
    """weight of the physics loss, by map lookup and by ray tracing alike"""
    traced_fraction: float = 0.25
    """fraction of phones with ray-traced truth (from the survey); the others are drawn from the radio map"""
    candidates: int = 2
    """most likely patches that the physics loss evaluates"""
    rt_fraction: float = 0.1
    """fraction of batches whose physics loss queries the ray tracer instead of the map"""
    rt_samples: int = 10_000
    """rays per cell in those queries, where no atlas answers"""
    rt_depth: int = 3
    """interactions on a path in those queries"""
    rt_diffraction: bool = False
    """diffraction in those queries: right gradients in shadows, at some 1.5 times the cost"""

    def __post_init__(self) -> None:
        require_numbers(self, rt_depth=(0, 10))
        self._require_at_least(1, "epochs", "steps_per_epoch", "accumulate", "patience", "candidates", "rt_samples")
        self._require_at_least(2, "batch", "validation")
        self._require_at_least(0, "warmup", "weight_decay", "fine", "physics")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise UelError(f"training.{name} must be positive", got=getattr(self, name), do="leave the default")
        for name in ("rt_fraction", "traced_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise UelError(f"training.{name} must lie between 0 and 1", got=getattr(self, name), do="give 0.1")
        if not 0 <= self.ema < 1:
            raise UelError("training.ema must be at least 0 and less than 1", got=self.ema, do="give 0.999")
        if not self.features or len(set(self.features)) < len(self.features):
            got = " ".join(self.features) or "none"
            raise UelError("training.features must name each feature once", got=got, do="give rsrp ta aoa")
        if self.loss in ("rt", "hybrid") and not self.rt_fraction:
            got = f"training.loss {self.loss}, training.rt_fraction 0"
            raise UelError("this physics loss needs ray-traced batches", got=got, do="give --training.rt-fraction 0.1")

    def _require_at_least(self, least: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise UelError(f"training.{name} is too small", got=getattr(self, name), do=f"give {least} or more")

    @property
    def uses_ray_tracer(self) -> bool:
        """Whether any batch queries the ray tracer."""
        return self.loss in ("rt", "map+rt", "hybrid") and self.rt_fraction > 0

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    @property
    def batches_per_epoch(self) -> int:
        """Batches of each process in an epoch."""
        return self.steps_per_epoch * self.accumulate

    def queries_ray_tracer(self, batch: int) -> bool:
        """Whether batch number `batch` queries the ray tracer: evenly spaced, never fewer than `rt_fraction`."""
        return math.ceil((batch + 1) * self.rt_fraction) > math.ceil(batch * self.rt_fraction)

    def rate_factor(self, step: int) -> float:
        """Fraction of the peak learning rate in a step: a linear warm-up, then half a cosine."""
        warm = self.warmup or self.steps_per_epoch
        progress = max(step - warm, 0) / max(self.steps - warm, 1)
        return min((step + 1) / warm, 1.0) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def live_tracing(self, tracing: TracingConfig) -> TracingConfig:
        """`tracing` with the rays of the loss's own queries.

        Scattered paths are many and weak, and their backward pass is slow: the loss does without them.
        """
        return replace(
            tracing,
            samples=self.rt_samples,
            max_depth=self.rt_depth,
            scattering=0.0,
            diffraction=self.rt_diffraction,
            chunk=self.batch * self.candidates,
            max_paths=100_000,
        )


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Devices and precision of training. Under torchrun the processes of a node are those that it started."""

    accelerator: Literal["cpu", "gpu"] = "cpu"
    devices: int = 1
    """processes on each node, with a GPU each or a part of the CPU"""
    nodes: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """precision of matrix products and convolutions; likelihoods stay in 32 bits"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise UelError(f"hardware.{name} must be at least 1", got=getattr(self, name), do="give 1 or more")
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            do = "give --hardware.precision bf16-mixed"
            raise UelError("hardware.precision 16-mixed needs a GPU", got="hardware.accelerator cpu", do=do)


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Loggers of training beside CSV files, and beside TensorBoard where that is installed."""

    wandb: Literal["off", "offline", "online"] = "off"
    """offline writes a run beside the logs, for `wandb sync`; online needs `wandb login` first"""
    project: str = "uel"
    """wandb project"""


@dataclass(frozen=True, kw_only=True)
class MapRestorerTrainingConfig:
    """Length and learning rate of the training of the map restorer: some 25 CPU minutes by default."""

    steps: int = 2000
    """AdamW steps; 0 trains no restorer, and maps are corrected by labelled reports alone"""
    batch: int = 8
    """cells in a batch, each of one deployment under one map condition"""
    learning_rate: float = 3e-3
    """peak rate, after a warm-up and before a cosine decay to zero"""
    network: RestorerConfig = field(default_factory=RestorerConfig)

    def __post_init__(self) -> None:
        require_numbers(self)
        if self.steps < 0:
            raise UelError("map_restorer.steps must not be negative", got=self.steps, do="give 2000, or 0 for none")
        if self.batch < 1:
            raise UelError("map_restorer.batch must be at least 1", got=self.batch, do="give 8")
        if not 0 < self.learning_rate < math.inf:
            raise UelError("map_restorer.learning_rate must be positive", got=self.learning_rate, do="give 3e-3")


LABELS_PER_VALIDATION_PHONE = 5  # labelled phones for each one that is held out for validation
