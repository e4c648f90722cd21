"""Fit of the network that weighs the evidence, on maps of districts that the maps' network has not learned from."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from training.level_maps.config import EvidenceTrainingConfig
from uel.core.display.progress import with_progress
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.predictor import PredictedDistrict

log = logging.getLogger(__name__)

WARMUP_FRACTION = 0.1  # of the steps
MAX_GRADIENT_NORM = 1.0
EVIDENCE_RATE_FACTOR = 10.0  # of the rate of the evidence's few weights beside the network's
STEPS_PER_MESSAGE = 250


def fit_evidence(
    config: EvidenceTrainingConfig, districts: Sequence[tuple[PredictedDistrict, MeasuredNetwork]], seed: int
) -> EvidenceNetwork:
    """Minimise the negative log-probability of the blocks that reports came from, with the network and without it.

    Args:
        config: length of the training and sizes.
        districts: maps of districts, and the networks with the measured squares.
        seed: of the network and of the draws.
    """
    torch.manual_seed(seed)
    network = EvidenceNetwork(config.network).train()
    rates = [config.learning_rate * EVIDENCE_RATE_FACTOR, config.learning_rate]
    weights = list(network.evidence.parameters())
    layers = [value for name, value in network.named_parameters() if not name.startswith("evidence.")]
    optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 0.0}, {"params": layers}], config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, max(config.steps, 2), pct_start=WARMUP_FRACTION)
    generator, losses = torch.Generator().manual_seed(seed), list[tuple[float, float]]()
    squares = [measured.is_judged.nonzero()[:, 0] for _, measured in districts]
    for step in with_progress(range(config.steps), "learning to weigh the evidence"):
        number = int(torch.randint(len(districts), (), generator=generator, device=generator.device))
        predicted, measured = districts[number]
        drawn = squares[number][
            torch.randint(len(squares[number]), (config.batch,), generator=generator, device=generator.device)
        ]
        reports = PaddedReports.of(measured.level_dbm[drawn], measured.is_reported[drawn])
        truth = predicted.places.nearest(measured.position[drawn])
        plain = network.grid_bayes(predicted.maps, predicted.places, reports)
        corrected = network(predicted.maps, predicted.places, predicted.surroundings, reports)
        cost, plain_cost = (-_picked(value, truth).mean() for value in (corrected, plain))
        optimizer.zero_grad()
        (cost + plain_cost).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        losses.append((cost.item(), plain_cost.item()))
        if (step + 1) % STEPS_PER_MESSAGE == 0:
            mean = torch.tensor(losses[-STEPS_PER_MESSAGE:], device="cpu").mean(0).tolist()
            log.info("evidence, step %d: %.3f nats, grid Bayes %.3f", step + 1, *mean)
    return network.eval()


def _picked(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None])[:, 0]
