"""What the verbs that simulate can be told, and what they do."""

import logging
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import tyro

from sim_bridge.chains.atlas import AtlasConfig
from sim_bridge.channel.features import FeatureConfig
from sim_bridge.scene.tracing_config import TracingConfig
from sim_bridge.survey.engines import Engine, LocalEngine, ProcessEngine, UnitFailure, run
from sim_bridge.survey.progress import watched
from sim_bridge.survey.slurm import write_script
from sim_bridge.survey.worker import SurveyJob, SurveyMakingConfig, places_of
from uel.config import as_yaml
from uel.core.io import data_folder, replace_file
from uel.errors import UelError
from uel.mobility.config import TrackConfig
from uel.survey.dataset import Survey
from uel.survey.manifest import MANIFEST_NAME, Manifest
from uel.survey.parquet import to_parquet
from uel.survey.store import explain_write_errors

CONFIG = "config.yaml"  # in the survey's folder, what made it
COPIES = 3  # of a unit's values in memory: as measured, in one piece, and as they are written
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SurveyConfig(TrackConfig):
    """Tracks over tiles, measured: `uel survey TILE... --tracks 5000 --reports 20 --out data/survey`."""

    tiles: tyro.conf.Positional[tuple[Path, ...]]
    """folders of tiles with masts"""
    out: Path = field(default_factory=lambda: data_folder() / "survey")
    """the survey's folder; one that was begun by the same plan goes on"""
    seed: int = 1
    """of tracks and rays"""
    unit_tracks: int = 256
    """tracks in a unit of work"""
    measure: FeatureConfig = field(default_factory=FeatureConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    atlas: AtlasConfig = field(default_factory=AtlasConfig)
    """of chains of walls, where tracing neither diffracts nor scatters"""
    engine: Literal["local", "processes", "ray", "slurm"] = "local"
    """local: this process; processes: several here; ray: actors; slurm: write the script of a job array"""
    workers: int = 0
    """processes, actors or array tasks at a time; 0: one for each CPU (one in all for local)"""
    gpus: float = 0.0
    """GPUs of each worker; two share one at 0.5, at 0 they see all"""
    address: str | None = None
    """of a Ray cluster; none: Ray runs on this machine alone"""
    resume: bool = True
    """go on with a survey that is there; --no-resume refuses one"""
    verify: bool = False
    """measure nothing: compare every shard with its hash; units that differ will be made again"""
    unit: tuple[int, ...] = ()
    """make these units alone, in this process"""
    export: Literal["none", "parquet"] = "none"
    """measure nothing: write the finished survey as tables, too"""
    report: bool = False
    """measure nothing: write the finished survey's report.md and pictures again"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tiles and self.measures:
            raise UelError("nothing to survey", got="no tile", do="name a tile's folder: uel build makes them")
        if self.workers < 0 or self.gpus < 0:
            raise UelError("workers are counted", got=self.workers, do="give --workers 2, --gpus 1 say")
        self.plan  # noqa: B018  (refuses now)

    @property
    def measures(self) -> bool:
        """Whether anything is measured; what is asked of a survey that is there needs no tiles."""
        return not (self.verify or self.report or self.export != "none")

    @property
    def plan(self) -> SurveyMakingConfig:
        """What does not depend on who measures."""
        tracks = TrackConfig(**{f.name: getattr(self, f.name) for f in fields(TrackConfig)})
        common = {"measure": self.measure, "tracing": self.tracing, "atlas": self.atlas, "seed": self.seed}
        return SurveyMakingConfig(tracks=tracks, unit=self.unit_tracks, **common)

    @property
    def crew(self) -> tuple[int, int]:
        """Workers, and threads of each."""
        cores = os.cpu_count() or 1
        workers = 1 if self.engine == "local" or self.unit else self.workers or cores
        return workers, max(1, cores // workers)

    @property
    def work(self) -> SurveyJob:
        """Raises `UelError` where there is no tile, no mast, several carriers or too little memory."""
        work = SurveyJob(self.out, places_of(self.tiles), self.plan)
        require_memory(work.manifest(), self.crew[0])
        return work


def make_survey(config: SurveyConfig) -> list[UnitFailure]:
    """Make the units that are not done, or some of them; returns those that failed.

    The folder gets a `config.yaml` that repeats the run. Raises `UelError` for whatever cannot be, and for a folder
    that holds another survey.
    """
    work, manifest = _prepared(config)
    if not config.unit:  # tasks of an array have the job's
        _keep(config)
    waiting = [unit.number for unit in Survey(config.out, manifest).waiting()]
    numbers = [n for n in _known(config.unit, manifest) if n in waiting] if config.unit else waiting
    log.info("%s: %d of %d units to make", config.out, len(numbers), len(manifest.units))
    return watched(run(_engine(config, work), numbers), len(numbers), "units") if numbers else []


def write_job(config: SurveyConfig) -> Path:
    """Prepare the survey and write the script of a Slurm job array that makes it."""
    _, manifest = _prepared(config)
    _keep(config)
    return write_script(config.out, len(manifest.units), *config.crew, config.gpus)


def verify_survey(config: SurveyConfig) -> dict[str, list[str]]:
    """Files that are not what was written, by unit; these units are made again by the next run."""
    survey = Survey.open(config.out)
    wrong = survey.verify()
    survey.forget(wrong)
    return wrong


def export_survey(config: SurveyConfig) -> list[Path]:
    """Write a finished survey as Parquet tables, one for each tile."""
    return to_parquet(Survey.open(config.out))


def _prepared(config: SurveyConfig) -> tuple[SurveyJob, Manifest]:
    work = config.work
    if not config.resume and (config.out / MANIFEST_NAME).exists():
        raise UelError("there is a survey already", got=config.out, do="leave --no-resume out, or choose another --out")
    return work, work.prepare()


def _keep(config: SurveyConfig) -> None:
    """Write the configuration into the survey's folder, to be repeated from anywhere."""
    tiles = tuple(tile.resolve() for tile in config.tiles)
    text = as_yaml(replace(config, tiles=tiles, out=config.out.resolve(), resume=True)).encode()
    path = config.out / CONFIG
    with explain_write_errors(config.out):
        if not path.is_file() or path.read_bytes() != text:
            replace_file(path, text)


def finished(config: SurveyConfig) -> bool:
    """Whether all units of the survey are done."""
    return not Survey.open(config.out).waiting()


def _known(numbers: tuple[int, ...], manifest: Manifest) -> tuple[int, ...]:
    count = len(manifest.units)
    if unknown := [number for number in numbers if not 0 <= number < count]:
        raise UelError("no such unit", got=unknown[0], do=f"give --unit from 0 to {count - 1}")
    return numbers


def _engine(config: SurveyConfig, work: SurveyJob) -> Engine:
    if config.unit or config.engine == "local":
        return LocalEngine(work)
    if config.engine == "processes":
        return ProcessEngine(work, *config.crew, config.gpus)
    from sim_bridge.survey.ray_cluster import RayEngine

    return RayEngine(work, *config.crew, config.gpus, config.address)


def require_memory(manifest: Manifest, workers: int, available: float | None = None) -> None:
    """Raise `UelError` when units are larger than this machine's memory, or `available` bytes."""
    largest = max(manifest.unit_bytes(tile) for tile in manifest.tiles)
    needed, there = workers * COPIES * largest, available or _available()
    if needed > there:
        raise UelError(
            "the units of this survey do not fit in memory",
            got=f"{needed / 1e9:.1f} GB for {workers} workers of {manifest.unit} tracks; {there / 1e9:.1f} GB are free",
            do="give fewer --unit-tracks, --workers, --measure.paths or --measure.csi-taps",
        )


def _available() -> float:
    """Bytes of memory that can be had without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
