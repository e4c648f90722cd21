"""Scores of fixes in a district without labels, by grid Bayes on learned maps and by the network that weighs them."""

import torch

from uel.estimation.scoring import density_summary, error_summary, score
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.level_reports import LevelReports

SCORED_REPORTS = 500  # of a district at most
REPORTS_PER_CALL = 16


def score_fixes(locator: LearnedLocator, network: MeasuredNetwork, seed: int) -> dict[str, dict[str, float]]:
    """By method, the scores of fixes of judged squares that are drawn with `seed`."""
    judged = network.is_judged.nonzero()[:, 0]
    drawn = judged[
        torch.randperm(len(judged), generator=torch.Generator().manual_seed(seed), device="cpu")[:SCORED_REPORTS]
    ]
    chosen, summaries = network.select(drawn), {}
    for name, method in (("learned", locator.grid_bayes), ("locator", locator)):
        scores = score(
            method,
            LevelReports.of(chosen),
            chosen.position,
            reports_per_call=REPORTS_PER_CALL,
            generator=torch.Generator().manual_seed(seed),
        )
        summaries[name] = error_summary(scores.error) | density_summary(scores)
    return summaries
