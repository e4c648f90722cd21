"""Wrong twins made of meshes: which triangles are a building, and what is wrong with each."""

from pathlib import Path

import numpy as np
import pytest

from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import materials_of, rasterise
from scenes.tiles.mitsuba_xml import bsdfs_of
from scenes.tiles.writer import write_tile
from scenes.variants.map_perturbation import Perturbation
from scenes.variants.mesh_perturbation import CLASSES, buildings_of, perturb_meshes, read_scene
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile

SIZE = 64.0
# x, y of the south-west corner, side, height: the second and the third touch along a wall.
HOUSES = ((-24.0, -24.0, 8.0, 10.0), (0.0, 0.0, 8.0, 12.0), (8.0, 0.0, 8.0, 20.0), (-20.0, 12.0, 8.0, 16.0))


def quads(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles for each row of four corners; quads share corners that are alike."""
    vertices, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    index = index.reshape(-1, 4)
    return vertices, np.concatenate([index[:, [0, 1, 2]], index[:, [0, 2, 3]]])


def joined(kind: str, material: str, pieces: list[tuple[np.ndarray, np.ndarray]]) -> MeshPart:
    first = np.cumsum([0, *(len(v) for v, _ in pieces)])[:-1]
    faces = np.concatenate([f + start for (_, f), start in zip(pieces, first, strict=True)])
    return MeshPart(kind, material, np.concatenate([v for v, _ in pieces]), faces)  # type: ignore[arg-type]


def walls(x: float, y: float, side: float, top: float) -> np.ndarray:
    ring = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]])
    low, high = (np.concatenate([ring, np.full((5, 1), z)], 1) for z in (0.0, top))
    return np.stack([low[:4], low[1:], high[1:], high[:4]], 1)


def roof(x: float, y: float, side: float, top: float) -> np.ndarray:
    return np.array([[[x, y, top], [x + side, y, top], [x + side, y + side, top], [x, y + side, top]]])


def houses(folder: Path) -> Tile:
    """Houses as the bundled cities have them: all walls in one mesh, all roofs in another."""
    ground = quads(np.array([[[-40, -40, 0], [40, -40, 0], [40, 40, 0], [-40, 40, 0]]], dtype=float))
    parts = [
        joined("terrain", "concrete", [ground]),
        joined("building", "marble", [quads(walls(*house)) for house in HOUSES]),
        joined("building", "metal", [quads(roof(*house)) for house in HOUSES]),
    ]
    grid = Grid(size=SIZE, pixel=1.0)
    meta = {"name": "houses", "size": SIZE, "pixel": 1.0, "margin": 8.0, "materials": materials_of(parts)}
    return write_tile(folder, parts, bsdfs_of(materials_of(parts)), rasterise(parts, grid), meta)


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    return houses(tmp_path / "tile")


def heights(tile: Tile) -> list[float]:
    """Of every house, in the middle of its roof."""
    raster = tile.rasters["height"]
    return [float(raster[int(y + side / 2 + SIZE / 2), int(x + side / 2 + SIZE / 2)]) for x, y, side, _ in HOUSES]


def test_walls_and_roofs_are_put_together_and_neighbours_stay_apart(tile: Tile) -> None:
    parts = [part for part in read_scene(tile)[0] if part.kind == "building"]
    soup = buildings_of(parts)
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
    assert set(after) <= set(CLASSES)
    assert heights(twin) == heights(tile)
    walls = {part.material for part in read_scene(twin)[0] if part.kind == "building"}
    assert walls <= set(CLASSES)


def _roof_materials(tile: Tile) -> list[float]:
    raster = tile.rasters["material"]
    return [float(raster[int(y + s / 2 + SIZE / 2), int(x + s / 2 + SIZE / 2)]) for x, y, s, _ in HOUSES]


def test_moved_houses_have_moved(tile: Tile, tmp_path: Path) -> None:
    twin = perturb_meshes(tile, tmp_path / "twin", Perturbation(moved=2.0), seed=1)
    assert (twin.rasters["footprint"] != tile.rasters["footprint"]).any()


def test_antennas_are_no_business_of_meshes(tile: Tile, tmp_path: Path) -> None:
    with pytest.raises(UelError, match="perturb_sites"):
        perturb_meshes(tile, tmp_path / "twin", Perturbation(antenna_height=3.0), seed=1)
