"""Being stopped by a signal: SIGTERM of Slurm, systemd or `kill` ends a verb like Ctrl-C, with everything closed.

An exception in the middle of an import leaves modules half made, and some libraries swallow it there. A signal that
comes while a module is imported is therefore obeyed as soon as the import is done.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

RETRY_INTERVAL = 0.1  # s, between looks whether an import is done
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


class _Received:
    """The signal that has come, as long as nobody has dealt with it."""

    number: int | None = None


def received_signal() -> int | None:
    """The number of the stop signal that came in the innermost block of `terminable`; None without one.

    Libraries turn the exception of a signal into others (`SystemExit`, `NameError`); this tells what they mean.
    """
    return _Received.number


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGINT raises `KeyboardInterrupt` and SIGTERM `Terminated`, but not in the middle of an import.

    The handlers of before come back. Only the main thread can do so, in others the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGALRM)}
    _Received.number = None
    for number in STOP_SIGNALS:
        signal.signal(number, _obey)
    signal.signal(signal.SIGALRM, _obey_later)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in former.items():
            signal.signal(number, handler)


def _obey(number: int, frame: FrameType | None) -> None:
    if _Received.number is not None and _is_importing(frame):
        os._exit(128 + number)  # asked again: nothing but imports is under way
    _Received.number = number
    _obey_later(signal.SIGALRM, frame)


def _obey_later(_: int, frame: FrameType | None) -> None:
    """Raise the exception of the signal that has come, or look again later while a module is imported."""
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, RETRY_INTERVAL)
        return
    raise Terminated if _Received.number == signal.SIGTERM else KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
