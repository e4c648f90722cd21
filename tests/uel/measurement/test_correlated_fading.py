"""What troubles reports beyond independent fading: correlation, silence and loss."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from tests.helpers.calibration import RSRP, THREE, assert_same_law, credibility, observe, seeded
from tests.helpers.free_space import CORNERS, draw_pixels, masts, one_pixel, radio_map, rough_map
from uel.errors import UelError
from uel.estimation.grid_posterior import grid_posterior
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

# ---- levels: cells that fade together, cells that do not report ----------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("cells_max", [1, 2, 3])
def test_joint_levels_of_correlated_and_dropped_cells(cells_max: int, correlation: float, dropout: float) -> None:
    radio = one_pixel(*THREE)
    model = ObservationModel(
        rsrp_step_db=4.0,
        cells_max=cells_max,
        shadowing_db=6.0,
        sensitivity_dbm=-80.0,
        cell_correlation=correlation,
        cell_dropout=dropout,
        level_noise_db=1.0,
    )
    reports = observe(model, radio)
    assert_same_law(model, radio, reports, torch.cat([reports.rsrp_dbm, reports.heard], -1), RSRP)


def test_an_independent_law_does_not_pass_for_a_correlated_one() -> None:
    radio = one_pixel(*THREE)
    model = ObservationModel(rsrp_step_db=4.0, shadowing_db=6.0, sensitivity_dbm=-80.0)
    reports = observe(replace(model, cell_correlation=0.2), radio)
    with pytest.raises(AssertionError):
        assert_same_law(model, radio, reports, torch.cat([reports.rsrp_dbm, reports.heard], -1), RSRP)


def slow_levels(model: ObservationModel, reports: Reports, radio: RadioMap, row: int, column: int) -> float:
    """One report at one pixel: an integral over the common fading of products over cells (nothing is full)."""
    power, step = reference_power_dbm(radio.sites).tolist(), model.rsrp_step_db

    def phi(z):
        return math.erfc(-z / math.sqrt(2)) / 2

    own, common = (8 * math.sqrt(w) for w in (1 - model.cell_correlation, model.cell_correlation))
    known, heard, level = radio.known[:, row, column].tolist(), reports.heard.tolist(), reports.rsrp_dbm.tolist()
    gains = radio.gain[:, row, column].tolist()
    means = [10 * math.log10(g or 1.0) + p for g, p in zip(gains, power, strict=True)]

    def given(c: float) -> float:
        total = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
        for cell in range(len(power)):
            if not known[cell]:
                continue
            mean = means[cell] + common * c
            if heard[cell]:
                ends = [(level[cell] + side * step / 2 - mean) / own for side in (-1, 1)]
                total *= (1 - model.cell_dropout) * (phi(ends[1]) - phi(ends[0]))
            else:
                below = phi((model.sensitivity_dbm - step / 2 - mean) / own)
                total *= model.cell_dropout + (1 - model.cell_dropout) * below
        return total

    return sum(integrate.quad(given, k, k + 1, epsrel=1e-7)[0] for k in range(-7, 7))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_correlated_levels_are_the_integral_over_the_common_fading(dropout: float) -> None:
    radio = rough_map(count=6, pixel=64.0)
    model = ObservationModel(sensitivity_dbm=-78.0, cell_correlation=0.5, cell_dropout=dropout)
    power = reference_power_dbm(radio.sites)
    reports = model.observe(radio.pixel_truth(radio.grid.centres().reshape(-1, 2)[[1, 6, 11]]), power, seeded(3))
    assert reports.heard.any()
    assert not reports.heard.all(-1).any()
    got = model.log_likelihood(reports, radio, power)[:, RSRP]
    contradicts = (reports.heard[:, :, None, None] & ~radio.known).any(1)
    for i, row, column in (~contradicts).nonzero().tolist():
        want = math.log(slow_levels(model, reports[i], radio, row, column))
        assert float(got[i, row, column]) == pytest.approx(want, abs=2e-3, rel=1e-4)


def test_a_trace_of_correlation_is_none() -> None:
    radio = rough_map()
    model, power = ObservationModel(sensitivity_dbm=-85.0, cell_dropout=0.1), reference_power_dbm(radio.sites)
    reports = model.observe(radio.pixel_truth(radio.grid.centres().reshape(-1, 2)[::205]), power, seeded(0))
    alone = model.log_likelihood(reports, radio, power)[:, RSRP]
    together = replace(model, cell_correlation=1e-8).log_likelihood(reports, radio, power)[:, RSRP]
    usual = alone > -25  # nats: beyond, one is capped by cell and the other as a whole
    torch.testing.assert_close(together[usual], alone[usual], atol=5e-3, rtol=1e-3)


def test_cells_drop_out_by_their_share() -> None:
    radio = one_pixel(*THREE, gain_db=-80.0)
    heard = observe(ObservationModel(cell_dropout=0.3), radio).heard.float()
    assert float(heard.mean()) == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / heard.numel()))


# ---- along a track -------------------------------------------------------------------------------------------


def walk(tracks: int, stride: float, cells: int = 1, reports: int = 20) -> LinkTruth:
    """Straight walks east in a world that is the same everywhere."""
    position = torch.zeros(tracks, reports, 2)
    position[..., 0] = torch.arange(reports) * stride
    ones = torch.ones(tracks, reports, cells)
    return LinkTruth(position, -80 * ones, ones > 0, 1e-7 * ones, 45 * ones, ones > 0)


FINE = ObservationModel(rsrp_step_db=0.01, decorrelation_distance=37.0)


def fading(model: ObservationModel, truth: LinkTruth, seed: int = 0) -> Tensor:
    """Levels in units of sigma, `track report cell`."""
    reports = model.observe(truth, torch.zeros(truth.gain_db.shape[-1]), seeded(seed))
    assert reports.heard.all()
    return (reports.rsrp_dbm + 80) / model.shadowing_db


@pytest.mark.parametrize("stride", [1.0, 5.0, 20.0])
def test_fading_along_a_track_decorrelates_as_gudmundson_says(stride: float) -> None:
    tracks = 20_000
    field = fading(FINE, walk(tracks, stride))[..., 0]
    assert float(field.var()) == pytest.approx(1.0, abs=0.02)
    for lag in (1, 3, 10):
        got = torch.corrcoef(torch.stack([field[:, 4], field[:, 4 + lag]]))[0, 1]
        want = math.exp(-lag * stride / 37)
        assert float(got) == pytest.approx(want, abs=5 * (1 - want**2) / math.sqrt(tracks) + 1e-3)


def test_a_phone_that_stands_keeps_its_fading_but_not_its_noise() -> None:
    still = fading(FINE, walk(5, 0.0))
    assert float((still - still[:, :1]).abs().max()) < 0.01
    noisy = fading(replace(FINE, level_noise_db=2.0), walk(2000, 0.0))[..., 0]
    within = noisy.var(1).mean().sqrt() * 8
    assert float(within) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_cells_of_one_place_fade_together(correlation: float) -> None:
    field = fading(replace(FINE, cell_correlation=correlation), walk(20_000, 5.0, cells=3))
    for report in (0, 7):
        got = torch.corrcoef(field[:, report].T)
        want = torch.full((3, 3), correlation).fill_diagonal_(1.0)
        torch.testing.assert_close(got, want, atol=5 / math.sqrt(20_000), rtol=0)
    later = torch.corrcoef(torch.stack([field[:, 0, 0], field[:, 1, 1]]))[0, 1]
    assert float(later) == pytest.approx(correlation * math.exp(-5 / 37), abs=0.03)


def test_each_report_by_itself_has_the_law_it_had() -> None:
    """One report of every track, twenty strides from its start, against the density of a single one."""
    radio = one_pixel(*THREE)
    model = ObservationModel(rsrp_step_db=4.0, sensitivity_dbm=-80.0, cell_correlation=0.5, decorrelation_distance=37.0)
    truth = radio.pixel_truth(torch.zeros(20_000, 4, 2))
    truth = replace(truth, position=torch.arange(4.0)[:, None].expand(20_000, 4, 2) * 15)
    reports = model.observe(truth, reference_power_dbm(radio.sites), seeded(5))[:, 3]
    assert_same_law(model, radio, reports, torch.cat([reports.rsrp_dbm, reports.heard], -1), RSRP)


# ---- lost reports --------------------------------------------------------------------------------------------


def test_lost_and_padded_reports_hold_and_say_nothing() -> None:
    radio, model = rough_map(), ObservationModel(report_dropout=0.25, tier="rsrp_toa_aoa")
    power, truth = reference_power_dbm(radio.sites), radio.pixel_truth(torch.zeros(4000, 2))
    valid = torch.arange(4000) % 2 == 0
    reports = model.observe(truth, power, seeded(0), valid)
    assert not reports.received[~valid].any()
    share = float(reports.received[valid].float().mean())
    assert share == pytest.approx(0.75, abs=5 * math.sqrt(0.1875 / 2000))
    lost = reports[~reports.received][:5]
    for name, values in vars(lost).items():
        assert not values.any(), name
    assert (model.log_likelihood(lost, radio, power) == 0).all()
    assert (model.log_likelihood(reports[reports.received][:5], radio, power)[:, RSRP] != 0).any()


# ---- both directions together --------------------------------------------------------------------------------

CASES = {
    "correlated": {"cell_correlation": 0.5},
    "dropped": {"cell_dropout": 0.3, "report_dropout": 0.1},
    "correlated, dropped, strongest two": {"cell_correlation": 0.5, "cell_dropout": 0.3, "cells_max": 2},
    "features dropped": {"feature_dropout": 0.4},
}


def posterior_credibility(truth: ObservationModel, belief: ObservationModel, tier: str, count: int = 1000) -> Tensor:
    radio = rough_map(count=6, pixel=16.0)
    prior, power = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)
    prior[:, :5] = 0.3
    pixel = draw_pixels(prior, count)
    reports = truth.observe(radio.pixel_truth(radio.grid.centres().reshape(-1, 2)[pixel]), power, seeded(7)).with_tier(
        tier
    )
    return credibility(grid_posterior(reports, radio, prior, belief, power), pixel, seed=8)


@pytest.mark.parametrize(
    ("case", "tier"),
    [
        ("correlated", "rsrp"),
        ("correlated", "rsrp_toa"),
        ("dropped", "rsrp"),
        ("dropped", "rsrp_toa_aoa"),
        ("correlated, dropped, strongest two", "rsrp"),
        ("features dropped", "rsrp_toa"),
        ("features dropped", "rsrp_toa_aoa"),
    ],
)
def test_regions_hold_the_truth_as_often_as_they_say(case: str, tier: str) -> None:
    model = ObservationModel(sensitivity_dbm=-80.0, tier="rsrp_toa_aoa", **CASES[case])
    share = posterior_credibility(model, model, tier)
    for region in (0.5, 0.9):
        inside = float((share <= region).double().mean())
        assert inside == pytest.approx(region, abs=4 * math.sqrt(region * (1 - region) / len(share)))
    assert stats.kstest(share.numpy(), "uniform").pvalue > 1e-4


def test_silence_taken_for_weakness_is_not_calibrated() -> None:
    model = ObservationModel(sensitivity_dbm=-80.0, cell_dropout=0.3)
    share = posterior_credibility(model, replace(model, cell_dropout=0.0), "rsrp")
    assert float((share <= 0.9).double().mean()) < 0.85


def test_more_features_leave_less_in_doubt() -> None:
    """Mean error of the posterior's mean, rsrp_ta_azimuth against rsrp_toa against rsrp_toa_aoa, on the same
    reports."""
    radio, model = radio_map(masts(*CORNERS[:4]), pixel=8.0), ObservationModel(tier="rsrp_toa_aoa")
    prior, power, points = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites), radio.grid.centres()
    pixel = draw_pixels(prior, 400)
    position = points.reshape(-1, 2)[pixel]
    reports = model.observe(radio.pixel_truth(position), power, seeded(1))
    error = {}
    for tier in ("rsrp_ta_azimuth", "rsrp_toa", "rsrp_toa_aoa"):
        posterior = grid_posterior(reports.with_tier(tier), radio, prior, model, power)
        mean = (posterior[..., None] * points).sum((1, 2))
        error[tier] = float((mean - position).norm(dim=-1).mean())
    assert error["rsrp_toa"] < 0.8 * error["rsrp_ta_azimuth"]
    assert error["rsrp_toa_aoa"] < error["rsrp_toa"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cell_correlation": 1.0}, "cell_correlation"),
        ({"cell_correlation": -0.1}, "cell_correlation"),
        ({"cell_dropout": 1.0}, "cell_dropout"),
        ({"report_dropout": -0.2}, "report_dropout"),
        ({"decorrelation_distance": -37.0}, "decorrelation_distance"),
        ({"level_noise_db": float("nan")}, "level_noise_db"),
        ({"toa_noise": 0.0}, "toa_noise"),
        ({"nlos_excess": -1.0}, "nlos_excess"),
        ({"sensitivity_dbm": -150.0}, "thermal noise"),
        ({"sensitivity_dbm": float("nan")}, "sensitivity_dbm"),
    ],
)
def test_impossible_realism_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UelError, match=rf"{said}[\s\S]*do:"):
        ObservationModel(**wrong)
