"""A Sionna scene becomes a tile: what is read of its file, what is the ground, and where on earth it is."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pyproj import Transformer

import scenes
from scenes.config import SceneFileConfig
from scenes.scene_files.mitsuba_reader import is_scene_file, read_scene
from scenes.scene_files.transforms import read_transform
from scenes.tiles.scene_tile import read_scene_parts
from scenes.tiles.sionna_cities import city_scene_file
from uel.geo.tile import Tile

HOUSE = "v -10 -5 0\nv 10 -5 0\nv 10 5 0\nv -10 5 0\nv -10 -5 9\nv 10 -5 9\nv 10 5 9\nv -10 5 9\n" + "".join(
    f"f {face}\n" for face in ("1 3 2", "1 4 3", "5 6 7", "5 7 8", "1 2 6", "1 6 5", "2 3 7", "2 7 6", "3 4 8", "3 8 7")
)
SCENE = """<scene version="3.0.0">
  <default name="spp" value="4096"/>
  <default name="meshes" value="meshes"/>
  <integrator type="path"/>
  <sensor type="perspective"><float name="fov" value="40"/></sensor>
  <include filename="materials.xml"/>
  <shape type="rectangle" id="mesh-Ground_plane">
    <transform name="to_world"><scale value="100"/></transform><ref id="mat-itu_medium_dry_ground" name="bsdf"/>
  </shape>
  <shape type="obj" id="mesh-house_1">
    <string name="filename" value="$meshes/house.obj"/>
    <transform name="to_world"><rotate z="1" angle="90"/><translate x="40" y="20"/></transform>
    <ref name="bsdf" id="mat-itu_brick.002"/>
  </shape>
  <shape type="cube" id="tower">
    <transform name="to_world"><scale x="5" y="5" z="15"/><translate x="-40" y="-20" z="15"/></transform>
    <bsdf type="radio-material" id="slate"><float name="relative_permittivity" value="6.5"/></bsdf>
  </shape>
</scene>
"""
MATERIALS = """<scene version="3.0.0">
  <bsdf type="twosided" id="mat-itu_brick.002"><bsdf type="diffuse"/></bsdf>
  <bsdf type="diffuse" id="mat-itu_medium_dry_ground"/>
  <bsdf type="diffuse" id="never used"/>
</scene>
"""


@pytest.fixture
def scene_file(tmp_path: Path) -> Path:
    """A ground, a house of an .obj file and a tower, as Blender's exporters write them."""
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "house.obj").write_text(HOUSE)
    (tmp_path / "materials.xml").write_text(MATERIALS)
    (tmp_path / "village.xml").write_text(SCENE)
    return tmp_path / "village.xml"


def test_shapes_materials_and_transformations_are_read(scene_file: Path) -> None:
    scene = read_scene_parts(scene_file, SceneFileConfig())
    parts = {part.material: part for part in scene.parts}
    assert {name: part.kind for name, part in parts.items()} == {
        "medium_dry_ground": "terrain",
        "brick": "building",
        "slate": "building",
    }
    assert scene.bsdfs["slate"].find("float").attrib["value"] == "6.5"  # type: ignore[union-attr]
    assert scene.bsdfs["brick"].attrib["type"] == "itu-radio-material"
    bounds = {name: (part.vertices.min(0), part.vertices.max(0)) for name, part in parts.items()}
    np.testing.assert_allclose(bounds["brick"], [[35, 10, 0], [45, 30, 9]], atol=1e-6)  # turned by 90°
    np.testing.assert_allclose(bounds["slate"], [[-45, -25, 0], [-35, -15, 30]], atol=1e-6)
    np.testing.assert_allclose(bounds["medium_dry_ground"], [[-100, -100, 0], [100, 100, 0]])


def test_units_and_the_axis_that_points_up_are_converted(scene_file: Path) -> None:
    text = scene_file.read_text().replace('<rotate z="1" angle="90"/>', "").replace('x="40" y="20"', 'x="0"')
    scene_file.write_text(text.replace('<rotate x="1"', "<rotate"))
    brick = {p.material: p for p in read_scene_parts(scene_file, SceneFileConfig(unit=0.5)).parts}["brick"]
    np.testing.assert_allclose(np.ptp(brick.vertices, axis=0), [10, 5, 4.5])
    turned = ElementTree.fromstring('<s><transform name="to_world"><rotate x="1" angle="90"/></transform></s>')
    np.testing.assert_allclose(read_transform(turned, "") @ [0, 1, 0, 1], [0, 0, 1, 1], atol=1e-12)  # y to z


def test_a_scene_without_ground_gets_a_plane_and_says_so(scene_file: Path) -> None:
    text = scene_file.read_text()
    start, end = text.index('  <shape type="rectangle"'), text.index('  <shape type="obj"')
    scene_file.write_text(text[:start] + text[end:])
    scene = read_scene_parts(scene_file, SceneFileConfig())
    assert [part.kind for part in scene.parts] == ["terrain", "building", "building"]
    assert "no shape is the ground" in scene.notes[0]


def test_names_of_materials_may_be_given(scene_file: Path) -> None:
    scene_file.with_name("materials.xml").write_text(MATERIALS.replace("itu_brick.002", "Facade red"))
    scene_file.write_text(SCENE.replace("itu_brick.002", "Facade red"))
    scene = read_scene_parts(scene_file, SceneFileConfig(materials=("Facade red=brick",)))
    assert "brick" in scene.bsdfs


def test_a_scene_is_told_from_a_map(tmp_path: Path, scene_file: Path) -> None:
    (tmp_path / "map.xml").write_text("<osm version='0.6'/>")
    assert is_scene_file(scene_file)
    assert not is_scene_file(tmp_path / "map.xml")
    assert not is_scene_file(tmp_path / "none.xml")
    assert len(read_scene(scene_file).mesh_files) == 1


def test_a_scene_becomes_a_tile_at_its_place(scene_file: Path, tmp_path: Path) -> None:
    """Size and centre follow the ground; y is true north at the origin; the tile opens and is undamaged."""
    tile = scenes.build(scene_file, tmp_path / "tile", origin=(48.1, 11.5), margin=20.0)
    assert Tile.open(tile.folder).verify() == []
    assert (tile.size, tile.name) == (192.0, "village")
    height = tile.rasters["height"]
    row, column = tile.pixel_of(height.new_tensor([[40.0, 20.0], [-40.0, -20.0], [0.0, 0.0]]))
    assert height[row, column].tolist() == pytest.approx([9.0, 30.0, 0.0])
    assert tile.meta["center"] == pytest.approx([48.1, 11.5], abs=1e-9)
    longitude, latitude = Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True).transform(0.0, 50.0)
    assert longitude == pytest.approx(11.5, abs=1e-9)
    assert 0.00044 < latitude - 48.1 < 0.00046  # 50 m
    again = scenes.build(scene_file, tmp_path / "again", origin=(48.1, 11.5), margin=20.0)
    assert again.fingerprint == tile.fingerprint


def test_a_bundled_scene_is_the_same_by_name_and_by_file(tmp_path: Path) -> None:
    square = {"size": 128.0, "margin": 0.0}
    by_name = scenes.build("etoile", tmp_path / "name", **square, progress=False)
    by_file = scenes.build(city_scene_file("etoile"), tmp_path / "file", origin=(48.8738, 2.295), **square)
    assert all(bool((values == by_file.rasters[name]).all()) for name, values in by_name.rasters.items())
    assert by_name.scene_file.read_text() == by_file.scene_file.read_text()
