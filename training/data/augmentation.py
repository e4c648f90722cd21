"""Random similarity transforms of training batches."""

import torch

from training.data.config import AugmentationConfig
from uel.geo.similarity_transform import SimilarityTransform


def draw_similarity(config: AugmentationConfig, generator: torch.Generator) -> SimilarityTransform:
    """Draw a transform."""
    mirrored, quarter, angle, scale = torch.rand(4, generator=generator, device=generator.device).tolist()
    return SimilarityTransform(
        mirrored=config.symmetries and mirrored < 0.5,
        angle_deg=90.0 * int(4 * quarter) * config.symmetries + config.angle_deg * (2 * angle - 1),
        scale=1 + config.scale * (2 * scale - 1),
    )
