"""Two at once: one waits and says for whom, or both succeed; a killed holder holds nothing."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.toy_city import SITES, SIZE, toy_tile
from uel.core.files.locks import folder_lock
from uel.core.grid import Grid
from uel.radio import radio_map_io
from uel.radio.simulator import FreeSpace

HOLDER = """
import sys
from pathlib import Path
from uel.core.files.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of a folder until a line is written to it."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
    finally:
        other.kill()
        other.communicate()


def wait_for_lock(folder: Path) -> threading.Thread:
    def take() -> None:
        with folder_lock(folder):
            pass

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return thread


def test_who_waits_says_for_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "run"
    with holder(folder) as other:
        thread = wait_for_lock(folder)
        thread.join(1.0)
        assert thread.is_alive()
        assert len(caplog.messages) == 1
        assert f"waiting for {folder}: process {other.pid} on " in caplog.messages[0]
        assert str(folder) in caplog.messages[0].split("(")[1], "the command that holds it"
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        thread.join(30.0)
        assert not thread.is_alive()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        thread = wait_for_lock(tmp_path / "run")
        thread.join(30.0)
        assert not thread.is_alive()


@pytest.mark.parametrize("text", ["", "{", "null", '{"pid": 1}', "[" * 10_000])
def test_a_lock_holds_whatever_is_written_beside_it(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with holder(tmp_path / "run"):
        (tmp_path / ".run.holder").write_text(text)
        thread = wait_for_lock(tmp_path / "run")
        thread.join(0.5)
        assert thread.is_alive()
        assert caplog.messages == [f"waiting for {tmp_path / 'run'}: another process has it"]
    thread.join(30.0)


def test_a_process_may_ask_twice(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "run"), folder_lock(tmp_path / "run"):
        assert wait_for_lock(tmp_path / "run").is_alive()


@pytest.mark.parametrize("what", ["radio map", "tile"])
def test_two_writers_of_one_folder_both_succeed(what: str, tmp_path: Path) -> None:
    """Ten each; the last one wins."""
    radio = FreeSpace(SITES, size=SIZE).radio_map(Grid(size=SIZE, pixel=32.0))
    errors = list[BaseException]()

    def write() -> None:
        try:
            for _ in range(10):
                radio_map_io.save(radio, tmp_path) if what == "radio map" else toy_tile(tmp_path / "toy")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(tmp_path.iterdir())) == 1, "nothing is left beside it"
