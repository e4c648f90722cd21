"""Many units of work on one machine or several: the same function for each, in whatever process.

An engine only decides where a unit is made. A `WorkerFactory` starts each process with a function
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
    """another attempt would not help: a user's mistake, a full disk"""


UnitOutcome = UnitDone | UnitFailure


@runtime_checkable
class WorkerFactory(Protocol):
    """Starts the work of a process. It is pickled."""

    def start(self, threads: int | None) -> Callable[[int], UnitDone]: ...


@runtime_checkable
class Engine(Protocol):
    """Workers that make one unit each at a time."""

    workers: int

    def submit(self, worker: int, number: int) -> None:
        """Let an idle worker make a unit."""
        ...

    def next_outcome(self) -> tuple[int, UnitOutcome]:
        """Wait for a worker that is finished, or whose process has died, which is replaced."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


def run_units(engine: Engine, numbers: Sequence[int]) -> Iterator[UnitOutcome]:
    """Make units, in any order; yields the outcome of each. Closes the engine in the end.

    A unit that fails, or whose process dies, is made again, `MAX_ATTEMPTS` times in all. Raises `UelError` for failures
    that no further attempt can correct; units that are done stay done.
    """
    waiting, failures, busy = deque(numbers), Counter[int](), 0
    idle = list(range(engine.workers))
    try:
        while waiting or busy:
            while waiting and idle:
                engine.submit(idle.pop(), waiting.popleft())
                busy += 1
            worker, outcome = engine.next_outcome()
            idle.append(worker)
            busy -= 1
            if isinstance(outcome, UnitFailure):
                if outcome.final:
                    raise UelError(f"unit {outcome.number} cannot be made: {outcome.text}")
                failures[outcome.number] += 1
                if failures[outcome.number] < MAX_ATTEMPTS:
                    waiting.append(outcome.number)
                    continue
            yield outcome
    finally:
        engine.close()


class WorkerHandle:
    """Makes units in one process: the same in all engines. It starts with its first unit, so that errors become
    outcomes."""

    def __init__(self, factory: WorkerFactory, threads: int | None) -> None:
        self._factory, self._threads = factory, threads
        self._make: Callable[[int], UnitDone] | None = None

    def make(self, number: int) -> UnitOutcome:
        """Make a unit; an error becomes a `UnitFailure` instead of being raised."""
        try:
            self._make = self._make or self._factory.start(self._threads)
            return self._make(number)
        except UelError as error:
            return UnitFailure(number, str(error), final=True)
        except Exception:
            return UnitFailure(number, traceback.format_exc())


class LocalEngine:
    """In this process."""

    workers = 1

    def __init__(self, factory: WorkerFactory) -> None:
        self._worker, self._number = WorkerHandle(factory, None), 0

    def submit(self, worker: int, number: int) -> None:
        self._number = number

    def next_outcome(self) -> tuple[int, UnitOutcome]:
        return 0, self._worker.make(self._number)

    def close(self) -> None:
        pass


class ProcessEngine:
    """Processes on this machine. Each is a pool of its own: when it dies, the unit that it was making is known.

    Each uses `threads`, and `gpus` of this machine (two share one at 0.5; at 0 they see what this process sees).
    """

    def __init__(self, factory: WorkerFactory, workers: int, threads: int, gpus: float = 0.0) -> None:
        self.workers, self._factory, self._threads, self._gpus = workers, factory, threads, gpus
        self._context = multiprocessing.get_context("spawn")  # Dr.Jit does not survive a fork
        self._own_end, self._worker_end = self._context.Pipe(duplex=False)[::-1]
        self._pools = [self._pool(worker) for worker in range(workers)]
        self._pending: dict[futures.Future[UnitOutcome], tuple[int, int]] = {}

    def _pool(self, worker: int) -> futures.ProcessPoolExecutor:
        devices = gpus_of(worker, self._gpus)
        return futures.ProcessPoolExecutor(
            1, self._context, initializer=_begin, initargs=(self._factory, self._threads, devices, self._worker_end)
        )

    def submit(self, worker: int, number: int) -> None:
        try:
            future = self._pools[worker].submit(_make, number)
        except BrokenProcessPool:  # it died with nothing to do
            self._pools[worker] = self._pool(worker)
            future = self._pools[worker].submit(_make, number)
        self._pending[future] = worker, number

    def next_outcome(self) -> tuple[int, UnitOutcome]:
        future = next(iter(futures.wait(self._pending, return_when=futures.FIRST_COMPLETED).done))
        worker, number = self._pending.pop(future)
        try:
            return worker, future.result()
        except BrokenProcessPool as error:
            self._pools[worker] = self._pool(worker)
            return worker, UnitFailure(number, f"its process died: {error}")

    def close(self) -> None:
        if self._pending:
            self._own_end.close()  # a busy process need not finish
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        self._own_end.close()
        self._worker_end.close()


def gpus_of(worker: int, gpus: float) -> str | None:
    """CUDA_VISIBLE_DEVICES of a worker that gets `gpus` GPUs; None leaves it as it is."""
    if not gpus:
        return None
    first = int(worker * gpus + 1e-9)
    return ",".join(str(first + i) for i in range(max(1, round(gpus))))


_worker: WorkerHandle | None = None  # of a worker process


def _begin(factory: WorkerFactory, threads: int, devices: str | None, connection: Connection) -> None:
    """In a new process, before CUDA is touched."""
    global _worker
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    threading.Thread(target=_follow, args=(connection,), daemon=True).start()
    _worker = WorkerHandle(factory, threads)


def _make(number: int) -> UnitOutcome:
    assert _worker is not None, "a pool's processes begin with _begin"
    return _worker.make(number)


def _follow(connection: Connection) -> None:
    """End when the other end of the pipe is closed: by `ProcessEngine.close`, or because that process has died."""
    wait([connection])
    os._exit(1)
