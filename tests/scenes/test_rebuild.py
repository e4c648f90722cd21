"""Building again: what is there is reused, what was killed leaves nothing, and placed masts are not lost."""

import json
import logging
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import scenes
from scenes.config import TileBuildConfig
from scenes.tiles.build_key import build_key, reusable_tile
from scenes.tiles.writer import update_files, write_sites
from tests.conftest import ROOT
from tests.helpers.free_space import masts
from tests.helpers.village_map import map_file
from uel.cli import main
from uel.errors import UelError
from uel.geo.tile import Tile

SQUARE = {"size": 128.0, "margin": 0.0, "center": (48.0, 9.0)}
COMMAND = ["--size", "128", "--margin", "0", "--center", "48.0", "9.0", "--sites", "1", "--no-render"]


def build(folder: Path, *more: str) -> Tile:
    assert main(["build", str(map_file(folder)), "--out", str(folder / "tiles"), *COMMAND, *more]) == 0
    return Tile.open(folder / "tiles" / "village")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr("uel.cli._log", lambda verbose: None)  # it takes the handlers of the root logger away
    caplog.set_level(logging.INFO, "scenes")
    return caplog


def age(tile: Tile) -> int:
    """When the record was written."""
    return (tile.folder / "tile.json").stat().st_mtime_ns


def test_the_same_again_is_reused(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    first = build(tmp_path)
    assert "reusing" not in log.text
    again = build(tmp_path)
    assert f"village.osm: reusing {again.folder}" in log.text
    assert age(again) == age(first)


@pytest.mark.parametrize("other", ["nothing", "seed", "map", "damage", "picture", "no tile"])
def test_anything_else_is_built_anew(tmp_path: Path, other: str) -> None:
    file, folder, plan = map_file(tmp_path), tmp_path / "village", TileBuildConfig(size=128.0, margin=0.0)
    update_files(scenes.build(file, folder, plan), {"report.png": b"seen"})
    if other == "seed":
        plan = replace(plan, seed=7)
    elif other == "map":
        file.write_text(file.read_text().replace("12 m", "13 m"))
    elif other == "damage":
        (folder / "meshes" / "terrain-concrete.ply").write_bytes(b"ply")
    elif other == "no tile":
        folder = tmp_path
    pictures = {"report.png", "render.png"} if other == "picture" else {"report.png"}
    tile = reusable_tile(folder, build_key(file, None, None, asdict(plan)), pictures)
    assert (tile is not None) == (other == "nothing")


def test_placed_masts_are_reused_with_their_tile_and_never_lost(tmp_path: Path) -> None:
    ours = masts((10.0, -55.0))
    write_sites(build(tmp_path), ours)
    assert build(tmp_path).sites == ours
    file, folder = map_file(tmp_path), tmp_path / "tiles" / "village"
    for attempt in range(2):
        with pytest.raises(UelError, match=r"sites were placed(.|\n)*sites.json(.|\n)*--name"):
            scenes.build(file, folder, **SQUARE, seed=7)
        if attempt == 0:  # nor when the tile is damaged
            (folder / "scene.xml").write_text("<scene/>")
    assert Tile.open(folder).sites == ours
    (folder / "sites.json").unlink()
    assert scenes.build(file, folder, **SQUARE, seed=7).meta["seed"] == 7


def test_a_recipe_names_no_folders(tmp_path: Path) -> None:
    record = json.dumps(build(tmp_path).meta["recipe"])
    assert "village.osm" in record
    assert str(tmp_path) not in record


def test_two_tiles_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    two = [str(map_file(tmp_path)), str(map_file(tmp_path / "other"))]
    command = ["--size", "128", "--margin", "0", "--sites", "0", "--no-render", "--out", str(tmp_path / "tiles")]
    assert main(["build", *two, *command]) == 2
    assert f"two sources have the same tile name\n  got: {two[0]} and {two[1]}" in capsys.readouterr().out


KILLED = """
import sys, time, scenes
def wait(tile, told):
    print("built", flush=True)
    time.sleep(600)
scenes.build(sys.argv[1], sys.argv[2], size=128.0, margin=0.0, center=(48.0, 9.0), inspect=wait)
"""


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """Killed between the last mesh and the report; a build that lives, beside it, is left alone."""
    file, folder = map_file(tmp_path), tmp_path / "tiles" / "village"
    command = [sys.executable, "-c", KILLED, str(file), str(folder)]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as alive,
    ):
        assert [process.stdout and process.stdout.readline() for process in (killed, alive)] == ["built\n"] * 2
        killed.kill()
        killed.wait()
        assert sorted(path.suffix for path in folder.parent.iterdir()) == [".part", ".part"]
        scenes.build(file, folder, **SQUARE)
        assert sorted(path.suffix for path in folder.parent.iterdir()) == ["", ".part"]
        alive.kill()
    scenes.build(file, folder, **SQUARE, seed=1)
    assert [path.name for path in folder.parent.iterdir()] == ["village"]
