"""`observe` draws what `log_likelihood` says: histograms, closed forms, and both together calibrated."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from tests.helpers.calibration import AZIMUTH, DRAWS, RANGE, RSRP, assert_same_law, credibility, observe
from tests.helpers.free_space import CORNERS, draw_pixels, masts, one_pixel, radio_map, rough_map, silent
from uel.core.constants import timing_advance_step
from uel.errors import UelError
from uel.estimation.grid_posterior import grid_posterior
from uel.measurement.distributions import ex_gaussian_cdf, log_ndtr, log_normal_bin, normal_interval
from uel.measurement.model import ObservationModel
from uel.radio.sites import Cell, reference_power_dbm

# ---- features one by one -----------------------------------------------------------------------------


@pytest.mark.parametrize("mean_dbm", [-90.0, -118.6, -124.0])
def test_level_histogram_and_censored_share(mean_dbm: float) -> None:
    radio = one_pixel((100.0, 0.0), gain_db=mean_dbm - Cell().reference_power_dbm)
    reports = observe(ObservationModel(), radio)
    assert_same_law(ObservationModel(), radio, reports, torch.cat([reports.rsrp_dbm, reports.heard], -1), RSRP)


@pytest.mark.parametrize("cells_max", [1, 2, 3])
def test_joint_levels_when_a_report_is_truncated_to_the_strongest(cells_max: int) -> None:
    """Coarse steps make ties frequent: a tie goes to the cell that comes first."""
    radio = one_pixel((100.0, 0.0), (0.0, 120.0), (-110.0, 0.0))
    model = ObservationModel(rsrp_step_db=4.0, cells_max=cells_max, shadowing_db=6.0, sensitivity_dbm=-80.0)
    reports = observe(model, radio)
    assert int(reports.heard.sum(-1).max()) == cells_max
    assert_same_law(model, radio, reports, torch.cat([reports.rsrp_dbm, reports.heard], -1), RSRP)


@pytest.mark.parametrize("los", [True, False])
@pytest.mark.parametrize("distance", [3.0, 40.0, 137.0])
def test_timing_advance_histogram(distance: float, los: bool) -> None:
    radio = one_pixel((distance, 0.0), los=los)
    reports = observe(ObservationModel(), radio)
    assert reports.has_timing_advance.all()
    assert_same_law(ObservationModel(), radio, reports, reports.timing_advance[:, None], RANGE)


@pytest.mark.parametrize("los", [True, False])
@pytest.mark.parametrize("site", [(0.0, -100.0), (-70.0, 70.0), (100.0, 3.0)])
def test_azimuth_histogram_also_around_north(site: tuple[float, float], los: bool) -> None:
    radio = one_pixel(site, los=los)
    reports = observe(ObservationModel(), radio)
    assert ((reports.azimuth_deg >= 0) & (reports.azimuth_deg < 360)).all()
    assert_same_law(ObservationModel(), radio, reports, reports.azimuth_deg[:, None], AZIMUTH)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_levels_with_outliers_are_a_mixture(dropout: float) -> None:
    radio = one_pixel((100.0, 0.0), gain_db=-110.0 - Cell().reference_power_dbm)
    model = ObservationModel(level_outliers=0.2, cell_dropout=dropout)
    reports = observe(model, radio)
    assert_same_law(model, radio, reports, torch.cat([reports.rsrp_dbm, reports.heard], -1), RSRP)
    assert float((reports.rsrp_dbm[reports.heard[:, 0]] > -70).float().mean()) > 0.005  # five deviations of fading


@pytest.mark.parametrize("los", [True, False])
def test_a_sight_that_may_be_wrong_is_a_mixture(los: bool) -> None:
    radio = one_pixel((137.0, 0.0), los=los)
    doubtful = ObservationModel(false_sight=0.4, missed_sight=0.2)
    reports = observe(doubtful, radio)
    assert_same_law(doubtful, radio, reports, reports.timing_advance[:, None], RANGE)
    assert_same_law(doubtful, radio, reports, reports.azimuth_deg[:, None], AZIMUTH)
    sure = ObservationModel().azimuth_log_likelihood(reports, radio)
    assert not torch.allclose(doubtful.azimuth_log_likelihood(reports, radio), sure, atol=0.1)


def test_azimuth_is_that_of_the_phone_seen_from_the_cell() -> None:
    """The phone stands west of the mast."""
    quiet = ObservationModel(azimuth_noise_deg=0.1)
    reports = observe(quiet, one_pixel((100.0, 0.0)), count=10)
    assert (reports.azimuth_deg == 270.0).all()


def test_dropout_takes_its_share_and_leaves_no_value() -> None:
    reports = observe(ObservationModel(feature_dropout=0.3), one_pixel((100.0, 0.0)))
    for present, value in (
        (reports.has_timing_advance, reports.timing_advance),
        (reports.has_azimuth, reports.azimuth_deg),
    ):
        assert float(present.float().mean()) == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / DRAWS))
        assert (value[~present] == 0).all()


def test_absent_features_and_tiers_say_nothing() -> None:
    radio = rough_map()
    position = radio.grid.centres().reshape(-1, 2)[:20]
    power = reference_power_dbm(radio.sites)
    reports = ObservationModel().observe(radio.pixel_truth(position), power, torch.Generator().manual_seed(0))
    terms = ObservationModel().log_likelihood(reports.with_tier("rsrp"), radio, power)
    assert (terms[:, [RANGE, AZIMUTH]] == 0).all()
    assert (ObservationModel().log_likelihood(reports.with_tier("rsrp_ta"), radio, power)[:, AZIMUTH] == 0).all()


def test_same_seed_same_reports() -> None:
    radio = one_pixel((100.0, 0.0), (0.0, 50.0))
    first, again, other = (observe(ObservationModel(), radio, count=50, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.rsrp_dbm, again.rsrp_dbm)
    assert torch.equal(first.timing_advance, again.timing_advance)
    assert not torch.equal(first.rsrp_dbm, other.rsrp_dbm)


def test_likelihood_is_finite_where_map_and_report_contradict_each_other() -> None:
    radio = replace(rough_map(count=2), known=torch.zeros(2, 32, 32, dtype=torch.bool))
    reports = replace(
        silent(1, 2),
        heard=torch.tensor([[True, False]]),
        rsrp_dbm=torch.tensor([[-60.0, 0.0]]),
        timing_advance=torch.tensor([200.0]),
        has_timing_advance=torch.tensor([True]),
    )
    terms = ObservationModel().log_likelihood(reports, radio, reference_power_dbm(radio.sites))
    assert terms.isfinite().all()


def test_map_error_widens_the_fading() -> None:
    radio = replace(one_pixel((100.0, 0.0)), relative_error=torch.full((1, 1, 1), 0.5))
    power, model = reference_power_dbm(radio.sites), ObservationModel()
    wide = replace(model, shadowing_db=math.hypot(8.0, 0.5 * 10 / math.log(10)))
    reports = observe(model, radio, count=20)
    got = model.log_likelihood(reports, radio, power, map_error=True)
    torch.testing.assert_close(got[:, RSRP], wide.log_likelihood(reports, radio, power)[:, RSRP])


# ---- closed forms ------------------------------------------------------------------------------------


def test_timing_advance_step_and_reference_power_of_the_standard() -> None:
    assert timing_advance_step(30e3) == pytest.approx(39.04, abs=0.01)
    assert timing_advance_step(15e3) == pytest.approx(2 * timing_advance_step(30e3))
    assert Cell().reference_power_dbm == pytest.approx(46 - 10 * math.log10(3276), abs=1e-4)
    assert Cell().reference_power_dbm == pytest.approx(10.8, abs=0.06)


@pytest.mark.parametrize(("sigma", "mean"), [(5.0, 30.0), (5.0, 5.0), (10.0, 30.0), (2.0, 100.0)])
def test_ex_gaussian_cdf_is_the_numerical_convolution(sigma: float, mean: float) -> None:
    for x in (-12.0, 0.0, 7.0, 39.0, 150.0):
        want, _ = integrate.quad(
            lambda e, x=x: math.exp(-e / mean) / mean * stats.norm.cdf((x - e) / sigma),
            0,
            40 * mean,
            limit=400,
        )
        got = float(ex_gaussian_cdf(torch.tensor(x, dtype=torch.float64), sigma, mean))
        assert got == pytest.approx(want, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_of_a_normal_tail_is_the_librarys(dtype: torch.dtype) -> None:
    z = torch.cat([torch.linspace(-40, 10, 20_001), torch.tensor([-1e4, -10.0, 0.0, 50.0])]).to(dtype).requires_grad_()
    want = torch.special.log_ndtr(z.detach().double())
    got = log_ndtr(z)
    close = 1e-9 if dtype == torch.float64 else 3e-7  # of the value, beyond one nat
    assert ((got - want).abs() / want.abs().clamp(min=1)).max() < 4 * close + 1e-8
    got.sum().backward()
    hazard = (-(z.detach().double() ** 2) / 2 - want).exp() / math.sqrt(2 * math.pi)
    torch.testing.assert_close(z.grad.double(), hazard, rtol=1e-5, atol=1e-6)  # type: ignore[union-attr]


def test_ex_gaussian_cdf_ends_at_zero_and_one() -> None:
    ends = ex_gaussian_cdf(torch.tensor([-torch.inf, torch.inf]), 5.0, 30.0)
    assert ends.tolist() == [0.0, 1.0]


def test_ex_gaussian_cdf_without_excess_is_normal() -> None:
    """The traced model's excess of a millimetre must not upset single precision."""
    x = torch.linspace(-20, 20, 401)
    torch.testing.assert_close(ex_gaussian_cdf(x, 5.0, 1e-3), torch.special.ndtr(x / 5), atol=2e-3, rtol=0)


def test_normal_interval_is_exact_in_both_tails() -> None:
    low = torch.tensor([-60.0, -1.0, 40.0, 45.0, -torch.inf])
    high = low + torch.tensor([10.0, 2.0, 10.0, torch.inf, torch.inf])
    high[-1] = -40.0
    law = stats.norm(scale=5.0)
    ends = zip(low.tolist(), high.tolist(), strict=True)
    want = [law.cdf(b) - law.cdf(a) if b <= 0 else law.sf(a) - law.sf(b) for a, b in ends]
    assert normal_interval(low, high, 5.0).tolist() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("sigma", [5.0, 8.0, 25.0])
def test_log_normal_bin_is_the_bins_probability(sigma: float) -> None:
    offset = torch.linspace(-4 * sigma, 4 * sigma, 41, dtype=torch.float64)
    want = np.diff(stats.norm.cdf(np.stack([offset - 0.5, offset + 0.5]) / sigma), axis=0)[0]
    got = log_normal_bin(offset, torch.tensor(sigma, dtype=torch.float64), 1.0).exp()
    assert got.numpy() == pytest.approx(want, rel=2e-4)


@pytest.mark.parametrize(
    "wrong", [{"shadowing_db": 0.0}, {"rsrp_step_db": -1.0}, {"feature_dropout": 1.0}, {"cells_max": 0}]
)
def test_impossible_models_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UelError):
        ObservationModel(**wrong)


# ---- both directions together ------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["rsrp", "rsrp_ta", "rsrp_ta_azimuth"])
@pytest.mark.parametrize("case", ["open", "open, strongest two", "rough", "rough, dropout"])
def test_regions_of_the_grid_posterior_hold_the_truth_as_often_as_they_say(case: str, tier: str) -> None:
    radio = rough_map(count=6, pixel=16.0) if "rough" in case else radio_map(masts(*CORNERS[:4]), pixel=16.0)
    model = ObservationModel(
        sensitivity_dbm=-80.0,
        cells_max=2 if "two" in case else 8,
        feature_dropout=0.4 if "dropout" in case else 0.0,
    )
    count, prior, power = 1500, torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)
    prior[:, :5] = 0.3
    pixel = draw_pixels(prior, count)
    truth = radio.pixel_truth(radio.grid.centres().reshape(-1, 2)[pixel])
    reports = model.observe(truth, power, torch.Generator().manual_seed(7)).with_tier(tier)
    share = credibility(grid_posterior(reports, radio, prior, model, power), pixel, seed=8)
    for region in (0.5, 0.9):
        inside = float((share <= region).double().mean())
        assert inside == pytest.approx(region, abs=4 * math.sqrt(region * (1 - region) / count))
    assert stats.kstest(share.numpy(), "uniform").pvalue > 1e-4


def test_a_wrong_model_is_not_calibrated() -> None:
    """The test above can fail: half the fading gives regions far too small."""
    radio = radio_map(masts(*CORNERS[:4]))
    prior, power = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)
    pixel = draw_pixels(prior, 500)
    truth = radio.pixel_truth(radio.grid.centres().reshape(-1, 2)[pixel])
    reports = ObservationModel().observe(truth, power, torch.Generator().manual_seed(7)).with_tier("rsrp")
    share = credibility(grid_posterior(reports, radio, prior, ObservationModel(shadowing_db=4.0), power), pixel, 8)
    assert float((share <= 0.9).double().mean()) < 0.8


def test_outcomes_are_counted_not_guessed() -> None:
    """The chi-square helper sees a sigma that is 5 % off."""
    radio = one_pixel((100.0, 0.0))
    reports = observe(ObservationModel(), radio)
    assert len(Counter(reports.rsrp_dbm.flatten().tolist())) > 20
    with pytest.raises(AssertionError):
        assert_same_law(
            ObservationModel(shadowing_db=8.4),
            radio,
            reports,
            torch.cat([reports.rsrp_dbm, reports.heard], -1),
            RSRP,
        )
