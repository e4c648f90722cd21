"""Rasters of built places: courtyards, per-building parts, and land cover by pixel centres."""

import numpy as np
import shapely
from shapely import Polygon, box

from scenes.mesh.extrusion import PrismMesh, extrude, extrude_all
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import LAND_COVERS, material_names, rasterise_land_cover, rasterise_parts
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import Building, LandCoverPatch
from tests.helpers.growth import growth
from uel.core.grid import Grid

GRID = Grid(size=64.0, pixel=1.0)


def _ground(kind: str, footprint: Polygon) -> LandCoverPatch:
    return LandCoverPatch(id="way/1", kind=kind, footprint=footprint)  # pyright: ignore[reportArgumentType]


def _parts(terrain: Terrain, meshes: dict[str, PrismMesh]) -> list[MeshPart]:
    """The ground, and two labelled parts for each building, as a tile folder holds them."""
    parts = [MeshPart("terrain", "soil", *terrain.mesh())]
    for name, mesh in meshes.items():
        parts.append(mesh.part(["wall", "floor"], "brick", f"{name}-wall"))
        parts.append(mesh.part(["roof"], "tiles", f"{name}-roof"))
    return parts


def _centres(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    x, y = grid.centres().numpy().astype(float).transpose(2, 0, 1)
    return x, y


def test_a_courtyard_is_outdoors():
    """A ring of 20 m around a court of 8 m, off the centre so that no axis can be swapped, on a slope."""
    heights = np.add.outer(np.arange(9), 2 * np.arange(9)) * 1.0
    terrain = Terrain(40.0, heights)
    ring = box(0, -25, 20, -5).difference(box(6, -19, 14, -11))
    mesh = extrude(Building(id="1", footprint=ring, top=15.0), terrain)
    rasters = rasterise_parts(_parts(terrain, {"1": mesh}), GRID)
    x, y = _centres(GRID)
    inside = shapely.contains_xy(ring, x, y)
    np.testing.assert_array_equal(rasters["footprint"], inside)
    np.testing.assert_allclose(rasters["ground"], terrain.elevation(x, y), atol=1e-4)
    np.testing.assert_allclose(rasters["height"][~inside], rasters["ground"][~inside])
    np.testing.assert_allclose(rasters["height"][inside], mesh.vertices[:, 2].max(), atol=1e-4)
    court = GRID.count // 2 - 15, GRID.count // 2 + 10  # y = -14.5 m, x = 10.5 m
    assert rasters["footprint"][court] == 0
    assert rasters["height"][court] == rasters["ground"][court]


def test_material_is_that_of_the_roof():
    terrain = Terrain.flat(3.0, half=40.0)
    mesh = extrude(Building(id="1", footprint=box(0, 0, 20, 10), top=9.0), terrain)
    parts = _parts(terrain, {"1": mesh})
    rasters = rasterise_parts(parts, GRID)
    assert material_names(parts) == ["soil", "brick", "tiles"]
    np.testing.assert_array_equal(rasters["material"], 2 * rasters["footprint"])


def test_cover_follows_pixel_centres():
    """Row 0 in the south, x east; the lower left pixel's centre is at (-31.5, -31.5)."""
    patch = Polygon([(-32, -32), (-20, -32), (-32, -8)], [[(-30, -30), (-27, -30), (-30, -26)]])
    cover = rasterise_land_cover([_ground("water", patch)], GRID)
    x, y = _centres(GRID)
    np.testing.assert_array_equal(cover == LAND_COVERS.index("water"), shapely.contains_xy(patch, x, y))
    assert (cover[0, 0], cover[0, -1], cover[-1, 0]) == (3, 0, 0)
    assert cover.dtype == np.uint8


def test_later_cover_lies_on_top():
    layers = [_ground("green", box(-20, -20, 20, 20)), _ground("road", box(-30, -2, 30, 2)), _ground("path", Polygon())]
    cover = rasterise_land_cover(layers, GRID)
    assert cover[32, 32] == LAND_COVERS.index("road")
    assert cover[40, 32] == LAND_COVERS.index("green")
    assert (cover == LAND_COVERS.index("road")).sum() == 60 * 4
    assert not rasterise_land_cover([], GRID).any()
    assert not rasterise_land_cover([_ground("road", box(100, 100, 200, 200))], GRID).any()


def _town(count: int) -> tuple[list[MeshPart], list[LandCoverPatch], list[Polygon]]:
    """Houses in two parts each on rough ground of 640 m, a patch of green around each, and their footprints."""
    terrain = Terrain(400.0, np.random.default_rng(0).uniform(0, 5, (81, 81)))
    corners = [(x, y) for x in np.linspace(-310, 290, 32) for y in np.linspace(-310, 290, 32)][:count]
    shapes = [box(x, y, x + 12, y + 14) for x, y in corners]
    meshes, _ = extrude_all([Building(id=str(k), footprint=shape, top=9.0) for k, shape in enumerate(shapes)], terrain)
    return _parts(terrain, meshes), [_ground("green", shape.buffer(2)) for shape in shapes], shapes


def test_rasters_of_a_thousand_buildings():
    grid = Grid(size=640.0, pixel=1.0)
    parts, patches, shapes = _town(1000)
    rasters, cover = rasterise_parts(parts, grid), rasterise_land_cover(patches, grid)
    assert int(rasters["footprint"].sum()) == shapely.contains_xy(shapely.union_all(shapes), *_centres(grid)).sum()
    assert (cover[rasters["footprint"] == 1] == LAND_COVERS.index("green")).all()


def test_rasters_take_time_in_proportion_to_the_buildings():
    """Four times the buildings take less than eight times as long; pairs of them would take sixteen times."""
    grid = Grid(size=640.0, pixel=1.0)
    towns = {count: _town(count)[:2] for count in (250, 1000)}

    def run(count: int) -> None:
        parts, patches = towns[count]
        rasterise_parts(parts, grid)
        rasterise_land_cover(patches, grid)

    assert growth(run, 250, 1000) < 8
