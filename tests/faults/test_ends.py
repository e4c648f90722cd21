"""Ends: signals, full disks, places without permission: a message, its code, and the command that goes on."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from scenes.tiles.writer import write_sites
from sim_bridge.engines.orphan_guard import MARK_VARIABLE, OrphanGuard, marked_processes
from tests.conftest import ROOT
from tests.helpers.toy_city import SITES, toy_tile
from uel import cli

SIGNALS = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}

# ---- what a verb may be doing when a signal comes --------------------------------------------------------

VERB = """
import os, signal, sys, time
from uel import cli
{helpers}
def act(args):
    {body}
cli.VERBS["act"] = act
sys.exit(cli.main(["act", "--seed", "3"]))
"""
SLOW_MODULE = """
import time
{how}
done = True
"""
SLEEPS = "print('begun', flush=True)\n{indent}time.sleep(0.6)\n{indent}print('slept', flush=True)"
MODULES = {
    "plain": SLEEPS.format(indent=""),
    "that swallows": "try:\n    " + SLEEPS.format(indent="    ") + "\nexcept BaseException:\n    pass\n",
    "that swallows and fails": "try:\n    "
    + SLEEPS.format(indent="    ")
    + "\n    made = 1\nexcept BaseException:\n    pass\nmade\n",
}
BODIES = {
    "work": "print('begun', flush=True); time.sleep(30)",
    "work that ends with code 0": "print('begun', flush=True)\n    try:\n        time.sleep(30)\n"
    "    except KeyboardInterrupt:\n        sys.exit(0)",
    "work that ends with code 1": "print('begun', flush=True)\n    try:\n        time.sleep(30)\n"
    "    except KeyboardInterrupt:\n        sys.exit(1)",
    "work that fails then": "print('begun', flush=True)\n    try:\n        time.sleep(30)\n"
    "    except BaseException:\n        raise NameError('_drjit_ext')",
    "work that is refused then": "print('begun', flush=True)\n    try:\n        time.sleep(30)\n"
    "    except BaseException:\n        raise cli.UelError('no such thing')",
    "a wait for another process": "import subprocess\n    print('begun', flush=True)\n"
    "    subprocess.run(['sleep', '30'])",
}


def signalled(script: str, number: int, folder: Path) -> tuple[int, str]:
    """Exit code and stderr of a script that gets a signal when it says that it has begun."""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert asked.stdout is not None
    assert asked.stdout.readline() == "begun\n"
    asked.send_signal(number)
    _, said = asked.communicate(timeout=120)
    return asked.returncode, said


def assert_stopped(code: int, said: str, expected: int) -> None:
    assert code == expected, said
    assert "Traceback" not in said
    assert said.endswith("the same command goes on from there:\n  uel act --seed 3\n")


@pytest.mark.parametrize(("number", "code"), SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_signal_during_work(body: str, number: int, code: int, tmp_path: Path) -> None:
    assert_stopped(*signalled(VERB.format(helpers="", body=body), number, tmp_path), code)


@pytest.mark.parametrize(("number", "code"), SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_a_signal_during_an_import(module: str, number: int, code: int, tmp_path: Path) -> None:
    """It is obeyed when the import is done: half a module is left in no process."""
    (tmp_path / "slow_module.py").write_text(SLOW_MODULE.format(how=module))
    body = "import slow_module\n    assert slow_module.done\n    time.sleep(30)"
    assert_stopped(*signalled(VERB.format(helpers="", body=body), number, tmp_path), code)


def test_who_asks_twice_does_not_wait_for_the_import(tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    script = VERB.format(helpers="", body="import slow_module")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    asked = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert asked.stdout is not None
    assert asked.stdout.readline() == "begun\n"
    asked.send_signal(signal.SIGINT)
    time.sleep(0.3)
    asked.send_signal(signal.SIGINT)
    asked.communicate(timeout=30)
    assert asked.returncode == 130


PROCESSES = """
import sys
from pathlib import Path
from sim_bridge.engines.processes import ProcessEngine
from sim_bridge.engines.units import run_units
from tests.helpers.scripted_work import Script
from uel import cli

def act(args):
    engine = ProcessEngine(Script(Path(sys.argv[1]), "sleeps"), 2, 1)
    for outcome in run_units(engine, range(8)):
        print("begun", flush=True)
    return 0

if __name__ == "__main__":
    cli.VERBS["act"] = act
    sys.exit(cli.main(["act", "--seed", "3"]))
"""


@pytest.mark.parametrize(("number", "code"), SIGNALS.values(), ids=SIGNALS)
def test_a_signal_to_all_processes_of_a_terminal_is_told_once(number: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(PROCESSES)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path)]
    asked = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert asked.stdout is not None
    assert asked.stdout.readline() == "begun\n"
    children = psutil.Process(asked.pid).children(recursive=True)
    os.killpg(asked.pid, number)
    _, said = asked.communicate(timeout=60)
    assert_stopped(asked.returncode, said, code)
    assert not psutil.wait_procs(children, timeout=10)[1]


# ---- obstacles of the system -----------------------------------------------------------------------------


def verb_that_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    def act(args: object) -> int:
        raise error

    monkeypatch.setitem(cli.VERBS, "act", act)
    return lambda: cli.main(["act"])


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EFBIG", "ENOTDIR", "EISDIR", "ENAMETOOLONG"])
def test_an_obstacle_of_the_system_is_a_message(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(errno, name)
    call = verb_that_raises(OSError(number, os.strerror(number), "runs/demo/metrics.json"), monkeypatch)
    assert call() == 2
    said = capsys.readouterr().err
    assert "runs/demo/metrics.json" in said
    assert os.strerror(number) in said
    assert "  do:  " in said


def test_a_fault_of_the_program_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="Input/output"):
        verb_that_raises(OSError(errno.EIO, "Input/output error", "disk"), monkeypatch)()
    with pytest.raises(RuntimeError):
        verb_that_raises(RuntimeError("a fault"), monkeypatch)()


def placed_tile(folder: Path) -> Path:
    """A tile of a toy city with sites."""
    return write_sites(toy_tile(folder), SITES).folder


def uel(*arguments: str | Path, folder: Path, limit: int | None = None, timeout: float = 300.0) -> tuple[int, str]:
    """Exit code and stderr of a command in a folder, whose files may have `limit` bytes."""
    command = [sys.executable, "-m", "uel.cli", *map(str, arguments)]
    limited = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "UEL_DATA": str(folder / "data")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, preexec_fn=limited
    )
    return done.returncode, done.stderr


FREE_SPACE_MAP = ("map", "tile", "--tracing.backend", "free-space", "--pixel", "8", "--check", "20")
FREE_SPACE_SURVEY = (
    "survey", "tile", "--tracing.backend", "free-space", "--measure.layers", "rt", "--tracks", "8", "--reports", "2",
    "--unit-tracks", "4",
)  # fmt: skip


@pytest.mark.slow  # 12 s each: a process that imports everything
@pytest.mark.parametrize("command", [FREE_SPACE_MAP, FREE_SPACE_SURVEY], ids=["map", "survey"])
def test_a_full_disk_is_a_message_and_the_command_goes_on(command: tuple[str, ...], tmp_path: Path) -> None:
    """A limit of 2 kB a file, as a full disk has of 0."""
    placed_tile(tmp_path / "tile")
    code, said = uel(*command, folder=tmp_path, limit=2048)
    assert code == 2, said
    assert "Traceback" not in said
    assert "cannot be" in said
    assert not list(tmp_path.rglob("*.part")), "what was written in part is gone"
    assert uel(*command, folder=tmp_path)[0] == 0


@pytest.mark.slow  # 6 s each
@pytest.mark.parametrize("command", [FREE_SPACE_MAP, FREE_SPACE_SURVEY], ids=["map", "survey"])
def test_an_output_that_cannot_be_is_refused_before_the_work(command: tuple[str, ...], tmp_path: Path) -> None:
    placed_tile(tmp_path / "tile")
    (tmp_path / "file").write_text("a file")
    code, said = uel(*command, "--out", "file/out", folder=tmp_path)
    assert code == 2
    assert "the output cannot be written" in said
    assert "making" not in said


# ---- orphans ---------------------------------------------------------------------------------------------


def marked_sleeper(guard_mark: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], env=os.environ | guard_mark)


def test_the_guard_ends_what_has_its_mark_and_nothing_else() -> None:
    guard = OrphanGuard()
    own, other = marked_sleeper(guard.mark), marked_sleeper({MARK_VARIABLE: "other"})
    try:
        guard.close(grace=0.0)
        assert own.wait(timeout=10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_ends_by_itself_is_not_killed() -> None:
    guard = OrphanGuard()
    own = subprocess.Popen(["sleep", "0.5"], env=os.environ | guard.mark)
    guard.close(grace=30.0)
    assert own.wait(timeout=10) == 0


KILLED_DRIVER = """
import os, signal, subprocess
from sim_bridge.engines import orphan_guard
orphan_guard.GRACE_SECONDS = 0.0
guard = orphan_guard.OrphanGuard()
subprocess.Popen(["sleep", "60"], env=os.environ | guard.mark)
print(guard.mark[orphan_guard.MARK_VARIABLE], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not is_true() and time.monotonic() < until:
        time.sleep(0.2)
    return is_true()


def test_the_guard_outlives_a_killed_driver() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_DRIVER], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert wait_until(lambda: not marked_processes(done.stdout.strip()), 30.0)


RAY_DRIVER = """
import json, os, signal, sys
import psutil
from pathlib import Path
from sim_bridge.engines.ray_cluster import RayEngine
from tests.helpers.scripted_work import Script
handler = lambda *_: None
signal.signal(signal.SIGTERM, handler)
engine = RayEngine(Script(Path(sys.argv[1]), "plain"), 1, 1)
engine.submit(0, 0)
engine.next_outcome()
assert signal.getsignal(signal.SIGTERM) is handler, "Ray's own handler ends the program without a word"
me = psutil.Process()
listening = [
    connection.laddr.ip
    for process in (me, *me.children(recursive=True))
    for connection in process.net_connections("inet")
    if connection.status == psutil.CONN_LISTEN
]
children = [process.pid for process in me.children(recursive=True)]
print(json.dumps({"listening": listening, "children": children}), flush=True)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
engine.close()
"""


@pytest.mark.slow  # 25 s each: Ray starts
@pytest.mark.parametrize("end", ["kill", "close"])
def test_ray_listens_here_alone_and_leaves_nothing(end: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RAY_DRIVER, str(tmp_path), end]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, timeout=300)
    told = json.loads(done.stdout)
    assert told["listening"]
    assert {address.removeprefix("::ffff:") for address in told["listening"]} <= {"127.0.0.1", "::1"}
    assert wait_until(lambda: not any(map(psutil.pid_exists, told["children"])), 30.0)
