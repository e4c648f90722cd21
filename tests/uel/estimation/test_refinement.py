"""Fixes looked at again on the finest grid: against grid Bayes, against a loop, and left alone where they are sure."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.locators import SMALL, trained
from tests.helpers.toy_city import toy_deployment
from uel.errors import UelError
from uel.estimation.config import RefinementConfig
from uel.estimation.estimates import Estimate, FixEstimate, GridEstimate
from uel.estimation.fix import Fix, join_patches, split_into_patches
from uel.estimation.grid_posterior import PRIOR_FLOOR, grid_posterior
from uel.estimation.refinement import PatchSortedMap, likeliest_patches, refine_fix
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator

MODEL = ObservationModel()
ALL = 1 - 1e-7  # of a heatmap


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture(scope="module")
def phones(world: Deployment) -> tuple[Reports, Tensor]:
    return world.reports_from_map(24, MODEL, torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def fine(world: Deployment) -> PatchSortedMap:
    return PatchSortedMap.of(world.maps, SMALL.patches)


def bayes(world: Deployment, reports: Reports, doubt: float = 0.0) -> Tensor:
    maps = world.maps
    return grid_posterior(reports, maps.radio, maps.prior.clamp(min=PRIOR_FLOOR), MODEL, maps.power_dbm, doubt=doubt)


def located(locator: Locator, reports: Reports, world: Deployment) -> Fix:
    with torch.no_grad():
        return locator(reports, world.maps)


@pytest.mark.parametrize("trust", [0.0, 0.5, 1.0])
def test_an_untrained_locator_is_refined_to_the_exact_posterior(world, phones, fine, trust) -> None:
    reports, truth = phones
    fix = located(Locator(SMALL, MODEL), reports, world)
    got = refine_fix(fix, reports, fine, MODEL, RefinementConfig(entropy=0.0, trust=trust, mass=ALL))
    exact = GridEstimate(world.maps.radio.grid, bayes(world, reports))
    assert isinstance(got, Estimate)
    torch.testing.assert_close(got.refined_pixels.probability, exact.probability, atol=1e-5, rtol=2e-3)
    assert float((got.position - exact.position).norm(dim=1).max()) < 0.1
    torch.testing.assert_close(got.log_density(truth), exact.log_density(truth), atol=0.01, rtol=0)
    assert float((fix.position - exact.position).norm(dim=1).max()) > 0.3  # there was something to refine


def test_a_map_in_doubt_is_that_of_grid_bayes(world, phones, fine) -> None:
    reports, _ = phones
    fix = located(Locator(SMALL, MODEL), reports, world)
    plan = RefinementConfig(entropy=0.0, trust=0.0, mass=ALL, doubt=0.3)
    got = refine_fix(fix, reports, fine, MODEL, plan).refined_pixels.probability
    # The careful half of the mixture also goes to patches beyond `ALL` of the heatmap, which are not looked at.
    torch.testing.assert_close(got, bayes(world, reports, 0.3), atol=1e-4, rtol=2e-3)
    assert float((got - bayes(world, reports)).abs().max()) > 1e-3


def test_trust_is_what_is_kept_of_the_locators_opinion(world, phones, fine) -> None:
    reports, _ = phones
    fix = located(trained(), reports, world)
    exact = split_into_patches(bayes(world, reports).unsqueeze(-1), SMALL.patches)[..., 0].sum(-1)
    none, whole = (
        refine_fix(
            fix, reports, fine, MODEL, RefinementConfig(entropy=0.0, trust=trust, mass=ALL)
        ).fix.log_heatmap.exp()
        for trust in (0.0, 1.0)
    )
    torch.testing.assert_close(none, exact, atol=2e-5, rtol=2e-3)
    torch.testing.assert_close(whole, fix.log_heatmap.exp(), atol=2e-5, rtol=2e-3)
    assert float((none - whole).abs().max()) > 0.05


def test_weights_of_pixels_by_a_loop(world, phones, fine) -> None:
    """One pixel after the other: likelihood × prior × (heat / likelihood of the patch)^trust, by the formula."""
    reports, plan = phones[0][:1], RefinementConfig(entropy=0.0, trust=0.4, mass=0.9)
    fix = located(trained(), reports, world)
    got = refine_fix(fix, reports, fine, MODEL, plan).refined_pixels.probability[0]
    maps, heat = world.maps, fix.log_heatmap[0].exp().tolist()
    log_p = MODEL.log_likelihood(reports, maps.radio, maps.power_dbm, map_error=True).sum(1)[0].tolist()
    order = sorted(range(len(heat)), key=lambda k: -heat[k])
    looked, total = set(), 0.0
    for k in order:
        if total < plan.mass:
            looked.add(k)
        total += heat[k]
    weight, pool = {}, dict.fromkeys(looked, 0.0)
    for row in range(32):
        for column in range(32):
            weight[row, column] = math.exp(log_p[row][column]) * max(float(maps.prior[row, column]), PRIOR_FLOOR)
            patch = row // 2 * 16 + column // 2
            if patch in looked:
                pool[patch] += weight[row, column]
    score = {rc: w * (heat[rc[0] // 2 * 16 + rc[1] // 2] / pool[rc[0] // 2 * 16 + rc[1] // 2]) ** plan.trust
             for rc, w in weight.items() if rc[0] // 2 * 16 + rc[1] // 2 in looked}  # fmt: skip
    share = sum(heat[k] for k in looked) / sum(score.values())
    for (row, column), w in weight.items():
        patch = row // 2 * 16 + column // 2
        want = score[row, column] * share if patch in looked else heat[patch] / 4
        assert float(got[row, column]) == pytest.approx(want, rel=2e-3, abs=1e-7), w


def test_what_was_refined_is_a_density(world, phones, fine) -> None:
    reports, _ = phones
    got = refine_fix(located(trained(), reports, world), reports, fine, MODEL, RefinementConfig(entropy=0.0))
    assert bool(got.is_refined.all())
    torch.testing.assert_close(got.refined_pixels.probability.sum((1, 2)), torch.ones(24), atol=1e-4, rtol=0)
    torch.testing.assert_close(got.fix.log_heatmap.exp().sum(1), torch.ones(24), atol=1e-4, rtol=0)
    assert float((got.fix.position - got.position).norm(dim=1).max()) < 2.0  # told in patches it is nearly the same


def test_nothing_changes_below_the_trigger(world, phones, fine) -> None:
    reports, truth = phones
    fix = located(trained(), reports, world)
    entropy = fix.entropy()
    middle = float(entropy.median()) + 1e-4
    got = refine_fix(fix, reports, fine, MODEL, RefinementConfig(entropy=middle))
    assert torch.equal(got.is_refined, entropy >= middle)
    assert 0 < int(got.is_refined.sum()) < 24

    def draws():
        return torch.Generator().manual_seed(1)

    sure, plain = ~got.is_refined, FixEstimate(fix)
    for name in ("log_heatmap", "mean", "component_covariance"):
        assert torch.equal(getattr(got.fix, name)[sure], getattr(fix, name)[sure])
    assert torch.equal(got.position[sure], plain.position[sure])
    assert torch.equal(got.log_density(truth)[sure], plain.log_density(truth)[sure])
    assert torch.equal(got.hpd_level(truth, draws())[sure], plain.hpd_level(truth, draws())[sure])
    assert not torch.equal(got.position, plain.position)
    never = refine_fix(fix, reports, fine, MODEL, RefinementConfig(entropy=99.0))
    assert torch.equal(never.position, fix.position)
    assert torch.equal(never.log_density(truth), fix.log_density(truth))


def test_a_phone_is_refined_alike_whoever_else_is_asked_for(world, phones, fine) -> None:
    reports, _ = phones
    fix = located(trained(), reports, world)
    together = refine_fix(fix, reports, fine, MODEL, RefinementConfig(entropy=0.0))
    for n in (0, 7):
        one = Fix(*(getattr(fix, name)[n : n + 1] for name in ("log_heatmap", "mean", "component_covariance")))
        alone = refine_fix(one, reports[n : n + 1], fine, MODEL, RefinementConfig(entropy=0.0))
        torch.testing.assert_close(alone.position[0], together.position[n], atol=0.02, rtol=0)
        torch.testing.assert_close(
            alone.refined_pixels.probability[0], together.refined_pixels.probability[n], atol=1e-6, rtol=1e-3
        )


def test_the_likeliest_patches_by_hand() -> None:
    heat = torch.tensor([[0.5, 0.1, 0.3, 0.1], [0.97, 0.01, 0.01, 0.01]])
    fix = Fix(heat.log(), torch.zeros(2, 4, 2), torch.eye(2).expand(2, 4, 2, 2))
    assert likeliest_patches(fix, 0.75).tolist() == [[True, False, True, False], [True, False, False, False]]
    assert likeliest_patches(fix, 0.1).sum(1).tolist() == [1, 1]


def test_patches_and_pixels_are_sorted_there_and_back() -> None:
    raster = torch.arange(2 * 144.0).view(2, 12, 12)
    sorted_ = split_into_patches(raster.unsqueeze(-1), 4)[..., 0]
    assert sorted_[0, 5].tolist() == [39, 40, 41, 51, 52, 53, 63, 64, 65]
    assert torch.equal(join_patches(sorted_, 4), raster)


@pytest.mark.parametrize("wrong", [{"trust": 1.5}, {"mass": 1.0}, {"mass": 0.0}, {"entropy": -1.0}])
def test_impossible_plans_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UelError):
        replace(RefinementConfig(), **wrong)
