"""Everything that the training of a locator depends on beside its deployments."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.data.batch import BatchConfig
from training.data.config import AugmentationConfig, DomainRandomizationConfig
from training.locator.config import HardwareConfig, LoggingConfig, OptimizationConfig
from uel.core.outside.number_ranges import require_numbers
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.results.condition import EXACT_MAPS


@dataclass(frozen=True, kw_only=True)
class LocatorTrainingConfig:
    """Everything that the training of a locator depends on beside its deployments."""

    seed: int = 1
    measurement: ObservationModel = field(default_factory=ObservationModel)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(default_factory=OptimizationConfig)
    realism: DomainRandomizationConfig | None = None
    augment: AugmentationConfig = field(default_factory=AugmentationConfig)
    conditions: Mapping[str, float] = field(default_factory=lambda: {EXACT_MAPS: 1.0})
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    watch: LoggingConfig = field(default_factory=LoggingConfig)

    def __post_init__(self) -> None:
        require_numbers(self, conditions=(0, 1e9))

    @property
    def batch_config(self) -> BatchConfig:
        """Parameters of the draw of batches."""
        return BatchConfig(
            model=self.measurement,
            size=self.training.batch,
            seed=self.seed,
            traced_fraction=self.training.traced_fraction,
            realism=self.realism,
            augment=self.augment,
            conditions=self.conditions,
        )
