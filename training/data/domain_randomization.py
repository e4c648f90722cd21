"""Domain randomization of phones: the parameters between link truth and report are drawn anew for every batch."""

from dataclasses import replace

import torch

from training.data.config import RANGE_FIELDS, DomainRandomizationConfig
from uel.measurement.model import ObservationModel


def draw_observation_model(
    config: DomainRandomizationConfig, model: ObservationModel, generator: torch.Generator
) -> ObservationModel:
    """`model` with drawn values."""
    fractions = torch.rand(len(RANGE_FIELDS), generator=generator, device=generator.device).tolist()
    pairs = (getattr(config, name) for name in RANGE_FIELDS)
    drawn = {n: low + s * (high - low) for n, s, (low, high) in zip(RANGE_FIELDS, fractions, pairs, strict=True)}
    index = int(torch.randint(len(config.cells_max), (), generator=generator, device=generator.device))
    return replace(model, cells_max=config.cells_max[index], **drawn)


def assumed_observation_model(
    config: DomainRandomizationConfig, model: ObservationModel, drawn: ObservationModel
) -> ObservationModel:
    """The observation model that a locator whose own is `model` assumes for phones with the drawn one."""
    return replace(model, **{name: getattr(drawn, name) for name in config.known_to_locator})
