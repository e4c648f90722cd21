"""Bad input to `uel survey`, line by line: each a clear error, nothing lost, nothing half-written left.

Beside what reads it are: materials without the carrier's band, masts in walls, other plans (`test_survey_verb`), damage
(`test_survey`), disks that fill up between two units (`test_engines`).
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scenes.tiles.writer import update_files, write_sites
from tests.helpers.surveys import content, made
from tests.helpers.toy_city import SITES, toy_tile
from uel.cli import main
from uel.geo.tile import Tile
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site, sites_to_json
from uel.survey.dataset import Survey

RAYS = ["--tracks", "12", "--reports", "3", "--measure.layers", "rt"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers of the root logger stay as they are."""
    monkeypatch.setattr("uel.cli._log", lambda verbose: None)


def at_carrier(carrier: Carrier) -> tuple[Site, ...]:
    return tuple(replace(site, cells=(Cell(carrier=carrier),)) for site in SITES)


def town(folder: Path, name: str = "toy", sites: tuple[Site, ...] = SITES) -> Tile:
    return write_sites(toy_tile(folder / name, name), sites)


def refused(command: list[str], message: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", *command]) == 2
    printed = capsys.readouterr().err
    assert "do:" in printed
    assert "Traceback" not in printed
    for words in message:
        assert words in printed


# ---- masts ---------------------------------------------------------------------------------------------------


def without_carrier(cell: dict[str, Any]) -> None:
    del cell["carrier"]


def carrier_of(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda cell: cell["carrier"].update(change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_carrier, ["sites cannot be read", "'carrier'"]),
        (lambda cell: cell.update(carrier=None), ["sites cannot be read"]),
        (carrier_of(frequency=3.5), ["carrier frequency out of range", "3.5 Hz"]),
        (carrier_of(subcarrier_spacing=45e3), ["unknown subcarrier spacing", "45000 Hz"]),
        (carrier_of(colour="red"), ["sites cannot be read", "colour"]),
    ],
)
def test_masts_without_a_carrier_that_exists(tmp_path: Path, change: Callable, message: list[str], capsys) -> None:
    tile, stored = town(tmp_path), sites_to_json(SITES)
    change(stored[1]["cells"][0])
    update_files(tile, {"sites.json": json.dumps(stored).encode()}, {})
    refused([str(tile.folder), "--out", str(tmp_path / "survey"), *RAYS], message, capsys)
    assert not (tmp_path / "survey").exists()


def test_a_mast_without_cells(tmp_path: Path, capsys) -> None:
    tile, stored = town(tmp_path), sites_to_json(SITES)
    stored[0]["cells"] = []
    update_files(tile, {"sites.json": json.dumps(stored).encode()}, {})
    refused([str(tile.folder), "--out", str(tmp_path / "survey"), *RAYS], ["a site has no cells"], capsys)


def test_more_cells_than_memory(tmp_path: Path, capsys) -> None:
    """Refused by its size on paper: 1000 cells and 2 000 000 tracks at a time are 2 TB at the least."""
    crowd = (replace(SITES[0], cells=SITES[0].cells * 1000),)
    tile, out = town(tmp_path, sites=crowd), tmp_path / "survey"
    many = ["--tracks", "2000000", "--unit-tracks", "2000000", "--measure.layers", "rt"]
    refused([str(tile.folder), "--out", str(out), *many], ["do not fit in memory", "--unit-tracks"], capsys)
    assert not out.exists()


# ---- tiles that do not belong together -----------------------------------------------------------------------


@pytest.mark.parametrize("other", [Carrier(frequency=2.6e9), Carrier(subcarrier_spacing=15e3, bandwidth=50e6)])
def test_tiles_of_several_carriers(tmp_path: Path, other: Carrier, capsys) -> None:
    tiles = [town(tmp_path), town(tmp_path, "village", at_carrier(other))]
    message = ["different carriers", "toy: 3.5 GHz", f"village: {other.frequency / 1e9:g} GHz"]
    refused([*(str(t.folder) for t in tiles), "--out", str(tmp_path / "survey"), *RAYS], message, capsys)
    assert not (tmp_path / "survey").exists()


def test_two_tiles_of_one_name(tmp_path: Path, capsys) -> None:
    tiles = [town(tmp_path / "here"), town(tmp_path / "there", sites=SITES[:2])]
    folders = [str(tile.folder) for tile in tiles]
    refused(
        [*folders, "--out", str(tmp_path / "survey"), *RAYS], ["two tiles of the survey have one name", "toy"], capsys
    )
    assert not (tmp_path / "survey").exists()


def test_a_tile_that_was_built_anew(tmp_path: Path, capsys) -> None:
    """The units that are done are of the old one: they stay, and nothing is mixed with them."""
    survey = made(tmp_path / "survey")
    before, tile = content(survey.folder), Tile.open(tmp_path / "tiles" / "toy")
    write_sites(tile, SITES[:3])
    same = ["--tracks", "40", "--reports", "4", "--least-reports", "1", "--unit-tracks", "8"]
    command = [str(tile.folder), "--out", str(survey.folder), *same, "--measure.layers", "rt"]
    refused(command, ["another plan", "tiles.toy."], capsys)
    assert content(survey.folder) == before


# ---- folders and disks ---------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory, with options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


def test_a_disk_that_is_full_before_the_first_unit(tmp_path: Path, disk, capsys) -> None:
    tile, out = town(tmp_path), disk("size=64k") / "survey"
    refused([str(tile.folder), "--out", str(out), *RAYS], ["cannot be written", "No space left"], capsys)
    assert not list(out.rglob("*.part"))
    assert not list(out.glob("*.zarr"))


def test_a_disk_that_cannot_be_written(tmp_path: Path, disk, capsys) -> None:
    tile, out = town(tmp_path), disk("ro,size=1m") / "survey"
    refused(
        [str(tile.folder), "--out", str(out), *RAYS],
        ["cannot be written", "Read-only", "another folder"],
        capsys,
    )


def test_a_folder_below_a_file(tmp_path: Path, capsys) -> None:
    tile = town(tmp_path)
    (tmp_path / "file").write_text("no folder")
    refused([str(tile.folder), "--out", str(tmp_path / "file" / "survey"), *RAYS], ["cannot be written"], capsys)


def test_a_report_that_cannot_be_written_loses_nothing(tmp_path: Path, capsys) -> None:
    survey = made(tmp_path / "survey")
    before = content(survey.folder)
    (survey.folder / "figures").write_text("no folder")
    refused(["--out", str(survey.folder), "--report"], ["cannot be written", "what is finished is kept"], capsys)
    assert content(survey.folder) == before
    assert not (survey.folder / "report.md").exists()
    assert not survey.unfinished_units()


# ---- surveys that are none -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [["--report"], ["--verify"], ["--export", "parquet"]])
def test_a_survey_of_another_schema_or_none(tmp_path: Path, ask: list[str], capsys) -> None:
    old = made(tmp_path / "survey").folder
    stored = json.loads((old / "survey.json").read_text())
    (old / "survey.json").write_text(json.dumps(stored | {"schema": "uel-survey-1"}))
    before = content(old)
    refused(["--out", str(old), *ask], ["uel-survey-1", "make the survey again"], capsys)
    refused(["--out", str(tmp_path / "nowhere"), *ask], ["no readable survey"], capsys)
    assert content(old) == before
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("ask", [["--report"], ["--export", "parquet"]])
def test_a_survey_with_a_damaged_shard(tmp_path: Path, ask: list[str], capsys) -> None:
    survey = made(tmp_path / "survey")
    shard = survey.folder / "toy.zarr" / "gain_db" / "c" / "2" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-20])
    refused(["--out", str(survey.folder), *ask], ["damaged", "uel survey --verify"], capsys)
    assert not (survey.folder / "report.md").exists()
    assert [unit.name for unit in Survey.open(survey.folder).unfinished_units()] == ["toy-2"]


def test_nothing_to_survey(tmp_path: Path, capsys) -> None:
    refused(["--out", str(tmp_path / "survey")], ["no tile to survey", "uel build"], capsys)


def test_a_tile_without_masts_beside_one_that_has_some(tmp_path: Path, capsys) -> None:
    good, bare = town(tmp_path), toy_tile(tmp_path / "bare", "bare")
    folders = [str(tile.folder) for tile in (good, bare)]
    refused([*folders, "--out", str(tmp_path / "survey"), *RAYS], ["no sites on this tile", "uel place"], capsys)
    assert not (tmp_path / "survey").exists()
    shutil.rmtree(bare.folder)
    refused([*folders, "--out", str(tmp_path / "survey"), *RAYS], ["no tile here"], capsys)
