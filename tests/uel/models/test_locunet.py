"""The U-Net baseline: a density, what its planes hold, what it learns, and that everything opens it as a locator."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.locators import (
    MODEL,
    SMALL,
    exported_alike,
    integral,
    learned,
    loss_of,
    moved_by,
    silent_parameters,
    trained,
)
from tests.helpers.toy_city import SIZE, toy_deployment
from uel.estimation.estimates import GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.inputs import BUILDING_CHANNELS
from uel.models.locator import Locator
from uel.models.locunet import PLANES_PER_CELL, UNet, input_planes

CONFIG = replace(SMALL, encoder="unet", evidence="none", depth=3, cells=5)
LEVEL, REPORTED, DISTANCE, HEARD, RESIDUAL, HAS_RANGE, COSINE, SINE = range(PLANES_PER_CELL)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture(scope="module")
def phones(world: Deployment) -> tuple[Reports, torch.Tensor]:
    return world.reports_from_map(16, MODEL, torch.Generator().manual_seed(5))


def shown(world: Deployment, reports: Reports, model: ObservationModel = MODEL, cells: int = 5) -> torch.Tensor:
    """Planes by cell: Float, `batch cell plane row column`."""
    told = input_planes(reports, world.maps, model, cells)
    assert torch.equal(told[0, -BUILDING_CHANNELS:], world.maps.buildings)
    return told[:, :-BUILDING_CHANNELS].unflatten(1, (cells, PLANES_PER_CELL))


def at(values: torch.Tensor, world: Deployment, position: torch.Tensor) -> torch.Tensor:
    """Values of each phone's rasters at its own pixel."""
    row, column = world.maps.radio.grid.pixel_of(position)
    return values[torch.arange(len(values)), ..., row, column]


# ---- what it is shown ----------------------------------------------------------------------------------


def test_planes_of_a_faultless_phone_agree_where_it_stands(world: Deployment) -> None:
    """Level, range and angle of the strongest cell, against the map at the true pixel."""
    exact = ObservationModel(
        shadowing_db=1e-3, rsrp_step_db=1e-3, range_noise=1e-3, nlos_excess=1e-3, azimuth_noise_deg=1e-3,
        azimuth_noise_nlos_deg=1e-3, azimuth_step_deg=1e-3, sensitivity_dbm=-115.0,
    )  # fmt: skip
    centres = world.maps.radio.grid.centres().reshape(-1, 2)
    position = centres[torch.randperm(len(centres), generator=torch.Generator().manual_seed(0))[:20]]
    truth = world.maps.radio.pixel_truth(position)
    reports = exact.observe(truth, world.maps.power_dbm, torch.Generator().manual_seed(1))
    told = at(shown(world, reports, exact), world, position)
    torch.testing.assert_close(told[:, :4, LEVEL], told[:, :4, REPORTED], atol=1e-2, rtol=0)
    assert (told[:, 0, HAS_RANGE] == 1).all()
    assert told[:, 0, RESIDUAL].abs().max() * 100 <= exact.range_step / 2 + 0.1
    torch.testing.assert_close(told[:, 0, COSINE], torch.ones(20), atol=1e-3, rtol=0)
    torch.testing.assert_close(told[:, 0, SINE], torch.zeros(20), atol=1e-2, rtol=0)
    ground = (world.maps.radio.cell_position[reports.serving, :2] - position).norm(dim=-1)
    torch.testing.assert_close(told[:, 0, DISTANCE] * SIZE, ground)


def test_cells_come_by_their_level_and_the_others_are_zero(
    world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    reports = phones[0]
    heard = reports.heard.clone()
    heard.scatter_(1, reports.rsrp_dbm.argmin(1, keepdim=True), False)  # the weakest of four is not reported
    told = shown(world, replace(reports, heard=heard))
    levels = told[:, :, REPORTED, 0, 0] * 15 - 100 + world.maps.power_dbm[0]
    expected = torch.where(heard, reports.rsrp_dbm, -torch.inf).sort(1, descending=True).values[:, :3]
    torch.testing.assert_close(levels[:, :3], expected)
    assert (told[:, :3, HEARD] == 1).all()
    assert not told[:, 3:].any()


def test_a_phone_that_says_nothing_shows_buildings_alone(
    world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    reports = phones[0].with_tier("rsrp")
    none = replace(reports, heard=torch.zeros_like(reports.heard), rsrp_dbm=torch.zeros_like(reports.rsrp_dbm))
    assert not shown(world, none).any()
    assert not shown(world, reports)[:, :, RESIDUAL:].any()


def test_times_and_angles_of_all_cells_are_shown(world: Deployment) -> None:
    model = replace(MODEL, tier="rsrp_toa_aoa")
    reports = world.reports_from_map(8, model, torch.Generator().manual_seed(2))[0]
    told = shown(world, reports, model)
    assert torch.equal(told[:, :4, HAS_RANGE, 0, 0].sum(1), reports.has_toa.sum(1).float())
    length = told[:, :4, COSINE].square() + told[:, :4, SINE].square()
    torch.testing.assert_close(length[..., 0, 0].sum(1), reports.has_aoa.sum(1).float())


# ---- what it says --------------------------------------------------------------------------------------


def test_the_density_integrates_to_one(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    assert integral(trained(CONFIG)(phones[0][:1], world.maps), 2 * SIZE) == pytest.approx(1.0, abs=0.01)


def test_untrained_it_says_the_prior(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    heat = Locator(CONFIG, MODEL)(phones[0], world.maps).log_heatmap.exp()
    prior = torch.nn.functional.avg_pool2d(world.maps.prior[None], 2).flatten(1)
    torch.testing.assert_close(heat, (prior / prior.sum()).expand_as(heat), atol=1e-5, rtol=1e-3)


def test_the_loss_reaches_all_parameters(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    silent = silent_parameters(trained(CONFIG), world, phones)
    assert not silent


def test_cells_are_a_set_and_reports_stand_alone(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    locator, reports = trained(CONFIG), phones[0]
    # Among equal levels the first cells come first: levels of their own here.
    apart = replace(reports, rsrp_dbm=reports.rsrp_dbm + 0.1 * torch.arange(4) * reports.heard)
    serving = torch.where(apart.heard, apart.rsrp_dbm, -torch.inf).argmax(1)
    assert moved_by(locator, world.maps, replace(apart, serving=serving), [2, 0, 3, 1]) < 0.05
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, shuffled = locator(reports, world.maps), locator(reports[order], world.maps)
    torch.testing.assert_close(shuffled.log_heatmap, whole.log_heatmap[order], atol=1e-4, rtol=1e-4)


def test_it_learns_where_its_phones_are(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    losses = learned(CONFIG, world, (phones[0][:8], phones[1][:8]), steps=40)
    assert losses[0] > 5.0  # log 256 = 5.5 less what buildings exclude
    assert losses[-1] < losses[0] - 2.0


@pytest.mark.slow
def test_it_comes_near_the_limit_in_the_city_it_learns_in(world: Deployment) -> None:
    """Fresh phones in every batch and others to judge: its planes say where a phone is, if not what is likely."""
    draws = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    locator = Locator(replace(CONFIG, pixel_width=16, cells=4), MODEL)
    optimizer = torch.optim.AdamW(locator.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=300)
    for _ in range(300):
        loss = loss_of(locator, world, world.reports_from_map(16, MODEL, draws))[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    reports, position = world.reports_from_map(300, MODEL, torch.Generator().manual_seed(99))
    maps = world.maps
    with torch.no_grad():
        posterior = grid_posterior(reports, maps.radio, maps.prior, MODEL, maps.power_dbm)
        limit = GridEstimate(maps.radio.grid, posterior).position
        ours, best = ((found - position).norm(dim=-1).median() for found in (locator(reports, maps).position, limit))
    assert ours < 1.2 * best


def test_rasters_need_not_halve_evenly(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    """Thirty-two pixels, halved five times; and a raster of twelve, which goes to a pixel and a half."""
    model = UNet(cells=4, width=2, levels=6)
    assert model(phones[0], world.maps, MODEL).shape == (16, 32, 32)
    grid = replace(world.maps.radio.grid, size=96.0)

    def cut(values):
        return values[..., :12, :12]

    fields = {n: cut(getattr(world.maps.radio, n)) for n in ("gain", "relative_error", "known", "los", "elevation")}
    radio = replace(world.maps.radio, grid=grid, **fields)
    small = replace(world.maps, radio=radio, buildings=cut(world.maps.buildings), prior=cut(world.maps.prior))
    assert UNet(cells=4, width=2, levels=4)(phones[0], small, MODEL).shape == (16, 12, 12)


# ---- how it is kept and configured ---------------------------------------------------------------------


def test_a_checkpoint_keeps_its_network(
    tmp_path: Path, world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    locator = trained(CONFIG)
    locator.save(tmp_path)
    again = Locator.load(tmp_path)
    assert again.config == CONFIG
    assert torch.equal(locator(phones[0], world.maps).position, again(phones[0], world.maps).position)


@pytest.mark.slow
def test_exported_it_says_the_same(tmp_path: Path) -> None:
    assert exported_alike([trained(CONFIG)], tmp_path) == ["unet"]
