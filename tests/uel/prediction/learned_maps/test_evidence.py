"""Evidence of a report: densities in closed form against matrices and loops."""

import pytest
import torch
from torch.nn import functional as F

from uel.prediction.learned_maps.evidence import Evidence, PaddedReports
from uel.prediction.learned_maps.link_network import LinkPrediction, link_log_odds

CELLS, PLACES = 5, 7


def random_maps(seed: int = 0, cells: int = CELLS, places: int = PLACES) -> LinkPrediction:
    draw = torch.randn(4, cells, places, generator=torch.Generator().manual_seed(seed))
    return LinkPrediction(-90 + 10 * draw[0], 5 + draw[1].abs(), draw[2] - 2, 0.3 + 0.1 * draw[3])


def random_reports(count: int, cells: int = CELLS) -> PaddedReports:
    generator = torch.Generator().manual_seed(1)
    level = -90 + 10 * torch.randn(count, cells, generator=generator)
    named = torch.rand(count, cells, generator=generator).argsort(1) < 1 + torch.arange(count)[:, None] % cells
    return PaddedReports.of(level, named)


def test_reports_are_sorted_by_level_and_padded():
    level = torch.tensor([[-80.0, -70.0, 0.0, -90.0, 0.0], [-90.0, 0.0, 0.0, 0.0, -80.0]])
    reports = PaddedReports.of(level, level < 0)
    assert reports.cell[0].tolist() == [1, 0, 3]
    assert reports.cell[1, :2].tolist() == [4, 0]
    assert reports.is_reported.tolist() == [[True, True, True], [True, True, False]]
    assert reports.count.tolist() == [3, 2]


@torch.no_grad()
def test_levels_have_the_multivariate_student_density():
    """Against `correlation matrix` solves; only differences between places count."""
    maps, reports, evidence = random_maps(), random_reports(10), Evidence()
    evidence.log_weight.copy_(torch.tensor([0.0, -30.0, -30.0]))
    found, error = evidence(maps, reports)
    dof, correlation = float(evidence.log_dof.exp()), float(evidence.correlation_logit.sigmoid())
    for report in range(10):
        n = int(reports.count[report])
        cell, level = reports.cell[report, :n], reports.level_dbm[report, :n]
        matrix = torch.full((n, n), correlation).fill_diagonal_(1.0)
        density = []
        for place in range(PLACES):
            std = maps.std_db[cell, place]
            z = (level - maps.mean_dbm[cell, place]) / std
            torch.testing.assert_close(error[report, :n, place], z)
            distance = z @ torch.linalg.solve(matrix, z)
            density.append(-(dof + n) / 2 * torch.log1p(distance / dof) - std.log().sum())
        torch.testing.assert_close(found[report], torch.stack(density), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_presence_is_a_product_over_all_cells():
    maps, reports, evidence = random_maps(), random_reports(10), Evidence()
    evidence.log_weight.copy_(torch.tensor([-30.0, 0.0, 0.0]))
    found, _ = evidence(maps, reports)
    for report in range(10):
        n = int(reports.count[report])
        named = torch.zeros(CELLS, dtype=torch.bool)
        named[reports.cell[report, :n]] = True
        log_odds = link_log_odds(maps, n)
        expected = torch.where(named[:, None], F.logsigmoid(log_odds), F.logsigmoid(-log_odds)).sum(0)
        torch.testing.assert_close(found[report], expected, rtol=1e-4, atol=1e-4)


def test_every_weight_has_a_gradient():
    evidence = Evidence()
    evidence(random_maps(), random_reports(10))[0].log_softmax(1)[:, 0].sum().backward()
    for name, parameter in evidence.named_parameters():
        assert parameter.grad is not None, name
        assert 0 < float(parameter.grad.abs().sum()) < torch.inf, name


@pytest.mark.parametrize("count", [1, 12, 20])
def test_reports_of_any_number_of_cells_have_finite_evidence(count):
    maps, level = random_maps(cells=20), torch.linspace(-60, -120, 20).expand(2, -1)
    reports = PaddedReports.of(level, (torch.arange(20) < count).expand(2, -1))
    assert Evidence()(maps, reports)[0].isfinite().all()
