"""Buildings, ground and poles as the browser gets them: glTF, read by its specification."""

import json
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from explorer import style
from explorer.map_view import tile_gltf, tile_meshes
from explorer.map_view.gltf import glb_bytes
from explorer.map_view.tile_meshes import TileMesh
from explorer.style import DARK_THEME, LIGHT_THEME
from scenes.mesh.mesh_parts import MeshPart
from tests.helpers.toy_city import toy_tile
from uel.errors import UelError
from uel.geo.scene_files import read_ply
from uel.geo.tile import Tile


@pytest.fixture(scope="module")
def tile(tmp_path_factory) -> Tile:
    return toy_tile(tmp_path_factory.mktemp("scenery") / "toy")


def read_glb(content: bytes) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Head, vertices, texture coordinates, faces and texture, by the specification and nothing of ours."""
    magic, version, length = struct.unpack_from("<III", content)
    assert (magic, version, length) == (0x46546C67, 2, len(content))
    size, kind = struct.unpack_from("<II", content, 12)
    assert kind == 0x4E4F534A
    head = json.loads(content[20 : 20 + size])
    body = content[28 + size :]
    assert head["buffers"][0]["byteLength"] == len(body) == struct.unpack_from("<I", content, 20 + size)[0]
    part = [body[v["byteOffset"] : v["byteOffset"] + v["byteLength"]] for v in head["bufferViews"]]
    vertex, uv = (np.frombuffer(part[k], "<f4").reshape(-1, n) for k, n in ((0, 3), (1, 2)))
    texture = np.asarray(Image.open(BytesIO(part[3])))
    return head, vertex, uv, np.frombuffer(part[2], "<u4").reshape(-1, 3), texture


def test_a_glb_holds_what_was_put_in():
    vertex, uv = np.arange(12.0).reshape(4, 3), np.linspace(0, 1, 8).reshape(4, 2)
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    head, *found = read_glb(glb_bytes(vertex, uv, np.array([0, 1, 2, 0, 2, 3]), image))
    for mine, its in zip((vertex, uv, [[0, 1, 2], [0, 2, 3]], image), found, strict=True):
        np.testing.assert_allclose(its, mine, rtol=1e-6)
    accessor = head["accessors"][0]
    assert (accessor["min"], accessor["max"]) == ([0.0, 1.0, 2.0], [9.0, 10.0, 11.0])


def test_meshes_are_read_as_the_tile_writes_them(tmp_path):
    generator = np.random.default_rng(0)
    vertices, faces = generator.normal(size=(20, 3)), generator.integers(0, 20, (9, 3))
    part = MeshPart("building", "itu_brick", vertices, faces)
    (tmp_path / "mesh.ply").write_bytes(part.to_ply())
    mesh = read_ply(tmp_path / "mesh.ply")
    np.testing.assert_allclose(mesh.vertex[mesh.face], part.triangles, rtol=1e-6)
    (tmp_path / "mesh.ply").write_bytes(part.to_ply()[:-20])
    with pytest.raises(UelError, match="mesh cannot be read"):
        read_ply(tmp_path / "mesh.ply")


def area(triangle: np.ndarray) -> float:
    sides = triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]
    return float(np.linalg.norm(np.cross(*sides), axis=1).sum() / 2)


def test_a_cut_leaves_what_lies_inside():
    square = np.array([[[-9.0, -9, 3], [9, -9, 3], [9, 9, 3]], [[-9, -9, 3], [9, 9, 3], [-9, 9, 3]]])
    kept = tile_meshes.clip_to_square(square, 4.0)
    assert area(kept) == pytest.approx(64.0)
    assert np.abs(kept[:, :, :2]).max() == pytest.approx(4.0)
    assert (kept[:, :, 2] == 3).all()
    inside = np.random.default_rng(0).uniform(-3, 3, (50, 3, 3))
    np.testing.assert_array_equal(
        np.sort(tile_meshes.clip_to_square(inside, 4.0), axis=None), np.sort(inside, axis=None)
    )
    assert len(tile_meshes.clip_to_square(square + np.array([20.0, 0, 0]), 4.0)) == 0


def test_roofs_are_coloured_by_their_height(tile):
    def roof(z):
        return np.array([[[0.0, 0, z], [5, 0, z], [0, 5, z]]])

    mesh = TileMesh(np.concatenate([roof(2.0), roof(14.9)]), np.zeros(2, dtype=np.int64), ("itu_brick",))
    content, legend = tile_gltf.buildings_glb(tile, mesh, "height", LIGHT_THEME)
    _, vertex, uv, face, texture = read_glb(content)
    assert legend is not None
    assert legend.high == pytest.approx(15.0)
    rows = (uv[:, 1] * len(texture)).astype(int)
    low, high = (rows[np.isclose(vertex[:, 2], z)] for z in (2.0, 14.9))
    assert set(low) == {int(2.0 / 15 * tile_gltf.HEIGHT_STEPS)}
    assert set(high) == {int(14.9 / 15 * tile_gltf.HEIGHT_STEPS)}
    lit = texture[high[0], int(uv[np.isclose(vertex[:, 2], 14.9), 0][0] * tile_gltf.SHADE_COUNT)]
    np.testing.assert_allclose(
        lit, style.apply_colour_map(np.array([1.0]), style.QUANTITY_SCALES["height"], 0.0, 1.0)[0], atol=6
    )
    assert face.shape == (2, 3)


def test_a_tile_without_meshes_has_a_mesh_all_the_same(tile):
    mesh = tile_meshes.read_buildings(tile)
    assert mesh.corner.shape == (0, 3, 3)
    for colouring in ("plain", "height", "material"):
        _, vertex, *_ = read_glb(tile_gltf.buildings_glb(tile, mesh, colouring, DARK_THEME)[0])
        assert (vertex[:, 2] < -100).all()  # under the ground, where nobody looks


def test_the_picture_lies_on_the_ground_the_right_way_round(tile):
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[0, 3] = 255  # south-east
    _, vertex, uv, _, texture = read_glb(tile_gltf.ground_glb(tile, picture))
    corner = next(k for k, p in enumerate(vertex) if p[0] > 0 and p[1] < 0)
    row, column = (min(int(uv[corner, axis] * 4), 3) for axis in (1, 0))
    assert texture[row, column].tolist() == [255, 255, 255]
    assert np.abs(vertex[:, :2]).max() == pytest.approx(tile.size / 2)


def test_what_is_near_the_camera_is_drawn_first(tile):
    """Through a near wall that was drawn before it, no far one shines."""

    def wall(y):
        return np.array([[[0.0, y, 0.0], [5, y, 0], [0, y, 9]]])

    mesh = TileMesh(np.concatenate([wall(90.0), wall(-90.0)]), np.zeros(2, dtype=np.int64), ("itu_brick",))
    _, vertex, _, face, _ = read_glb(tile_gltf.buildings_glb(tile, mesh, "plain", LIGHT_THEME)[0])
    assert vertex[face][:, :, 1].mean(1).tolist() == [-90.0, 90.0]


def test_a_pole_is_a_metre_long_and_stands_on_its_place():
    _, vertex, _, face, _ = read_glb(tile_gltf.pole_glb())
    assert (vertex.min(0)[2], vertex.max(0)[2]) == (0.0, 1.0)
    np.testing.assert_allclose(vertex[:, :2].mean(0), 0.0, atol=1e-7)
    assert area(vertex[face]) == pytest.approx(4 * tile_gltf.POLE_SIDE)
