"""Every baseline where its answer is known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.free_space import CORNERS, masts, radio_map, rough_map, silent
from uel.estimation import baselines
from uel.estimation.baselines import LocalizationProblem
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm
from uel.results.methods import BASELINE_METHODS

QUIET = ObservationModel(
    shadowing_db=0.05, rsrp_step_db=0.01, range_noise=0.5, azimuth_noise_deg=0.5, azimuth_step_deg=0.1
)


def uniform(radio: RadioMap) -> Tensor:
    return torch.full(radio.grid.shape, 1 / radio.grid.count**2)


def reports_at(radio: RadioMap, position: Tensor, model: ObservationModel = QUIET, seed: int = 0) -> Reports:
    generator = torch.Generator().manual_seed(seed)
    return model.observe(radio.pixel_truth(position), reference_power_dbm(radio.sites), generator)


def place_on(radio: RadioMap, prior: Tensor | None = None, model: ObservationModel = QUIET) -> LocalizationProblem:
    """A place whose fingerprints were taken in the middle of every other pixel."""
    spots = radio.grid.centres()[::2, ::2].reshape(-1, 2)
    prior = uniform(radio) if prior is None else prior
    return LocalizationProblem(radio, prior, model, reports_at(radio, spots, model, seed=9), spots)


def test_the_methods_have_their_names_and_order() -> None:
    assert list(BASELINE_METHODS) == [
        "prior_median",
        "cell_id",
        "cell_id_ta",
        "knn_map",
        "knn_survey",
        "grid_bayes",
    ]


def test_tile_centre_is_the_middle_of_where_phones_can_be() -> None:
    place = place_on(radio_map(masts(*CORNERS[:2])))
    reports = reports_at(place.radio, torch.tensor([[50.0, 50.0], [-80.0, 3.0]]))
    torch.testing.assert_close(BASELINE_METHODS["prior_median"](reports, place), torch.zeros(2, 2), atol=0.05, rtol=0)
    corner = torch.zeros(place.radio.grid.shape)
    corner[0, -1] = 1.0
    want = torch.tensor([124.0, -124.0]).expand(2, 2)
    torch.testing.assert_close(BASELINE_METHODS["prior_median"](reports, replace(place, prior=corner)), want)


def test_strongest_cell_is_the_centroid_of_its_half() -> None:
    place = place_on(radio_map(masts((-60.0, 0.0), (60.0, 0.0))))
    reports = reports_at(place.radio, torch.tensor([[-100.0, 90.0], [100.0, -90.0]]))
    want = torch.tensor([[-64.0, 0.0], [64.0, 0.0]])
    torch.testing.assert_close(BASELINE_METHODS["cell_id"](reports, place), want, atol=1e-2, rtol=0)


def test_strongest_cell_of_a_cell_that_serves_nowhere_is_still_a_place() -> None:
    radio = radio_map(masts((-60.0, 0.0), (60.0, 0.0)))
    place = place_on(replace(radio, gain=radio.gain * torch.tensor([1.0, 1e-6])[:, None, None]))
    reports = replace(reports_at(place.radio, torch.zeros(1, 2)), serving=torch.tensor([1]))
    torch.testing.assert_close(BASELINE_METHODS["cell_id"](reports, place), torch.zeros(1, 2), atol=0.1, rtol=0)


def test_cell_ta_cuts_the_ring_out_of_a_street() -> None:
    """Phones only in one row of pixels, one mast at its end: the ring is an interval."""
    radio = radio_map(masts((-128.0, 4.0), height=1.5))
    street = torch.zeros(radio.grid.shape)
    street[16] = 1 / 32
    place, step = place_on(radio, street), QUIET.range_step
    reports = reports_at(radio, torch.tensor([[-128.0 + 1.5 * step, 4.0]]))
    assert reports.timing_advance.tolist() == [1.0]
    inside = [x for x in radio.grid.centres()[16, :, 0].tolist() if step <= x + 128 < 2 * step]
    want = torch.tensor([[sum(inside) / len(inside), 4.0]])
    torch.testing.assert_close(BASELINE_METHODS["cell_id_ta"](reports, place), want, atol=0.2, rtol=0)


def test_cell_ta_without_timing_advance_is_the_strongest_cell() -> None:
    place = place_on(rough_map())
    reports = reports_at(place.radio, torch.tensor([[30.0, -40.0], [-50.0, 60.0]])).with_tier("rsrp")
    torch.testing.assert_close(
        BASELINE_METHODS["cell_id_ta"](reports, place), BASELINE_METHODS["cell_id"](reports, place)
    )


@pytest.mark.parametrize("tier", ["rsrp", "rsrp_ta", "rsrp_ta_azimuth"])
@pytest.mark.parametrize("name", ["knn_map", "knn_survey"])
def test_the_nearest_neighbour_of_a_clean_report_is_its_pixel(name: str, tier: str) -> None:
    place = place_on(radio_map(masts(*CORNERS[:4])))
    place = replace(place, fingerprints=place.fingerprints.with_tier(tier))
    truth = place.fingerprint_position[[17, 40, 99, 200]]
    got = getattr(baselines, name)(reports_at(place.radio, truth).with_tier(tier), place, neighbours=1)
    torch.testing.assert_close(got, truth)


def test_knn_survey_averages_eight_neighbours() -> None:
    radio = radio_map(masts(*CORNERS[:4]))
    near = torch.tensor([[20.0, 20.0]]) + torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    spots = torch.cat([near, torch.full((8, 2), -100.0)])
    place = LocalizationProblem(radio, uniform(radio), QUIET, reports_at(radio, spots), spots)
    got = BASELINE_METHODS["knn_survey"](reports_at(radio, torch.tensor([[20.0, 20.0]])), place)
    torch.testing.assert_close(got, near.mean(0, keepdim=True))


def test_knn_map_averages_its_neighbours_around_the_truth() -> None:
    place, truth = place_on(radio_map(masts(*CORNERS[:4]))), torch.tensor([[-12.0, 36.0]])
    got = BASELINE_METHODS["knn_map"](reports_at(place.radio, truth), place)
    assert float((got - truth).norm()) < 2 * place.radio.grid.pixel


def test_knn_survey_prefers_the_fingerprint_of_the_same_azimuth() -> None:
    """One mast: levels of a ring are alike, only the azimuth tells its sides apart, also across north."""
    radio, model = radio_map(masts((0.0, 0.0))), replace(QUIET, azimuth_noise_nlos_deg=25.0)
    ring = torch.tensor([[-4.0, 80.0], [80.0, 4.0], [4.0, -80.0], [-80.0, -4.0]])
    spots = ring.repeat_interleave(8, 0)
    place = LocalizationProblem(radio, uniform(radio), model, reports_at(radio, spots, model), spots)
    got = BASELINE_METHODS["knn_survey"](reports_at(radio, torch.tensor([[4.0, 80.0]]), model), place)
    torch.testing.assert_close(got, ring[:1])


def test_grid_bayes_of_a_clean_report_is_its_pixel() -> None:
    place, truth = place_on(radio_map(masts(*CORNERS[:4]))), torch.tensor([[-12.0, 36.0], [100.0, -20.0]])
    got = BASELINE_METHODS["grid_bayes"](reports_at(place.radio, truth), place)
    torch.testing.assert_close(got, truth, atol=4.0, rtol=0)


@pytest.mark.parametrize("name", BASELINE_METHODS)
def test_answers_are_finite_and_on_the_tile_whatever_is_missing(name: str) -> None:
    radio = rough_map()
    radio = replace(radio, known=radio.known & (torch.arange(5) > 0)[:, None, None])  # cell 0 covers nothing
    place = place_on(radio, model=ObservationModel(feature_dropout=0.5))
    nothing = silent(3, 5)
    contradiction = replace(
        nothing,
        heard=torch.ones(3, 5, dtype=torch.bool),
        rsrp_dbm=torch.full((3, 5), -44.0),
        timing_advance=torch.full((3,), 300.0),
        has_timing_advance=torch.ones(3, dtype=torch.bool),
    )
    for reports in (nothing, contradiction, reports_at(radio, torch.zeros(3, 2), place.model)):
        answer = BASELINE_METHODS[name](reports, place)
        assert answer.shape == (3, 2)
        assert answer.isfinite().all()
        radio.grid.require(answer)
