"""Encoders and heads other than ours: densities, what stays a set, what is learned, what is refused."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.free_space import CORNERS, masts, radio_map
from tests.helpers.locators import MODEL, SMALL, exported_alike, integral, learned, moved_by, silent_parameters, trained
from tests.helpers.toy_city import SIZE, toy_deployment
from training.commands.config import TrainConfig
from uel.config import load
from uel.errors import UelError
from uel.estimation.grid_posterior import grid_posterior
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.inputs import BUILDING_CHANNELS
from uel.models.locator import MAX_CELL_IDS, Locator
from uel.radio.simulator import FreeSpace

KINDS = {
    "vit": replace(SMALL, encoder="vit"),
    "two_stream": replace(SMALL, encoder="two_stream"),
    "linear": replace(SMALL, head="linear"),
    "all": replace(SMALL, encoder="vit", head="linear", cell_ids=True),
}
kinds = pytest.mark.parametrize("kind", KINDS)
ORDER = [2, 0, 3, 1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture(scope="module")
def phones(world: Deployment) -> tuple[Reports, torch.Tensor]:
    return world.reports_from_map(16, MODEL, torch.Generator().manual_seed(5))


@kinds
def test_the_density_integrates_to_one(kind: str, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    assert integral(trained(KINDS[kind])(phones[0][:1], world.maps), 2 * SIZE) == pytest.approx(1.0, abs=0.01)


@kinds
def test_untrained_it_is_grid_bayes(kind: str, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    """The evidence and its skip are the same whatever stands between."""
    maps = world.maps
    posterior = grid_posterior(phones[0], maps.radio, maps.prior.clamp(min=1e-6), MODEL, maps.power_dbm)
    heat = Locator(KINDS[kind], MODEL)(phones[0], maps).log_heatmap.exp()
    by_patch = torch.nn.functional.avg_pool2d(posterior, 2) * 4
    torch.testing.assert_close(heat, by_patch.flatten(1), atol=1e-5, rtol=1e-4)


@kinds
def test_the_loss_reaches_all_parameters(kind: str, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    silent = silent_parameters(trained(KINDS[kind]), world, phones)
    assert not silent


@kinds
def test_reports_are_located_each_by_itself(kind: str, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    locator, order = trained(KINDS[kind]), torch.randperm(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, shuffled = locator(phones[0], world.maps), locator(phones[0][order], world.maps)
    torch.testing.assert_close(shuffled.log_heatmap, whole.log_heatmap[order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["vit", "two_stream", "linear"])
def test_cells_are_a_set(kind: str, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    assert moved_by(trained(KINDS[kind]), world.maps, phones[0], ORDER) < 0.05


def test_cells_with_an_index_are_none(world: Deployment, phones: tuple[Reports, torch.Tensor]) -> None:
    """Once their embeddings say something; without evidence, beside which these small weights say little."""
    config = replace(SMALL, evidence="none")
    assert moved_by(trained(config), world.maps, phones[0], ORDER) < 1e-3
    told = trained(replace(config, cell_ids=True))
    with torch.no_grad():
        told.radio_encoder.ids.normal_()  # type: ignore[union-attr]
    assert moved_by(told, world.maps, phones[0], ORDER) > 0.1


def test_more_cells_than_indices_are_refused() -> None:
    locator = trained(replace(SMALL, cell_ids=True))
    with pytest.raises(UelError, match="cell_ids off"):
        locator.radio_encoder(torch.zeros(1, MAX_CELL_IDS + 1, 9))


@kinds
def test_a_checkpoint_keeps_its_network(
    kind: str, tmp_path: Path, world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    locator = trained(KINDS[kind])
    locator.save(tmp_path)
    again = Locator.load(tmp_path)
    assert again.config == KINDS[kind]
    assert torch.equal(locator(phones[0], world.maps).position, again(phones[0], world.maps).position)


def test_a_checkpoint_from_before_these_settings_loads(tmp_path: Path) -> None:
    before = trained()
    before.save(tmp_path)
    content = torch.load(tmp_path / "locator.pt", weights_only=True)
    for name in ("encoder", "patch_pixels", "head", "cell_ids", "cells"):
        del content["config"][name]
    torch.save(content, tmp_path / "locator.pt")
    again = Locator.load(tmp_path)
    assert {name.partition(".")[0] for name in again.state_dict()} == {
        "radio_encoder", "stem", "embed", "blocks", "norm", "trust", "doubt", "pixel_logit", "query", "fine",
    }  # fmt: skip
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in before.state_dict().items())


@pytest.mark.parametrize("kind", ["vit", "two_stream"])
def test_maps_of_any_pixel_are_read(kind: str, world: Deployment) -> None:
    """Resampled to the pixels that a network was built for: the same place is the same, on finer maps."""
    locator = trained(replace(KINDS[kind], evidence="none"))
    fine = TileMaps.from_tile(world.tile, FreeSpace(world.maps.radio.sites, size=SIZE).radio_map(world.tile.grid(2.0)))
    reports = world.reports_from_map(4, MODEL, torch.Generator().manual_seed(1))[0]
    with torch.no_grad():
        coarse_heat, fine_heat = (locator(reports, maps).log_heatmap.exp() for maps in (world.maps, fine))
    assert (coarse_heat - fine_heat).abs().sum(-1).max() < 0.3


@pytest.mark.parametrize("kind", ["vit", "two_stream", "linear"])
def test_without_evidence_it_learns_where_its_phones_are(
    kind: str, world: Deployment, phones: tuple[Reports, torch.Tensor]
) -> None:
    few = phones[0][:8], phones[1][:8]
    losses = learned(replace(KINDS[kind], evidence="none"), world, few, steps=40)
    assert losses[0] > 5.0  # log 256 = 5.5 less what buildings exclude
    assert losses[-1] < losses[0] - 2.0


@pytest.mark.slow
def test_exported_they_say_the_same(tmp_path: Path) -> None:
    kinds = ["vit", "two_stream"]
    assert exported_alike([trained(KINDS[kind]) for kind in kinds], tmp_path) == kinds


def test_only_vision_transformers_import_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes seconds."""
    monkeypatch.setitem(sys.modules, "timm.models.vision_transformer", None)
    Locator(SMALL, MODEL)
    with pytest.raises(ImportError):
        Locator(KINDS["vit"], MODEL)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"patch_pixels": 0}, "at least 1"), ({"cells": 0}, "at least 1"), ({"encoder": "unet"}, "evidence none")],
)
def test_bad_values_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(UelError, match=said):
        LocatorConfig(**wrong)


@pytest.mark.slow
def test_a_batch_of_base_reaches_every_weight() -> None:
    config = load(TrainConfig, "train", ["--config", "train/base"])
    radio = radio_map(masts(*CORNERS), config.maps.pixel, config.size)
    maps = TileMaps(radio, torch.zeros(BUILDING_CHANNELS, *radio.grid.shape), torch.ones(radio.grid.shape))
    at = torch.tensor([[10.0, 60.0], [-70.0, 20.0]])
    model = ObservationModel.from_parameters(config.measurement)
    reports = model.observe(radio.pixel_truth(at), maps.power_dbm, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    locator = Locator(config.locator, model)
    (-locator(reports, maps).log_density(at).mean()).backward()
    for name, parameter in locator.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
