"""Surveys of tiles: what `uel survey` does."""

import logging
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from sim_bridge.commands.config import SurveyConfig
from sim_bridge.engines.run import make_units, require_units
from sim_bridge.engines.slurm import CONFIG_NAME, write_script
from sim_bridge.engines.units import UnitError
from sim_bridge.survey.worker import SurveyJob, tiles_with_sites
from uel.config import as_yaml
from uel.core.files.locks import folder_lock
from uel.core.files.write_errors import explain_write_errors, require_writable
from uel.core.io import replace_file
from uel.errors import UelError
from uel.survey.dataset import Survey
from uel.survey.manifest import MANIFEST_NAME, Manifest
from uel.survey.parquet import to_parquet

COPIES_IN_MEMORY = 3  # of a unit's values: as measured, in one piece, and as they are written
log = logging.getLogger(__name__)


def survey_job(config: SurveyConfig) -> SurveyJob:
    """The survey to be made. Raises `UelError` where there is no tile, no site, several carriers or too little
    memory."""
    job = SurveyJob(config.out, tiles_with_sites(config.tiles), config.making)
    require_memory(job.manifest(), config.workers_and_threads[0])
    return job


def make_survey(config: SurveyConfig) -> None:
    """Make the units that are not done, or some of them; or, for Slurm, write the script of an array that does.

    The folder gets a `config.yaml` that repeats the run. Raises `UelError` for inputs that cannot be surveyed, and for
    a folder that holds another survey; `UnitError` where units failed. A process that makes the same survey waits for
    the one that is at it.
    """
    require_writable(config.out)
    with nullcontext() if config.is_partial else folder_lock(config.out):
        _make_survey(config)


def _make_survey(config: SurveyConfig) -> None:
    job, manifest = _prepare(config)
    if not config.unit:  # the configuration of an array's tasks is the job's
        _save_config(config)
    if config.engine == "slurm" and not config.unit:
        with explain_write_errors("the survey", config.out):
            write_script(config.out, "survey", range(len(manifest.units)), *config.workers_and_threads, config.gpus)
        return
    waiting = [unit.number for unit in Survey(config.out, manifest).unfinished_units()]
    numbers = [n for n in require_units(config.unit, len(manifest.units)) if n in waiting] if config.unit else waiting
    log.info("survey: %d to make, %d reused in %s", len(numbers), len(manifest.units) - len(waiting), config.out)
    if failures := make_units(job, numbers, config, "units"):
        raise UnitError(failures)


def verify_survey(config: SurveyConfig) -> dict[str, list[str]]:
    """Files that differ from what was written, by unit; the next run makes these units again."""
    survey = Survey.open(config.out)
    damaged = survey.verify()
    survey.discard(damaged)
    return damaged


def export_survey(config: SurveyConfig) -> list[Path]:
    """Write a finished survey as Parquet tables, one for each tile."""
    return to_parquet(Survey.open(config.out))


def _prepare(config: SurveyConfig) -> tuple[SurveyJob, Manifest]:
    job = survey_job(config)
    if not config.resume and (config.out / MANIFEST_NAME).exists():
        raise UelError(
            "--out already holds a survey", got=config.out, do="leave --no-resume out, or choose another --out"
        )
    return job, job.prepare()


def _save_config(config: SurveyConfig) -> None:
    """Write the configuration into the survey's folder, to be repeated from anywhere."""
    tiles = tuple(tile.resolve() for tile in config.tiles)
    text = as_yaml(replace(config, tiles=tiles, out=config.out.resolve(), resume=True)).encode()
    path = config.out / CONFIG_NAME
    with explain_write_errors("the survey", config.out):
        if not path.is_file() or path.read_bytes() != text:
            replace_file(path, text)


def is_finished(config: SurveyConfig) -> bool:
    """Whether all units of the survey are done."""
    return not Survey.open(config.out).unfinished_units()


def require_memory(manifest: Manifest, workers: int, available: float | None = None) -> None:
    """Raise `UelError` when units are larger than this machine's memory, or `available` bytes."""
    largest = max(manifest.unit_bytes(tile) for tile in manifest.tiles)
    needed, free = workers * COPIES_IN_MEMORY * largest, available or _available()
    if needed > free:
        raise UelError(
            "the units of this survey do not fit in memory",
            got=f"{needed / 1e9:.1f} GB for {workers} workers of {manifest.unit} tracks; {free / 1e9:.1f} GB are free",
            do="give fewer --unit-tracks, --workers, --measure.paths or --measure.csi-taps",
        )


def _available() -> float:
    """Bytes of memory that can be had without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
