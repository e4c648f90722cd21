"""Locks on folders between processes, which say who holds them."""

import contextlib
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from uel.core.durations import duration_text
from uel.core.io import replace_file
from uel.core.outside.json_text import read_json_object

log = logging.getLogger(__name__)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder between processes; where another has it, say who, and wait.

    The lock is the file `.NAME.lock` beside the folder, which stays; the operating system releases it when a process
    ends, however it ends. A process that has it may ask for it again. Raises `OSError` as the system does.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), is_singleton=True)
    holder_file = folder.with_name(f".{folder.name}.holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for %s: %s", folder, _holder_text(holder_file))
        lock.acquire()
    try:
        _write_holder(holder_file)
        yield
    finally:
        if lock.lock_counter == 1:  # not in another block of this process
            with contextlib.suppress(OSError):
                holder_file.unlink(missing_ok=True)
        lock.release()


def _write_holder(file: Path) -> None:
    """Who holds a lock, for others to read; a lock holds without it, too."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": command_line(), "since": time.time()}
    with contextlib.suppress(OSError):
        replace_file(file, json.dumps(holder).encode())


def _holder_text(file: Path) -> str:
    """What a holder is doing, in words."""
    try:
        holder = read_json_object(file)
        since = duration_text(time.time() - float(holder["since"]))
        return f"process {holder['pid']} on {holder['host']} has had it for {since} ({holder['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process has it"


def command_line() -> str:
    """The command of this process as one can type it."""
    name = Path(sys.argv[0]).name if sys.argv else "python"
    program = "uel" if name in ("uel", "cli.py", "__main__.py") else name
    return shlex.join([program, *sys.argv[1:]])
