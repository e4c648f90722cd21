"""The locator: physics before training, symmetry always, and a density that is one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.locators import MODEL, SMALL, integral, moved_by, trained
from tests.helpers.toy_city import SITES, toy_deployment
from uel.errors import UelError
from uel.estimation.grid_posterior import geometric_median, grid_posterior
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.equivariant_layers import IsotropicConv
from uel.models.locator import SCHEMA, Locator, _mean_error_bar
from uel.radio.sites import Site


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture(scope="module")
def phones(world: Deployment) -> tuple[Reports, torch.Tensor]:
    return world.reports_from_map(24, MODEL, torch.Generator().manual_seed(5))


def test_untrained_locator_is_grid_bayes(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    reports, _ = phones
    maps = world.maps
    posterior = grid_posterior(reports, maps.radio, maps.prior.clamp(min=1e-6), MODEL, maps.power_dbm)
    fix = Locator(SMALL, MODEL)(reports, maps)
    by_patch = torch.nn.functional.avg_pool2d(posterior, 2) * 4
    torch.testing.assert_close(fix.log_heatmap.exp(), by_patch.flatten(1), atol=1e-5, rtol=1e-4)
    limit = geometric_median(maps.radio.grid.centres().reshape(1, -1, 2), posterior.flatten(1))
    assert (fix.position - limit).norm(dim=-1).max() < 4.0  # patches of 16 m are summarised by two moments


def test_a_locator_that_does_not_doubt_the_map_is_grid_bayes(
    world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    """However it was trained otherwise: the grid posterior is one of the two hypotheses that the heatmap mixes."""
    reports, _ = phones
    sure, doubting = trained(), trained()
    with torch.no_grad():
        sure.doubt[-1].bias.fill_(-60.0)
        doubting.doubt[-1].bias.fill_(60.0)
        heat = sure(reports, world.maps).log_heatmap.exp()
        posterior = grid_posterior(reports, world.maps.radio, world.maps.prior, MODEL, world.maps.power_dbm)
        by_patch = (torch.nn.functional.avg_pool2d(posterior, 2) * 4).flatten(1)
        torch.testing.assert_close(heat, by_patch, atol=2e-5, rtol=1e-3)
        assert (doubting(reports, world.maps).log_heatmap.exp() - by_patch).abs().max() > 0.05


def turn(world: Deployment, reports: Reports) -> tuple[TileMaps, Reports]:
    """The same city, network and reports with the world turned by 90° counter-clockwise."""

    def rotate(values):
        return torch.rot90(values, -1, (-2, -1))  # rows run north: y is up

    radio = world.maps.radio
    sites = tuple(Site(position=(-s.position[1], s.position[0], s.position[2]), cells=s.cells) for s in SITES)
    fields = {n: rotate(getattr(radio, n)) for n in ("gain", "relative_error", "known", "los", "elevation")}
    maps = TileMaps(replace(radio, sites=sites, **fields), rotate(world.maps.buildings), rotate(world.maps.prior))
    return maps, replace(reports, azimuth_deg=(reports.azimuth_deg - 90.0) % 360.0)


def test_turned_world_gives_turned_fixes(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    reports, _ = phones
    locator = trained()
    maps, turned = turn(world, reports)
    with torch.no_grad():
        straight, around = locator(reports, world.maps), locator(turned, maps)
    x, y = straight.position.unbind(-1)
    torch.testing.assert_close(around.position, torch.stack([-y, x], -1), atol=0.05, rtol=1e-4)
    heat = straight.log_heatmap.view(-1, 16, 16)
    torch.testing.assert_close(around.log_heatmap.view(-1, 16, 16), heat.rot90(-1, (1, 2)), atol=2e-3, rtol=1e-3)


def test_error_bars_are_read_where_a_report_may_come_from(
    world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    """By a loop over reports and the cells that they heard."""
    reports, _ = phones
    wide = 3.0 * torch.rand(world.maps.radio.gain.shape, generator=torch.Generator().manual_seed(2))
    maps = replace(world.maps, radio=replace(world.maps.radio, relative_error=wide))
    posterior = grid_posterior(reports, maps.radio, maps.prior, MODEL, maps.power_dbm)
    for one, chance, bar in zip(
        reports.heard, posterior, _mean_error_bar(posterior.log(), reports, maps)[:, 0], strict=True
    ):
        seen = [float((chance * wide[cell].clamp(max=2.0)).sum()) for cell in one.nonzero()[:, 0].tolist()]
        assert float(bar) == pytest.approx(sum(seen) / len(seen), rel=1e-4)


def test_cells_are_a_set(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    assert moved_by(trained(), world.maps, phones[0], [2, 0, 3, 1]) < 0.05


def test_isotropic_convolution_commutes_with_turns_and_mirrors() -> None:
    conv = IsotropicConv(3, 4)
    image = torch.randn(2, 3, 8, 8)
    for move in (lambda v: v.rot90(1, (2, 3)), lambda v: v.flip(3)):
        torch.testing.assert_close(conv(move(image)), move(conv(image)))


def test_density_integrates_to_one(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    assert integral(trained()(phones[0][:1], world.maps), size=800.0) == pytest.approx(1.0, abs=0.01)


def test_covariance_is_the_second_moment_of_samples(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    fix = trained()(phones[0][:1], world.maps)
    pick = torch.multinomial(fix.log_heatmap.exp()[0], 40_000, replacement=True)
    factor = torch.linalg.cholesky(fix.component_covariance[0][pick])
    samples = fix.mean[0][pick] + (factor @ torch.randn(len(pick), 2, 1)).squeeze(-1)
    off = samples - fix.position[0]
    torch.testing.assert_close(off.T @ off / len(off), fix.covariance[0], rtol=0.05, atol=20.0)


def test_checkpoint_round_trip(tmp_path: Path, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    locator = trained()
    locator.save(tmp_path)
    again = Locator.load(tmp_path)
    assert torch.equal(locator(phones[0], world.maps).position, again(phones[0], world.maps).position)


@pytest.mark.parametrize("content", [b"not a checkpoint", None, {"schema": "uel-locator-0"}, [1, 2]])
def test_foreign_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    if isinstance(content, bytes):
        (tmp_path / "locator.pt").write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / "locator.pt")
    with pytest.raises(UelError, match="train"):
        Locator.load(tmp_path)
    assert SCHEMA != "uel-locator-0"


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UelError, match="multiple"):
        LocatorConfig(width=50, heads=4)
    with pytest.raises(UelError, match="even"):
        LocatorConfig(patches=31)
