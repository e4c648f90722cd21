"""A tile of four houses, as the bundled cities have them: all walls in one mesh, all roofs in another."""

from pathlib import Path

import numpy as np
import pytest

from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import material_names, rasterise_parts
from scenes.tiles.mitsuba_xml import material_bsdfs
from scenes.tiles.writer import write_tile
from uel.core.grid import Grid
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
    meta = {"name": "houses", "size": SIZE, "pixel": 1.0, "margin": 8.0, "materials": material_names(parts)}
    return write_tile(folder, parts, material_bsdfs(material_names(parts)), rasterise_parts(parts, grid), meta)


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    return houses(tmp_path / "tile")
