"""Hypotheses put to a simulator whose answer is known: free space, where the map is wrong and rays are not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.locators import SMALL
from tests.helpers.ray_traced_scenes import FREQUENCY, Sionna, bundled, mast
from tests.helpers.toy_city import SITES, SIZE, toy_deployment
from uel.core.grid import Grid
from uel.core.units import from_db, to_db
from uel.errors import UelError
from uel.estimation.config import RayRescoringConfig
from uel.estimation.fix import Fix
from uel.estimation.ray_rescoring import fit_ray_noise, rescore_with_rays
from uel.estimation.refinement import PatchSortedMap
from uel.estimation.scoring import position_error
from uel.geo.tile_maps import MATERIAL_CLASSES, TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import FreeSpace

MODEL = ObservationModel(shadowing_db=3.0)
SPACE = FreeSpace(SITES, size=SIZE)
EXACT = {"spread_db": 0.0, "share": 1.0}  # rays that are right


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


def noisy(maps: TileMaps, spread_db: float, seed: int = 0) -> TileMaps:
    """A map that few rays made: every pixel off by so much, and it does not know."""
    noise = torch.randn(maps.radio.gain.shape, generator=torch.Generator().manual_seed(seed)) * spread_db
    return replace(maps, radio=replace(maps.radio, gain=from_db(to_db(maps.radio.gain) + noise)))


def fixed(maps: TileMaps, patches: int, count: int, world: Deployment) -> tuple[Fix, PatchSortedMap, Reports, Tensor]:
    """What a locator that believes a map says of phones of the true world, by levels alone."""
    reports, position = world.reports_from_map(count, MODEL, torch.Generator().manual_seed(3))
    reports = reports.with_tier("rsrp")
    with torch.no_grad():
        fix = Locator(replace(SMALL, patches=patches), MODEL)(reports, maps)
    return fix, PatchSortedMap.of(maps, patches), reports, position


def test_where_the_map_is_right_tracing_changes_nothing(world: Deployment) -> None:
    """A patch of one pixel: its mean is the place that the map speaks of."""
    maps = world.maps
    fix, fine, reports, _ = fixed(maps, 32, 6, world)
    got = rescore_with_rays(fix, reports, fine, maps, MODEL, SPACE, RayRescoringConfig(hypotheses=40, **EXACT))
    torch.testing.assert_close(got.log_heatmap, fix.log_heatmap, atol=0.01, rtol=0)


def test_where_the_map_is_wrong_tracing_finds_the_truth_again(world: Deployment) -> None:
    maps = noisy(world.maps, 8.0)
    fix, fine, reports, position = fixed(maps, 16, 40, world)
    got = rescore_with_rays(fix, reports, fine, maps, MODEL, SPACE, RayRescoringConfig(hypotheses=48, **EXACT))
    torch.testing.assert_close(got.log_heatmap.exp().sum(1), torch.ones(40), atol=1e-4, rtol=0)
    before, after = (float(position_error(f.position, position).mean()) for f in (fix, got))
    assert after < 0.8 * before
    assert float((got.log_density(position) - fix.log_density(position)).mean()) > 0.3


def test_untraced_patches_keep_their_probability(world: Deployment) -> None:
    maps = noisy(world.maps, 8.0)
    fix, fine, reports, _ = fixed(maps, 16, 4, world)
    got = rescore_with_rays(fix, reports, fine, maps, MODEL, SPACE, RayRescoringConfig(hypotheses=5))
    changed = got.log_heatmap != fix.log_heatmap
    assert bool((changed.sum(1) <= 5).all())
    assert bool(changed.any(1).all())
    torch.testing.assert_close(got.log_heatmap.exp().sum(1), torch.ones(4), atol=1e-4, rtol=0)
    assert torch.equal(got.mean, fix.mean)


def test_a_floor_of_the_heatmap_is_no_evidence(world: Deployment) -> None:
    """A patch that map and rays exclude stays excluded, however far the heatmap's floor is above the likelihood."""
    maps, plan = world.maps, RayRescoringConfig(hypotheses=256, share=0.5)
    fix, fine, reports, _ = fixed(maps, 16, 20, world)
    floored = replace(fix, log_heatmap=torch.logaddexp(fix.log_heatmap, torch.tensor(-9.0)).log_softmax(-1))
    by_exact, by_floored = (
        rescore_with_rays(f, reports, fine, maps, MODEL, FreeSpace(SITES, size=SIZE), plan) for f in (fix, floored)
    )
    excluded = by_exact.log_heatmap < -25
    assert int(excluded.any(1).sum()) > 10
    assert float(by_floored.log_heatmap[excluded].max()) < -20
    torch.testing.assert_close(by_floored.position, by_exact.position, atol=0.5, rtol=0)


def canyon() -> tuple[Sionna, TileMaps]:
    """The street canyon with one mast, and a map of it that knows line of sight."""
    sites = mast((-20.0, 3.0, 18.0), FREQUENCY)
    sim = bundled("simple_street_canyon", sites, max_depth=2)
    grid = Grid(size=64.0, pixel=8.0)
    radio = FreeSpace(sites, size=64.0).radio_map(grid)
    return sim, TileMaps(radio, torch.zeros(2 + len(MATERIAL_CLASSES), *grid.shape), torch.ones(grid.shape))


@pytest.mark.slow  # 20 s: 512 places are searched
def test_a_wrong_start_is_led_back_in_the_canyon() -> None:
    """A place is believed that a flat map cannot refute; rays can. A patch further along the street is 1.2 dB."""
    sim, maps = canyon()
    place, exact = torch.tensor([[12.0, 4.0]]).expand(8, 2), replace(MODEL, shadowing_db=1.0)
    reports = exact.observe(sim.paths(place), maps.power_dbm, torch.Generator().manual_seed(1))
    flat = replace(maps, radio=replace(maps.radio, gain=torch.full_like(maps.radio.gain, 1e-9)))
    fine = PatchSortedMap.of(flat, 8)
    centres = maps.radio.grid.centres().reshape(1, 64, 2).expand(8, 64, 2)
    wrong = -(centres - torch.tensor([-12.0, 4.0])).norm(dim=-1) / 6.0
    heat = wrong + fine.log_joint(reports, torch.arange(64), exact, map_error=True)[..., 0]
    fix = Fix(heat.log_softmax(-1), centres, torch.eye(2).expand(8, 64, 2, 2) * 20.0)
    got = rescore_with_rays(fix, reports, fine, flat, exact, sim, RayRescoringConfig(hypotheses=64, **EXACT))
    before, after = (float(position_error(f.position, place).mean()) for f in (fix, got))
    assert before > 15.0
    assert after < 0.6 * before
    assert float((got.log_density(place) - fix.log_density(place)).mean()) > 1.0


class Quiet(FreeSpace):
    """A tracer that misses three quarters of the power."""

    def paths(self, position: Tensor) -> LinkTruth:
        truth = super().paths(position)
        return replace(truth, gain_db=truth.gain_db - 6.0)


def test_labelled_reports_tell_what_rays_are_worth(world: Deployment) -> None:
    """Right ones beside a wrong map, too quiet ones, and wrong ones beside a right map."""
    elsewhere = FreeSpace((*SITES[1:], SITES[0]), size=SIZE)
    told = {}
    for name, maps, space in (
        ("right", noisy(world.maps, 8.0), SPACE),
        ("quiet", noisy(world.maps, 8.0), Quiet(SITES, size=SIZE)),
        ("wrong", world.maps, elsewhere),
    ):
        fix, fine, reports, position = fixed(maps, 16, 80, world)
        told[name] = fit_ray_noise(RayRescoringConfig(hypotheses=16), reports, position, fine, maps, MODEL, space)
        got = rescore_with_rays(fix[:16], reports[:16], fine, maps, MODEL, space, told[name])
        better = got.log_density(position[:16]) - fix[:16].log_density(position[:16])
        assert float(better.mean()) > (-0.05 if name == "wrong" else 0.2)
    assert [told[name].bias_db for name in ("right", "quiet")] == [0.0, 6.0]
    assert min(told[name].share for name in ("right", "quiet")) >= 0.75
    assert max(told[name].spread_db for name in ("right", "quiet")) <= 4.0
    assert told["wrong"].share <= 0.1


@pytest.mark.parametrize(
    "wrong",
    [{"hypotheses": 1}, {"share": 1.1}, {"spread_db": -1.0}],
)
def test_impossible_plans_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UelError):
        RayRescoringConfig(**wrong)  # type: ignore[arg-type]
