"""All that decides how a locator comes out of some worlds, and what is told on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from training.data.augmentation import AugmentationConfig
from training.data.batch import BatchConfig
from training.data.deployment import EXACT
from training.data.domain_randomization import DomainRandomizationConfig
from training.locator.task import OptimizationConfig
from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.models.locator import LocatorConfig


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Where training runs. Under torchrun the processes of a node are those that it started."""

    accelerator: Literal["cpu", "gpu"] = "cpu"
    devices: int = 1
    """processes on each node, with a GPU each or a share of the CPU"""
    nodes: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """of matrix products and convolutions; likelihoods stay in 32 bits"""

    def __post_init__(self) -> None:
        if min(self.devices, self.nodes) < 1:
            raise UelError("training runs on devices of nodes", got=self, do="give at least one of each")
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            raise UelError("16-mixed needs a GPU", got=self, do="give --hardware.precision bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Who is told how training goes; CSV files are written in any case, TensorBoard's where that is installed."""

    wandb: Literal["off", "offline", "online"] = "off"
    """offline writes a run beside the logs, for `wandb sync`; online needs `wandb login` before"""
    project: str = "uel"
    """of wandb"""


@dataclass(frozen=True, kw_only=True)
class LocatorTrainingConfig:
    """What a training depends on beside its worlds."""

    seed: int = 1
    measurement: ObservationModel = field(default_factory=ObservationModel)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(default_factory=OptimizationConfig)
    realism: DomainRandomizationConfig | None = None
    augment: AugmentationConfig = field(default_factory=AugmentationConfig)
    conditions: Mapping[str, float] = field(default_factory=lambda: {EXACT: 1.0})
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    watch: LoggingConfig = field(default_factory=LoggingConfig)

    @property
    def drawing(self) -> BatchConfig:
        """What batches are drawn by."""
        return BatchConfig(
            model=self.measurement,
            size=self.training.batch,
            seed=self.seed,
            traced_share=self.training.traced_share,
            realism=self.realism,
            augment=self.augment,
            conditions=self.conditions,
        )
