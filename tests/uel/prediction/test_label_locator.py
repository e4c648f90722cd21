"""Locating from labels: against a loop, and where there is little to go by."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.prediction.config import DetectionParameters, PredictionParameters, ReportLaw, ResidualCovariance
from uel.prediction.label_locator import LabelLocator
from uel.prediction.level_reports import LevelReports
from uel.prediction.report_likelihood import level_log_likelihood
from uel.prediction.square_posterior import Squares

NETWORK = toy_network(squares=220, cells=4)
SQUARES = Squares.outdoors(NETWORK)
PRIOR = torch.ones(len(SQUARES))
# As the toy is: noise of 1 dB around a law of distance, and every cell is reported everywhere.
PARAMETERS = PredictionParameters(
    residual=ResidualCovariance(long_std_db=1.0, short_std_db=1.0, noise_std_db=1.0),
    detection=DetectionParameters(law=ReportLaw(mean=(6.0, 0.0, 0.0, 0.0))),
)


def locator(labels, **changes):
    return LabelLocator.fit(labels, SQUARES, PRIOR, PARAMETERS, **changes)


def entropy(posterior):
    return float(-(posterior.probability * posterior.probability.clamp(min=1e-30).log()).sum(1).mean())


def test_the_posterior_is_prior_times_likelihood():
    fitted, report = locator(NETWORK.select(torch.arange(100))), LevelReports.of(NETWORK)[150:151]
    likelihood = fitted.likelihood
    reported = torch.tensor([True, False, True, True])
    posterior = fitted(LevelReports(report.level_dbm, reported[None], report.device)).probability[0]
    odds = fitted.log_odds.exp()
    chance = odds / (1 + odds)
    names = torch.where(reported[:, None], chance, 1 - chance).log().sum(0)
    residual = report.level_dbm[0, reported, None] - fitted.prediction.mean[reported]
    std, mast = fitted.prediction.std[reported], NETWORK.cells.mast[reported]
    levels = level_log_likelihood(residual, std, mast, likelihood)
    expected = likelihood.level_exponent * levels + likelihood.silence_exponent * names
    torch.testing.assert_close(posterior, expected.softmax(0), atol=1e-6, rtol=1e-3)


def test_labels_make_fixes_better():
    asked = NETWORK.select(torch.arange(200, 220))
    few, many = (
        (locator(NETWORK.select(torch.arange(count)))(LevelReports.of(asked)).position - asked.position)
        .norm(dim=1)
        .median()
        for count in (5, 200)
    )
    assert float(many) < float(few)


def test_regions_are_narrower_with_labels():
    asked = NETWORK.select(torch.arange(200, 220))
    none, many = (locator(NETWORK.select(torch.arange(count)))(LevelReports.of(asked)) for count in (0, 200))
    assert entropy(many) < entropy(none)


def test_labels_of_one_block_do_not_draw_distant_phones_into_it():
    corner = ((NETWORK.position > 60) & (NETWORK.position < 124)).all(1)
    asked = NETWORK.select((NETWORK.position < -20).all(1))
    posterior = locator(NETWORK.select(corner))(LevelReports.of(asked))
    level = posterior.hpd_level(asked.position, torch.Generator().manual_seed(0))
    assert float((level <= 0.95).float().mean()) > 0.8


def test_a_network_of_one_cell_and_a_silent_report_have_answers():
    one = NETWORK.with_cells(torch.tensor([2]))
    fitted = locator(one.select(torch.arange(50)))
    silent = LevelReports(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.long))
    for report in (LevelReports.of(one)[60:61], silent):
        posterior = fitted(report)
        assert float(posterior.probability.sum()) == pytest.approx(1.0, abs=1e-4)
        assert posterior.position.isfinite().all()


def test_a_cell_without_a_known_antenna_is_located_by_its_labels():
    cells = NETWORK.cells
    unlisted = replace(cells, is_listed=torch.tensor([True, True, True, False]))
    network = replace(NETWORK, cells=unlisted)
    prediction = locator(network.select(torch.arange(200))).prediction
    number = SQUARES.number[NETWORK.row[200:], NETWORK.column[200:]]
    error = prediction.mean[3, number] - NETWORK.level_dbm[200:, 3]
    assert float(error.abs().median()) < 3.0
