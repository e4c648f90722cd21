"""Fit of the network that predicts levels of links."""

import logging

import torch
from torch import Tensor
from torch.nn import functional as F

from training.level_maps.config import LinkTrainingConfig
from training.level_maps.link_samples import LinkSamples
from uel.core.display.progress import with_progress
from uel.prediction.learned_maps.link_features import PATCH_MIRROR
from uel.prediction.learned_maps.link_network import LinkNetwork, LinkPrediction, link_log_odds

log = logging.getLogger(__name__)

WEIGHT_DECAY = 0.1
WARMUP_FRACTION = 0.1  # of the steps
MAX_GRADIENT_NORM = 1.0
TAIL_DOF = 6.0  # degrees of freedom of the Student distribution of levels
PRESENCE_WEIGHT = 3.0  # of the loss of presence beside that of levels
MAX_LINK_WEIGHT = 20.0  # of a link that stands for others
STEPS_PER_MESSAGE = 100


def fit_links(config: LinkTrainingConfig, samples: LinkSamples, seed: int, name: str) -> LinkNetwork:
    """Train on the links of some districts; the same seed and links give the same network."""
    torch.manual_seed(seed)
    network = LinkNetwork(config.network).train()
    network.standardise(samples.features[:: max(1, len(samples) // 50_000)].float())
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, max(config.steps, 2), pct_start=WARMUP_FRACTION
    )
    generator, losses = torch.Generator().manual_seed(seed), list[tuple[float, float]]()
    for step in with_progress(range(config.steps), f"learning levels of links ({name})"):
        drawn = samples[torch.randint(len(samples), (config.batch,), generator=generator, device=generator.device)]
        heights, features = drawn.heights.float(), drawn.features.float()
        if (
            torch.rand((), generator=generator, device=generator.device) < 0.5
        ):  # a district's mirror image is another district
            heights = heights[:, PATCH_MIRROR]
        heights = heights * (
            torch.rand(len(heights), 1, generator=generator, device=generator.device) >= config.hidden_heights
        )
        noise = torch.randn(features.shape, generator=generator, device=generator.device)
        features = features + config.feature_noise * network.std * noise
        level, presence = link_losses(network(features, heights), drawn)
        optimizer.zero_grad()
        (level + PRESENCE_WEIGHT * presence).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        losses.append((level.item(), presence.item()))
        if (step + 1) % STEPS_PER_MESSAGE == 0:
            level_mean, presence_mean = torch.tensor(losses[-STEPS_PER_MESSAGE:], device="cpu").mean(0).tolist()
            log.info("%s, step %d: %.3f nats a level, %.4f a presence", name, step + 1, level_mean, presence_mean)
    return network.eval()


def link_losses(predicted: LinkPrediction, samples: LinkSamples) -> tuple[Tensor, Tensor]:
    """Mean negative log-density of named cells' levels, and mean cross-entropy of presence, in nats."""
    named = samples.is_reported
    density = torch.distributions.StudentT(TAIL_DOF, predicted.mean_dbm[named], predicted.std_db[named])
    level = -density.log_prob(samples.level_dbm[named]).mean() if named.any() else torch.zeros((), device="cpu")
    weight = samples.weight.clamp(max=MAX_LINK_WEIGHT)
    cross_entropy = F.binary_cross_entropy_with_logits(
        link_log_odds(predicted, samples.count), named.float(), reduction="none"
    )
    return level, (weight * cross_entropy).sum() / weight.sum()
