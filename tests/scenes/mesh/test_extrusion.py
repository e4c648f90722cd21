"""Prisms: closed, oriented, of known volume, on any ground; awkward footprints; growth; every refusal."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import osmnx
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely import Polygon, affinity, box

from scenes.mesh.extrusion import FOUNDATION_DEPTH, SURFACE_KINDS, PrismMesh, extrude, extrude_all, unpaired_faces
from scenes.mesh.mesh_parts import merge_parts
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import Building
from tests.helpers.growth import growth
from uel.errors import UelError

FLAT = Terrain.flat(100.0)
SQUARE = box(-10, -10, 10, 10)


def _building(footprint: Polygon, top: float = 12.0, base: float = 0.0, name: str = "way/1") -> Building:
    return Building(id=name, footprint=footprint, top=top, base=base)


def _solid(mesh: PrismMesh) -> trimesh.Trimesh:
    """The same triangles for trimesh, which must find them closed and oriented as well."""
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert mesh.is_closed
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert mesh.volume == pytest.approx(solid.volume)
    return solid


def _tilted(slope: float, half: float = 100.0, count: int = 21) -> Terrain:
    axis = np.linspace(-half, half, count)
    return Terrain(half, np.broadcast_to(slope * axis, (count, count)).copy())


def _random_footprints(count: int, seed: int = 0) -> list[Polygon]:
    """Turned rectangles, every third with a courtyard, every fifth with a corner cut out."""
    random = np.random.default_rng(seed)
    shapes = []
    for k in range(count):
        width, depth = random.uniform(4, 30, 2)
        shape = box(-width, -depth, width, depth)
        if k % 3 == 0:
            shape = shape.difference(box(-width / 2, -depth / 2, width / 2, depth / 2))
        if k % 5 == 0:
            shape = shape.difference(box(width * 0.7, depth * 0.7, 2 * width, 2 * depth))
        turned = affinity.rotate(shape, random.uniform(0, 90), origin=(0, 0))
        shapes.append(affinity.translate(turned, *random.uniform(-300, 300, 2)))
    return shapes


# Shape


def test_a_box_is_a_box():
    mesh = extrude(_building(SQUARE), FLAT)
    solid = _solid(mesh)
    assert solid.volume == pytest.approx(20 * 20 * 12.5)
    assert mesh.vertices.shape == (8, 3)
    assert solid.bounds[:, 2] == pytest.approx([100 - FOUNDATION_DEPTH, 112])
    for name, direction in (("roof", [0, 0, 1]), ("floor", [0, 0, -1])):
        normals = solid.face_normals[mesh.surface == SURFACE_KINDS.index(name)]
        np.testing.assert_allclose(normals, np.broadcast_to(direction, normals.shape), atol=1e-12)
    walls = mesh.surface == SURFACE_KINDS.index("wall")
    centres, normals = solid.triangles_center[walls, :2], solid.face_normals[walls, :2]
    assert (centres * normals).sum(axis=1) == pytest.approx(10)  # outwards


def test_a_courtyard_is_left_out():
    footprint = SQUARE.difference(box(-4, -4, 4, 4))
    solid = _solid(extrude(_building(footprint), FLAT))
    assert solid.volume == pytest.approx((400 - 64) * 12.5)
    assert solid.euler_number == 0  # a ring


def test_a_floating_piece_has_a_floor_of_its_own():
    solid = _solid(extrude(_building(SQUARE, top=20.0, base=8.0), FLAT))
    assert solid.bounds[:, 2] == pytest.approx([108, 120])
    assert solid.volume == pytest.approx(400 * 12)


def test_parts_divide_the_faces():
    mesh = extrude(_building(SQUARE), FLAT)
    parts = [mesh.part(["wall"], "brick", "way-1-wall"), mesh.part(["roof", "floor"], "tiles", "way-1-roof")]
    assert [part.name for part in parts] == ["building-way-1-wall", "building-way-1-roof"]
    assert [len(part.faces) for part in parts] == [8, 4]
    together = np.concatenate([part.triangles for part in merge_parts(parts)])
    np.testing.assert_array_equal(together, mesh.vertices[mesh.faces])
    assert {part.name for part in merge_parts(parts)} == {"building-brick", "building-tiles"}


# Ground


def test_walls_reach_the_ground_on_a_slope():
    """On a plane of 30 % the lowest ground is 3 m down, the highest 3 m up."""
    low, high = _solid(extrude(_building(SQUARE), _tilted(0.3))).bounds[:, 2]
    assert (low, high) == (pytest.approx(-3 - FOUNDATION_DEPTH), pytest.approx(-3 + 12))


def test_a_roof_stays_above_the_hill():
    """On a plane of 100 % a garage of 3 m would end 17 m below its own ground."""
    assert _solid(extrude(_building(SQUARE, top=3.0), _tilted(1.0))).bounds[1, 2] == pytest.approx(10 + 2)


def test_parts_of_one_building_stand_on_one_level():
    """On a plane of 30 % a house from x = -10 to 10 m counts from -3 m; its eastern half alone would count from 0."""
    east = _building(box(0, -10, 10, 10), base=6.0)
    low, high = _solid(extrude(replace(east, outline=SQUARE), _tilted(0.3))).bounds[:, 2]
    assert (low, high) == (pytest.approx(-3 + 6), pytest.approx(-3 + 12))
    low, high = _solid(extrude(replace(east, base=0.0, outline=SQUARE), _tilted(0.3))).bounds[:, 2]
    assert (low, high) == (pytest.approx(-3 - FOUNDATION_DEPTH), pytest.approx(-3 + 12))
    low, high = _solid(extrude(east, _tilted(0.3))).bounds[:, 2]
    assert (low, high) == (pytest.approx(6), pytest.approx(12))


def test_a_part_in_a_hollow_reaches_its_ground():
    """A pit of 5 m in the middle of a house, which its outline does not touch: 3 m deep at 2 of 5 m from its middle."""
    heights = np.zeros((41, 41))
    heights[20, 20] = -5.0
    inner = replace(_building(box(-2, -2, 2, 2)), outline=SQUARE)
    low, high = _solid(extrude(inner, Terrain(100.0, heights))).bounds[:, 2]
    assert (low, high) == (pytest.approx(-3 - FOUNDATION_DEPTH), pytest.approx(12))


def test_ditches_and_knolls_between_the_corners_count():
    """A ditch that only an edge of the outline crosses, and a knoll that lies inside of it altogether."""
    heights = np.zeros((41, 41))  # nodes every 5 m, the middle one at the origin
    heights[20, 22] = -6.0  # x = 10, y = 0: on the eastern edge
    heights[20, 20] = 30.0
    low, high = _solid(extrude(_building(SQUARE), Terrain(100.0, heights))).bounds[:, 2]
    assert (low, high) == (pytest.approx(-6 - FOUNDATION_DEPTH), pytest.approx(32))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_no_wall_hangs_in_the_air(seed: int):
    """On random hills, ground at a thousand points of each outline and inside is covered by the prism."""
    random = np.random.default_rng(seed)
    terrain = Terrain(400.0, random.uniform(0, 15, (81, 81)))
    shape = _random_footprints(6, seed)[seed % 6]
    vertices = extrude(_building(shape, top=4.0), terrain).vertices
    outline = shapely.get_coordinates(
        shapely.line_interpolate_point(shape.boundary, np.linspace(0, 1, 1000), normalized=True)
    )
    assert vertices[:, 2].min() <= terrain.elevation(*outline.T).min() - FOUNDATION_DEPTH + 1e-9
    inside = random.uniform(shape.bounds[:2], shape.bounds[2:], (1000, 2))
    inside = inside[shapely.contains_xy(shape, *inside.T)]
    assert vertices[:, 2].max() >= terrain.elevation(*inside.T).max() + 2 - 1e-9


# Awkward footprints

RING = [(-10, -10), (10, -10), (10, 10), (-10, 10)]
AWKWARD = {
    "clockwise": Polygon(RING[::-1]),
    "duplicates": Polygon([RING[0], RING[0], *RING[1:], RING[-1], (-10 - 1e-7, 10 - 1e-8)]),
    "collinear": Polygon([(-10, -10), (-3, -10), (0, -10.0004), (10, -10), (10, 0), (10, 10), (-10, 10), (-10, 1)]),
    "sliver": Polygon([(0, 0), (30, 0), (30, 0.004)]),
    "below the finest": Polygon([(0, 0), (30, 0), (30, 0.0004)]),
    "spike": Polygon([*RING, (-10, 5.002), (-40, 5.001), (-10, 5)]),
    "hole at a corner": Polygon(RING, [[(-10, -10), (-2, 0), (0, -2)]]),
    "hole at an edge": Polygon(RING, [[(0, -10), (-3, 0), (3, 0)]]),
    "holes that meet": Polygon(RING, [[(-5, -5), (0, -5), (0, 0), (-5, 0)], [(0, 0), (5, 0), (5, 5), (0, 5)]]),
    "hole that is nearly there": Polygon(RING, [[(0, -10 + 1e-7), (-3, 0), (3, 0)]]),
    "corners that nearly meet": Polygon(RING, [[(-10 + 1e-6, -10 + 1e-6), (-2, 0), (0, -2)]]),
    "many holes": SQUARE.difference(
        shapely.union_all([box(x, y, x + 1, y + 1) for x in range(-8, 8, 2) for y in range(-8, 8, 2)])
    ),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_footprints_are_closed(name: str):
    footprint = AWKWARD[name]
    assert footprint.is_valid
    solid = _solid(extrude(_building(footprint), FLAT))
    assert solid.volume > 0
    # 1 mm of nodes that say nothing, 5 mm where the outline touches itself.
    assert solid.volume / 12.5 == pytest.approx(footprint.area, abs=6e-3 * footprint.length)


def test_meshes_stay_closed_on_disk():
    """Merged by position in single precision, as programs do that open PLY files: no pinch, no seam."""
    for name in ("hole at a corner", "hole at an edge", "holes that meet", "corners that nearly meet"):
        footprint = AWKWARD[name]
        mesh = extrude(_building(affinity.translate(footprint, 431.7, -217.3)), FLAT)
        (part,) = merge_parts([mesh.part([surface], "brick", surface) for surface in SURFACE_KINDS])
        assert trimesh.Trimesh(part.vertices.astype(np.float32), part.faces, process=True).is_watertight


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    radii=st.lists(st.floats(0.5, 30.0), min_size=3, max_size=24),
    hole=st.floats(0.0, 0.95),
    turn=st.floats(0.0, 6.3),
    top=st.floats(2.6, 200.0),
)
def test_stars_have_the_volume_of_their_area(radii: list[float], hole: float, turn: float, top: float):
    """Any star with a star-shaped courtyard: closed, and as voluminous as its area says."""
    angle = turn + np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    rim = np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    star = Polygon(rim, [hole * rim] if hole > 0.01 else [])
    if not star.is_valid or star.area < 0.1:
        return
    solid = _solid(extrude(_building(star, top=top), FLAT))
    assert solid.volume == pytest.approx(
        star.area * (top + FOUNDATION_DEPTH), abs=1.1e-3 * star.length * (top + FOUNDATION_DEPTH)
    )


def test_ten_thousand_buildings_make_closed_meshes_of_the_right_volume():
    terrain = Terrain(400.0, np.random.default_rng(1).uniform(0, 10, (81, 81)))
    shapes = _random_footprints(10_000)
    buildings = [_building(shape, top=3.0 + k % 60, name=f"way/{k}") for k, shape in enumerate(shapes)]
    meshes, failures = extrude_all(buildings, terrain)
    assert (list(meshes), failures) == ([building.id for building in buildings], [])
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes.values())])
    faces = np.concatenate([mesh.faces + k for mesh, k in zip(meshes.values(), first[:-1], strict=True)])
    assert not unpaired_faces(faces).any()
    volume = [mesh.volume / np.ptp(mesh.vertices[:, 2]) for mesh in meshes.values()]
    np.testing.assert_allclose(volume, shapely.area(shapes), rtol=1e-9)


def test_extrusion_takes_time_in_proportion_to_the_buildings():
    """Four times the buildings take less than eight times as long; pairs of them would take sixteen times."""
    terrain = Terrain(400.0, np.random.default_rng(1).uniform(0, 10, (81, 81)))
    buildings = [_building(shape, name=f"way/{k}") for k, shape in enumerate(_random_footprints(2000))]
    assert growth(lambda count: extrude_all(buildings[:count], terrain), 500, 2000) < 8


def test_one_by_one_is_as_all_at_once():
    buildings = [_building(shape, name=f"way/{k}") for k, shape in enumerate(_random_footprints(20))]
    terrain = _tilted(0.2, half=400.0)
    meshes, _ = extrude_all(buildings, terrain)
    for building in buildings:
        alone = extrude(building, terrain)
        np.testing.assert_array_equal(alone.faces, meshes[building.id].faces)
        np.testing.assert_allclose(alone.vertices, meshes[building.id].vertices)


# Real ones


def _mapped(shared: Path, name: str) -> tuple[list[Building], str, tuple[float, float]]:
    """All closed ways and multipolygons of a real tile that are tagged `building`, its CRS and centre in metres."""
    tiles = {tile["name"]: tile for tile in json.loads((shared / "tiles" / "manifest.json").read_text())["tiles"]}
    tile = tiles[name]
    crs = f"EPSG:{tile['utm_epsg']}"
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(
        tile["center_lon"], tile["center_lat"]
    )
    found = osmnx.features_from_xml(shared / "tiles" / tile["file"], tags={"building": True}).to_crs(crs).geometry
    pieces = found[found.geom_type.isin(["Polygon", "MultiPolygon"])].translate(-east, -north).explode()
    return [_building(shape, name=str(k)) for k, shape in enumerate(pieces)], crs, (east, north)


def test_paris_is_closed(shared: Path):
    """728 footprints, 135 with courtyards, as mapped."""
    buildings, _, _ = _mapped(shared, "paris_9e")
    assert sum(bool(building.footprint.interiors) for building in buildings) > 100
    meshes, failures = extrude_all(buildings, FLAT)
    assert not failures
    volume = [_solid(meshes[building.id]).volume for building in buildings]
    np.testing.assert_allclose(volume, [12.5 * building.footprint.area for building in buildings], rtol=2e-3)


def test_monaco_stands_on_its_slope(shared: Path):
    """Real footprints on real terrain: closed, no wall in the air, no roof in the ground, relief that matters."""
    buildings, crs, origin = _mapped(shared, "monaco_condamine")
    terrain = Terrain.from_dem(shared / "dem" / "monaco_srtm3.tif", crs, origin, half=450.0)
    meshes, failures = extrude_all(buildings, terrain)
    assert (len(meshes), failures) == (len(buildings), [])
    relief = []
    for building in buildings:
        ground = terrain.elevation(*shapely.get_coordinates(shapely.segmentize(building.footprint, 1.0)).T)
        low, high = _solid(meshes[building.id]).bounds[:, 2]
        assert low <= ground.min() - FOUNDATION_DEPTH + 1e-9
        assert high >= ground.max() + 2 - 1e-9
        relief.append(float(np.ptp(ground)))
    assert np.median(relief) > 2
    assert max(relief) > 15


# Open meshes and refusals


def test_open_meshes_are_found():
    mesh = extrude(_building(SQUARE), FLAT)
    assert not replace(mesh, faces=mesh.faces[1:], surface=mesh.surface[1:]).is_closed
    turned = mesh.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not replace(mesh, faces=turned).is_closed
    assert unpaired_faces(np.concatenate([mesh.faces, mesh.faces[:1]])).any()
    assert not replace(mesh, faces=mesh.faces[:0], surface=mesh.surface[:0]).is_closed
    assert replace(mesh, faces=mesh.faces[:, ::-1]).volume == pytest.approx(-mesh.volume)


def test_what_makes_no_prism_is_reported():
    bow = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    bad = [
        _building(bow, name="bow"),
        _building(Polygon(), name="nothing"),
        _building(SQUARE, top=3.0, base=3.0, name="flat"),
        _building(SQUARE, top=math.nan, name="unknown"),
        _building(SQUARE, base=-1.0, name="cellar"),
    ]
    meshes, failures = extrude_all([bad[0], _building(SQUARE, name="good"), *bad[1:]], FLAT)
    assert list(meshes) == ["good"]
    assert [failure.id for failure in failures] == ["bow", "nothing", "flat", "unknown", "cellar"]
    assert "Self-intersection" in failures[0].reason
    assert extrude_all([], FLAT) == ({}, [])
    with pytest.raises(UelError, match=r"no prism(.|\n)*way/1: footprint: Self-intersection"):
        extrude(_building(bow), FLAT)


def test_ids_are_unique():
    with pytest.raises(UelError, match=r"same id(.|\n)*way/1"):
        extrude_all([_building(SQUARE), _building(SQUARE)], FLAT)
