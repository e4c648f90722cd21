"""A small process that ends the processes of an engine, should the one that started them be killed.

Ray's agents, of 100 MB each, stay for a minute or for good when nobody shuts Ray down. All processes of a Ray inherit
its environment, in which a mark tells them from any other. Agents overwrite theirs by a title, and lose their parent in
the same moment as the driver dies, so that they are noted as its descendants before.
"""

import select
import subprocess
import sys
import time
import uuid

import psutil

MARK_VARIABLE = "UEL_ENGINE"
GRACE_SECONDS = 5.0  # in which they may end by themselves
POLL_SECONDS = 0.2
WATCH_SECONDS = 1.0


class OrphanGuard:
    """Ends all processes that were started with its `mark` in their environment, when this process closes it or ends.

    Example:
        >>> import os, subprocess, sys
        >>> guard = OrphanGuard()
        >>> command, environment = [sys.executable, "-c", "input()"], os.environ | guard.mark
        >>> orphan = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        >>> guard.close(grace=0.0)
        >>> orphan.wait() < 0
        True
    """

    def __init__(self) -> None:
        self.mark = {MARK_VARIABLE: uuid.uuid4().hex}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sim_bridge.engines.orphan_guard", self.mark[MARK_VARIABLE]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def close(self, grace: float = GRACE_SECONDS) -> None:
        """End what is left after `grace` seconds, and the guard itself."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{grace}\n".encode())
        self._process.stdin.close()
        self._process.wait()


def main(mark: str) -> None:
    """Remember the marked processes until the other end of the pipe is closed, then end them."""
    seen = set[psutil.Process]()
    while not select.select([sys.stdin], [], [], WATCH_SECONDS)[0]:
        seen.update(marked_processes(mark))
    line = sys.stdin.readline()  # empty where the other process was killed
    until = time.monotonic() + float(line or GRACE_SECONDS)
    while True:
        seen.update(marked_processes(mark))
        orphans = [process for process in seen if is_alive(process)]
        if not orphans or time.monotonic() >= until:
            break
        time.sleep(POLL_SECONDS)
    for process in orphans:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def marked_processes(mark: str) -> list[psutil.Process]:
    """Processes that inherited a mark, and their descendants; of other users nothing can be read."""
    found = set[psutil.Process]()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK_VARIABLE) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.update([process, *process.children(recursive=True)])
        except (psutil.Error, OSError):
            continue
    return list(found)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; not one that has ended and waits for its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
