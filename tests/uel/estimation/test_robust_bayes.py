"""Robust grid Bayes, its law of distance and the controls, where the right answer is known."""

import math
from dataclasses import replace

import pytest
import torch

from tests.helpers.free_space import CORNERS, masts, radio_map, rough_map
from tests.helpers.labelled_reports import MODEL, draw_reports, problem_on
from uel.estimation.baselines import grid_bayes
from uel.estimation.estimates import GridEstimate
from uel.estimation.robust_bayes import (
    NEIGHBOUR_COUNTS,
    PathLossModel,
    fill_unknown_pixels,
    fit_path_loss,
    fit_robust,
    no_map_control,
    shuffled_map_control,
    tune_neighbours,
)
from uel.estimation.scoring import position_error
from uel.measurement.model import DB_PER_NEPER


def test_the_law_of_free_space_is_found_with_its_spread() -> None:
    radio = radio_map(masts(*CORNERS[:5]))
    position, reports = draw_reports(radio, 600, MODEL, seed=1)
    law = fit_path_loss(reports, position, radio, MODEL)  # type: ignore[arg-type]
    assert law.exponent == pytest.approx(2.0, abs=0.15)
    at_one = 20 * math.log10(299_792_458.0 / 3.5e9 / (4 * math.pi))
    assert law.gain_at_1m_db == pytest.approx(at_one, abs=3.0)
    assert law.std_db == pytest.approx(8.0, abs=0.4)


def test_silent_cells_do_not_flatten_the_law() -> None:
    """Without the silent ones only the lucky far links would count."""
    radio = radio_map(masts(*CORNERS[:5]))
    deaf = replace(MODEL, sensitivity_dbm=-70.0)
    position, reports = draw_reports(radio, 600, deaf, seed=1)
    assert 0.2 < float(reports.heard.float().mean()) < 0.8  # type: ignore[attr-defined]
    law = fit_path_loss(reports, position, radio, deaf)  # type: ignore[arg-type]
    assert law.exponent == pytest.approx(2.0, abs=0.3)
    assert law.std_db == pytest.approx(8.0, abs=0.6)


def test_holes_are_filled_with_the_law_and_its_error() -> None:
    radio = rough_map()
    law = PathLossModel(gain_at_1m_db=-40.0, exponent=3.0, std_db=10.0)
    got = fill_unknown_pixels(radio, law, 10.0, MODEL)
    assert bool(got.known.all())
    assert torch.equal(got.gain[radio.known], radio.gain[radio.known])
    hole = (~radio.known).nonzero()[0].tolist()
    centre = torch.cat([radio.grid.centres()[hole[1], hole[2]], radio.elevation[hole[1], hole[2]].reshape(1)])
    far = float((centre - radio.cell_position[hole[0]]).norm())
    assert 10 * math.log10(float(got.gain[tuple(hole)])) == pytest.approx(-50 - 30 * math.log10(far), abs=1e-3)
    assert float(got.relative_error[tuple(hole)]) * DB_PER_NEPER == pytest.approx(6.0, rel=1e-4)  # 10² - 8²


def test_on_a_right_map_nothing_is_widened() -> None:
    radio = radio_map(masts(*CORNERS[:5]))
    fitted = fit_robust(problem_on(radio, radio)).model
    assert fitted.shadowing_db == 8.0
    assert fitted.azimuth_noise_deg == 5.0
    assert fitted.range_noise == pytest.approx(5.0, rel=0.45)  # 39 m steps tell little of 5 m


def test_on_a_wrong_map_it_widens_and_is_ahead_of_plain_grid_bayes() -> None:
    radio = rough_map()
    off = torch.randn(radio.gain.shape, generator=torch.Generator().manual_seed(3)) * 12.0
    hidden = torch.rand(radio.gain.shape, generator=torch.Generator().manual_seed(4)) < 0.2
    wrong = replace(radio, gain=radio.gain * 10 ** (off / 10) * ~hidden, known=radio.known & ~hidden)
    place = problem_on(radio, wrong)
    robust = fit_robust(place)
    assert robust.model.shadowing_db > 10.0
    position, reports = draw_reports(radio, 200, MODEL, seed=9)
    reports = reports.with_tier("rsrp")  # type: ignore[attr-defined]
    mine = GridEstimate(wrong.grid, robust.posterior(reports, place))
    plain = grid_bayes(reports, place)
    assert float(position_error(mine.position, position).mean()) < float(position_error(plain, position).mean())


def test_fading_that_cells_share_is_found_and_makes_the_truth_likelier() -> None:
    radio, shared = radio_map(masts(*CORNERS[:5])), replace(MODEL, cell_correlation=0.5)
    place = problem_on(radio, radio, shared)
    fitted = fit_robust(place)
    assert (fitted.model.cell_correlation, fitted.model.shadowing_db) == (0.5, 8.0)
    position, reports = draw_reports(radio, 400, shared, seed=9)
    alone = replace(fitted, model=replace(fitted.model, cell_correlation=0.0))
    together, apart = (
        float(GridEstimate(radio.grid, bayes.posterior(reports.with_tier("rsrp"), place)).log_density(position).mean())  # type: ignore[attr-defined]
        for bayes in (fitted, alone)
    )
    assert together - apart > 0.1


def test_the_control_without_a_map_does_not_look_at_it() -> None:
    radio = rough_map()
    place = problem_on(radio, radio)
    other = replace(place, radio=replace(radio, gain=radio.gain.flip(1), los=radio.los.flip(2)))
    _, reports = draw_reports(radio, 8, MODEL, seed=9)
    a, b = (no_map_control(p).posterior(reports, p) for p in (place, other))  # type: ignore[arg-type]
    torch.testing.assert_close(a, b)


def test_the_shuffled_control_has_everybody_elses_map() -> None:
    radio = rough_map()
    got = shuffled_map_control(radio)
    assert torch.equal(got.gain[1], radio.gain[0])
    assert torch.equal(got.gain[0], radio.gain[-1])
    assert got.sites[1] == radio.sites[0]
    torch.testing.assert_close(got.delay[1], radio.delay[0])


def test_neighbours_are_chosen_among_the_ladder_by_the_labelled_reports() -> None:
    radio = radio_map(masts(*CORNERS[:5]))
    quiet = replace(MODEL, shadowing_db=0.1, range_noise=0.1, azimuth_noise_deg=0.1)
    near = tune_neighbours(problem_on(radio, radio, quiet))
    noisy = tune_neighbours(problem_on(radio, radio))
    assert set(near) == {"knn_map", "knn_survey"}
    assert near["knn_map"] <= 2 < noisy["knn_map"]
    assert all(k in NEIGHBOUR_COUNTS for k in (*near.values(), *noisy.values()))
