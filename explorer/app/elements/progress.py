"""A bar that fills while something is computed."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import streamlit as st

R = TypeVar("R")
FIRST_WAIT_S = 0.4  # what takes less has no bar
POLL_PERIOD_S = 0.15


class Progress:
    """How much of a computation is done; whoever computes adds to it, in any thread."""

    def __init__(self) -> None:
        self._done, self._total = 0, 1
        self._lock = threading.Lock()

    def expect(self, total: int) -> None:
        """Say how much there is to do."""
        self._total = max(total, 1)

    def add(self, amount: int) -> None:
        """Say that more is done."""
        with self._lock:
            self._done += amount

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return min(self._done / self._total, 1.0)


def with_progress(text: str, compute: Callable[[Progress], R]) -> R:
    """What `compute` returns; a bar with `text` shows its progress where that takes longer than a blink.

    It computes in a thread of its own, because Streamlit's cached functions cannot draw on the page that waits.
    """
    progress = Progress()
    with ThreadPoolExecutor(1) as pool:
        result: Future[R] = pool.submit(compute, progress)
        if not _is_done(result, FIRST_WAIT_S):
            bar = st.progress(0.0, text)
            while not _is_done(result, POLL_PERIOD_S):
                bar.progress(progress.fraction, text)
            bar.empty()
    return result.result()


def _is_done(result: Future, seconds: float) -> bool:
    """Whether there is a result, or an error, within a time."""
    try:
        result.exception(timeout=seconds)
    except TimeoutError:
        return False
    return True
