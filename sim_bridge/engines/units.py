"""Many units of work on one machine or several: the same function for each, in whatever process.

An engine only decides where a unit is made. A `WorkerFactory` starts each process with a function that is called with
the number of one unit after another. Units are independent and write their own results, so nothing but a few words and
numbers comes back.
"""

import os
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from uel.core.files.write_errors import write_fault
from uel.core.io import data_folder
from uel.errors import UelError

MAX_ATTEMPTS = 3  # a unit that fails so often is reported, and the others go on


@dataclass(frozen=True)
class UnitDone:
    """A unit that was made."""

    number: int
    text: str = ""
    """what it was, in a few words"""
    counts: Mapping[str, int] = field(default_factory=dict)
    """how much of what was made, for the rates on the terminal"""


@dataclass(frozen=True)
class UnitFailure:
    """A unit that was not made, and why."""

    number: int
    text: str
    """a traceback, or how the process ended"""
    final: bool = False
    """another attempt would not help: a user's mistake, a full disk"""


UnitOutcome = UnitDone | UnitFailure


class UnitError(RuntimeError):
    """Units failed; the others are made and kept. `failures` has each of them.

    Example:
        >>> print(UnitError([UnitFailure(3, "out of memory")]))
        unit 3 failed: out of memory
    """

    def __init__(self, failures: Sequence[UnitFailure]) -> None:
        super().__init__("\n".join(f"unit {failure.number} failed: {failure.text}" for failure in failures))
        self.failures = tuple(failures)


@runtime_checkable
class WorkerFactory(Protocol):
    """Starts the work of a process. It is pickled."""

    def start(self, threads: int | None) -> Callable[[int], UnitDone]: ...


@runtime_checkable
class ResumableJob(WorkerFactory, Protocol):
    """Work of a verb: units that are numbered from 0, and that name their results, so that finished ones are known.

    A unit must not depend on which units its process made before: then every engine makes the same.
    """

    @property
    def folder(self) -> Path:
        """Folder of the results; `config.yaml` and the script of a job array are written there."""
        ...

    @property
    def phases(self) -> Sequence[range]:
        """Units that can be made at once, one phase after another."""
        ...

    def is_done(self, number: int) -> bool:
        """Whether a unit's result is there already. Asked of a phase when those before are finished."""
        ...


class FieldState:
    """Base of dataclasses that are sent to processes with their fields alone: what is computed from them (a
    `cached_property`, as an open scene) stays here, and is computed again there."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


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


@dataclass(frozen=True)
class Workplace:
    """The folders that relative paths and `UEL_DATA` mean, for processes that begin elsewhere."""

    folder: Path
    data: Path

    @classmethod
    def here(cls) -> "Workplace":
        """Those of this process."""
        return cls(Path.cwd(), data_folder().resolve())

    def enter(self) -> None:
        """Make them those of this process. Raises `OSError` where this machine does not see the folder."""
        os.chdir(self.folder)
        os.environ["UEL_DATA"] = str(self.data)


class WorkerHandle:
    """Makes units in one process: the same in all engines. It starts with its first unit, so that errors become
    outcomes. A process that began elsewhere goes to the `workplace` of its job first."""

    def __init__(self, factory: WorkerFactory, threads: int | None, workplace: Workplace | None = None) -> None:
        self._factory, self._threads, self._workplace = factory, threads, workplace
        self._make: Callable[[int], UnitDone] | None = None

    def make(self, number: int) -> UnitOutcome:
        """Make a unit; an error becomes a `UnitFailure` instead of being raised."""
        try:
            if self._make is None:
                if self._workplace is not None:
                    self._workplace.enter()
                self._make = self._factory.start(self._threads)
            return self._make(number)
        except UelError as error:
            return UnitFailure(number, str(error), final=True)
        except OSError as error:
            fault = write_fault(error)  # a full disk helps no further attempt
            return UnitFailure(number, str(fault) if fault else traceback.format_exc(), final=fault is not None)
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
