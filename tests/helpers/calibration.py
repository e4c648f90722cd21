"""Whether what is drawn obeys the law that is claimed: chi-square of outcomes, credibility of posteriors."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

DRAWS = 20_000
RSRP, RANGE, AZIMUTH = 0, 1, 2
THREE = ((100.0, 0.0), (0.0, 120.0), (-110.0, 0.0))  # masts around `one_pixel`


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def observe(model: ObservationModel, radio: RadioMap, count: int = DRAWS, seed: int = 1) -> Reports:
    """Many reports from the single place of `one_pixel`."""
    truth = radio.pixel_truth(torch.zeros(count, 2))
    return model.observe(truth, reference_power_dbm(radio.sites), torch.Generator().manual_seed(seed))


def probability(model: ObservationModel, radio: RadioMap, reports: Reports, feature: int) -> Tensor:
    return model.log_likelihood(reports, radio, reference_power_dbm(radio.sites))[:, feature, 0, 0].exp()


def assert_same_law(model: ObservationModel, radio: RadioMap, reports: Reports, key: Tensor, feature: int) -> None:
    """Chi-square of how often each distinct outcome was drawn against its probability."""
    outcome, counts = np.unique(key.numpy(), axis=0, return_counts=True)
    first = {tuple(row): i for i, row in reversed(list(enumerate(key.numpy().tolist())))}
    example = reports[torch.tensor([first[tuple(row)] for row in outcome.tolist()])]
    law = probability(model, radio, example, feature).double().numpy()
    never_drawn = (counts == 1).sum() / len(reports)  # Good and Turing's estimate
    assert law.sum() == pytest.approx(1 - never_drawn, abs=2e-3)
    expected, common = law * len(reports), law * len(reports) > 10
    statistic = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert stats.chi2.sf(statistic, max(common.sum() - 1, 1)) > 1e-4


def credibility(posterior: Tensor, pixel: Tensor, seed: int) -> Tensor:
    """Posterior mass of the places likelier than the true one, ties and the pixel itself shared at random.

    Uniform on [0, 1] when the posterior is right, so the α-region holds the truth in a share α of draws.
    """
    flat = posterior.flatten(1).double()
    own = flat.gather(1, pixel[:, None])
    above = (flat * (flat > own)).sum(1)
    level = (flat * (flat == own)).sum(1)
    return above + torch.rand(len(flat), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * level
