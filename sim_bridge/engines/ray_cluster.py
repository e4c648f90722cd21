"""Units of work on a Ray cluster, or on one that Ray starts here."""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sim_bridge.engines.orphan_guard import OrphanGuard
from sim_bridge.engines.units import UnitFailure, UnitOutcome, WorkerFactory, WorkerHandle, Workplace
from uel.errors import UelError
from uel.extras import explained_imports


class RayEngine:
    """Actors, each with `threads` CPUs and `gpus` GPUs. One that has died is replaced.

    Ray's own restarts are left off: an actor that restarts refuses units meanwhile, which would count as failures.
    `address` is that of a running cluster whose machines see the folders of the job and its inputs by the same paths;
    without it Ray runs on this machine alone: it listens on the loopback interface, lets nobody in without the token
    of this process, and contacts no other machine. Should this process be killed, a guard ends what Ray has started.
    """

    def __init__(
        self, factory: WorkerFactory, workers: int, threads: int, gpus: float = 0.0, address: str | None = None
    ) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no GPU asked for: none hidden
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 leaves workers next to nothing beside other work
        self._guard = None if address else OrphanGuard()
        if self._guard is not None:
            for name, value in (_private_environment() | self._guard.mark).items():
                os.environ.setdefault(name, value)
        with explained_imports():
            import ray
        self._ray: Any = ray
        resources = {} if address else {"num_cpus": workers * threads, "include_dashboard": False}
        try:
            with _own_signals():
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.WARNING, **resources)
        except Exception as error:  # Ray raises what it raises, plain exceptions among them
            if self._guard is not None:
                self._guard.close()
                do = "use --engine processes, or look at Ray's logs in /tmp/ray/session_latest/logs"
                raise UelError("Ray could not be started on this machine", got=error, do=do) from error
            do = "check --address: ray status"
            raise UelError("no Ray cluster at --address", got=f"{address}: {error}", do=do) from error
        for name in self._guard.mark if self._guard else ():
            del os.environ[name]  # Ray has it; what this process starts by itself is no orphan of Ray's
        self._actor = ray.remote(WorkerHandle).options(num_cpus=threads, num_gpus=gpus, max_restarts=0)
        self.workers, self._arguments = workers, (factory, threads, Workplace.here())
        self._actors = [self._actor.remote(*self._arguments) for _ in range(workers)]
        self._pending: dict[Any, tuple[int, int]] = {}

    def submit(self, worker: int, number: int) -> None:
        self._pending[self._actors[worker].make.remote(number)] = worker, number

    def next_outcome(self) -> tuple[int, UnitOutcome]:
        (reference, *_), _ = self._ray.wait(list(self._pending), num_returns=1)
        worker, number = self._pending.pop(reference)
        try:
            return worker, self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._ray.kill(self._actors[worker])
            self._actors[worker] = self._actor.remote(*self._arguments)
            return worker, UnitFailure(number, f"its actor died: {error}")

    def close(self) -> None:
        self._ray.shutdown()
        if self._guard is not None:
            self._guard.close()


def _private_environment() -> dict[str, str]:
    """What makes a Ray of this machine private: it is read when Ray is imported and started."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no cluster of machines: on Linux, too, servers listen on 127.0.0.1
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # of this process and its children; none is left in the home folder
    }


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM: Ray's own ends the program without a word."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
