"""All that decides how a locator comes out of some worlds, and what is told on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from training.data.augmentation import AugmentPlan
from training.data.batch import Drawing
from training.data.deployment import EXACT
from training.data.domain_randomization import RealismPlan
from training.locator.task import TrainPlan
from uel.errors import UelError
from uel.measurement.model import MeasurementModel
from uel.models.locator import LocatorConfig


@dataclass(frozen=True, kw_only=True)
class Hardware:
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
class Watch:
    """Who is told how training goes; CSV files are written in any case, TensorBoard's where that is installed."""

    wandb: Literal["off", "offline", "online"] = "off"
    """offline writes a run beside the logs, for `wandb sync`; online needs `wandb login` before"""
    project: str = "uel"
    """of wandb"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a training depends on beside its worlds."""

    seed: int = 1
    measurement: MeasurementModel = field(default_factory=MeasurementModel)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: TrainPlan = field(default_factory=TrainPlan)
    realism: RealismPlan | None = None
    augment: AugmentPlan = field(default_factory=AugmentPlan)
    conditions: Mapping[str, float] = field(default_factory=lambda: {EXACT: 1.0})
    hardware: Hardware = field(default_factory=Hardware)
    watch: Watch = field(default_factory=Watch)

    @property
    def drawing(self) -> Drawing:
        """What batches are drawn by."""
        return Drawing(
            model=self.measurement,
            size=self.training.batch,
            seed=self.seed,
            traced_share=self.training.traced_share,
            realism=self.realism,
            augment=self.augment,
            conditions=self.conditions,
        )
