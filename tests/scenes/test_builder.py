"""`uel build` from a map to a tile: the folder, its hashes, wrong twins, and nothing left of what failed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import scenes
import sim_bridge
from scenes.tiles.report import find_notes, find_problems
from sim_bridge.diagnostics.tile_inspection import inspect_tile
from tests.helpers.village_map import SQUARE, map_file
from uel.cli import main
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.tracing_config import TracingConfig


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile by the command line, with everything."""
    folder = tmp_path_factory.mktemp("build")
    assert main(["build", str(map_file(folder)), "--out", str(folder / "tiles"), *SQUARE]) == 0
    return folder / "tiles" / "village"


def test_the_folder_is_complete_and_sound(village: Path) -> None:
    tile, report = Tile.open(village), json.loads((village / "build_report.json").read_text())
    assert tile.verify() == []
    assert report["problems"] == []
    assert report["buildings"] == 3
    assert report["meshes"]["watertight"] == 1.0
    assert report["heights"]["provenance"] == {"levels": 1, "tag": 2}
    assert report["ray_tracing"]["points"] > 30
    assert report["ray_tracing"]["delay_error"] < 1e-10
    assert report["ray_tracing"]["gain_error_db"] < 0.01
    for name in ("report.png", "render.png"):
        assert (village / name).read_bytes()[:4] == b"\x89PNG"
    assert (village / "model.glb").read_bytes()[:4] == b"glTF"
    house = tile.meta["buildings"]["way/2"]
    assert (house["wall"], house["provenance"]) == ("brick", "levels")


def test_houses_stand_where_the_map_says(village: Path) -> None:
    tile = Tile.open(village)
    above = tile.rasters["height"] - tile.rasters["ground"]
    row, column = tile.pixel_of(torch.tensor([[-45.0, 0.0], [5.0, 0.0], [55.0, 0.0], [30.0, 0.0]]))
    np.testing.assert_allclose(above[row, column].numpy(), [12.0, 5 * 3.6, 30.0, 0.0], atol=0.1)
    row, column = tile.pixel_of(torch.tensor([[0.0, -40.0], [0.0, -60.0]]))
    assert [tile.covers[int(k)] for k in tile.rasters["cover"][row, column]] == ["road", "open"]


def test_the_same_map_gives_the_same_bytes(village: Path, tmp_path: Path) -> None:
    assert main(["build", str(map_file(tmp_path)), "--out", str(tmp_path / "tiles"), *SQUARE]) == 0
    again = Tile.open(tmp_path / "tiles" / "village")
    one, other = Tile.open(village).meta["files"], again.meta["files"]
    assert {name for name in one | other if one.get(name) != other.get(name)} == set()


def test_check_finds_what_changed(village: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(village), "--check"]) == 0
    sites, old = village / "sites.json", (village / "sites.json").read_bytes()
    sites.write_bytes(old.replace(b"46.0", b"47.0"))
    assert main(["build", str(village), "--check"]) == 1
    sites.write_bytes(old)
    assert "differs: sites.json" in capsys.readouterr().out


def test_a_wrong_twin_says_what_is_wrong(village: Path, tmp_path: Path) -> None:
    twin = scenes.build(
        map_file(tmp_path),
        tmp_path / "twin",
        size=256.0,
        margin=32.0,
        center=(48.0, 9.0),
        sites=2,
        perturb="heights=0.2,moved=2m,materials=swap,antenna=10deg,3m",
    )
    record, true = twin.meta["perturbation"], Tile.open(village)
    assert set(record["buildings"]) == {"way/1", "way/2", "way/3"}
    for name, building in twin.meta["buildings"].items():
        assert 0.8 <= building["top"] / true.meta["buildings"][name]["top"] <= 1.2
    assert [len(site["azimuth_deg"]) for site in record["sites"]] == [1, 1]
    assert twin.sites != true.sites


def test_drawn_materials_reach_the_ray_tracer(tmp_path: Path) -> None:
    tile = scenes.build(
        map_file(tmp_path), tmp_path / "drawn", size=256.0, margin=32.0, center=(48.0, 9.0), sites=1, materials="drawn"
    )
    tracing = TracingConfig(samples=1000, max_depth=1, diffraction=False)
    sim = sim_bridge.open(tile, tile.sites, tracing, backend="sionna")
    drawn = tile.meta["buildings"]["way/2"]["drawn"]["wall"]
    material = sim.scene.radio_materials["way-2-wall-brick"]
    assert float(material.conductivity[0]) == pytest.approx(drawn["conductivity"], rel=1e-5)
    assert float(material.scattering_coefficient[0]) == pytest.approx(drawn["scattering_coefficient"], rel=1e-5)
    assert 1e-3 <= drawn["conductivity"] <= 10
    assert 2 <= drawn["relative_permittivity"] <= 15


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--center", "10.0", "9.0"], "no building"),
        (["--perturb", "hights=0.2"], "perhaps you meant|unknown"),
        (["--materials", "gold"], "choose itu or drawn"),
        (["--dem", "nowhere.tif"], "nowhere.tif"),
    ],
)
def test_a_tile_that_cannot_be_leaves_nothing(
    tmp_path: Path, more: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiles"
    assert main(["build", str(map_file(tmp_path)), "--out", str(out), *SQUARE, *more]) == 2
    captured = capsys.readouterr()
    assert any(word in captured.out + captured.err for word in expected.split("|"))
    assert not out.exists() or all(path.suffix == ".lock" for path in out.iterdir())


def test_one_bad_source_does_not_keep_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.osm.gz").write_bytes(b"\x1f\x8b\x08\x00cut")
    command = ["build", str(tmp_path / "cut.osm.gz"), str(map_file(tmp_path)), "--size", "128", "--margin", "0"]
    assert main([*command, "--out", str(tmp_path / "tiles"), "--sites", "0", "--no-render"]) == 2
    assert (tmp_path / "tiles" / "village" / "build_report.json").is_file()
    assert not (tmp_path / "tiles" / "cut").exists()
    assert "cut.osm.gz: " in capsys.readouterr().out


def test_tiles_of_a_config_file(tmp_path: Path) -> None:
    config = tmp_path / "tiles.yaml"
    config.write_text(f"sources: [{map_file(tmp_path)}]\nsize: 128\nmargin: 0\nrender: false\nsites: 0\n")
    assert main(["build", "--config", str(config), "--out", str(tmp_path / "tiles")]) == 0
    assert Tile.open(tmp_path / "tiles" / "village").size == 128.0


def test_a_map_file_may_be_called_almost_like_a_bundled_city(tmp_path: Path) -> None:
    file = map_file(tmp_path).rename(tmp_path / "san_francisco.osm")
    assert scenes.build(file, tmp_path / "tile", size=128.0, margin=0.0).meta["crs"] == "EPSG:32632"


def test_a_bundled_city_gets_masts(tmp_path: Path) -> None:
    tile = scenes.build("etoile", tmp_path / "etoile", size=256.0, margin=32.0, sites=3, progress=False)
    assert len(tile.sites) == 3
    assert inspect_tile(tile)["problems"] == []
    with pytest.raises(UelError, match="florence"):
        scenes.build("florense", tmp_path / "florense")


def test_a_bundled_city_is_reported_as_far_as_its_meshes_tell(tmp_path: Path) -> None:
    command = [
        "build",
        "etoile",
        "--size",
        "256",
        "--margin",
        "32",
        "--sites",
        "4",
        "--no-render",
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    tile, report = Tile.open(tmp_path / "etoile"), json.loads((tmp_path / "etoile" / "build_report.json").read_text())
    assert report["problems"] == []
    assert report["ray_tracing"]["points"] > 0
    assert "number of buildings" in report["unknown"]
    # By hand from the files: triangles of the meshes, and roofs of the rasters.
    assert report["triangles"] == {
        path.stem: int(path.read_bytes()[:400].split(b"element face ")[1].split()[0])
        for path in (tile.folder / "meshes").glob("*.ply")
    }
    stands = tile.rasters["footprint"] > 0.5
    above = (tile.rasters["height"] - tile.rasters["ground"])[stands]
    assert report["roofs"]["covered"] == pytest.approx(float(stands.float().mean()))
    assert report["roofs"]["quartiles"][2] == pytest.approx(float(above.quantile(0.5)), abs=1e-3)
    assert sum(report["roofs"]["materials"].values()) == pytest.approx(1.0)
    assert report["outdoors"] == {"concrete": 1.0}
    assert (tile.folder / "report.png").read_bytes()[:4] == b"\x89PNG"
    glb = trimesh.load_scene(tile.folder / "model.glb")
    assert {name: len(mesh.faces) for name, mesh in glb.geometry.items()} == report["triangles"]


@pytest.mark.parametrize(
    "asked", [{"ground": "cover"}, {"materials": "drawn"}, {"draw_heights": True}, {"perturb": "heights=0.2"}]
)
def test_what_bundled_meshes_cannot_do_is_refused(tmp_path: Path, asked: dict) -> None:
    with pytest.raises(UelError, match=rf"bundled cities(.|\n)*{next(iter(asked))}(.|\n)*from a map"):
        scenes.build("etoile", tmp_path / "etoile", **asked)
    assert not list(tmp_path.iterdir())


def test_what_the_report_calls_a_problem(village: Path) -> None:
    """A typo in a height and masts that are all blind are problems; a slab and one blind mast are noted."""
    report = json.loads((village / "build_report.json").read_text())
    assert find_problems(report) == find_notes(report) == []
    (problem,) = find_problems(report | {"heights": report["heights"] | {"impossible": ["way/1"]}})
    assert problem == "buildings of impossible height: ['way/1']"
    assert find_problems(report | {"sight": {"sites": [0.0, 0.0], "any": 0.0}}) == [
        "no site has a line of sight to an outdoor pixel"
    ]
    odd = report | {"heights": report["heights"] | {"thin": ["way/1"]}, "sight": {"sites": [0.3, 0.0], "any": 0.3}}
    assert find_problems(odd) == []
    assert find_notes(odd) == [
        "pieces of less than 2 m from bottom to top: way/1",
        "sites without a line of sight to an outdoor pixel: 1",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["krems_altstadt", "monaco_condamine", "nyc_midtown_esb", "geneva_servette"])
def test_real_tiles_are_sound(name: str, tmp_path: Path, shared: Path) -> None:
    assert main(["build", str(shared / "tiles" / f"{name}.osm.gz"), "--out", str(tmp_path), "--no-render"]) == 0
    report = json.loads((tmp_path / name / "build_report.json").read_text())
    assert report["problems"] == []
    assert report["meshes"]["watertight"] == 1.0
