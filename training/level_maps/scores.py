"""Scores of fixes without labels and with each budget of them: grid Bayes on learned maps, which labels correct, and
the network that weighs the evidence on the same maps."""

from collections.abc import Callable, Mapping, Sequence

import torch

from uel.estimation.estimates import Estimate
from uel.estimation.scoring import density_summary, error_summary, score
from uel.measurement.measured_network import MeasuredNetwork, split_labels
from uel.prediction.config import around_learned_maps
from uel.prediction.learned_maps.labelled_maps import LabelledLocator
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.level_reports import LevelReports

SCORED_REPORTS = 80  # of a district and budget at most
REPORTS_PER_CALL = 16
Summary = dict[str, float]


def score_budgets(
    learned: LearnedLocator, network: MeasuredNetwork, budgets: Sequence[int], seed: int
) -> dict[str, dict[str, Summary]]:
    """By label budget and method, the scores of fixes of judged squares that are drawn with `seed`; a budget that the
    labelled blocks do not hold is left out."""
    split, parameters = split_labels(network, seed), around_learned_maps()
    judged = network.select(split.judged)
    scores = {"0": score_fixes({"learned": learned.grid_bayes, "locator": learned}, judged, seed)}
    for budget in budgets:
        if budget <= len(split.labelled):
            labels = network.select(split.labels(budget))
            locator = LabelledLocator.of(learned, labels, parameters)
            methods = {"learned_kriging": locator.squares, "locator": locator}
            scores[str(budget)] = score_fixes(methods, judged, seed)
    return scores


def score_fixes(
    methods: Mapping[str, Callable[[LevelReports], Estimate]], judged: MeasuredNetwork, seed: int
) -> dict[str, Summary]:
    """By method, the scores of fixes of squares that are drawn with `seed`."""
    generator = torch.Generator().manual_seed(seed)
    chosen = judged.select(torch.randperm(len(judged), generator=generator, device="cpu")[:SCORED_REPORTS])
    summaries = {}
    for name, method in methods.items():
        scores = score(
            method,
            LevelReports.of(chosen),
            chosen.position,
            reports_per_call=REPORTS_PER_CALL,
            generator=torch.Generator().manual_seed(seed),
        )
        summaries[name] = error_summary(scores.error) | density_summary(scores)
    return summaries
