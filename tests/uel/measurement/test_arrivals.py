"""Times and angles of arrival of every reported cell (tiers rsrp_toa and rsrp_toa_aoa): drawn as their law says,
counted once."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats

from tests.helpers.calibration import AZIMUTH, RANGE, THREE, assert_same_law, observe, seeded
from tests.helpers.free_space import one_pixel
from uel.core.constants import SPEED_OF_LIGHT
from uel.errors import UelError
from uel.measurement.distributions import ex_gaussian_cdf, log_ex_gaussian
from uel.measurement.model import ObservationModel
from uel.measurement.tiers import features_of
from uel.radio.sites import reference_power_dbm


def test_log_ex_gaussian_is_scipys() -> None:
    x = torch.linspace(-60, 400, 231, dtype=torch.float64)
    for sigma, mean in ((10.0, 30.0), (10.0, 2.0), (5.0, 300.0)):
        want = stats.exponnorm.logpdf(x.numpy(), mean / sigma, scale=sigma)
        assert log_ex_gaussian(x, sigma, mean).numpy() == pytest.approx(want, rel=1e-9, abs=1e-9)
        assert log_ex_gaussian(x.float(), sigma, mean).numpy() == pytest.approx(want, rel=1e-4, abs=1e-4)
    normal = log_ex_gaussian(x[:60].float(), 10.0, 1e-3).numpy()
    assert normal == pytest.approx(stats.norm.logpdf(x[:60].numpy(), scale=10), abs=2e-3)


@pytest.mark.parametrize("los", [True, False])
def test_times_of_arrival_obey_their_density(los: bool) -> None:
    radio, model = one_pixel(*THREE, los=los), ObservationModel(tier="rsrp_toa")
    reports = observe(model, radio)
    assert torch.equal(reports.has_toa, reports.heard)
    excess = reports.toa * SPEED_OF_LIGHT - torch.tensor([math.hypot(*place) for place in THREE])
    law = stats.norm(scale=10.0) if los else stats.exponnorm(3.0, scale=10.0)
    for cell in range(3):
        assert stats.kstest(excess[:, cell].numpy(), law.cdf).pvalue > 1e-4
    got = model.log_likelihood(reports, radio, reference_power_dbm(radio.sites))[:, RANGE, 0, 0]
    assert got.numpy() == pytest.approx(law.logpdf(excess.numpy()).clip(-30).sum(1), abs=2e-3)


@pytest.mark.parametrize("los", [True, False])
def test_angles_of_arrival_obey_their_law(los: bool) -> None:
    radio, model = one_pixel((0.0, -100.0), los=los), ObservationModel(tier="rsrp_toa_aoa", feature_dropout=0.4)
    reports = observe(model, radio)
    assert float(reports.has_aoa.float().mean()) == pytest.approx(0.6, abs=0.02)
    said = reports[reports.has_aoa[:, 0]]
    assert_same_law(model, radio, said, said.aoa_deg, AZIMUTH)


def test_the_terms_of_cells_add_up() -> None:
    radio, model = one_pixel(*THREE, los=False), ObservationModel(tier="rsrp_toa_aoa")
    reports, power = observe(model, radio, count=6), reference_power_dbm(radio.sites)
    terms = model.log_likelihood(reports, radio, power)
    alone = torch.zeros_like(terms)
    for cell in range(3):
        only = torch.arange(3) == cell
        part = replace(reports, has_toa=only.expand(6, 3), has_aoa=only.expand(6, 3)).with_tier("rsrp_toa_aoa")
        part = replace(part, has_timing_advance=part.has_timing_advance & False, has_azimuth=part.has_azimuth & False)
        alone += model.log_likelihood(part, radio, power)
    torch.testing.assert_close(terms[:, [RANGE, AZIMUTH]], alone[:, [RANGE, AZIMUTH]])


def test_one_link_is_measured_once() -> None:
    """Where the serving cell's time or angle is known, its timing advance or azimuth is not counted again."""
    radio, model = one_pixel(*THREE), ObservationModel(tier="rsrp_toa_aoa")
    reports, power = observe(model, radio, count=50), reference_power_dbm(radio.sites)
    moved = replace(reports, timing_advance=reports.timing_advance + 3, azimuth_deg=reports.azimuth_deg * 0)
    terms = model.log_likelihood(reports, radio, power)
    assert torch.equal(terms, model.log_likelihood(moved, radio, power))
    lesser = [model.log_likelihood(r.with_tier("rsrp_ta_azimuth"), radio, power) for r in (reports, moved)]
    assert not torch.equal(*lesser)


def test_what_more_is_asked_moves_no_number_of_what_there_was() -> None:
    radio, plain = one_pixel(*THREE), ObservationModel()
    power, truth = reference_power_dbm(radio.sites), radio.pixel_truth(torch.zeros(200, 2))
    ones, others = seeded(4), seeded(4)
    less, more = plain.observe(truth, power, ones), replace(plain, tier="rsrp_toa_aoa").observe(truth, power, others)
    assert more.has_toa.any()
    for name, values in vars(less).items():
        assert torch.equal(values, getattr(more.with_tier("rsrp_ta_azimuth"), name)), name
    assert torch.equal(ones.get_state(), others.get_state())
    again = replace(plain, tier="rsrp_toa_aoa").observe(truth, power, others)
    assert not torch.equal(more.toa, again.toa)


def test_tiers_are_known_by_name() -> None:
    assert features_of("rsrp") == ()
    assert features_of("rsrp_ta_azimuth") == ("timing_advance", "azimuth_deg")
    reports = observe(ObservationModel(tier="rsrp_toa_aoa"), one_pixel(*THREE), count=5)
    third = reports.with_tier("rsrp_toa")
    assert third.has_toa.all()
    assert not third.has_aoa.any()
    assert not third.aoa_deg.any()
    with pytest.raises(
        UelError, match=r"T9[\s\S]*choose one of rsrp, rsrp_ta, rsrp_ta_azimuth, rsrp_toa, rsrp_toa_aoa"
    ):
        reports.with_tier("T9")


def test_ex_gaussian_density_is_the_slope_of_its_distribution() -> None:
    x = torch.linspace(-30, 200, 60, dtype=torch.float64)
    slope = (ex_gaussian_cdf(x + 1e-4, 10.0, 30.0) - ex_gaussian_cdf(x - 1e-4, 10.0, 30.0)) / 2e-4
    torch.testing.assert_close(log_ex_gaussian(x, 10.0, 30.0).exp(), slope, rtol=1e-6, atol=1e-9)
