"""Tiles cut from Sionna's bundled cities: geometry against Mitsuba's rays, masts, and every error."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import scenes
from scenes.config import SceneFileConfig
from scenes.mesh.mesh_parts import MeshPart, cut_part, merge_parts
from scenes.mesh.rasters import highest_hits, rasterise_parts
from scenes.tiles import sionna_cities
from scenes.tiles.scene_tile import read_scene_parts
from scenes.tiles.sionna_cities import city_scene_file
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import RASTER_NAMES, Tile
from uel.radio.sites import Array, Cell, Site


@pytest.fixture(scope="module")
def etoile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return scenes.build("etoile", tmp_path_factory.mktemp("tiles") / "etoile", progress=False)


@pytest.fixture(scope="module")
def hills(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return scenes.build("san_francisco", tmp_path_factory.mktemp("tiles") / "hills", size=256.0, progress=False)


def _ray_tracer():
    """Sionna RT, or a skip that says what is missing."""
    from sim_bridge.backend import runtime

    try:
        runtime.load_sionna()
    except UelError as error:
        pytest.skip(str(error))
    import sionna.rt

    return sionna.rt


def _triangle(*corners: tuple[float, float, float]) -> MeshPart:
    return MeshPart("terrain", "concrete", np.array(corners, float), np.array([[0, 1, 2]]))


# Geometry


def test_triangle_is_rasterised_by_pixel_centres():
    """Half of a 4 m square, z = x: centres on the diagonal count, elevations are the plane's."""
    part = _triangle((-2, -2, -2), (2, -2, 2), (2, 2, 2))
    top = highest_hits(part.triangles, Grid(size=4.0, pixel=1.0))
    centre = np.array([-1.5, -0.5, 0.5, 1.5])
    expected = np.where(centre[None] >= centre[:, None], centre[None], -np.inf)
    np.testing.assert_allclose(top, expected)


def test_vertical_and_distant_triangles_leave_no_trace():
    wall = _triangle((0.5, -9, 0), (0.5, 9, 0), (0.5, 0, 9))
    far = _triangle((50, 50, 1), (60, 50, 1), (50, 60, 1))
    for part in (wall, far):
        assert np.isneginf(highest_hits(part.triangles, Grid(size=8.0, pixel=1.0))).all()


def test_shared_edges_leave_no_gap():
    """A fan of triangles around a point that is no pixel centre covers every pixel."""
    angle = np.linspace(0, 2 * math.pi, 38)
    rim = 30 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    hub = np.broadcast_to([0.1, 0.2, 0.0], rim[1:].shape)
    fan = np.stack([hub, rim[:-1], rim[1:]], axis=1)
    assert np.isfinite(highest_hits(fan, Grid(size=32.0, pixel=0.25))).all()


def test_cut_keeps_what_is_inside():
    part = cut_part(_triangle((-3, -3, 0), (9, -3, 12), (-3, 9, 0)), half=2.0)
    assert np.abs(part.vertices[part.faces][..., :2]).max() <= 2.0 + 1e-9
    np.testing.assert_allclose(part.vertices[:, 2], part.vertices[:, 0] + 3, atol=1e-9)
    assert len(cut_part(_triangle((5, 5, 0), (6, 5, 0), (5, 6, 0)), half=2.0).faces) == 0


def test_merge_offsets_faces():
    one, two = _triangle((0, 0, 0), (1, 0, 0), (0, 1, 0)), _triangle((5, 5, 5), (6, 5, 5), (5, 6, 5))
    (both,) = merge_parts([one, two])
    np.testing.assert_array_equal(both.triangles, np.concatenate([one.triangles, two.triangles]))


def test_recentring_moves_the_highest_point(tmp_path: Path):
    """The top of the Arc de Triomphe, in the city and in the mesh of a tile that is centred elsewhere."""

    def top(file: Path) -> np.ndarray:
        vertices = np.concatenate([part.vertices for part in read_scene_parts(file, SceneFileConfig()).parts])
        return np.unique(vertices[vertices[:, 2] == vertices[:, 2].max()].round(3), axis=0)

    tile = scenes.build("etoile", tmp_path / "t", center=(-100.0, 30.0), size=256.0, progress=False)
    np.testing.assert_allclose(top(tile.scene_file), top(city_scene_file("etoile")) - [-100.0, 30.0, 0.0], atol=2e-3)


def test_tile_is_the_city_moved_by_its_centre(etoile: Tile, tmp_path: Path):
    moved = scenes.build("etoile", tmp_path / "m", center=(64.0, -32.0), size=384.0, progress=False)
    here, there = etoile.rasters["height"].numpy(), moved.rasters["height"].numpy()
    np.testing.assert_allclose(here[32:416, 128:512], there, atol=1e-3)
    assert moved.name == "etoile+64-32"
    assert moved.meta["center"] == [64.0, -32.0]


def test_rasters_agree_with_mitsuba(etoile: Tile, hills: Tile):
    """The slow twin: Mitsuba shoots a ray down through 500 pixels of the scene that was written.

    Rays through an edge may fall to either side in single precision: one in a hundred is allowed to.
    """
    rt = _ray_tracer()
    import mitsuba as mi

    for tile in (etoile, hills):
        scene = rt.load_scene(str(tile.scene_file))
        assert set(scene.radio_materials) == set(tile.materials)
        pixel = torch.randperm(tile.raster_grid.count**2, generator=torch.Generator().manual_seed(1))[:500]
        x, y = tile.raster_grid.centres().reshape(-1, 2)[pixel].T.numpy()
        origin = mi.Point3f(mi.Float(x), mi.Float(y), mi.Float(np.full(len(x), 400.0, np.float32)))
        hit = scene.mi_scene.ray_intersect(mi.Ray3f(origin, mi.Vector3f(0, 0, -1)))
        error = np.abs(hit.p.z.numpy() - tile.rasters["height"].reshape(-1)[pixel].numpy())
        assert hit.is_valid().numpy().all()
        assert (error < 1e-2).mean() >= 0.99


def test_rasters_are_consistent(etoile: Tile, hills: Tile):
    for tile in (etoile, hills):
        height, ground, footprint, material = (
            tile.rasters[name] for name in ("height", "ground", "footprint", "material")
        )
        assert set(tile.rasters) == set(RASTER_NAMES)
        assert all(values.isfinite().all() for values in tile.rasters.values())
        assert bool((height >= ground).all())
        assert torch.equal(footprint > 0.5, height > ground + 0.5)
        assert int(material.max()) < len(tile.materials)
        assert 0.1 < float(footprint.mean()) < 0.9


def test_hills_have_relief(hills: Tile):
    ground = hills.rasters["ground"]
    assert float(ground.max() - ground.min()) > 10.0
    roads = hills.rasters["footprint"] < 0.5
    assert set(hills.rasters["material"][roads].unique().tolist()) >= {float(hills.materials.index("terrain"))}


def test_row_zero_is_south(etoile: Tile):
    """The Arc de Triomphe stands north-west of the bundled scene's origin."""
    row, column = np.unravel_index(int(etoile.rasters["height"].argmax()), etoile.raster_grid.shape)
    assert row > etoile.raster_grid.count / 2 > column


# The folder


def test_same_build_same_fingerprint(etoile: Tile, tmp_path: Path):
    again = scenes.build("etoile", tmp_path / "elsewhere" / "again", progress=False)
    assert again.fingerprint == etoile.fingerprint
    other = scenes.build("etoile", tmp_path / "elsewhere" / "again", size=256.0, progress=False)
    assert other.fingerprint != etoile.fingerprint
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["again"]


def test_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A crash in the middle of writing: no tile, no debris."""
    monkeypatch.setattr(zarr.Group, "create_array", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        scenes.build("etoile", tmp_path / "tile", size=256.0, progress=False)
    assert not list(tmp_path.iterdir())


def test_foreign_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("do not delete")
    with pytest.raises(UelError, match="not a tile"):
        scenes.build("etoile", tmp_path, size=256.0, progress=False)
    assert (tmp_path / "thesis.tex").read_text() == "do not delete"


def test_metadata_is_json_without_a_date(etoile: Tile):
    meta = json.loads((etoile.folder / "tile.json").read_text())
    assert meta["provenance"]["source"] == "sionna-rt bundled scene etoile"
    assert (meta["size"], meta["margin"], meta["pixel"]) == (512.0, 128.0, 1.0)


# Errors of build


def test_unknown_place_suggests_the_nearest(tmp_path: Path):
    with pytest.raises(UelError, match="florence"):
        scenes.build("florense", tmp_path / "t")
    with pytest.raises(UelError, match="known are munich"):
        sionna_cities.build_city_tile("xxxx", tmp_path / "t")


def test_empty_tile(tmp_path: Path):
    with pytest.raises(UelError, match=r"no building(.|\n)*center \(-60.0, 40.0\), size 8 m"):
        scenes.build("etoile", tmp_path / "t", center=(-60.0, 40.0), size=8.0, margin=0.0, progress=False)
    assert not (tmp_path / "t").exists()


def test_terrain_must_cover_the_tile(tmp_path: Path):
    with pytest.raises(UelError, match=r"does not cover the tile(.|\n)*choose x in \[-170, 170\] m"):
        scenes.build("etoile", tmp_path / "t", center=(300.0, 0.0), progress=False)
    with pytest.raises(UelError, match="smaller than the tile"):
        scenes.build("etoile", tmp_path / "t", size=1024.0, progress=False)


def test_hole_in_the_terrain():
    with pytest.raises(UelError, match=r"terrain does not cover(.|\n)*x = -1.5 m, y = -0.5 m"):
        rasterise_parts([_triangle((-2, -2, 0), (2, -2, 0), (2, 2, 0))], Grid(size=4.0, pixel=1.0))


@pytest.mark.parametrize("square", [{"size": -1.0}, {"size": math.nan}, {"margin": -1.0}, {"center": (math.inf, 0.0)}])
def test_impossible_squares(square: dict, tmp_path: Path):
    with pytest.raises(UelError, match="out of range"):
        scenes.build("etoile", tmp_path / "t", **square)


# Sites


@pytest.mark.parametrize("kind", ["rooftop", "grid", "random"])
def test_sites_are_where_they_should_be(kind: str, hills: Tile):
    sites = scenes.place(hills, 6, seed=3, kind=kind)
    position = torch.tensor([site.position for site in sites])
    assert len({site.position for site in sites}) == 6
    assert bool(hills.is_outdoor(position).all()) == (kind == "random")
    if kind == "random":
        torch.testing.assert_close(position[:, 2], hills.ground(position) + 10.0, atol=0.5, rtol=0)
    else:
        row, column = hills.pixel_of(position)
        assert bool((position[:, 2] >= hills.rasters["height"][row, column] + 3.0 - 1e-4).all())
        assert float((position[:, 2] - hills.ground(position)).max()) < 60.0


def test_spacing_holds_or_is_relaxed_aloud(etoile: Tile):
    def closest(sites: tuple[Site, ...]) -> float:
        return float(torch.pdist(torch.tensor([site.position[:2] for site in sites])).min())

    assert closest(scenes.place(etoile, 9)) >= 512 / 6
    assert closest(scenes.place(etoile, 4, spacing=200.0)) >= 200.0
    with pytest.warns(UserWarning, match="relaxed from 400 m"):
        assert len(scenes.place(etoile, 9, spacing=400.0)) == 9


def test_same_seed_same_sites(etoile: Tile):
    assert scenes.place(etoile, 5, seed=7, sectors=3) == scenes.place(etoile, 5, seed=7, sectors=3)
    assert scenes.place(etoile, 5, seed=7) != scenes.place(etoile, 5, seed=8)


def test_sectors_share_the_circle(etoile: Tile):
    template = Cell(power_dbm=40.0, array=Array(pattern="tr38901"))
    for site in scenes.place(etoile, 2, sectors=3, template=template):
        azimuth = [cell.azimuth_deg for cell in site.cells]
        assert np.diff(azimuth) == pytest.approx([120.0, 120.0])
        assert {cell.power_dbm for cell in site.cells} == {40.0}
    assert scenes.place(etoile, 1)[0].cells == (Cell(),)


def test_counts_that_cannot_be(etoile: Tile, tmp_path: Path):
    for wrong in ({"count": 0}, {"count": 1, "sectors": 0}):
        with pytest.raises(UelError, match="sites and of sectors must be at least 1"):
            scenes.place(etoile, **wrong)
    with pytest.raises(UelError, match=r"too few positions(.|\n)*count 1000000"):
        scenes.place(etoile, 1_000_000)


def test_a_tile_refuses_bad_sites(etoile: Tile):
    good = scenes.place(etoile, 1)[0]
    x, y, z = good.position
    etoile.require_sites((good,))
    with pytest.raises(UelError, match=r"inside a wall(.|\n)*raise it to at least \d+ m"):
        etoile.require_sites((good, Site(position=(x, y, 5.0))))
    with pytest.raises(UelError, match="in the ground"):
        etoile.require_sites((Site(position=(x, y, -1.0)),))
    with pytest.raises(UelError, match="off the tile"):
        etoile.require_sites((Site(position=(300.0, y, z)),))
    with pytest.raises(UelError, match="there are no sites"):
        etoile.require_sites(())
    with pytest.raises(UelError, match="position is out of range"):
        etoile.require_sites((Site(position=(x, y, math.nan)),))
