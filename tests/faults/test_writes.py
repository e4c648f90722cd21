"""Files are whole or absent, whatever comes in between; nothing is removed that this library did not make."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.toy_city import SITES, SIZE, toy_tile
from training.cache import StageCache, digest
from uel.core import io
from uel.core.files.append_logs import read_csv_log
from uel.core.files.own_folders import has_json_entry, remove_own_folder
from uel.core.files.write_errors import require_writable, require_writable_file, write_fault
from uel.errors import UelError
from uel.radio import radio_map_io
from uel.radio.simulator import FreeSpace

WRITERS: dict[str, Callable[[Path, bytes], Any]] = {
    "bytes": io.replace_file,
    "tensors": lambda path, content: io.replace_torch_file(path, {"value": torch.tensor(list(content))}),
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest) -> Callable[[Path, bytes], Any]:
    return WRITERS[request.param]


def stopped(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    write: Callable[[Path, bytes], Any], step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "facts.json"
    write(file, b"old")
    before = file.read_bytes()
    monkeypatch.setattr(os, step, stopped)
    with pytest.raises(OSError, match="No space left"):
        write(file, b"new")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_equal_tensors_are_equal_bytes_whatever_the_file_is_called(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        io.replace_torch_file(tmp_path / name, {"weight": torch.arange(9.0)})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("letters", [100, 240, 255])
def test_long_names_are_written_as_short_ones(letters: int, tmp_path: Path) -> None:
    file = tmp_path / ("x" * letters)
    io.replace_file(file, b"content")
    assert file.read_bytes() == b"content"


KILLED = """
import os, signal, sys
from pathlib import Path
from uel.core.io import staged_file, staged_folder
from uel.core.files.own_folders import has_json_entry
with {context} as staged:
    {write}
    print("begun", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while(context: str, write: str) -> None:
    code = KILLED.format(context=context, write=write)
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert asked.stdout == "begun\n", asked.stderr


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    io.replace_file(file, b"old")
    killed_while(f"staged_file(Path({str(file)!r}))", "staged.write_bytes(b'n')")
    assert file.read_bytes() == b"old"


MARK = has_json_entry("mark.json", "schema")


def own_folder(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "mark.json").write_text(json.dumps({"schema": 1}))
    (folder / "text").write_text(text)
    return folder


def test_a_killed_maker_leaves_the_old_folder_and_the_next_one_sweeps(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "map")
    mark = "has_json_entry('mark.json', 'schema')"
    killed_while(f"staged_folder(Path({str(folder)!r}), {mark})", "(staged / 'half').write_bytes(b'n')")
    assert (folder / "text").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2, "the old folder, and a hidden one"
    with io.staged_folder(folder, MARK) as staged:
        (staged / "text").write_text("new")
    assert (folder / "text").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_comes_back_that_a_kill_left_between_two_renames(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "map")
    stage = tmp_path / ".map-abcdefgh.part"
    stage.mkdir()
    (stage / io.STAGE_MARK).touch()
    folder.rename(stage / "old")
    with pytest.raises(RuntimeError), io.staged_folder(folder, MARK):
        raise RuntimeError
    assert (folder / "text").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


# ---- nothing is removed that is not ours -----------------------------------------------------------------


def file_there(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("precious")


def foreign_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "precious.py").write_text("precious")


def foreign_json(folder: Path) -> None:
    foreign_folder(folder)
    for name in ("tile.json", "zarr.json", ".zattrs", "params.json", "mark.json"):
        (folder / name).write_text('{"tilewidth": 16, "attributes": {"schema": "other"}, "source": "other"}')


def cut_json(folder: Path) -> None:
    foreign_folder(folder)
    for name in ("tile.json", "zarr.json", "mark.json"):
        (folder / name).write_text('{"schema": "uel-radiom')


def link_elsewhere(folder: Path) -> None:
    foreign_folder(folder.parent / "elsewhere")
    own_folder(folder.parent / "elsewhere" / "own")
    folder.symlink_to(folder.parent / "elsewhere" / "own", target_is_directory=True)


OBSTACLES = [file_there, foreign_folder, foreign_json, cut_json, link_elsewhere]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _tile(folder: Path) -> None:
    toy_tile(folder)


def _radio_map(folder: Path) -> None:
    assert folder.name == radio_map_io.FOLDER_NAME
    simulator = FreeSpace(SITES, size=SIZE)
    radio_map_io.save(simulator.radio_map(io_grid()), folder.parent)


def io_grid() -> Any:
    from uel.core.grid import Grid

    return Grid(size=SIZE, pixel=32.0)


def _stage(folder: Path) -> None:
    StageCache(folder.parent).make("thing", "key", lambda out: (out / "a").write_text("a"))


def _removal(folder: Path) -> None:
    remove_own_folder(folder, MARK, "map")


MAKERS = {
    "tile": (_tile, "toy"),
    "radio map": (_radio_map, radio_map_io.FOLDER_NAME),
    "stage": (_stage, f"thing-{digest('key')}"),
    "unfinished stage": (_stage, f"thing-{digest('key')}.part"),
    "removal": (_removal, "map"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize(("make", "name"), MAKERS.values(), ids=MAKERS)
def test_what_is_not_ours_is_kept(
    make: Callable[[Path], None], name: str, obstacle: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "out" / name
    obstacle(folder)
    before = contents(tmp_path / "out")
    with pytest.raises(UelError, match=r"that is not a|is damaged"):
        make(folder)
    after = contents(tmp_path / "out")
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize(("make", "name"), [MAKERS["tile"], MAKERS["radio map"]], ids=["tile", "radio map"])
def test_what_is_ours_is_replaced(make: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    before = contents(tmp_path / name)
    make(tmp_path / name)
    assert contents(tmp_path / name) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


# ---- records that are cut --------------------------------------------------------------------------------

CUTS = ["", "{", '{"key": ', "null", "[]", "{}", '{"key": 1}', '{"seconds": "x", "key": 1}', "[" * 200_000]


@pytest.mark.parametrize("text", CUTS, ids=range(len(CUTS)))
def test_a_damaged_record_of_a_stage_is_told_and_the_stage_is_kept(text: str, tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    folder = cache.make("thing", "key", lambda out: (out / "weights").write_text("precious"))
    (folder / "stage.json").write_text(text)
    with pytest.raises(UelError, match=r"stage is damaged[\s\S]*rm -r"):
        cache.make("thing", "key", lambda out: None)
    assert (folder / "weights").read_text() == "precious"
    cache.make("thing", "another key", lambda out: None)  # others go on beside it


LOGS = {
    "whole": ("step,loss\n0,1\n1,2\n", 2),
    "cut in the last row": ("step,loss\n0,1\n1,", 1),
    "cut in the last number": ("step,loss\n0,1\n1,2", 1),
    "cut in the header": ("step,lo", 0),
    "header alone": ("step,loss\n", 0),
    "empty": ("", 0),
    "nulls of a lost write": ("step,loss\n0,1\n\0\0\0\0\n", 1),
    "a row too short": ("step,loss\n0\n1,2\n", 1),
    "a row too long": ("step,loss\n0,1,9\n1,2\n", 1),
    "no text": ("step,loss\n0,1\n\udcff\udcfe", 1),
    "windows": ("step,loss\r\n0,1\r\n", 1),
}


@pytest.mark.parametrize(("text", "rows"), LOGS.values(), ids=LOGS)
def test_logs_are_read_as_far_as_they_are_whole(text: str, rows: int, tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert len(read_csv_log(file)) == rows


def test_a_log_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_csv_log(tmp_path / "none.csv") == []


# ---- places that cannot be written to --------------------------------------------------------------------

PLACES = {
    "below a file": lambda folder: folder / "file" / "out",
    "far below a file": lambda folder: folder / "file" / "a" / "b" / "out",
    "300 letters": lambda folder: folder / ("x" * 300),
    "below 300 letters": lambda folder: folder / ("x" * 300) / "out",
    "no permission": lambda folder: Path("/proc/uel-out"),
    "below no permission": lambda folder: Path("/proc/uel/out"),
    "loop": lambda folder: folder / "loop" / "out",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("require", [require_writable, require_writable_file])
def test_an_output_that_cannot_be_is_told_before_the_work(
    require: Callable[[Path], None], place: Callable[[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UelError, match="cannot be written"):
        require(place(tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(UelError, match="a folder has its name"):
        require_writable_file(tmp_path)


def test_a_place_that_can_be_is_left_as_it_was(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [28, 122, 30, 13, 1, 27, 20, 21, 36, 2, 40])
def test_a_users_obstacles_are_explained(number: int) -> None:
    assert "a.json" in str(write_fault(OSError(number, os.strerror(number), "a.json")))


@pytest.mark.parametrize("number", [5, 11, 9, 32])
def test_other_errors_of_the_system_are_not(number: int) -> None:
    assert write_fault(OSError(number, os.strerror(number), "a.json")) is None
