"""Job scripts run what was asked for and nothing else, whatever the folders are called."""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from sim_bridge.engines.slurm import script_path, slurm_pattern, write_script
from uel.errors import UelError

ODD_NAMES = {
    "plain": "survey",
    "space": "my survey",
    "percent": "50%a%j",
    "quote": "it's",
    "double quote": 'say "a"',
    "dollar": "$(touch evil)",
    "backtick": "`touch evil`",
    "semicolon": "a;touch evil",
    "and": "a && touch evil",
    "redirection": "a > evil",
    "hash": "a #b",
    "star": "*",
    "brace": "{a,b}",
    "option": "-rf",
    "tilde": "~",
    "unicode": "Zürich 市",
}
REFUSED_NAMES = {
    "newline": "a\ntouch evil\n#",
    "carriage return": "a\rtouch evil",
    "tab": "a\tb",
    "escape": "a\x1b[31m",
    "backslash": "a\\b",
    "vertical tab": "a\x0btouch evil",
    "line separator": "a\u2028touch evil",
    "next line": "a\x85touch evil",
}
RECORDING_PYTHON = """#!/bin/sh
printf '%s\\n' "$PWD" "$UEL_DATA" "$@"
"""


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of Python that prints where and how it is called."""
    program = tmp_path / "recorder"
    program.write_text(RECORDING_PYTHON)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("sys.executable", str(program))
    return program


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_task_runs_its_units_in_its_folder(
    name: str, recorder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, work = tmp_path / name / "out", tmp_path / name
    folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("UEL_DATA", str(work / "data"))
    script = write_script(folder, "survey", range(3, 9), workers=2, threads=1)
    assert script == script_path(folder, "survey")
    done = subprocess.run(
        ["bash", str(script)], capture_output=True, text=True, env=os.environ | {"SLURM_ARRAY_TASK_ID": "1"}, timeout=30
    )
    where, data, *arguments = done.stdout.splitlines()
    assert (where, data) == (str(work), str(work / "data"))
    assert arguments == ["-m", "uel.cli", "survey", "--config", str(folder / "config.yaml"), "--unit", "4"]
    assert not list(tmp_path.rglob("evil")), done.stderr


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_slurm_reads_the_path_of_the_log_as_it_is(name: str, tmp_path: Path) -> None:
    """`sbatch` splits a line like a shell, and its file names have patterns in which %% is a percent sign."""
    folder = tmp_path / name
    (word,) = shlex.split(slurm_pattern(folder), comments=True)
    assert re.sub(r"%(.)", lambda sign: "%" if sign[1] == "%" else "?", word) == str(folder)


@pytest.mark.parametrize("name", REFUSED_NAMES.values(), ids=REFUSED_NAMES)
@pytest.mark.parametrize("where", ["folder", "data"])
def test_a_path_that_ends_a_line_is_refused(
    name: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UEL_DATA", str(tmp_path / (name if where == "data" else "data")))
    folder = tmp_path / (name if where == "folder" else "out")
    with pytest.raises(UelError, match="a job script cannot name this path") as refusal:
        write_script(folder, "survey", range(4), workers=2, threads=1)
    assert "\n  do:" in str(refusal.value)
    assert not list(tmp_path.rglob("*.sbatch"))
