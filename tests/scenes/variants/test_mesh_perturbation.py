"""Wrong twins made of meshes: which triangles are a building, and what is wrong with each."""

from pathlib import Path

import numpy as np
import pytest

from scenes.perturbation import Perturbation
from scenes.tiles.mitsuba_xml import read_tile_scene
from scenes.variants.mesh_perturbation import SWAP_CLASSES, group_buildings, perturb_meshes
from tests.helpers.four_houses import HOUSES, SIZE, houses
from uel.errors import UelError
from uel.geo.tile import Tile


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    return houses(tmp_path / "tile")


def heights(tile: Tile) -> list[float]:
    """Of every house, in the middle of its roof."""
    raster = tile.rasters["height"]
    return [float(raster[int(y + side / 2 + SIZE / 2), int(x + side / 2 + SIZE / 2)]) for x, y, side, _ in HOUSES]


def test_walls_and_roofs_are_put_together_and_neighbours_stay_apart(tile: Tile) -> None:
    parts = [part for part in read_tile_scene(tile)[0] if part.kind == "building"]
    soup = group_buildings(parts)
    assert soup.count == len(HOUSES)
    for x, y, side, _ in HOUSES:
        middle = np.array([x + side / 2, y + side / 2])
        corners = soup.vertices[soup.faces].mean(1)[:, :2]
        mine = (np.abs(corners - middle) < side / 2 - 0.1).all(1)  # its roof
        assert len(set(soup.building[soup.faces[mine]].ravel())) == 1
    counts = np.bincount(soup.building[soup.faces[:, 0]])
    assert counts.tolist() == [10] * len(HOUSES)  # four walls and a roof, two triangles each


def test_nothing_wrong_is_the_same_place(tile: Tile, tmp_path: Path) -> None:
    twin = perturb_meshes(tile, tmp_path / "twin", Perturbation(), seed=1)
    assert heights(twin) == heights(tile) == [10.0, 12.0, 20.0, 16.0]
    assert (twin.rasters["footprint"] == tile.rasters["footprint"]).all()
    assert twin.verify() == []


def test_heights_are_off_house_by_house_and_the_seed_says_by_how_much(tile: Tile, tmp_path: Path) -> None:
    spec = Perturbation(heights=0.2)
    twin = perturb_meshes(tile, tmp_path / "twin", spec, seed=1)
    factor = np.array(heights(twin)) / np.array(heights(tile))
    assert len(set(factor.round(4))) == len(HOUSES)
    assert ((factor >= 0.8) & (factor <= 1.2)).all()
    assert heights(perturb_meshes(tile, tmp_path / "again", spec, seed=1)) == heights(twin)
    assert heights(perturb_meshes(tile, tmp_path / "other", spec, seed=2)) != heights(twin)


def test_missing_houses_are_gone_whole(tile: Tile, tmp_path: Path) -> None:
    twin = perturb_meshes(tile, tmp_path / "twin", Perturbation(missing=0.5), seed=2)
    left = heights(twin)
    assert 0 < left.count(0.0) < len(HOUSES)
    for (x, y, side, top), height in zip(HOUSES, left, strict=True):
        assert height in (0.0, top)
        low = (int(v + SIZE / 2) for v in (y, x))
        row, column = low
        covered = twin.rasters["footprint"][row : row + int(side), column : column + int(side)]
        assert bool((covered == (height > 0)).all())
    assert perturb_meshes(tile, tmp_path / "all", Perturbation(missing=1.0), seed=0).rasters["footprint"].sum() == 0


def test_no_material_is_right_in_a_twin_of_wrong_ones(tile: Tile, tmp_path: Path) -> None:
    twin = perturb_meshes(tile, tmp_path / "twin", Perturbation(materials=True), seed=1)
    before, after = ([t.materials[int(i)] for i in _roof_materials(t)] for t in (tile, twin))
    assert set(before) == {"metal"}
    assert "metal" not in after
    assert set(after) <= set(SWAP_CLASSES)
    assert heights(twin) == heights(tile)
    walls = {part.material for part in read_tile_scene(twin)[0] if part.kind == "building"}
    assert walls <= set(SWAP_CLASSES)


def _roof_materials(tile: Tile) -> list[float]:
    raster = tile.rasters["material"]
    return [float(raster[int(y + s / 2 + SIZE / 2), int(x + s / 2 + SIZE / 2)]) for x, y, s, _ in HOUSES]


def test_moved_houses_have_moved(tile: Tile, tmp_path: Path) -> None:
    twin = perturb_meshes(tile, tmp_path / "twin", Perturbation(moved=2.0), seed=1)
    assert (twin.rasters["footprint"] != tile.rasters["footprint"]).any()


def test_antennas_are_no_business_of_meshes(tile: Tile, tmp_path: Path) -> None:
    with pytest.raises(UelError, match="perturb_sites"):
        perturb_meshes(tile, tmp_path / "twin", Perturbation(antenna_height=3.0), seed=1)
