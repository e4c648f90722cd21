"""Sionna scenes and rasters of heights that cannot become a tile: each is refused with what is wrong, and where."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from trimesh import Trimesh
from trimesh.creation import box

import scenes
from scenes.config import HeightRasterConfig, SceneFileConfig
from scenes.height_rasters.buildings import read_height_raster
from scenes.tiles.scene_tile import local_crs, read_scene_parts
from uel.errors import UelError

SCENE = """<scene version="2.1.0">
  <bsdf type="itu-radio-material" id="mat-itu_concrete"><string name="type" value="concrete"/></bsdf>
  <bsdf type="diffuse" id="mat-itu_brick.001"/>
  <shape type="ply" id="mesh-ground">
    <string name="filename" value="meshes/ground.ply"/><ref name="bsdf" id="mat-itu_concrete"/>
  </shape>
  <shape type="ply" id="mesh-house">
    <string name="filename" value="meshes/house.ply"/><ref name="bsdf" id="mat-itu_brick.001"/>
  </shape>
</scene>
"""


def write_scene(folder: Path, scale: float = 1.0, offset: float = 0.0, house_height: float = 12.0) -> Path:
    """A house of 20 × 30 m on a ground of 200 × 200 m."""
    (folder / "meshes").mkdir(parents=True)
    corners = np.array([[-100.0, -100, 0], [100, -100, 0], [100, 100, 0], [-100, 100, 0]])
    house = box(extents=(20.0, 30.0, house_height)).apply_translation((0, 0, house_height / 2))
    for name, mesh in (("ground", Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)), ("house", house)):
        mesh.vertices = mesh.vertices * scale + (offset, offset, 0)
        mesh.export(folder / "meshes" / f"{name}.ply")
    (folder / "scene.xml").write_text(SCENE, encoding="utf-8")
    return folder / "scene.xml"


def text(old: str, new: str) -> Callable[[Path], None]:
    """Replace a part of the scene's file."""

    def change(file: Path) -> None:
        content = file.read_text(encoding="utf-8")
        assert old in content
        file.write_text(content.replace(old, new), encoding="utf-8")

    return change


def mesh(name: str, content: bytes | None) -> Callable[[Path], None]:
    """Replace or delete a mesh file."""

    def change(file: Path) -> None:
        path = file.parent / "meshes" / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return change


HOUSE_WITHOUT_END = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
NAN_HOUSE = (
    b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\nnan 1 0\n1 0 9\n3 0 1 2\n"
)
LOST_VERTEX = NAN_HOUSE.replace(b"nan", b"1").replace(b"3 0 1 2", b"3 0 1 7")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
BAD_SCENES = {
    "cut in half": (lambda f: f.write_bytes(f.read_bytes()[:300]), "the scene cannot be read"),
    "empty file": (lambda f: f.write_bytes(b""), "the scene cannot be read"),
    "another XML": (text("scene", "osm"), "this XML file is no scene"),
    "no shape": (text("shape", "sensor"), "the scene has no shape"),
    "double shape ids": (text("mesh-house", "mesh-ground"), r"shapes of the scene have the same id[\s\S]*ground \(2"),
    "double material ids": (text("mat-itu_brick.001", "mat-itu_concrete"), "materials of the scene have the same id"),
    "material that is not defined": (text('<ref name="bsdf" id="mat-itu_brick.001"/>', '<ref id="x"/>'), "house: x"),
    "shape without material": (text('<ref name="bsdf" id="mat-itu_brick.001"/>', ""), "have no material[\\s\\S]*house"),
    "shape without file": (text('value="meshes/house.ply"', 'value=""'), "names no mesh file[\\s\\S]*house"),
    "mesh of an unknown type": (text('type="ply" id="mesh-house"', 'type="sphere" id="mesh-house"'), "'sphere'"),
    "mesh that is missing": (mesh("house.ply", None), "1 of 2 mesh files of the scene are missing[\\s\\S]*house.ply"),
    "mesh that is a pointer": (mesh("house.ply", POINTER), "cannot be read: house"),
    "mesh without its end": (mesh("house.ply", HOUSE_WITHOUT_END), "cannot be read: house"),
    "mesh that is empty": (mesh("house.ply", b""), "cannot be read: house"),
    "vertices that are not finite": (mesh("house.ply", NAN_HOUSE), "not finite: house"),
    "face of a lost vertex": (mesh("house.ply", LOST_VERTEX), "cannot be read: house[\\s\\S]*vertex 7 of 3"),
    "material without a class": (text("mat-itu_brick.001", "Material.001"), r"--scene.materials Material.001="),
    "class that there is not": (text('value="concrete"', 'value="adobe"'), "mat-itu_concrete: adobe|concrete: adobe"),
    "transformation of words": (
        text('id="mesh-house">', 'id="mesh-house"><transform name="to_world"><translate x="far"/></transform>'),
        "transformation of the scene cannot be read[\\s\\S]*house",
    ),
    "matrix of nine and a half": (
        text('id="mesh-house">', 'id="mesh-house"><transform name="to_world"><matrix value="1 0 0 1"/></transform>'),
        "4 numbers instead of 16",
    ),
    "include that is missing": (text("</scene>", '<include filename="more.xml"/></scene>'), "more.xml"),
    "ground only": (text("mesh-house", "mesh-floor_2"), None),
}


@pytest.mark.parametrize("name", BAD_SCENES)
def test_a_scene_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    change, expected = BAD_SCENES[name]
    file = write_scene(tmp_path / "scene")
    change(file)
    if expected is None:  # a house that is called a floor is no ground: its walls are most of it
        kinds = {part.kind for part in read_scene_parts(file, SceneFileConfig()).parts}
        assert kinds == {"terrain", "building"}
        return
    with pytest.raises(UelError, match=expected) as refused:
        read_scene_parts(file, SceneFileConfig())
    assert str(tmp_path) in str(refused.value)
    assert "do:" in str(refused.value)


BAD_SIZES = {
    "kilometres": ({"scale": 0.001}, "a size that no city has[\\s\\S]*--scene.unit"),
    "centimetres": ({"scale": 1000.0}, "a size that no city has"),
    "a flat city": ({"house_height": 0.4}, "heights that no city has[\\s\\S]*house"),
    "a tower of 1.5 km": ({"house_height": 190.0, "scale": 8.0}, "heights that no city has"),
    "easting and northing": ({"offset": 5_000_000.0}, "far from its origin"),
}


@pytest.mark.parametrize("name", BAD_SIZES)
def test_a_scene_in_other_units_or_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    changes, expected = BAD_SIZES[name]
    with pytest.raises(UelError, match=expected):
        read_scene_parts(write_scene(tmp_path / "scene", **changes), SceneFileConfig())


BAD_SCENE_OPTIONS = {
    "no unit": ({"unit": 0.0}, "--scene.unit is no length"),
    "negative unit": ({"unit": -1.0}, "--scene.unit is no length"),
    "material without class": ({"materials": ("brick",)}, "write NAME=CLASS"),
    "class that there is not": ({"materials": ("mat-itu_brick.001=adobe",)}, "no such class"),
}


@pytest.mark.parametrize("name", BAD_SCENE_OPTIONS)
def test_options_of_a_scene_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    options, expected = BAD_SCENE_OPTIONS[name]
    with pytest.raises(UelError, match=expected):
        read_scene_parts(write_scene(tmp_path / "scene"), SceneFileConfig(**options))


@pytest.mark.parametrize("origin", [(91.0, 0.0), (48.0, 190.0), (float("nan"), 0.0), (-90.0, 0.0)])
def test_an_origin_that_is_no_place_is_refused(origin: tuple[float, float]) -> None:
    with pytest.raises(UelError, match="no place on earth"):
        local_crs(*origin)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"origin": (48.0, 9.0)}, "--origin do not apply|--origin"),
        ({"raster": HeightRasterConfig(content="dsm")}, "--raster"),
        ({"scene": SceneFileConfig(unit=0.01)}, "--scene"),
    ],
)
def test_options_of_another_kind_of_source_are_refused(options: dict, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UelError, match=f"{expected}[\\s\\S]*apply to this source|{expected} do not apply"):
        scenes.build("etoile", tmp_path / "tile", **options)


def north_up(west: float, north: float, pixel: float) -> Affine:
    return Affine(pixel, 0, west, 0, -pixel, north)


def write_raster(file: Path, heights: np.ndarray | None = None, **changes: object) -> Path:
    """A hall of 12 m on a level ground, 200 × 200 pixels of 1 m."""
    values = np.zeros((200, 200), np.float32) if heights is None else heights
    if heights is None:
        values[80:120, 80:110] = 12.0
    profile = {"driver": "GTiff", "height": 200, "width": 200, "count": 1, "dtype": values.dtype.name}
    profile |= {"crs": "EPSG:32632", "transform": north_up(690_000, 5_335_400, 1), "nodata": -9999.0}
    units = changes.pop("units", None)
    with rasterio.open(file, "w", **{**profile, **changes}) as raster:
        for band in range(1, raster.count + 1):
            raster.write(values, band)
        if units:
            raster.units = [units] * raster.count
    return file


def hall(base: float = 0.0, top: float = 12.0) -> np.ndarray:
    values = np.full((200, 200), base, np.float32)
    values[80:120, 80:110] = base + top
    return values


def with_hole(share: float) -> np.ndarray:
    values = hall()
    values[: int(200 * share)] = -9999.0
    return values


BAD_RASTERS = {
    "no raster": (lambda f: f.write_text("hello"), {}, "the raster of heights cannot be read"),
    "a pointer": (lambda f: f.write_bytes(POINTER), {}, "the raster of heights cannot be read"),
    "cut off": (lambda f: (write_raster(f), f.write_bytes(f.read_bytes()[:9000])), {}, "cannot be read"),
    "no CRS": (lambda f: write_raster(f, crs=None), {}, "has no CRS"),
    "a picture": (lambda f: write_raster(f, hall().astype("u1"), count=3, nodata=None), {}, "an image, not heights"),
    "not a number": (lambda f: write_raster(f, np.full((200, 200), np.nan, "f4")), {}, "knows no height on the tile"),
    "elsewhere": (lambda f: write_raster(f), {"center": (48.5, 11.5)}, "covers 0% of the tile"),
    "larger tile": (lambda f: write_raster(f), {"size": 400.0}, "covers [23].% of the tile"),
    "elevations": (
        lambda f: write_raster(f, hall(520.0)),
        {},
        "no heights above the ground[\\s\\S]*--raster.content dsm",
    ),
    "a datum 30 m lower": (lambda f: write_raster(f, hall(-30.0)), {}, "no heights above the ground"),
    "level": (lambda f: write_raster(f, hall(top=1.0)), {}, "nothing in the raster is as high as a building"),
    "millimetres": (lambda f: write_raster(f, hall(top=12_000.0)), {}, "nothing in|covers|that no building has"),
    "a tower of 2 km": (lambda f: write_raster(f, hall(top=2000.0)), {}, "heights that no building has"),
    "coarse pixels": (
        lambda f: write_raster(f, transform=north_up(690_000, 5_335_400, 30)),
        {},
        "too coarse for buildings",
    ),
    "an unknown unit": (lambda f: write_raster(f, units="fathom"), {}, "unit of the raster's heights is unknown"),
    "feet on the plan, none in height": (
        lambda f: write_raster(f, crs="EPSG:2263", transform=north_up(980_000, 200_000, 3)),
        {},
        "may be in feet[\\s\\S]*--raster.unit ft",
    ),
    "a surface without its ground": (
        lambda f: write_raster(f, hall(520.0)),
        {"config": HeightRasterConfig(content="dsm")},
        "need those of the ground[\\s\\S]*--dem",
    ),
    "a small shed only": (
        lambda f: write_raster(f, np.pad(np.full((4, 4), 4, "f4"), 98)),
        {},
        "the square has no building",
    ),
}


@pytest.mark.parametrize("name", BAD_RASTERS)
def test_a_raster_that_holds_no_heights_is_refused(name: str, tmp_path: Path) -> None:
    write, options, expected = BAD_RASTERS[name]
    file = tmp_path / "heights.tif"
    write(file)
    config = options.get("config", HeightRasterConfig())
    place = {"size": 100.0, "margin": 0.0} | {k: v for k, v in options.items() if k != "config"}
    with pytest.raises(UelError, match=expected) as refused:
        read_height_raster(file, config, "hall", **place)
    assert "do:" in str(refused.value)


@pytest.mark.parametrize("declared", [{}, {"nodata": None}])
def test_a_raster_with_a_hole_is_filled_by_a_rule_and_says_so(declared: dict, tmp_path: Path) -> None:
    file = tmp_path / "heights.tif"
    write_raster(file, with_hole(0.5), **declared)
    source = read_height_raster(file, HeightRasterConfig(), "hall", size=100.0, margin=0.0)
    assert any(
        re.search(r"heights are known on [45]\d\.\d% of the tile; .* open ground", note) for note in source.notes
    )


@pytest.mark.parametrize(
    ("dsm", "dtm", "expected"),
    [
        (hall(520.0), np.full((200, 200), 480.0, "f4"), "above the same datum"),
        (hall(520.0 / 0.3048), np.full((200, 200), 520.0, "f4"), "above the same datum and in the same unit"),
        (hall(), np.full((200, 200), 520.0, "f4"), "--raster.content ndsm"),
        (hall(520.0), with_hole(0.5), "holes in the square"),
    ],
    ids=["other datum", "feet and metres", "heights and elevations", "ground with holes"],
)
def test_surface_and_ground_that_do_not_fit_are_refused(
    dsm: np.ndarray, dtm: np.ndarray, expected: str, tmp_path: Path
) -> None:
    surface, ground = write_raster(tmp_path / "dsm.tif", dsm), write_raster(tmp_path / "dtm.tif", dtm)
    config = HeightRasterConfig(content="dsm")
    with pytest.raises(UelError, match=expected):
        read_height_raster(surface, config, "hall", size=100.0, margin=0.0, dem=ground)
