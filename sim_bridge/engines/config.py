"""Options of all verbs whose work is made in units. No framework is imported here."""

import os
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError

EngineName = Literal["local", "processes", "ray", "slurm"]


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where units of work are made. Configurations of verbs inherit it, so that its options are the same in all.

    Results do not depend on it: its fields (`ENGINE_FIELDS`) belong to no key of a result.

    Raises:
        UelError: for a negative number of workers or GPUs.

    Example:
        >>> EngineConfig(engine="processes", workers=2).workers_and_threads[0]
        2
        >>> EngineConfig(engine="processes", workers=2, unit=(5,)).workers_and_threads[0]  # in this process
        1
    """

    engine: EngineName = "local"
    """local: this process; processes: several here; ray: actors; slurm: write the script of a job array"""
    workers: int = 0
    """processes, actors or array tasks at a time; 0: one for each CPU (one in all for local)"""
    gpus: float = 0.0
    """GPUs of each worker; two share one at 0.5, at 0 they see all"""
    address: str | None = None
    """of a Ray cluster; none: Ray runs on this machine alone"""
    unit: tuple[int, ...] = ()
    """make these units alone, in this process"""

    def __post_init__(self) -> None:
        require_numbers(self, unit=(0, 1e9))
        if self.workers < 0:
            raise UelError("--workers must not be negative", got=self.workers, do="give --workers 2, say")
        if self.gpus < 0:
            raise UelError("--gpus must not be negative", got=self.gpus, do="give --gpus 1, say")

    @property
    def workers_and_threads(self) -> tuple[int, int]:
        """Number of workers, and of threads of each."""
        cores = os.cpu_count() or 1
        workers = 1 if self.engine == "local" or self.unit else self.workers or cores
        return workers, max(1, cores // workers)

    @property
    def is_partial(self) -> bool:
        """Whether the result is not completed now: units alone are made, or the script of a job array."""
        return bool(self.unit) or self.engine == "slurm"


def require_whole_result(config: EngineConfig, what: str) -> None:
    """Raise `UelError` for an engine that returns before all units are made, which `what` waits for.

    Example:
        >>> require_whole_result(EngineConfig(engine="slurm"), "the demo")
        Traceback (most recent call last):
            ...
        uel.errors.UelError: the demo waits for its units of work, and cannot hand them over
          got: --engine slurm
          do:  give --engine local, processes or ray, and no --unit
    """
    if config.is_partial:
        got = f"--unit {' '.join(map(str, config.unit))}" if config.unit else f"--engine {config.engine}"
        do = "give --engine local, processes or ray, and no --unit"
        raise UelError(f"{what} waits for its units of work, and cannot hand them over", got=got, do=do)


ENGINE_FIELDS = tuple(field.name for field in fields(EngineConfig))
"""names of the options that say where work is made, not what"""


ConfigWithEngine = TypeVar("ConfigWithEngine", bound=EngineConfig)


def without_engine(config: ConfigWithEngine) -> ConfigWithEngine:
    """The configuration with the default engine.

    Example:
        >>> without_engine(EngineConfig(engine="ray", workers=3)) == EngineConfig()
        True
    """
    return replace(config, **{field.name: field.default for field in fields(EngineConfig)})
