"""Heights of masts from labelled levels, where each roof has a parapet: found where wrong, else left alone."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.free_space import CORNERS, masts, radio_map
from tests.helpers.labelled_reports import problem_on
from uel.adaptation.mast_heights import (
    FINEST_STEP,
    MAX_HEIGHT_OFFSET,
    MapFactory,
    fit_mast_heights,
    with_height_offsets,
)
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.estimation.baselines import LocalizationProblem
from uel.geo.tile_maps import TileMaps
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cells_of

WRONG = (3.0, -2.5, 0.0, 6.0)  # m by which masts stand higher than believed
BELIEVED = masts(*CORNERS[:4], height=22.0)
PARAPET, AWAY = 18.0, 12.0  # m: its top, and how far it is from the mast


def traced(sites: tuple[Site, ...], share: float = 1.0) -> RadioMap:
    """Free space, and 20 dB less where the line to a phone passes below the parapet."""
    radio = radio_map(sites)
    height = torch.tensor([site.position[2] for site in sites])[:, None, None]
    line = height - (height - 1.5) * AWAY / radio.distance.clamp(min=AWAY)
    free = line > PARAPET
    return replace(radio, gain=torch.where(free, radio.gain, radio.gain / 100), los=free)


def tracer(least: float = -100.0) -> MapFactory:
    return MapFactory(traced, (least,) * len(BELIEVED))


@pytest.fixture(scope="module")
def place() -> LocalizationProblem:
    """256 labelled reports on the map of the believed heights."""
    return problem_on(traced(with_height_offsets(BELIEVED, WRONG)), traced(BELIEVED))


@pytest.fixture(scope="module")
def found(place: LocalizationProblem) -> RadioMap:
    return fit_mast_heights(place, tracer())


def heights(radio: RadioMap) -> list[float]:
    return [site.position[2] - 22.0 for site in radio.sites]


def test_wrong_heights_are_found_to_a_metre(place: LocalizationProblem, found: RadioMap) -> None:
    true = traced(with_height_offsets(BELIEVED, WRONG))
    assert heights(found) == pytest.approx(WRONG, abs=2 * FINEST_STEP)

    def off(radio):
        return float((radio.level_db - true.level_db).square().mean())

    assert off(found) < 0.1 * off(place.radio)


def test_each_cell_has_the_map_of_its_own_height(found: RadioMap) -> None:
    torch.testing.assert_close(found.gain, traced(found.sites).gain)
    assert torch.equal(found.los, traced(found.sites).los)


def test_right_heights_stay_and_so_does_the_map() -> None:
    given = traced(BELIEVED)
    found = fit_mast_heights(problem_on(given, given), tracer())
    assert found.sites == BELIEVED
    assert torch.equal(found.gain, given.gain)


def test_no_mast_is_put_into_its_roof(place: LocalizationProblem) -> None:
    asked: list[float] = []

    def noted(sites: tuple[Site, ...], share: float) -> RadioMap:
        asked.extend(site.position[2] for site in sites)
        return traced(sites)

    found = fit_mast_heights(place, MapFactory(noted, (20.5,) * 4))
    assert min(asked) == 20.5
    assert max(asked) <= 22.0 + MAX_HEIGHT_OFFSET + 2.0
    assert heights(found)[1] == -1.5  # as low as it may stand: it is 2.5 m lower


def test_few_reports_move_nothing(place: LocalizationProblem) -> None:
    assert fit_mast_heights(place.labelled(slice(2)), tracer()).sites == BELIEVED


def test_a_building_that_the_map_does_not_know_does_not_outvote_a_height() -> None:
    true = traced(with_height_offsets(BELIEVED, WRONG))
    east = true.grid.centres()[..., 0] > 50.0
    shaded = replace(true, gain=torch.where(east, true.gain / 100, true.gain))
    found = fit_mast_heights(problem_on(shaded, traced(BELIEVED)), tracer())
    assert heights(found) == pytest.approx(WRONG, abs=1.5)


def test_of_correlated_cells_each_ones_own_fading_is_taken(place: LocalizationProblem) -> None:
    alike = replace(place, model=replace(place.model, cell_correlation=0.5))
    assert heights(fit_mast_heights(alike, tracer())) == pytest.approx(WRONG, abs=2 * FINEST_STEP)


def test_labelled_reports_teach_heights_beside_azimuths(place: LocalizationProblem) -> None:
    given = place.radio
    turned = replace(place, fingerprints=place.fingerprints.rotate_angles(torch.tensor([0.0, 15.0, 0.0, 0.0])))
    maps = TileMaps(given, torch.zeros(2, *given.grid.shape), torch.ones(given.grid.shape))
    learned = SiteAdaptation(turned, maps, tracer())
    assert learned.mast_height_offset == pytest.approx(WRONG, abs=2 * FINEST_STEP)
    right = learned.corrected_maps(learned.correction.bayes).radio
    assert heights(right) == pytest.approx(learned.mast_height_offset)
    assert [round(cell.azimuth_deg) for _, cell in cells_of(right.sites)] == pytest.approx([0, -15 % 360, 0, 0], abs=2)
    assert "masts raised: 0 by +" in str(learned)
    plain = SiteAdaptation(turned, maps)
    assert plain.mast_height_offset == [0.0] * 4
    assert "masts" not in str(plain)
