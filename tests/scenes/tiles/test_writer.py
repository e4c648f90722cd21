"""The tile folder: written whole, checked by hashes, and opened by Sionna with the materials that were written."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from scenes.materials.itu_p2040 import itu_properties, slab_thickness
from scenes.materials.random_materials import draw_materials
from scenes.mesh.material_assignment import assign_materials
from scenes.tiles.metadata import bounding_box
from scenes.tiles.mitsuba_xml import material_bsdfs, scene_xml
from scenes.tiles.writer import update_files, write_sites
from tests.helpers.free_space import masts
from tests.helpers.village_tile import CLASSES, SIZE, parts_of, village, write
from uel.errors import UelError
from uel.geo.tile import RASTER_NAMES, Tile
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    return write(tmp_path / "village", village())


def _sionna():
    """Sionna RT, or a skip that says what is missing."""
    from sim_bridge.backend import runtime

    try:
        runtime.load_sionna()
    except UelError as error:
        pytest.skip(str(error))
    import sionna.rt

    return sionna.rt


# ---- what is in it -------------------------------------------------------------------------------------


def test_the_record_says_where_from_and_how_known(tile: Tile):
    meta = json.loads((tile.folder / "tile.json").read_text())
    expected = {"name": "village", "crs": "EPSG:32632", "size": 64.0, "margin": 8.0, "seed": 3, "pixel": 1.0}
    assert meta | expected == meta
    assert meta["buildings"]["way/2"] == {
        "base": 0.0,
        "top": 14.0,
        "top_std": 0.0,
        "provenance": "prior",
        **asdict(CLASSES),
    }
    assert meta["exclusions"] == {"way/99": "underground"}
    assert set(meta["files"]) > {"scene.xml", "rasters.zarr/zarr.json", "meshes/building-way-1-wall.ply"}
    assert "zarr" in meta["versions"]


def test_the_bounding_box_is_around_the_centre():
    """64 m at 48° north: 64/111,2 km of latitude; on the zone's meridian x grows by 0.9996 of that."""
    west, south, east, north = bounding_box("EPSG:32632", (500_000.0, 5_300_000.0), SIZE)
    assert (west + east) / 2 == pytest.approx(9.0, abs=1e-6)
    assert (north - south) * 111_194 == pytest.approx(64.0, rel=2e-3)
    assert (east - west) * 111_320 * np.cos(np.radians(north)) == pytest.approx(64.0, rel=4e-3)


def test_rasters_have_names_and_units_and_come_back(tmp_path: Path):
    import zarr

    cover = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    tile = write(tmp_path / "t", village(), cover=cover)
    group = zarr.open_group(tile.folder / "rasters.zarr", mode="r", zarr_format=3)
    for name, array in group.arrays():
        assert array.metadata.dimension_names == ("row", "column")
        assert array.attrs["units"] == ("m" if name in ("ground", "height") else "1")
    assert set(tile.rasters) == {*RASTER_NAMES, "cover"}
    torch.testing.assert_close(tile.rasters["cover"], torch.from_numpy(cover).float())
    assert tile.rasters["height"].max() == 15.0


def test_same_input_same_bytes(tmp_path: Path, tile: Tile):
    time.sleep(1.1)  # a time stamp in any file would show
    again = write(tmp_path / "again", village())
    assert again.meta["files"] == tile.meta["files"]
    assert again.fingerprint == tile.fingerprint
    assert write(tmp_path / "other", village(5)).fingerprint != tile.fingerprint


# ---- damage and debris ---------------------------------------------------------------------------------


def test_verify_names_every_file_that_differs(tile: Tile):
    assert tile.verify() == []
    (tile.folder / "meshes/terrain-concrete.ply").unlink()
    with (tile.folder / "scene.xml").open("a") as file:
        file.write(" ")
    (tile.folder / "meshes/intruder.ply").write_text("")
    assert tile.verify() == ["meshes/intruder.ply", "meshes/terrain-concrete.ply", "scene.xml"]


@pytest.mark.parametrize("file", ["height/c/0/0", "ground/zarr.json", "zarr.json"])
@pytest.mark.parametrize("harm", ["absent", "flipped"])
def test_a_damaged_raster_is_no_zero(tile: Tile, file: str, harm: str):
    path = tile.folder / "rasters.zarr" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink() if harm == "absent" else path.write_bytes(content)
    with pytest.raises(UelError, match="this tile is damaged"):
        tile.rasters  # noqa: B018  (read now)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_a_damaged_record(tile: Tile, text: str):
    (tile.folder / "tile.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UelError, match="this tile is damaged"):
        Tile.open(tile.folder)


def test_an_older_schema(tile: Tile):
    (tile.folder / "tile.json").write_text(json.dumps({**tile.meta, "schema": 1}))
    with pytest.raises(UelError, match=r"schema is not 2(.|\n)*build it again"):
        Tile.open(tile.folder)


def test_a_tile_json_of_another_program_is_left_alone(tmp_path: Path):
    (tmp_path / "tile.json").write_text('{"tilewidth": 16}')
    with pytest.raises(UelError, match="not a tile"):
        write(tmp_path, village())
    assert (tmp_path / "tile.json").read_text() == '{"tilewidth": 16}'


def test_the_old_tile_survives_a_failed_rename(tile: Tile, monkeypatch: pytest.MonkeyPatch):
    before, rename = tile.fingerprint, Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no rename today")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no rename today"):
        write(tile.folder, village(5))
    assert Tile.open(tile.folder).fingerprint == before
    assert [path.name for path in tile.folder.parent.iterdir()] == ["village"]


# ---- sites ---------------------------------------------------------------------------------------------


def test_sites_go_into_the_tile_and_its_hashes(tile: Tile):
    with pytest.raises(UelError, match=r"no sites on this tile(.|\n)*uel place"):
        tile.sites  # noqa: B018  (read now)
    sites = masts((10.0, 20.0), (-5.0, -10.0))
    before, with_sites = tile.fingerprint, write_sites(tile, sites)
    assert with_sites.sites == sites == Tile.open(tile.folder).sites
    assert with_sites.verify() == []
    assert with_sites.fingerprint != before


def test_sites_inside_a_wall_are_not_written(tile: Tile):
    with pytest.raises(UelError, match="inside a wall"):
        write_sites(tile, (Site(position=(-25.0, -25.0, 5.0)),))
    assert tile.verify() == []


@pytest.mark.parametrize("text", ["{", '[{"position": [0, 0, 9]}]'])
def test_unreadable_sites(tile: Tile, text: str):
    (tile.folder / "sites.json").write_text(text)
    with pytest.raises(UelError, match="sites cannot be read"):
        tile.sites  # noqa: B018  (read now)


def test_other_files_join_the_hashes(tile: Tile):
    assert update_files(tile, {"report.json": b"{}"}).verify() == []
    assert (tile.folder / "report.json").read_bytes() == b"{}"


# ---- in the ray tracer ---------------------------------------------------------------------------------


def test_classes_arrive_in_sionna(tile: Tile):
    rt = _sionna()
    scene = rt.load_scene(str(tile.scene_file), merge_shapes=False)
    assert set(scene.objects) == {part.name for part in parts_of(village())}
    assert scene.objects["building-way-3-wall"].radio_material.name == "brick"
    for frequency in (3.5e9, 28e9):
        scene.frequency = frequency
        for name, material in scene.radio_materials.items():
            arrived = (material.relative_permittivity[0], material.conductivity[0], material.thickness[0])
            assert arrived == pytest.approx((*itu_properties(name, frequency), slab_thickness(name)), rel=1e-5)


def test_drawn_values_arrive_in_sionna(tmp_path: Path):
    """700 buildings, each with its own wall and roof, merged by material and one by one."""
    rt = _sionna()
    place = village(700)
    draws = draw_materials(place.buildings, {b.id: CLASSES for b in place.buildings}, seed=1)
    (tmp_path / "meshes").mkdir()
    parts = assign_materials(parts_of(place), draws)
    for part in parts:
        (tmp_path / "meshes" / f"{part.name}.ply").write_bytes(part.to_ply())
    names = [part.material for part in parts]
    (tmp_path / "scene.xml").write_text(scene_xml(parts, material_bsdfs(names, draws.materials)))
    for merged in (True, False):
        scene = rt.load_scene(str(tmp_path / "scene.xml"), merge_shapes=merged)
        assert len(scene.objects) == 1401
    for name, drawn in draws.materials.items():
        there = scene.radio_materials[name]
        for ours, theirs in (("xpd", "xpd_coefficient"), *((n, n) for n in asdict(drawn) if n != "xpd")):
            assert getattr(there, theirs)[0] == pytest.approx(getattr(drawn, ours), rel=1e-5, abs=1e-9)


def test_ground_at_28_gigahertz_is_refused_with_a_way_out(tmp_path: Path):
    tile = write(tmp_path / "t", village(), ground="medium_dry_ground")
    tile.require_carrier(Carrier())
    high = (Site(position=(10.0, 20.0, 30.0), cells=(Cell(carrier=Carrier(frequency=28e9)),)),)
    way_out = r"do:  choose a carrier of 1-10 GHz, (.|\n)*or build (.|\n)*--tracing.material-extrapolation"
    with pytest.raises(UelError, match=rf"tile village(.|\n)*: medium_dry_ground(.|\n)*28 GHz(.|\n)*{way_out}"):
        tile.require_sites(high)
    write(tmp_path / "t", village()).require_sites(high)


def test_drawn_constants_hold_for_an_octave(tmp_path: Path):
    place = village()
    draws = draw_materials(place.buildings, {b.id: CLASSES for b in place.buildings}, seed=1)
    tile = write(tmp_path / "t", place, draws=draws)
    assert tile.meta["buildings"]["way/0"]["drawn"]["wall"] == asdict(draws.materials["way-0-wall-brick"])
    tile.require_carrier(Carrier(frequency=2.4e9))
    with pytest.raises(UelError, match="drawn materials"):
        tile.require_carrier(Carrier(frequency=28e9))


def test_a_tile_of_classes_unknown_to_itu(tmp_path: Path):
    with pytest.raises(UelError, match="perhaps you meant concrete"):
        write(tmp_path / "t", village(), ground="concrte")
    assert not (tmp_path / "t").exists()
