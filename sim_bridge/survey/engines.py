"""Many units of work on one machine or several: the same function for each, in whatever process.

An engine only decides where a unit is made. `work` says how a process begins (`WorkerFactory`), which gives a function
that is called with the number of one unit after another. Units are independent and name their own results, so nothing
but a few numbers comes back.
"""

import concurrent.futures as futures
import multiprocessing
import os
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Protocol, runtime_checkable

from uel.errors import UelError

MAX_ATTEMPTS = 3  # a unit that fails so often is reported, and the others go on


@dataclass(frozen=True)
class UnitDone:
    """A unit that was made."""

    number: int
    reports: int
    links: int


@dataclass(frozen=True)
class UnitFailure:
    """A unit that was not made, and why."""

    number: int
    text: str
    """a traceback, or how the process ended"""
    final: bool = False
    """asking again would not help: a user's mistake, a full disk"""


UnitOutcome = UnitDone | UnitFailure


@runtime_checkable
class WorkerFactory(Protocol):
    """How a process begins. It is pickled."""

    def start(self, threads: int | None) -> Callable[[int], UnitDone]: ...


@runtime_checkable
class Engine(Protocol):
    """Workers that make one unit each at a time."""

    workers: int

    def give(self, worker: int, number: int) -> None:
        """Let an idle worker make a unit."""
        ...

    def take(self) -> tuple[int, UnitOutcome]:
        """Wait for a worker that is finished, or whose process has died, which is replaced."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


def run_units(engine: Engine, numbers: Sequence[int]) -> Iterator[UnitOutcome]:
    """Make units, in any order; yields what became of each. Closes the engine in the end.

    A unit that fails, or whose process dies, is made again, `MAX_ATTEMPTS` times in all. Raises `UelError` for what no
    further attempt can mend; units that are done stay done.
    """
    waiting, failed, busy = deque(numbers), Counter[int](), 0
    idle = list(range(engine.workers))
    try:
        while waiting or busy:
            while waiting and idle:
                engine.give(idle.pop(), waiting.popleft())
                busy += 1
            worker, outcome = engine.take()
            idle.append(worker)
            busy -= 1
            if isinstance(outcome, UnitFailure):
                if outcome.final:
                    raise UelError(outcome.text)
                failed[outcome.number] += 1
                if failed[outcome.number] < MAX_ATTEMPTS:
                    waiting.append(outcome.number)
                    continue
            yield outcome
    finally:
        engine.close()


class WorkerHandle:
    """Makes units in one process: the same in all engines. It begins with its first unit, so that errors are told."""

    def __init__(self, work: WorkerFactory, threads: int | None) -> None:
        self._work, self._threads = work, threads
        self._make: Callable[[int], UnitDone] | None = None

    def make(self, number: int) -> UnitOutcome:
        """Make a unit; what goes wrong is told, not raised."""
        try:
            self._make = self._make or self._work.start(self._threads)
            return self._make(number)
        except UelError as error:
            return UnitFailure(number, str(error), final=True)
        except Exception:
            return UnitFailure(number, traceback.format_exc())


class LocalEngine:
    """In this process."""

    workers = 1

    def __init__(self, work: WorkerFactory) -> None:
        self._hand, self._number = WorkerHandle(work, None), 0

    def give(self, worker: int, number: int) -> None:
        self._number = number

    def take(self) -> tuple[int, UnitOutcome]:
        return 0, self._hand.make(self._number)

    def close(self) -> None:
        pass


class ProcessEngine:
    """Processes on this machine. Each is a pool of its own: when it dies, it is known which unit it was making.

    Each uses `threads`, and `gpus` of this machine (two share one at 0.5; at 0 they see what this process sees).
    """

    def __init__(self, work: WorkerFactory, workers: int, threads: int, gpus: float = 0.0) -> None:
        self.workers, self._work, self._threads, self._gpus = workers, work, threads, gpus
        self._context = multiprocessing.get_context("spawn")  # Dr.Jit does not survive a fork
        self._ours, self._theirs = self._context.Pipe(duplex=False)[::-1]
        self._pools = [self._pool(worker) for worker in range(workers)]
        self._pending: dict[futures.Future[UnitOutcome], tuple[int, int]] = {}

    def _pool(self, worker: int) -> futures.ProcessPoolExecutor:
        devices = gpus_of(worker, self._gpus)
        return futures.ProcessPoolExecutor(
            1, self._context, initializer=_begin, initargs=(self._work, self._threads, devices, self._theirs)
        )

    def give(self, worker: int, number: int) -> None:
        try:
            future = self._pools[worker].submit(_make, number)
        except BrokenProcessPool:  # it died with nothing to do
            self._pools[worker] = self._pool(worker)
            future = self._pools[worker].submit(_make, number)
        self._pending[future] = worker, number

    def take(self) -> tuple[int, UnitOutcome]:
        future = next(iter(futures.wait(self._pending, return_when=futures.FIRST_COMPLETED).done))
        worker, number = self._pending.pop(future)
        try:
            return worker, future.result()
        except BrokenProcessPool as error:
            self._pools[worker] = self._pool(worker)
            return worker, UnitFailure(number, f"its process died: {error}")

    def close(self) -> None:
        if self._pending:
            self._ours.close()  # whoever is busy need not finish
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        self._ours.close()
        self._theirs.close()


def gpus_of(worker: int, gpus: float) -> str | None:
    """CUDA_VISIBLE_DEVICES of a worker that is to have so many; None leaves it as it is."""
    if not gpus:
        return None
    first = int(worker * gpus + 1e-9)
    return ",".join(str(first + i) for i in range(max(1, round(gpus))))


_hand: WorkerHandle | None = None  # of a worker process


def _begin(work: WorkerFactory, threads: int, devices: str | None, theirs: Connection) -> None:
    """In a new process, before CUDA is touched."""
    global _hand
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    threading.Thread(target=_follow, args=(theirs,), daemon=True).start()
    _hand = WorkerHandle(work, threads)


def _make(number: int) -> UnitOutcome:
    assert _hand is not None, "a pool's processes begin with _begin"
    return _hand.make(number)


def _follow(theirs: Connection) -> None:
    """End when the other end of the pipe is closed: by `ProcessEngine.close`, or because that process has died."""
    wait([theirs])
    os._exit(1)
