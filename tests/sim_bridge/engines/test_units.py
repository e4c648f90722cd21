"""Engines: the same bytes whoever makes the units, however often they are killed, and no unit is lost."""

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sim_bridge.engines.processes import ProcessEngine, gpus_of
from sim_bridge.engines.ray_cluster import RayEngine
from sim_bridge.engines.units import LocalEngine, UnitFailure, UnitOutcome, run_units
from sim_bridge.survey.worker import SurveyJob
from tests.conftest import ROOT
from tests.helpers.scripted_work import Script
from tests.helpers.surveys import content, dying, made, toy_work
from uel.errors import UelError
from uel.survey.dataset import Survey

UNITS = range(5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an uninterrupted run leaves."""
    return content(made(tmp_path_factory.mktemp("whole") / "survey").folder)


def crew(engine: str, work: SurveyJob):
    return (
        LocalEngine(work) if engine == "local" else (ProcessEngine if engine == "processes" else RayEngine)(work, 2, 1)
    )


def finished(folder: Path, engine: str) -> list[UnitOutcome]:
    """Make what is left."""
    work = toy_work(folder)
    work.prepare()
    return list(run_units(crew(engine, work), [unit.number for unit in Survey.open(folder).unfinished_units()]))


# ---- a process that is killed, and the units of it ---------------------------------------------------------


def killed(folder: Path, engine: str, records: int) -> None:
    """Begin a survey of slow units and kill the process, without mercy, once so many are done."""
    command = [sys.executable, "-m", "tests.helpers.surveys", engine, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("units/*.json"))) < records and process.poll() is None:
        assert time.monotonic() < deadline, "the units were never made"
        time.sleep(0.01)
    process.kill()
    _, message = process.communicate()
    assert process.returncode == -signal.SIGKILL, message


QUICK = ["local", "processes"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [*QUICK, "ray"])
def test_killed_twice_the_bytes_are_the_same(tmp_path: Path, whole: dict[str, str], engine: str) -> None:
    folder = tmp_path / "survey"
    killed(folder, engine, 1)
    killed(folder, engine, 3)
    left = Survey.open(folder).unfinished_units()
    assert 0 < len(left) < len(UNITS)
    assert len(finished(folder, "local")) == len(left)
    assert content(folder) == whole
    assert not Survey.open(folder).verify()
    assert not [path for path in folder.rglob("*.part") if path.is_dir()]


@pytest.mark.slow
def test_an_orphan_ends_with_its_parent(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    folder = tmp_path / "survey"
    command = [sys.executable, "-m", "tests.helpers.surveys", "processes", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not list(folder.glob("units/*.json")):
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


# ---- a worker that dies, a unit that fails -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=pytest.mark.slow)])  # 20 s: Ray starts
def test_a_dead_workers_unit_is_made_again_and_a_failing_one_is_told(tmp_path: Path, whole, engine: str) -> None:
    folder = tmp_path / "survey"
    work = toy_work(folder, opened=dying)
    work.prepare()
    outcomes = {outcome.number: outcome for outcome in run_units(crew(engine, work), UNITS)}
    assert (folder / ".died").exists()
    assert sorted(outcomes) == list(UNITS)
    assert [n for n, outcome in outcomes.items() if isinstance(outcome, UnitFailure)] == [2]
    assert "no light at the end" in outcomes[2].text
    assert "Traceback" in outcomes[2].text
    assert [unit.number for unit in Survey.open(folder).unfinished_units()] == [2]
    assert len(finished(folder, "local")) == 1
    assert content(folder) == whole


@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=pytest.mark.slow)])  # 20 s: Ray starts
def test_a_dead_worker_is_replaced(tmp_path: Path, engine: str) -> None:
    script = Script(tmp_path, "dies once")
    outcomes = list(run_units(crew(engine, script), range(4)))
    assert sorted(outcome.number for outcome in outcomes) == [0, 1, 2, 3]
    assert not [outcome for outcome in outcomes if isinstance(outcome, UnitFailure)]
    assert [script.asked(number) for number in range(4)] == [1, 2, 1, 1]


@pytest.mark.parametrize("engine", QUICK)
def test_a_unit_gets_three_attempts(tmp_path: Path, engine: str) -> None:
    once = Script(tmp_path, "fails once")
    assert sorted(outcome.number for outcome in run_units(crew(engine, once), range(3))) == [0, 1, 2]
    assert [once.asked(number) for number in range(3)] == [2, 2, 2]
    outcomes = list(run_units(crew(engine, Script(tmp_path, "broken")), range(2)))
    assert all(isinstance(outcome, UnitFailure) and "cannot begin" in outcome.text for outcome in outcomes)


def test_a_unit_that_kills_every_process_is_told_after_three(tmp_path: Path) -> None:
    script = Script(tmp_path, "always dies")
    (outcome,) = run_units(ProcessEngine(script, 1, 1), [4])
    assert isinstance(outcome, UnitFailure)
    assert "process died" in outcome.text
    assert script.asked(4) == 3


@pytest.mark.parametrize("engine", QUICK)
def test_a_users_mistake_ends_the_run_at_once(tmp_path: Path, engine: str) -> None:
    script = Script(tmp_path, "refused")
    with pytest.raises(UelError, match="the disk is full"):
        list(run_units(crew(engine, script), range(50)))
    assert Counter(line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()).total() < 5


def test_each_worker_sees_its_own_gpus(tmp_path: Path) -> None:
    assert [gpus_of(worker, 1.0, None) for worker in range(3)] == ["0", "1", "2"]
    assert [gpus_of(worker, 0.5, "") for worker in range(4)] == ["0", "0", "1", "1"]
    assert [gpus_of(worker, 2.0, None) for worker in range(2)] == ["0,1", "2,3"]
    assert [gpus_of(worker, 1.0, "4,GPU-7f") for worker in range(3)] == ["4", "GPU-7f", "4"]
    assert gpus_of(3, 0.0, None) is None
    list(run_units(ProcessEngine(Script(tmp_path, "works"), 2, 1, gpus=1.0), range(2)))
    assert sorted(line.split()[1] for line in (tmp_path / "asked").read_text().splitlines()) == ["0", "1"]


# ---- bytes that are not what was written -------------------------------------------------------------------


def test_a_flipped_byte_is_found_and_its_unit_alone_is_made_again(tmp_path: Path, whole: dict[str, str]) -> None:
    folder = tmp_path / "survey"
    survey = made(folder)
    shard = folder / "toy.zarr" / "gain_db" / "c" / "3" / "0" / "0"
    before = shard.read_bytes()
    shard.write_bytes(before[:20] + bytes([before[20] ^ 1]) + before[21:])
    assert not survey.unfinished_units()  # its size is right
    wrong = survey.verify()
    assert wrong == {"toy-3": ["toy.zarr/gain_db/c/3/0/0"]}
    survey.discard(wrong)
    times = {path.name: path.stat().st_mtime_ns for path in (folder / "units").iterdir()}
    assert [outcome.number for outcome in finished(folder, "local")] == [3]
    assert content(folder) == whole
    assert all((folder / "units" / name).stat().st_mtime_ns == at for name, at in times.items())


def test_a_lost_shard_is_noticed_without_reading(tmp_path: Path) -> None:
    survey = made(tmp_path / "survey")
    (tmp_path / "survey" / "toy.zarr" / "los" / "c" / "0" / "0" / "0").unlink()
    assert [unit.name for unit in survey.unfinished_units()] == ["toy-0"]
    (tmp_path / "survey" / "units" / "toy-1.json").write_text('{"unit": "to')
    assert [unit.name for unit in survey.unfinished_units()] == ["toy-0", "toy-1"]


def test_a_full_disk_is_told_and_what_is_done_is_kept(tmp_path: Path, whole: dict[str, str]) -> None:
    """A real one: a file system of half a megabyte in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.decode().strip()}")
    try:
        work = replace(toy_work(tmp_path / "survey"), folder=disk / "survey")
        work.prepare()
        with pytest.raises(UelError, match=r"cannot be written[\s\S]*No space left[\s\S]*same command goes on"):
            list(run_units(LocalEngine(work), UNITS))
        left = Survey.open(disk / "survey").unfinished_units()
        assert 0 < len(left) < len(UNITS)
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        list(run_units(LocalEngine(work), [unit.number for unit in left]))
        assert content(disk / "survey") == whole
        assert not list((disk / "survey").rglob("*.part"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UelError, match=r"cannot be written[\s\S]*check the path"):
        replace(toy_work(tmp_path / "survey"), folder=tmp_path / "file" / "survey").prepare()
