"""The report on a built place: each check against a place whose answer is known; the file to look at."""

import json
import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import shapely
import trimesh
from shapely import Polygon, box

from scenes.mesh.extrusion import extrude_all
from scenes.mesh.gltf import MATERIAL_COLORS, binary_gltf
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import rasterise_parts
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import Building
from scenes.sites.visibility import line_of_sight_raster
from scenes.tiles.validation import (
    check_heights,
    check_line_of_sight,
    check_meshes,
    check_overlaps,
    check_round_trip,
    check_sites,
)
from scenes.tiles.writer import write_tile
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Site

HOUSE = box(-10, -10, 10, 10)


def _house(footprint: Polygon = HOUSE, name: str = "1", top: float = 10.0, base: float = 0.0) -> Building:
    return Building(id=name, footprint=footprint, top=top, base=base)


def _parts(buildings: list[Building], terrain: Terrain) -> list[MeshPart]:
    meshes, failures = extrude_all(buildings, terrain)
    assert not failures
    ground = MeshPart("terrain", "soil", *terrain.mesh())
    return [ground, *(mesh.part(["wall", "roof", "floor"], "brick", name) for name, mesh in meshes.items())]


def _tile(folder: Path, buildings: list[Building], terrain: Terrain, size: float = 64.0) -> Tile:
    """What the checks read of a tile: its rasters and their geometry."""
    rasters = rasterise_parts(_parts(buildings, terrain), Grid(size=size, pixel=1.0))
    meta = {"name": "test", "size": size, "pixel": 1.0, "materials": ["soil", "brick"]}
    return write_tile(folder, [], {}, rasters, meta)


def _blocked(triangles: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether a straight line meets a triangle (Möller and Trumbore)."""
    corner, first, second = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = np.cross(end - start, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / (first * normal).sum(axis=1)
        u = ((start - corner) * normal).sum(axis=1) * scale
        across = np.cross(start - corner, first)
        v, share = across @ (end - start) * scale, (second * across).sum(axis=1) * scale
    return bool(((u >= 0) & (v >= 0) & (u + v <= 1) & (share > 0) & (share < 1)).any())


# Meshes, buildings, coordinates


def test_watertight_share():
    meshes, _ = extrude_all([_house(name=name) for name in "abcd"], Terrain.flat())
    assert check_meshes(meshes) == {"count": 4, "watertight": 1.0, "open": []}
    meshes["b"] = replace(meshes["b"], faces=meshes["b"].faces[1:], surface=meshes["b"].surface[1:])
    meshes["c"] = replace(meshes["c"], faces=meshes["c"].faces[:, ::-1])  # closed, but inside out
    assert check_meshes(meshes) == {"count": 4, "watertight": 0.5, "open": ["b", "c"]}
    assert check_meshes({})["watertight"] is None


def test_overlaps_count_where_heights_meet():
    """Two houses share 20 m × 5 m; a third lies above both, a fourth only touches, a fifth is a court's filling."""
    houses = [
        _house(name="a"),
        _house(box(5, -10, 25, 10), "b", top=8.0),
        _house(box(0, 0, 20, 5), "bridge", top=20.0, base=10.0),
        _house(box(-30, -10, -10, 10), "neighbour"),
        _house(box(40, 40, 50, 50).difference(box(42, 42, 48, 48)), "ring"),
        _house(box(42, 42, 48, 48), "filling"),
    ]
    report = check_overlaps(houses)
    assert (report["pairs"], report["area"]) == (1, pytest.approx(100))
    assert report["worst"] == [["a", "b", pytest.approx(100)]]
    assert report["share"] == pytest.approx(100 / sum(house.footprint.area for house in houses))
    assert check_overlaps([]) == {"pairs": 0, "area": 0, "share": None, "worst": []}


@pytest.mark.parametrize(("crs", "origin"), [("EPSG:32632", (372_000.0, 4_844_000.0)), ("EPSG:32756", (334e3, 6251e3))])
def test_coordinates_come_back(crs: str, origin: tuple[float, float]):
    report = check_round_trip(crs, origin, half=320.0)
    assert report["points"] == 121
    assert report["error"] < 1e-6


def test_odd_heights_are_named():
    houses = [_house(name="a"), _house(name="flat", top=1.0), _house(name="typo", top=3000.0)]
    report = check_heights([*houses, _house(name="nothing", top=math.nan), _house(name="slab", top=9.0, base=8.0)])
    assert (report["impossible"], report["thin"]) == (["typo", "nothing"], ["flat", "slab"])
    report = check_heights([replace(_house(top=float(top)), provenance="tag") for top in (3, 5, 9, 11, 30)])
    nothing_odd = {"impossible": [], "thin": []}
    assert report == {"count": 5, "quartiles": [3, 5, 9, 11, 30], "provenance": {"tag": 5}, **nothing_odd}
    assert check_heights([])["quartiles"] == []


# Sites and sight


def test_refused_sites_are_named(tmp_path: Path):
    tile = _tile(tmp_path, [_house()], Terrain.flat(half=40.0))
    sites = [Site(position=(0.0, 0.0, 13.0)), Site(position=(1.0, 2.0, 5.0)), Site(position=(99.0, 0.0, 9.0))]
    report = check_sites(tile, sites)
    assert report["count"] == 3
    assert [item["site"] for item in report["refused"]] == [1, 2]
    assert "inside a wall" in report["refused"][0]["reason"]
    assert "off the tile" in report["refused"][1]["reason"]


def test_open_ground_is_all_in_sight(tmp_path: Path):
    """Also from the corner of the tile, and from a mast lower than the phones."""
    tile = _tile(tmp_path, [], Terrain.flat(7.0, half=40.0))
    for position in ((0.0, 0.0, 17.0), (32.0, 32.0, 12.0), (-32.0, 5.0, 8.0)):
        assert line_of_sight_raster(tile, position).all()


def test_the_shadow_of_a_wall_has_its_length(tmp_path: Path):
    """Mast at x = -20, 21.5 m; wall of 11.5 m that ends at x = 2: eyes at 1.5 m see over it from x = 24 on."""
    tile = _tile(tmp_path, [_house(box(0, -40, 2, 40), top=11.5)], Terrain.flat(half=40.0))
    seen = line_of_sight_raster(tile, (-20.0, 0.5, 21.5))
    x = (np.arange(64) + 0.5) - 32
    row = seen[32]  # y = 0.5
    assert row[x < 0].all()
    assert not row[(x > 0) & (x < 23)].any()
    assert row[x > 25].all()
    report = check_line_of_sight(tile, [Site(position=(-20.0, 0.5, 21.5)), Site(position=(20.0, 0.5, 21.5))])
    assert report["outdoor"] == 62 * 64
    assert report["sites"][0] == pytest.approx(seen.sum() / report["outdoor"])
    assert max(report["sites"]) < report["any"] <= 1.0


def test_sight_agrees_with_rays_on_the_meshes(tmp_path: Path):
    """Random houses on hills, against exact rays on the triangles from the same points to the same mast."""
    random = np.random.default_rng(5)
    corners = random.uniform(-30, 22, (12, 2))
    union = shapely.union_all([box(x, y, x + 6, y + 5) for x, y in corners])
    houses = [_house(piece, str(k), top=float(random.uniform(3, 15))) for k, piece in enumerate(union.geoms)]
    terrain = Terrain(40.0, random.uniform(0, 2, (9, 9)))
    tile, mast = _tile(tmp_path, houses, terrain), np.array([3.3, -8.2, 19.0])
    seen = line_of_sight_raster(tile, tuple(mast.tolist()))
    eyes = np.argwhere(tile.rasters["footprint"].numpy() < 0.5)[::5]
    start = np.column_stack([eyes[:, ::-1] + 0.5 - 32, tile.rasters["ground"].numpy()[tuple(eyes.T)] + 1.5])
    triangles = np.concatenate([part.triangles for part in _parts(houses, terrain)])
    blocked = np.array([_blocked(triangles, point, mast) for point in start])
    assert 0.2 < blocked.mean() < 0.9
    assert (seen[tuple(eyes.T)] == ~blocked).mean() > 0.95  # the raster rounds walls to whole metres


def test_sight_needs_sites_that_stand(tmp_path: Path):
    tile = _tile(tmp_path, [_house()], Terrain.flat(half=40.0))
    with pytest.raises(UelError, match="inside a wall"):
        check_line_of_sight(tile, [Site(position=(0.0, 0.0, 5.0))])


def test_reports_are_json(tmp_path: Path):
    tile, house = _tile(tmp_path, [_house()], Terrain.flat(half=40.0)), _house()
    sites = [Site(position=(0.0, 0.0, 13.0))]
    meshes, _ = extrude_all([house], Terrain.flat())
    reports = [
        check_meshes(meshes),
        check_overlaps([house, _house(name="2")]),
        check_heights([house]),
        check_round_trip("EPSG:32632", (372_000.0, 4_844_000.0), 10.0),
        check_sites(tile, sites),
        check_line_of_sight(tile, sites),
    ]
    assert json.loads(json.dumps(reports, allow_nan=False)) == reports


# GLB


def test_glb_is_coloured_and_stands_upright():
    """East stays x, up becomes y, north becomes -z; materials by name; the same bytes twice."""
    parts = _parts([_house(box(4, 8, 20, 12), top=30.0)], Terrain.flat(100.0, half=50.0))
    content = binary_gltf(parts)
    assert content == binary_gltf(parts)
    scene = trimesh.load_scene(BytesIO(content), file_type="glb")
    assert set(scene.geometry) == {"terrain-soil", "building-brick"}
    house = scene.geometry["building-brick"]
    np.testing.assert_allclose(house.bounds, [[4, 99.5, -12], [20, 130, -8]], atol=1e-4)
    assert house.volume == pytest.approx(16 * 4 * 30.5, rel=1e-5)  # still looks outwards
    assert tuple(house.visual.material.baseColorFactor[:3]) == MATERIAL_COLORS["brick"]
