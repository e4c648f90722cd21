"""`uel map`: what lands in the folder agrees with paths, is reused, and what cannot be mapped is refused at once."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import scenes
from scenes.tiles.writer import write_sites
from sim_bridge.commands.config import RadioMapConfig
from sim_bridge.commands.radio_map import make_maps
from sim_bridge.engines.config import EngineName
from tests.helpers.threads import one_thread
from tests.helpers.village_map import map_file
from uel.cli import main
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio import radio_map_io
from uel.radio.config import Carrier
from uel.radio.sinr import sinr
from uel.radio.sites import Cell, cells_of, require_sites
from uel.radio.tracing_config import TracingConfig

FEW = TracingConfig(map_rays=200_000, samples=10_000, diffraction=False)


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    """Three houses with two masts."""
    folder = tmp_path_factory.mktemp("village")
    tile = scenes.build(str(map_file(folder)), folder / "tile", size=128.0, margin=16.0, pixel=1.0)
    main(["place", str(tile.folder), "--count", "2", "--kind", "random", "--mast", "10"])
    return Tile.open(tile.folder)


def config(tile: Tile, out: Path, **changes: object) -> RadioMapConfig:
    return RadioMapConfig(**{"tiles": (tile.folder,), "pixel": 4.0, "tracing": FEW, "out": out, "check": 40, **changes})


def test_a_map_agrees_with_paths_and_is_reused(village: Tile, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ((folder, result),) = make_maps(config(village, tmp_path))
    assert json.loads((folder / "map_report.json").read_text()) == result
    assert result["paths"]["los"]["links"] > 30
    assert result["paths"]["los"]["gain_difference_db"] < 1.0
    assert result["paths"]["los"]["first_arrival_difference_m"] < 1.0
    radio, service = radio_map_io.load(folder), radio_map_io.read_service(folder)
    assert set(service) == set(radio_map_io.SERVICE_ARRAYS)
    known = radio.known
    torch.testing.assert_close(service["sinr_db"][known], to_db(sinr(radio)[known]))
    assert int(service["mcs"][~known].max()) == -1
    made = (folder / "radiomap.zarr" / "zarr.json").stat().st_mtime_ns
    assert make_maps(config(village, tmp_path)) == [(folder, result)]
    assert (folder / "radiomap.zarr" / "zarr.json").stat().st_mtime_ns == made
    (folder / "report.png").write_bytes(b"of the old map")
    assert f"maps: 0 to make, 1 reused in {tmp_path}" in caplog.messages
    make_maps(config(village, tmp_path, load=0.5))  # made another way
    assert any(message.startswith("maps: 1 made again: load ") for message in caplog.messages)
    assert any(message.endswith("as the last one)") for message in caplog.messages)
    assert (folder / "radiomap.zarr" / "zarr.json").stat().st_mtime_ns != made
    assert not (folder / "report.png").exists()
    (folder / "map_report.json").write_text('{"made_from"')  # cut off: no map
    ((_, again),) = make_maps(config(village, tmp_path))
    assert again | {"seconds": 0} == result | {"seconds": 0}


def test_a_map_for_every_band_with_a_picture(village: Tile, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    few = ["--tracing.map-rays", "50000", "--tracing.samples", "5000", "--tracing.no-diffraction"]
    bands = ["--frequencies", "3.5e9", "28e9", "--out", str(tmp_path), "--pixel", "8", "--check", "32"]
    assert main(["map", str(village.folder), *bands, *few]) == 0
    low, high = (tmp_path / f"village-{name}GHz" for name in ("3.5", "28"))
    assert str(high) in capsys.readouterr().out
    assert all((folder / "report.png").stat().st_size > 10_000 for folder in (low, high))
    one, other = (radio_map_io.load(folder) for folder in (low, high))
    both = one.los & other.los & one.known & other.known
    friis = to_db(one.gain[both] / other.gain[both])  # (28 / 3.5)² between the bands, reflections aside
    assert float(friis.median()) == pytest.approx(18.06, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_maps_are_the_same_bytes_by_any_engine(
    village: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineName
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # two workers, each of one thread
    bands = {"frequencies": (3.5e9, 5e9), "pixel": 8.0}
    with one_thread():
        local = make_maps(config(village, tmp_path / "local", **bands))
    other = make_maps(config(village, tmp_path / engine, engine=engine, workers=2, **bands))
    assert content(tmp_path / "local") == content(tmp_path / engine)
    assert [report | {"seconds": 0} for _, report in local] == [report | {"seconds": 0} for _, report in other]
    assert make_maps(config(village, tmp_path / engine, **bands)) == other  # reused by another engine


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "map_report.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_cannot_be_mapped_is_refused_before_the_first_ray(village: Tile, tmp_path: Path) -> None:
    with pytest.raises(UelError, match="not defined at this frequency"):
        make_maps(config(village, tmp_path, frequencies=(3.5e9, 500e9)))
    with pytest.raises(UelError, match="whole number of pixels"):
        make_maps(config(village, tmp_path, pixel=3.0))
    with pytest.raises(UelError, match="no tile here"):
        make_maps(config(village, tmp_path, tiles=(village.folder, tmp_path / "nowhere")))
    with pytest.raises(UelError, match="one folder"):
        make_maps(config(village, tmp_path, tiles=(village.folder, village.folder)))
    with pytest.raises(UelError, match="no tile to map"):
        RadioMapConfig(tiles=())
    assert not list(tmp_path.iterdir())


def test_each_carrier_of_a_network_gets_its_own_map(village: Tile, tmp_path: Path, caplog) -> None:
    """A carrier at which a material of the tile is not defined is named, and does not stop the others."""
    caplog.set_level("INFO")
    high, low, undefined = (Carrier.from_channel_number(number, "lte") for number in (1300, 3100, 6200))
    cells = (
        Cell(carrier=high, pci=1),
        Cell(carrier=low, pci=1),
        Cell(carrier=undefined, pci=1),
        Cell(carrier=high, pci=2),
    )
    tile = write_sites(copied(village, tmp_path), (replace(village.sites[0], cells=cells),))
    maps = make_maps(config(tile, tmp_path / "maps", tracing=TracingConfig(backend="free-space"), check=4))
    networks = [radio_map_io.load(folder).sites for folder, _ in maps]
    assert {require_sites(n): [cell.pci for _, cell in cells_of(n)] for n in networks} == {high: [1, 2], low: [1]}
    assert "lte 796 MHz" in caplog.text
    with pytest.raises(UelError, match="--frequencies move the cells of one carrier"):
        make_maps(config(tile, tmp_path / "maps", frequencies=(2e9,)))


def copied(tile: Tile, folder: Path) -> Tile:
    shutil.copytree(tile.folder, folder / "tile")
    return Tile.open(folder / "tile")
