"""Being stopped by a signal: SIGTERM of Slurm, systemd or `kill` ends a verb like Ctrl-C, with everything closed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`; the handler of before comes back. Only the main thread can do so,
    in others the block changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _raise_terminated(number: int, frame: object) -> None:
    raise Terminated
