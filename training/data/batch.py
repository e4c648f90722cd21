"""Training batches and the draw of batch number `i`, which depends on `i` and a seed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from training.data.augmentation import draw_similarity
from training.data.config import AugmentationConfig, DomainRandomizationConfig
from training.data.domain_randomization import assumed_observation_model, draw_observation_model
from uel.core.outside.number_ranges import require_numbers
from uel.geo.similarity_transform import IDENTITY_TRANSFORM, SimilarityTransform
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.tiers import TIERS
from uel.radio.link_truth import LinkTruth
from uel.results.condition import EXACT_MAPS

VARIATION_SEED = 0x5EED  # separates the generator of conditions, phones and transforms from that of reports


@dataclass(frozen=True, eq=False)
class Batch:
    """Reports of phones on one deployment, with their true positions in metres and the maps that the locator is
    given."""

    deployment_index: int
    number: int
    maps: TileMaps
    reports: Reports
    position: Float[Tensor, "batch 2"]
    condition: str = EXACT_MAPS
    similarity: SimilarityTransform = IDENTITY_TRANSFORM
    assumed_model: ObservationModel | None = None
    """the observation model that the locator is given for these phones; its own unless given"""
    labelled_count: int | None = None
    """number of phones with a known position, the first ones of the batch; all unless given. `position` holds zeros
    for the others
    """

    def to(self, device: torch.device | str, **options: Any) -> "Batch":
        """The same batch on another device; Lightning calls it."""
        return self if torch.device(device) == self.position.device else to_device(self, device, **options)


def to_device(value: Any, device: torch.device | str, **options: Any) -> Any:
    """A copy of a tensor, or of nested dataclasses with all their tensors, on a device."""
    if isinstance(value, Tensor):
        return value.to(device, **options)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        return replace(value, **{name: to_device(part, device, **options) for name, part in parts.items()})
    return value


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """Parameters of the draw of training batches."""

    model: ObservationModel
    """the locator's own observation model"""
    size: int
    """phones in a batch"""
    seed: int
    traced_fraction: float = 0.25
    """fraction of phones with ray-traced truth; the others are drawn from the radio map"""
    realism: DomainRandomizationConfig | None = None
    """domain randomization of phones; without it all phones follow `model`"""
    augment: AugmentationConfig = field(default_factory=AugmentationConfig)
    conditions: Mapping[str, float] = field(default_factory=lambda: {EXACT_MAPS: 1.0})
    """weights of the map conditions"""

    def __post_init__(self) -> None:
        require_numbers(self, size=(1, 1e6), traced_fraction=(0, 1), conditions=(0, 1e9))

    @property
    def traced_count(self) -> int:
        """Phones of a batch with ray-traced truth."""
        return round(self.size * self.traced_fraction)


class BatchDataset(Dataset[Batch]):
    """`count` training batches from number `first` on, `stride` apart: ranks of a data-parallel training interleave.

    Batches cycle through the deployments and the feature tiers; a `BatchConfig.traced_fraction` of their phones comes
    from the survey, the others from the map.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        config: BatchConfig,
        first: int = 0,
        count: int = 2**40,
        stride: int = 1,
    ) -> None:
        self.deployments, self.config = deployments, config
        self.numbers = range(first, first + count * stride, stride)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self.numbers):
            raise IndexError(index)
        number = self.numbers[index]
        return draw_batch(self.deployments, self.config, number, number % len(self.deployments))


def draw_batch(
    deployments: Sequence[Deployment], config: BatchConfig, number: int, index: int, truth: LinkTruth | None = None
) -> Batch:
    """Batch `number` on deployment `index`; its ray-traced phones have the given `truth`, or draw from the
    deployment's survey.
    """
    deployment = deployments[index]
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
    # A generator of its own, so that reports do not depend on what else a config draws.
    variation_generator = torch.Generator().manual_seed((config.seed * 1_000_003 + number) ^ (VARIATION_SEED << 40))
    condition = _condition(config.conditions, variation_generator)
    model, similarity = config.model, draw_similarity(config.augment, variation_generator)
    if config.realism:
        model = draw_observation_model(config.realism, model, variation_generator)
    parts = []
    if truth is not None:
        parts.append(deployment.reports_from_paths(truth, model, generator, similarity))
    elif config.traced_count and deployment.survey is not None:
        parts.append(deployment.reports_from_survey(model, generator, config.traced_count, similarity))
    traced = sum(len(position) for _, position in parts)
    if traced < config.size:
        parts.append(deployment.reports_from_map(config.size - traced, model, generator, similarity))
    reports, positions = zip(*parts, strict=True)
    tiers = config.realism.tiers if config.realism else TIERS
    adapted = deployment.adapted_models.get(condition)
    return Batch(
        index,
        number,
        similarity.maps(deployment.assumed_maps(condition)),
        deployment.as_reported(Reports.cat(list(reports)), condition, similarity).with_tier(
            tiers[number // len(deployments) % len(tiers)]
        ),
        torch.cat(positions),
        condition,
        similarity,
        assumed_observation_model(config.realism, adapted or config.model, model) if config.realism else adapted,
    )


def _condition(weights: Mapping[str, float], generator: torch.Generator) -> str:
    names = list(weights)
    return names[int(torch.multinomial(torch.tensor(list(weights.values()), device="cpu"), 1, generator=generator))]
