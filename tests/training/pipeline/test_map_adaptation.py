"""Worlds whose maps labelled reports put right: what a locator that learns from them is shown and told."""

from dataclasses import replace
from math import isinf, log

import pytest
import torch

from tests.helpers.toy_city import SITES, toy_deployment
from training.cache import StageCache
from training.data.batch import Batch, BatchConfig, BatchDataset
from training.data.config import DomainRandomizationConfig
from training.locator.config import OptimizationConfig
from training.locator.datamodule import LocatorDataModule
from training.locator.setup import LocatorTrainingConfig
from training.pipeline.config import MapAdaptationConfig
from training.pipeline.map_adaptation import adapt_deployment
from uel.adaptation.map_correction import MapCorrection
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.core.units import from_db, to_db
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.config import RefinementConfig
from uel.estimation.fix import Fix
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.robust_bayes import RobustGridBayes
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.simulator import FreeSpace
from uel.radio.sites import cells_of, with_azimuth_offsets

MODEL, PLAN = ObservationModel(), MapAdaptationConfig(labelled_reports=144)
TURNS = (0.0, 0.0, 30.0, -25.0)  # degrees by which the masts are believed to look too far
LOSS = 15.0  # dB that the map does not know of, in the east, for every cell


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A toy world, and under wrong_sites a map of turned masts that is too loud in the east."""
    world = toy_deployment(tmp_path_factory.mktemp("toy") / "tile")
    radio = world.maps.radio
    east = radio.grid.centres()[..., 0] > 0
    loud = torch.where(east, radio.gain * from_db(torch.tensor(LOSS)), radio.gain)
    given = replace(world.maps, radio=replace(radio, gain=loud, sites=with_azimuth_offsets(SITES, TURNS)))
    return replace(world, variants={"wrong_sites": given})


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> StageCache:
    return StageCache(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def right(wrong: Deployment, stages: StageCache) -> Deployment:
    return adapt_deployment(wrong, ("exact", "wrong_sites"), PLAN, MODEL, None, {"town": "toy"}, 3, stages)


def test_levels_and_azimuths_of_a_wrong_map_are_put_right(wrong: Deployment, right: Deployment) -> None:
    there = wrong.maps.prior > 0

    def off(world: Deployment, name: str) -> float:
        """dB rms"""
        gain = world.assumed_maps(name).radio.gain / wrong.maps.radio.gain
        return float(to_db(gain[:, there]).square().mean().sqrt())

    assert off(right, "wrong_sites") < 0.5 * off(wrong, "wrong_sites")
    assert off(right, "exact") < 1.0  # of fading, 8 dB a report, hardly anything is taken for the map's
    looks = [cell.azimuth_deg for _, cell in cells_of(right.assumed_maps("wrong_sites").radio.sites)]
    wrapped = (torch.tensor(looks) + 180) % 360 - 180
    torch.testing.assert_close(wrapped, torch.zeros(4), rtol=0, atol=3.0)


def test_batches_read_angles_by_the_azimuths_that_were_found(wrong: Deployment, right: Deployment) -> None:
    def drawn(deployment: Deployment, name: str) -> Batch:
        return BatchDataset([deployment], BatchConfig(model=MODEL, size=16, seed=1, conditions={name: 1.0}))[2]

    true, believed, found = drawn(wrong, "exact"), drawn(wrong, "wrong_sites"), drawn(right, "wrong_sites")
    has = true.reports.has_azimuth
    assert has.any()

    def off(b):
        return ((b.reports.azimuth_deg - true.reports.azimuth_deg + 180) % 360 - 180)[has].abs().max()

    assert float(off(believed)) == pytest.approx(30.0, abs=0.01)
    assert float(off(found)) < 3.0
    assert found.maps is right.variants["wrong_sites"]


def test_a_locator_is_told_what_labelled_reports_showed_of_phones(right: Deployment) -> None:
    """And beside it what it is told of these phones in any case."""
    plan = BatchConfig(
        model=MODEL, size=4, seed=1, conditions={"wrong_sites": 1.0}, realism=DomainRandomizationConfig(cells_max=(2,))
    )
    assert BatchDataset([right], plan)[0].assumed_model == replace(right.adapted_models["wrong_sites"], cells_max=2)
    recipe = LocatorTrainingConfig(
        training=OptimizationConfig(validation=8), conditions={"exact": 1.0, "wrong_sites": 1.0}
    )
    told = {batch.condition: batch.assumed_model for batch in LocatorDataModule(recipe, [right], [right]).validation}
    assert told == dict(right.adapted_models)


def test_what_was_learned_is_kept(wrong: Deployment, right: Deployment, stages: StageCache) -> None:
    made = sorted(stages.root.iterdir())
    again = adapt_deployment(wrong, ("exact", "wrong_sites"), PLAN, MODEL, None, {"town": "toy"}, 3, stages)
    assert dict(again.adapted_models) == dict(right.adapted_models)
    assert torch.equal(again.assumed_maps("wrong_sites").radio.gain, right.assumed_maps("wrong_sites").radio.gain)
    assert sorted(stages.root.iterdir()) == made
    assert len(list(stages.root.glob("adapted-*"))) == 2


def test_an_untrained_locator_of_such_maps_is_grid_bayes_on_them(wrong: Deployment) -> None:
    """Error bars of the map put right are in its evidence, and its heatmap is the posterior's sums over patches."""
    generator = torch.Generator().manual_seed(5)
    reports, position = wrong.reports_from_map(96, MODEL, generator)
    given = wrong.assumed_maps("wrong_sites")
    learned = SiteAdaptation(
        LocalizationProblem(given.radio, given.prior, MODEL, wrong.as_reported(reports, "wrong_sites"), position), given
    )
    config = LocatorConfig(patches=8, width=16, pixel_width=4, depth=1, radio_depth=1, corrected_maps=True)
    asked, _ = wrong.reports_from_map(16, MODEL, generator)
    asked = learned.correct_angles(wrong.as_reported(asked, "wrong_sites"))
    locator, plain = (Locator(c, MODEL).eval() for c in (config, replace(config, corrected_maps=False)))
    bayes = learned.correction.bayes
    expected = grid_posterior(asked, bayes.radio, given.prior, bayes.model, learned.problem.power_dbm, map_error=True)
    by_patch = expected.unflatten(1, (8, -1)).unflatten(-1, (8, -1)).sum((2, 4)).flatten(1)
    with torch.no_grad():
        heat = learned.locate(locator, asked).log_heatmap.exp()
        torch.testing.assert_close(heat, by_patch, rtol=1e-3, atol=1e-4)
        as_believed = plain(asked, given, MODEL).log_heatmap
        torch.testing.assert_close(learned.locate(plain, asked).log_heatmap, as_believed)
        assert float((as_believed.exp() - heat).abs().max()) > 0.05


class Knowing(Locator):
    """A locator that has the true map in mind, whatever it is shown; without one it knows nothing."""

    true: TileMaps | None = None

    def forward(self, reports: Reports, maps: TileMaps, measurement: ObservationModel | None = None) -> Fix:
        found = super().forward(reports, self.true or maps, MODEL)
        return found if self.true else replace(found, log_heatmap=torch.full_like(found.log_heatmap, -log(256)))


@pytest.mark.parametrize("knows", [True, False])
def test_fixes_are_left_alone_where_labelled_reports_say_so(wrong: Deployment, knows: bool) -> None:
    """A map of masts elsewhere that is too sure is no reason to change one's mind; a right one is for who knew none."""
    generator = torch.Generator().manual_seed(6)
    reports, position = wrong.reports_from_map(40, MODEL, generator)
    masts = (*SITES[1:], SITES[0]) if knows else SITES
    given = replace(wrong.maps, radio=FreeSpace(masts, size=wrong.tile.size).radio_map(wrong.maps.radio.grid))
    place = LocalizationProblem(given.radio, given.prior, MODEL, reports.with_tier("rsrp_ta"), position)
    sure = RobustGridBayes(given.radio, MODEL)
    learned = SiteAdaptation(place, given)
    vars(learned)["correction"] = MapCorrection(sure, place, None, 0.0, sure, place.labelled(slice(20, None)), 0.0)
    locator = Knowing(LocatorConfig(patches=16, width=16, pixel_width=4, depth=1, radio_depth=1), MODEL).eval()
    locator.true = wrong.maps if knows else None
    with torch.no_grad():
        refiner = learned.refined_locator(locator, RefinementConfig(entropy=0.0))
        asked, _ = wrong.reports_from_map(6, MODEL, generator)
        assert bool(refiner(asked).is_refined.any()) is not knows
        assert bool(refiner.without_entropy_gate(asked).is_refined.all())
    assert isinf(refiner.config.entropy) is knows


def test_no_labelled_reports_are_refused() -> None:
    with pytest.raises(UelError, match="labelled_reports"):
        MapAdaptationConfig(labelled_reports=0)
