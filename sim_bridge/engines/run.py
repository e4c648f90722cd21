"""All long work goes through here: the units of a job, made by the engine that the configuration names."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from sim_bridge.engines.config import EngineConfig
from sim_bridge.engines.processes import ProcessEngine
from sim_bridge.engines.progress import Forecast, LargerJob, show_progress
from sim_bridge.engines.slurm import CONFIG_NAME, write_script
from sim_bridge.engines.units import (
    Engine,
    LocalEngine,
    ResumableJob,
    UnitError,
    UnitFailure,
    WorkerFactory,
    run_units,
)
from uel.config import save
from uel.core.files.locks import folder_lock
from uel.errors import UelError

log = logging.getLogger(__name__)

MAX_REASONS = 3  # why units are made again: so many are told


def make_units(
    job: WorkerFactory,
    numbers: Sequence[int],
    config: EngineConfig,
    title: str,
    on_done: Callable[[int], None] | None = None,
    later_units: int = 0,
    larger: LargerJob | None = None,
) -> list[UnitFailure]:
    """Make units of a job by the configured engine, with a bar and the time left; returns those that failed.

    Args:
        job: starts the processes; pickled by engines that have some.
        numbers: of the units.
        config: the engine, its workers and GPUs.
        title: what the units are, before the bar.
        on_done: called in this process with the number of each unit that was made.
        later_units: that are made afterwards; the time that is told when the first unit is made counts them.
        larger: a larger configuration, whose time is told then, too.

    Raises:
        UelError: for failures that another attempt cannot correct; units that are done stay done.
    """
    if not numbers:
        return []
    engine = _engine(job, config)
    forecast = Forecast(len(numbers) + later_units, engine.workers, larger)
    return show_progress(run_units(engine, numbers), len(numbers), title, on_done, forecast)


def make_all(
    job: ResumableJob,
    verb: str,
    config: EngineConfig,
    title: str,
    on_done: Callable[[int], None] | None = None,
    reason: Callable[[int], str] | None = None,
    larger: LargerJob | None = None,
    alone: bool = True,
) -> None:
    """Make what is not done of a job; or the units of `--unit` alone; or, for Slurm, the script of an array.

    Beforehand it says how many units are made and reused, and why units are made again: `reason` tells that of the
    number of one, and is empty for a unit that never was made. For `larger` see `make_units`.

    Raises:
        UnitError: where units failed; the others of their phase are made.
        UelError: for units that the job does not have, and as `make_units`.
    """
    if config.engine == "slurm" and not config.unit:
        _write_array(job, verb, config)
        return
    with folder_lock(job.folder) if alone and not config.unit else nullcontext():
        _make_phases(job, config, title, on_done, reason, larger)


def _make_phases(
    job: ResumableJob,
    config: EngineConfig,
    title: str,
    on_done: Callable[[int], None] | None,
    reason: Callable[[int], str] | None,
    larger: LargerJob | None,
) -> None:
    """`make_all` of what is made now."""
    count = max((phase.stop for phase in job.phases), default=0)
    phases = (require_units(config.unit, count),) if config.unit else job.phases
    for index, phase in enumerate(phases):
        numbers = [number for number in phase if not job.is_done(number)]
        log.info("%s: %d to make, %d reused in %s", title, len(numbers), len(phase) - len(numbers), job.folder)
        _tell_reasons(title, numbers, reason)
        later_units = sum(map(len, phases[index + 1 :]))
        if failures := make_units(job, numbers, config, title, on_done, later_units, larger):
            raise UnitError(failures)
        larger = None if numbers else larger


def _tell_reasons(title: str, numbers: Sequence[int], reason: Callable[[int], str] | None) -> None:
    """Say why units are made again, the commonest reasons first."""
    reasons = Counter(filter(None, map(reason, numbers))) if reason is not None else Counter[str]()
    for text, count in reasons.most_common(MAX_REASONS):
        log.info("%s: %d made again: %s", title, count, text)


def require_units(numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The numbers. Raises `UelError` for one that no unit has."""
    if unknown := [number for number in numbers if not 0 <= number < count]:
        raise UelError("there is no such --unit", got=unknown[0], do=f"give --unit from 0 to {count - 1}")
    return numbers


def _write_array(job: ResumableJob, verb: str, config: EngineConfig) -> Path:
    """Write the configuration and the script of an array of the first phase that is not finished."""
    for phase in job.phases:
        if any(not job.is_done(number) for number in phase):
            save(config, job.folder / CONFIG_NAME)
            return write_script(job.folder, verb, phase, *config.workers_and_threads, config.gpus)
    raise UelError("all units are made already", got=job.folder, do="give the command without --engine slurm")


def _engine(job: WorkerFactory, config: EngineConfig) -> Engine:
    if config.unit or config.engine == "local":
        return LocalEngine(job)
    if config.engine == "processes":
        return ProcessEngine(job, *config.workers_and_threads, config.gpus)
    if config.engine == "slurm":
        raise UelError("slurm makes no units itself", got="--engine slurm", do="submit the script that the verb writes")
    from sim_bridge.engines.ray_cluster import RayEngine

    return RayEngine(job, *config.workers_and_threads, config.gpus, config.address)
