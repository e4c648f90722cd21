"""Processes of this machine that make units of work."""

import concurrent.futures as futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait

from sim_bridge.engines.units import UnitFailure, UnitOutcome, WorkerFactory, WorkerHandle


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
        devices = gpus_of(worker, self._gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return futures.ProcessPoolExecutor(
            1, self._context, initializer=_begin, initargs=(self._factory, self._threads, devices, self._worker_end)
        )

    def submit(self, worker: int, number: int) -> None:
        with _ctrl_c_for_this_process_alone():
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


@contextmanager
def _ctrl_c_for_this_process_alone() -> Iterator[None]:
    """Processes that start within the block never get SIGINT: a terminal sends it to all, and they would tell it in
    tracebacks. They end when this process does."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def gpus_of(worker: int, gpus: float, visible: str | None) -> str | None:
    """CUDA_VISIBLE_DEVICES of a worker that gets `gpus` GPUs of those that are `visible`; None leaves it as it is."""
    if not gpus:
        return None
    first = int(worker * gpus + 1e-9)
    numbers = range(first, first + max(1, round(gpus)))
    names = visible.split(",") if visible else []
    return ",".join(names[number % len(names)].strip() if names else str(number) for number in numbers)


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
