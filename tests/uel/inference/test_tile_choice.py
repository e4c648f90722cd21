"""The tile that a locator is used on: the run's own or another, with a radio map that is found, given or traced."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.demo_run import make_run
from tests.helpers.toy_city import SITES, toy_tile
from uel.core.io import data_folder
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.inference.config import TileChoiceConfig
from uel.inference.deployment import find_radio_map, nesting_pixel
from uel.inference.run_folder import Run, write_run, write_sweep
from uel.inference.tile_choice import chosen_deployment
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.radio.config import Carrier
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell, Site, network_to_json, sites_to_json
from uel.radio.tracing_config import RADIO_MAP_MODEL


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a locator of 32 patches on a side, on a tile of 512 m."""
    return Run.open(make_run(tmp_path_factory.mktemp("run") / "run", paths=False))


@pytest.fixture
def tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tile:
    """Another tile, of 256 m, with sites and without a radio map."""
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    tile = toy_tile(tmp_path / "toy")
    (tile.folder / "sites.json").write_text(json.dumps(sites_to_json(SITES)))
    return tile


def save_map(
    tile: Tile,
    folder: Path,
    pixel: float = 4.0,
    sites: tuple[Site, ...] = SITES,
    backend: str = "sionna",
    model: int = RADIO_MAP_MODEL,
) -> Path:
    radio = FreeSpace(sites, size=tile.size).radio_map(tile.grid(pixel))
    provenance = {"tile": tile.name, "fingerprint": tile.fingerprint, "backend": backend, "radio_map_model": model}
    radio_map_io.save(radio, folder, provenance=provenance)
    return folder


class Tracer:
    """Makes a map in free space, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.pixels: list[float] = []

    def __call__(self, tile: Tile, pixel: float, backend: str) -> Path:
        self.pixels.append(pixel)
        return save_map(tile, data_folder() / "maps" / f"by-{backend}", pixel, backend=backend)


def test_without_a_choice_it_is_the_runs_own(run: Run) -> None:
    deployment = chosen_deployment(run, TileChoiceConfig(), Tracer())
    assert deployment.tile.fingerprint == run.tile.fingerprint
    assert deployment.sites == run.maps.radio.sites


def test_a_missing_radio_map_is_traced_once(run: Run, tile: Tile) -> None:
    tracer = Tracer()
    for _ in range(2):
        deployment = chosen_deployment(run, TileChoiceConfig(tile=tile.folder), tracer)
    assert tracer.pixels == [4.0]
    assert deployment.sites == SITES
    reports, _ = deployment.reports_from_map(3, ObservationModel(), torch.Generator().manual_seed(0))
    assert run.locator(reports, deployment.maps).position.abs().max() < tile.size / 2


def test_maps_of_two_simulators_are_not_mistaken(run: Run, tile: Tile) -> None:
    tracer, choice = Tracer(), TileChoiceConfig(tile=tile.folder)
    for backend in ("free-space", "sionna", "free-space"):
        chosen_deployment(run, choice, tracer, backend)
        maps = find_radio_map(tile, run.locator.config.patches, data_folder() / "maps", backend)
        assert maps == data_folder() / "maps" / f"by-{backend}"
    assert len(tracer.pixels) == 2


def test_a_map_of_other_sites_or_of_too_large_pixels_is_not_used(run: Run, tile: Tile, tmp_path: Path) -> None:
    maps = tmp_path / "data" / "maps"
    save_map(tile, maps / "fewer", sites=SITES[:2])
    save_map(tile, maps / "coarse", pixel=16.0)
    assert find_radio_map(tile, run.locator.config.patches, maps) is None
    save_map(tile, maps / "deep" / "fine", pixel=8.0)
    assert find_radio_map(tile, run.locator.config.patches, maps) == maps / "deep" / "fine"


def test_a_map_of_an_earlier_ray_tracer_is_not_used(run: Run, tile: Tile, tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    maps = tmp_path / "data" / "maps"
    save_map(tile, maps / "old", model=RADIO_MAP_MODEL - 1)
    assert find_radio_map(tile, run.locator.config.patches, maps) is None
    assert "old is not used" in caplog.text
    save_map(tile, maps / "new")
    assert find_radio_map(tile, run.locator.config.patches, maps) == maps / "new"


def test_a_map_of_another_tile_is_refused(run: Run, tile: Tile, tmp_path: Path) -> None:
    other = save_map(run.tile, tmp_path / "other", 8.0)
    with pytest.raises(UelError, match=r"of another tile[\s\S]*uel map"):
        chosen_deployment(run, TileChoiceConfig(tile=tile.folder, radio=other), Tracer())


def test_a_tile_without_sites_is_refused(run: Run, tile: Tile) -> None:
    (tile.folder / "sites.json").unlink()
    with pytest.raises(UelError, match=r"no sites on this tile[\s\S]*uel place"):
        chosen_deployment(run, TileChoiceConfig(tile=tile.folder), Tracer())


def test_pixels_nest_in_rasters_and_patches(tile: Tile) -> None:
    raster = tile.raster_grid.pixel
    for patches in (2, 16, 32):
        pixel = nesting_pixel(tile, patches)
        assert pixel % raster == 0
        assert tile.grid(pixel).count % patches == 0
    with pytest.raises(UelError, match=r"do not divide[\s\S]*multiple of"):
        nesting_pixel(tile, 6)


def test_a_written_run_opens_after_a_move_with_its_data(run: Run, tile: Tile, tmp_path: Path) -> None:
    deployment = chosen_deployment(run, TileChoiceConfig(tile=tile.folder), Tracer())
    write_run(
        tmp_path / "runs" / "new", Locator(LocatorConfig(patches=16), ObservationModel()), deployment, "uel train"
    )
    (tmp_path / "moved").mkdir()
    for name in ("runs", "toy"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = Run.open(tmp_path / "moved" / "runs" / "new")
    assert moved.tile.fingerprint == deployment.tile.fingerprint
    assert torch.equal(moved.maps.radio.gain, deployment.maps.radio.gain)


def test_a_sweep_stands_for_its_best_run(run: Run, tmp_path: Path) -> None:
    Locator(LocatorConfig(patches=16), ObservationModel()).save(tmp_path / "sweep" / "a=2")
    write_sweep(tmp_path / "sweep", "a=2")
    assert Run.open(tmp_path / "sweep").folder == tmp_path / "sweep" / "a=2"
    with pytest.raises(UelError, match=r"names no tile[\s\S]*--tile"):
        Run.open(tmp_path / "sweep").deployment  # noqa: B018


def test_a_network_of_several_carriers_needs_the_map_of_one(run: Run, tile: Tile) -> None:
    low = replace(SITES[0], cells=(Cell(carrier=Carrier.from_channel_number(1300, "lte")),))
    (tile.folder / "sites.json").write_text(json.dumps(network_to_json((*SITES, low))))
    with pytest.raises(UelError, match=r"several carriers(.|\n)*lte 1815 MHz(.|\n)*--radio FOLDER"):
        chosen_deployment(run, TileChoiceConfig(tile=tile.folder), Tracer())
