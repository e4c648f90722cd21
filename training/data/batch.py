"""Training batches: what one is made of, and the draw of batch number `i`, which depends on `i` and a seed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from training.data.augmentation import IDENTITY_TRANSFORM, AugmentationConfig, SimilarityTransform
from training.data.deployment import EXACT_MAPS, Deployment
from training.data.domain_randomization import DomainRandomizationConfig
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.tiers import TIERS
from uel.radio.link_truth import LinkTruth

VARIATION_SEED = 0x5EED  # what tells the generator of conditions, phones and turns from that of reports


@dataclass(frozen=True, eq=False)
class Batch:
    """Phones on one world, with their true positions in metres and the maps that the locator is given."""

    world: int
    index: int
    maps: TileMaps
    reports: Reports
    position: Float[Tensor, "batch 2"]
    condition: str = EXACT_MAPS
    similarity: SimilarityTransform = IDENTITY_TRANSFORM
    believed: ObservationModel | None = None
    """what the locator is told of the phones' realism; its own model unless given"""
    labelled: int | None = None
    """phones whose position is told, the first of the batch; `position` lacks those of others. All, unless given"""

    def to(self, device: torch.device | str, **how: Any) -> "Batch":
        """The same batch on another device; Lightning calls it."""
        return self if torch.device(device) == self.position.device else to_device(self, device, **how)


def to_device(value: Any, device: torch.device | str, **how: Any) -> Any:
    """A copy with all tensors on a device: of a tensor, or of dataclasses within one another."""
    if isinstance(value, Tensor):
        return value.to(device, **how)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        return replace(value, **{name: to_device(part, device, **how) for name, part in parts.items()})
    return value


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """What the batches of a training are drawn by."""

    model: ObservationModel
    """the locator's own"""
    size: int
    """phones in a batch"""
    seed: int
    traced_fraction: float = 0.25
    """share of phones whose truth is ray-traced; the others are drawn from the radio map"""
    realism: DomainRandomizationConfig | None = None
    """phones are as `model` says unless given"""
    augment: AugmentationConfig = field(default_factory=AugmentationConfig)
    conditions: Mapping[str, float] = field(default_factory=lambda: {EXACT_MAPS: 1.0})
    """weights of the map conditions"""

    @property
    def traced(self) -> int:
        return round(self.size * self.traced_fraction)


class BatchDataset(Dataset[Batch]):
    """`count` training batches from number `first` on, `stride` apart: ranks of a data-parallel training interleave.

    Batches go round the worlds and the feature tiers; those of `BatchConfig.traced_fraction` come from the survey, the
    rest from the map.
    """

    def __init__(
        self, worlds: Sequence[Deployment], drawing: BatchConfig, first: int = 0, count: int = 2**40, stride: int = 1
    ) -> None:
        self.worlds, self.drawing = worlds, drawing
        self.numbers = range(first, first + count * stride, stride)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self.numbers):
            raise IndexError(index)
        number = self.numbers[index]
        return draw_batch(self.worlds, self.drawing, number, number % len(self.worlds))


def draw_batch(
    worlds: Sequence[Deployment], drawing: BatchConfig, number: int, which: int, truth: LinkTruth | None = None
) -> Batch:
    """Batch `number`, on world `which`; its traced part has this `truth`, or some of the world's own survey."""
    world = worlds[which]
    generator = torch.Generator().manual_seed(drawing.seed * 1_000_003 + number)
    # Draws of their own, so that a plain plan's reports do not depend on what else a plan may draw.
    fork = torch.Generator().manual_seed((drawing.seed * 1_000_003 + number) ^ (VARIATION_SEED << 40))
    condition = _condition(drawing.conditions, fork)
    model, similarity = drawing.model, drawing.augment.draw(fork)
    if drawing.realism:
        model = drawing.realism.draw(model, fork)
    parts = []
    if truth is not None:
        parts.append(world.traced(truth, model, generator, similarity))
    elif drawing.traced and world.survey is not None:
        parts.append(world.from_survey(model, generator, drawing.traced, similarity))
    found = sum(len(position) for _, position in parts)
    if found < drawing.size:
        parts.append(world.from_map(drawing.size - found, model, generator, similarity))
    reports, positions = zip(*parts, strict=True)
    tiers = drawing.realism.tiers if drawing.realism else TIERS
    told = world.models.get(condition)
    return Batch(
        which,
        number,
        similarity.maps(world.given(condition)),
        world.said(Reports.cat(list(reports)), condition, similarity).tier(tiers[number // len(worlds) % len(tiers)]),
        torch.cat(positions),
        condition,
        similarity,
        drawing.realism.believed(told or drawing.model, model) if drawing.realism else told,
    )


def _condition(weights: Mapping[str, float], generator: torch.Generator) -> str:
    names = list(weights)
    return names[int(torch.multinomial(torch.tensor(list(weights.values())), 1, generator=generator))]
