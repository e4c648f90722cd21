"""Units of work on a Ray cluster, or on one that Ray starts here."""

import logging
import os
from typing import Any

from sim_bridge.engines.units import UnitFailure, UnitOutcome, WorkerFactory, WorkerHandle, Workplace
from uel.errors import UelError


class RayEngine:
    """Actors, each with `threads` CPUs and `gpus` GPUs. One that has died is replaced.

    Ray's own restarts are left off: an actor that restarts refuses units meanwhile, which would count as failures.
    `address` is that of a running cluster whose machines see the folders of the job and its inputs by the same paths;
    without it Ray runs on this machine alone, and contacts no other.
    """

    def __init__(
        self, factory: WorkerFactory, workers: int, threads: int, gpus: float = 0.0, address: str | None = None
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no GPU asked for: none hidden
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 leaves workers next to nothing beside other work
        try:
            import ray
        except ImportError as error:
            raise UelError(
                "--engine ray needs Ray", got=str(error), do="pip install ray, or --engine processes"
            ) from error
        self._ray: Any = ray
        resources = {} if address else {"num_cpus": workers * threads, "include_dashboard": False}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.WARNING, **resources)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UelError(
                "no Ray cluster at --address", got=f"{address}: {error}", do="check --address: ray status"
            ) from error
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
