"""Simulators behind the pages: the one that made the radio map, and only on the tile that it was made on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from explorer.app import cache
from tests.helpers.toy_city import SITES, toy_tile
from uel.core.tile_reference import TileReference
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio import radio_map_io
from uel.radio.simulator import FreeSpace


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    cache.st.cache_resource.clear()
    return toy_tile(tmp_path / "toy")


def saved_map(tile: Tile, folder: Path, **changed: object) -> Path:
    radio = FreeSpace(SITES, size=tile.size).radio_map(tile.grid(8.0))
    radio_map_io.save(replace(radio, **{"made_on": tile.reference, "backend": "free-space", **changed}), folder)
    return folder


def test_rays_re_score_by_the_simulator_that_made_the_map(tile: Tile, tmp_path: Path) -> None:
    simulator = cache._rescoring_simulator(tile.folder, saved_map(tile, tmp_path / "radio"))
    position = torch.tensor([[20.0, 30.0]])
    assert simulator.paths(position).los.all()  # free space: the houses between do not count


def test_rays_are_shown_of_maps_that_a_ray_tracer_made(tile: Tile, tmp_path: Path) -> None:
    with pytest.raises(UelError, match=r"display of rays needs a simulator that traces(.|\n)*uel map"):
        cache.trace_rays(tile.folder, saved_map(tile, tmp_path / "radio"), 20.0, 30.0)


@pytest.mark.parametrize("open_simulator", [cache._rescoring_simulator, lambda *f: cache.trace_rays(*f, 0.0, 0.0)])
def test_a_map_of_another_tile_opens_no_simulator(open_simulator, tile: Tile, tmp_path: Path) -> None:
    other = saved_map(tile, tmp_path / "radio", made_on=TileReference("rome", "0" * 16))
    with pytest.raises(UelError, match="of another tile"):
        open_simulator(tile.folder, other)
