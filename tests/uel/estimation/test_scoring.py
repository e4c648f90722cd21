"""Scores against a loop in plain Python; calls and draws in the order of the reports."""

import math

import pytest
import torch
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.estimates import Estimate, FixEstimate, GridEstimate, PointEstimate
from uel.estimation.fix import Fix
from uel.estimation.scoring import Scores, density_summary, error_summary, score, score_estimate

GRID = Grid(size=64.0, pixel=8.0)


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def drawn(count: int) -> tuple[Tensor, Tensor]:
    """Probabilities of pixels, as queries, and positions."""
    probability = torch.rand(count, *GRID.shape, generator=seed())
    return probability / probability.sum((1, 2), keepdim=True), 60 * torch.rand(count, 2, generator=seed(1)) - 30


def on_grid(probability: Tensor) -> Estimate:
    return GridEstimate(GRID, probability)


def test_scores_are_those_of_a_plain_loop():
    queries, position = drawn(7)
    got = score(on_grid, queries, position, reports_per_call=3, generator=seed(2))
    assert got.nll is not None
    for n in range(7):
        row, column = ((position[n, 1] + 32) // 8, (position[n, 0] + 32) // 8)
        assert float(got.nll[n]) == pytest.approx(-math.log(float(queries[n, int(row), int(column)]) / 64), abs=1e-5)
        assert float(got.error[n]) == pytest.approx(math.dist(got.estimate[n].tolist(), position[n].tolist()), abs=1e-4)
    assert got.entropy is None
    assert got.cpu_ms is None


def test_a_method_gets_so_many_reports_at_once_and_timed_ones_alone():
    queries, position = drawn(7)
    sizes: list[int] = []

    def method(part: Tensor) -> Estimate:
        sizes.append(len(part))
        return PointEstimate(torch.zeros(len(part), 2))

    got = score(method, queries, position, reports_per_call=3, generator=seed(), timed_reports=2)
    assert sizes == [3, 3, 1, 1, 1]
    assert got.cpu_ms is not None
    assert (got.nll, got.hpd_level) == (None, None)


def test_levels_are_drawn_call_after_call():
    queries, position = drawn(6)
    whole = score(on_grid, queries, position, reports_per_call=4, generator=seed(5)).hpd_level
    generator = seed(5)
    parts = [on_grid(queries[a:b]).hpd_level(position[a:b], generator) for a, b in ((0, 4), (4, 6))]
    assert whole is not None
    assert torch.equal(whole, torch.cat(parts))  # type: ignore[arg-type]
    assert score(on_grid, queries, position, reports_per_call=4).hpd_level is None


def test_a_fix_has_an_entropy_and_as_many_samples_as_it_is_given():
    fix = Fix(torch.full((5, 4), 0.25).log(), torch.zeros(5, 4, 2), 100 * torch.eye(2).expand(5, 4, 2, 2))
    got = score_estimate(FixEstimate(fix, samples=3), torch.full((5, 2), 8.0), seed())
    assert got.entropy is not None
    assert got.hpd_level is not None
    torch.testing.assert_close(got.entropy, torch.full((5,), math.log(4)))
    assert torch.allclose((3 * got.hpd_level).round(), 3 * got.hpd_level)


def test_parts_without_a_density_make_scores_without_one():
    with_density = Scores(torch.zeros(2, 2), torch.zeros(2), nll=torch.zeros(2))
    without = Scores(torch.zeros(1, 2), torch.zeros(1))
    assert Scores.cat([with_density, without]).nll is None
    assert len(Scores.cat([with_density, without]).error) == 3


def test_summaries_by_hand():
    error = torch.tensor([1.0, 2.0, 3.0, 10.0])
    assert error_summary(error)["p50_m"] == 2.5
    assert error_summary(error, lower_median=True)["p50_m"] == 2.0
    assert (error_summary(error)["mean_m"], error_summary(error)["n"]) == (4.0, 4)
    scores = Scores(torch.zeros(4, 2), error, torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.2, 0.5, 0.8, 0.95]))
    assert density_summary(scores) == {"nll": 1.5, "cover50": 0.5, "cover90": 0.75}
