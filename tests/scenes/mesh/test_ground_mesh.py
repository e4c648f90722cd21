"""Ground of many materials: one surface without holes, each material where the map has it, reflecting as it should."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pyproj import Transformer
from shapely import Polygon, box

import scenes
import sim_bridge
from scenes.materials.itu_p2040 import itu_properties, slab_thickness
from scenes.materials.osm_materials import CLASS_BY_LAND_COVER
from scenes.mesh.ground_mesh import ground_parts
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.terrain import Terrain
from scenes.osm.map_features import LandCoverPatch
from tests.helpers import ray_traced_scenes
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.config import Carrier
from uel.radio.tracing_config import TracingConfig

import drjit as dr  # isort: skip
import mitsuba as mi  # isort: skip  (after tests.helpers.ray_traced_scenes, which finds a usable LLVM)
import sionna.rt as rt  # isort: skip

FIELDS = {  # metres of the tile, on its lattice of 2 m
    "water": (box(-100, -100, 0, 0), {"natural": "water"}),
    "green": (box(0, -100, 100, 0), {"leisure": "park"}),
    "path": (box(-100, 20, 100, 40), {"highway": "pedestrian", "area": "yes"}),
    "building": (box(60, 60, 80, 80), {"building": "yes", "height": "10 m"}),
}
ABOVE_THE_LAKE, ON_THE_SQUARE = (-80.0, -50.0, 15.0), (-80.0, 80.0, 15.0)


def map_file(folder: Path) -> Path:
    """A lake, a park, a square for pedestrians and a house, as GeoJSON."""
    to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    origin = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(9.0, 48.0)

    def feature(shape: Polygon, tags: dict[str, str]) -> dict:
        x, y = np.array(shape.exterior.coords).T
        ring = np.column_stack(to_degrees.transform(x + origin[0], y + origin[1])).tolist()
        return {"type": "Feature", "properties": tags, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    file = folder / "park.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature(*f) for f in FIELDS.values()]}))
    return file


def park(folder: Path, **plan) -> Tile:
    return scenes.build(map_file(folder), folder / "park", center=(48.0, 9.0), size=200.0, margin=20.0, **plan)


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return park(tmp_path_factory.mktemp("park"), ground="cover")


def hills() -> Terrain:
    """Rough ground, from -50 to 50 m, on nodes 10 m apart."""
    return Terrain(50.0, np.random.default_rng(0).uniform(0, 8, (11, 11)))


PATCHES = [
    LandCoverPatch(id="lake", kind="water", footprint=Polygon([(-40, -30), (35, -41), (17, 22)])),
    LandCoverPatch(id="lawn", kind="green", footprint=box(-50, 10, 3, 50)),
    LandCoverPatch(id="way", kind="path", footprint=Polygon([(-50, -3), (50, 30), (50, 33), (-50, 0)])),
]


# ---- one surface -----------------------------------------------------------------------------------------


def test_a_finer_terrain_is_the_same_surface():
    coarse = hills()
    fine = coarse.subdivide(3.0)
    assert fine.step == pytest.approx(2.5)
    points = np.random.default_rng(1).uniform(-50, 50, (2, 10_000))
    np.testing.assert_allclose(fine.elevation(*points), coarse.elevation(*points), atol=1e-9)
    assert coarse.subdivide(10.0).heights.shape == coarse.heights.shape


def test_the_parts_divide_the_terrain():
    """Every triangle of the finer terrain is in one part, and corners that parts share are equal to the bit."""
    parts = ground_parts(hills(), PATCHES, "cover")
    assert [part.material for part in parts] == list(dict.fromkeys(CLASS_BY_LAND_COVER.values()))
    whole = MeshPart("terrain", "all", *hills().subdivide(2.0).mesh())
    together = np.concatenate([part.triangles for part in parts]).reshape(-1, 9)
    order = [np.lexsort(triangles.T) for triangles in (together, whole.triangles.reshape(-1, 9))]
    np.testing.assert_array_equal(together[order[0]], whole.triangles.reshape(-1, 9)[order[1]])


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.3, -0.7), (-2.0, 1.5)])
def test_no_ray_slips_through(slope: tuple[float, float]):
    """Of 200 000 rays none; of those aimed at edges and corners no other than through the same surface in one piece.

    Embree, which trades a seam of rounding for speed, lets some of the latter through any mesh.
    """
    divided, whole = (
        ground_parts(hills(), PATCHES, "cover"),
        [MeshPart("terrain", "concrete", *hills().subdivide(2.0).mesh())],
    )
    anywhere = np.random.default_rng(2).uniform(-49, 49, (2, 200_000))
    # On a lattice of half a metre every fourth point of a row is a corner of 2 m squares.
    seams = np.stack([axis.ravel() for axis in np.meshgrid(np.arange(-49, 49.1, 0.5), np.arange(-49, 49.1, 0.5))])
    assert _met(divided, anywhere, slope).all()
    np.testing.assert_array_equal(_met(divided, seams, slope), _met(whole, seams, slope))


def _met(parts: list[MeshPart], aim: np.ndarray, slope: tuple[float, float]) -> np.ndarray:
    """Whether rays that come down by `slope` and aim at points (x, y) of the hills meet the parts."""
    scene = mi.load_dict({"type": "scene"} | {part.material: _shape(part) for part in parts})
    down = np.array([*slope, -1.0]) / np.linalg.norm([*slope, 1.0])
    start = np.stack([*aim, hills().elevation(*aim)]) - 20 * down[:, None]
    hit = scene.ray_intersect(mi.Ray3f(mi.Point3f(*start), mi.Vector3f(*down.tolist())))
    return hit.is_valid().numpy()


def _shape(part: MeshPart) -> mi.Mesh:
    mesh = mi.Mesh(part.material, len(part.vertices), len(part.faces))
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = part.vertices.astype(np.float32).ravel()
    parameters["faces"] = part.faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


# ---- of the right materials ------------------------------------------------------------------------------


def test_rays_down_meet_what_the_map_says(tile: Tile):
    scene = rt.load_scene(str(tile.scene_file), merge_shapes=False)
    assert {name for name in scene.objects if name.startswith("terrain")} == {
        f"terrain-{m}" for m in CLASS_BY_LAND_COVER.values()
    }
    outdoors = tile.rasters["footprint"].numpy() < 0.5
    y, x = np.argwhere(outdoors).T - 99.5
    hit = scene.mi_scene.ray_intersect(mi.Ray3f(mi.Point3f(x, y, 50.0), mi.Vector3f(0.0, 0.0, -1.0)))
    material = {_number(item.mi_mesh): item.radio_material.name for item in scene.objects.values()}
    met = np.array([material[number] for number in dr.reinterpret_array(mi.UInt, hit.shape).numpy()])
    covers = tile.rasters["cover"].numpy()[outdoors].astype(int)
    assert {tile.covers[k] for k in np.unique(covers)} == {"open", "water", "green", "path"}
    np.testing.assert_array_equal(met, np.array([CLASS_BY_LAND_COVER[name] for name in tile.covers])[covers])
    # The raster of materials says the same.
    index = tile.rasters["material"].numpy()[outdoors].astype(int)
    np.testing.assert_array_equal(met, np.array(tile.materials)[index])


def test_the_report_tells_what_is_outdoors(tile: Tile):
    """Areas by hand: a quarter of the square each for lake and park, a tenth for pedestrians, 20 m × 20 m of house."""
    report = json.loads((tile.folder / "build_report.json").read_text())
    outdoors = 200 * 200 - 20 * 20
    areas = {"wet_ground": 100 * 100, "medium_dry_ground": 100 * 100, "very_dry_ground": 200 * 20}
    areas["concrete"] = outdoors - sum(areas.values())
    assert report["outdoors"] == pytest.approx({name: area / outdoors for name, area in areas.items()})


def _number(mesh: mi.Mesh) -> int:
    return int(dr.reinterpret_array(mi.UInt, mi.ShapePtr(mesh))[0])


def test_ground_reflects_as_fresnel_says(tile: Tile, tmp_path: Path):
    """A reflection off the lake and one off open ground; on a tile of concrete both are concrete's."""
    paved = park(tmp_path)
    for at, material in ((ABOVE_THE_LAKE, "wet_ground"), (ON_THE_SQUARE, "concrete")):
        phone = torch.tensor([[at[0] + 40.0, at[1] + 3.0, 1.5]])
        assert _reflected(tile, at, phone) == pytest.approx(_by_fresnel(material, at, phone), rel=1e-3)
        assert _reflected(paved, at, phone) == pytest.approx(_by_fresnel("concrete", at, phone), rel=1e-3)
    wet, dry = (_by_fresnel(name, ABOVE_THE_LAKE, phone) for name in ("wet_ground", "concrete"))
    assert abs(10 * np.log10(wet / dry)) > 1


def _reflected(tile: Tile, at: tuple[float, float, float], phone: torch.Tensor) -> float:
    """Gain of the one path from a mast at `at` by way of the ground."""
    tracing = TracingConfig(samples=100_000, max_depth=1, diffraction=False)
    sim = sim_bridge.open(tile, ray_traced_scenes.mast(at), tracing, backend="sionna")
    found = sim.trace(phone)
    assert found.bounces.tolist().count(1) == 1
    return float(found.power[found.bounces == 1].sum())


def _by_fresnel(material: str, at: tuple[float, float, float], phone: torch.Tensor) -> float:
    permittivity, conductivity = itu_properties(material, ray_traced_scenes.FREQUENCY)
    slab = {"relative_permittivity": permittivity, "conductivity": conductivity, "thickness": slab_thickness(material)}
    return float(ray_traced_scenes.reflected(phone, at, slab, "V"))


def test_soil_refuses_28_gigahertz_and_concrete_does_not(tile: Tile, tmp_path: Path):
    with pytest.raises(UelError, match=r"not defined at this frequency: (.|\n)*ground(.|\n)*28 GHz"):
        tile.require_carrier(Carrier(frequency=28e9))
    tile.require_carrier(Carrier())
    park(tmp_path).require_carrier(Carrier(frequency=28e9))


def test_soil_and_drawn_walls(tmp_path: Path):
    """Drawn materials dress buildings and leave the ground as it is; the bands of both hold."""
    tile = park(tmp_path, ground="cover", materials="drawn", frequency=8e9)
    assert {"drawn materials", "wet_ground"} <= tile.meta["bands"].keys()
    tile.require_carrier(Carrier(frequency=9e9))
    with pytest.raises(UelError, match="drawn materials"):
        tile.require_carrier(Carrier())
    with pytest.raises(UelError, match=r"unknown value of ground(.|\n)*concrete or cover"):
        park(tmp_path, ground="grass")
