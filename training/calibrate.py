"""`uel calibrate`: materials and antennas out of measured levels, through the ray tracer."""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

import scenes
from scenes.corrected import corrected
from sim_bridge import parameters
from sim_bridge.atlas import AtlasPlan
from sim_bridge.pool import Pool, gather
from sim_bridge.tracer import Sionna
from sim_bridge.tracer import open as open_simulator
from sim_bridge.tracing import Tracing
from training import pretended
from training.found import Found, as_csv, beside, judge
from training.phones import judge_phones
from training.places import RASTER, SitePlan, require_raster, tile_of
from training.problem import Problem
from training.solve import FitPlan, Fitted, fit, posterior
from training.stages import Stages, digest
from training.unknowns import Beliefs, Unknowns
from uel.config import save
from uel.drives import Columns, Drive, read_drive, reports_of, split_by_block
from uel.errors import UelError
from uel.files import as_json, replace_file
from uel.folders import data_folder
from uel.radiomap import RadioMap
from uel.sites import Array, Cell, Site
from uel.tile import Tile
from uel.tracks import draw_positions

log = logging.getLogger(__name__)
REACH = 2.5  # deviations of the belief in heights: how far masts may move in a fit
RUNG = 0.5  # m between the heights at which chains are asked whether they are paths


@dataclass(frozen=True, kw_only=True)
class Pretend:
    """A world to be found again, where there is no drive: how much of it phones measure."""

    share: float = 0.01
    """of the pixels, at each of which a phone reports"""
    pixel: float = 2.0
    """m"""
    noise_db: float = 1.0
    """of levels"""
    range_noise: float = 0.0
    """m, of times of flight; 0 measures none"""
    least_dbm: float = -125.0
    """weakest level that a phone reports"""
    judged: int = 400
    """other places, at which what was found is judged"""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not self.pixel > 0 or min(self.noise_db, self.range_noise) < 0 or self.judged < 1:
            raise UelError(
                "phones report at a share of the pixels", got=self, do="give a share from 0 to 1, a noise in dB"
            )


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Learn materials and antennas from measurements: `uel calibrate --config calibrate/munich`."""

    run: str = "calibrate"
    """name of the folder under `runs/`"""
    seed: int = 1
    """of masts, places, noise and starts"""
    tile: str = "munich@0,0"
    """folder of a tile, or a bundled city as `city@x,y`"""
    size: float = 512.0
    """m, side of a tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around such a tile"""
    sites: SitePlan = field(default_factory=lambda: SitePlan(count=3, sectors=3, mast=8.0))
    """masts of a tile that has none of its own"""
    rows: int = 8
    """elements of such masts' arrays, one above the other"""
    drive: Path | None = None
    """table of measurements (.csv, .csv.gz); without it a world is pretended"""
    columns: Columns = field(default_factory=Columns)
    pretend: Pretend = field(default_factory=Pretend)
    block: float = 60.0
    """m, side of the blocks by which a drive is split"""
    learned: float = 0.5
    """share of the blocks that are learned from; the others judge"""
    merge: float = 10.0
    """m: reports of a drive within one square of this side are one, of median levels; 0 keeps all"""
    beliefs: Beliefs = field(default_factory=Beliefs)
    fit: FitPlan = field(default_factory=FitPlan)
    starts: int = 20
    """fits: the first from what is believed, the others from draws of the belief"""
    maps: float = 4.0
    """m, pixel of the radio maps before and after; 0 makes none"""
    tracing: Tracing = field(default_factory=lambda: Tracing(diffraction=False, chunk=64))
    map_tracing: Tracing = field(default_factory=lambda: Tracing(diffraction=False))
    """of the radio maps"""
    chains: AtlasPlan = field(default_factory=lambda: AtlasPlan(rays=500_000))
    """rays that look for chains of walls"""

    def __post_init__(self) -> None:
        if self.starts < 1 or self.rows < 1 or self.block <= 0 or not 0 < self.learned < 1 or self.merge < 0:
            raise UelError("a calibration needs a start, blocks and a share of them", got=self, do="raise them")
        if self.tracing.diffraction or self.tracing.scattering:
            do = "leave diffraction and scattering off in --tracing; `uel map` may have them on"
            raise UelError("frozen chains know reflection and refraction only", got=self.tracing, do=do)
        if self.drive is not None and not self.drive.is_file():
            raise UelError("no such drive", got=str(self.drive), do="give a .csv file")
        require_raster(RASTER, self.size)


@dataclass(frozen=True, eq=False)
class Task:
    """All that a calibration works on. `true` are the values of a pretended world, in the unknowns' order."""

    tile: Tile
    sim: Sionna
    known: dict[str, dict[str, float]]
    unknowns: Unknowns
    learn: Drive
    judge: Drive
    true: Tensor | None = None
    true_tile: Tile | None = None
    heard: tuple[Drive, Drive] | None = None
    """a drive's own reports, to learn from and to judge by: neither merged nor outdoors alone"""


def run(config: CalibrateConfig) -> Path:
    """Calibrate and return the run's folder.

    It holds `tile/` (the corrected one, which `uel map` takes), `calibration.json`, `table.csv`, `losses.csv`,
    `judged.csv`, `starts/`, `rejected.csv` and `config.yaml`. Killed, the same call goes on after the last start that
    was finished.
    """
    folder = Path("runs") / config.run
    stages = Stages(data_folder())
    task = _task(config, stages)
    problem, held = _problems(config, task, stages)
    fits = list(_fits(config, problem, folder))
    best = min(fits, key=lambda done: done.cost)
    covariance, information = posterior(problem, best.theta)
    found = Found(
        task.unknowns, task.known, best, covariance, information, task.sim.sites[0].cells[0].carrier.frequency
    )
    fixed = found.settled
    walls, masts = pretended.materials_of(task.unknowns, fixed, task.known), task.unknowns.sites_at(fixed)
    said = {"run": config.run, "identified": found.identified}
    made = corrected(task.tile, folder / "tile", walls, masts, said)
    told = {
        "tile": task.tile.name,
        "reports": len(task.learn),
        "links": problem.levels,
        "rejected": task.learn.reasons,
        "merged": task.learn.merged,
        "fit": best.told(),
        "starts": found.starts(fits, task.true),
        "judged": judge(held, found),
        "corrected": made.fingerprint,
        "stages": stages.seconds,
    }
    if config.maps:
        told["maps"] = _maps(config, task, made, stages)
        if task.heard is not None:
            radio = {name: RadioMap.load(at) for name, at in told["maps"].items()}
            told["phones"] = judge_phones(*task.heard, task.tile, radio, config.block)
    _write(folder, config, task, found, fits, told, beside(held, found))
    return folder


# ---- what there is to work on ------------------------------------------------------------------------------


def _task(config: CalibrateConfig, stages: Stages) -> Task:
    """Tile, masts, unknowns and measurements. Whatever is wrong with them is said before the first ray."""
    tile = tile_of(config.tile, config.size, config.margin, stages)
    sites = _sites(tile, config)
    whole = read_drive(tile, config.drive, config.columns) if config.drive is not None else None
    sim = open_simulator(tile, sites, config.tracing)
    known = parameters.materials(sim.scene)
    unknowns = Unknowns.of(tile, sites, known, config.beliefs)
    if whole is None:
        return _pretended(config, tile, sim, known, unknowns, stages)
    mine = split_by_block(whole.position, config.block, config.learned, config.seed)
    heard = whole.only(mine), whole.only(~mine)
    learn, judged = (merged(part, config.merge) for part in heard)
    outdoors = (part.only(tile.outdoor(part.position)) for part in (learn, judged))
    return Task(tile, sim, known, unknowns, *outdoors, heard=heard)


def _sites(tile: Tile, config: CalibrateConfig) -> tuple[Site, ...]:
    if (tile.folder / "sites.json").is_file():
        return tile.sites
    if config.drive is not None:
        raise UelError("a drive needs the masts that it heard", got=str(tile.folder), do="put them there: uel place")
    array = Array(rows=config.rows, pattern="tr38901")
    plan, cell = config.sites, Cell(tilt_deg=6.0, array=array)
    return scenes.place(tile, plan.count, config.seed, sectors=plan.sectors, mast=plan.mast, template=cell)


def _pretended(
    config: CalibrateConfig,
    tile: Tile,
    sim: Sionna,
    known: dict[str, dict[str, float]],
    unknowns: Unknowns,
    stages: Stages,
) -> Task:
    """A world that is as wrong as is believed, measured at a share of the pixels."""
    plan, random = config.pretend, torch.Generator().manual_seed(config.seed)
    count = max(round(plan.share * tile.grid(plan.pixel).count ** 2), 1)
    position = draw_positions(tile, sim.sites, count + plan.judged, random)
    how = {"tracing": asdict(config.tracing), "chains": asdict(config.chains)}
    key = pretended.key_of(tile, unknowns, position, how, config.seed)
    world = (tile, unknowns, known, position, config.tracing, config.chains, config.seed)
    at = stages.make(f"truth-{tile.name}", key, lambda out: pretended.make_truth(*world, out))
    level, delay = pretended.read_truth(at)
    noise = (plan.noise_db, plan.range_noise, plan.least_dbm, config.seed)
    learn = pretended.measured(position[:count], level[:count], delay[:count], *noise)
    exact = (0.0, 0.0, plan.least_dbm, config.seed)
    held = pretended.measured(position[count:], level[count:], delay[count:], *exact)
    true = unknowns.value(pretended.drawn(unknowns, config.seed))
    return Task(tile, sim, known, unknowns, learn, held, true, Tile.open(at / "tile"))


def merged(drive: Drive, side: float) -> Drive:
    """Reports of one square of `side` metres as one, in its middle, with the median level of every cell heard there."""
    if not side or not len(drive):
        return drive
    index = (drive.position / side).floor()
    own, where = torch.unique(index, dim=0, return_inverse=True)
    level = torch.full((len(own), drive.reports.heard.shape[1]), torch.nan)
    said = torch.where(drive.reports.heard, drive.reports.rsrp_dbm, torch.nan)
    for number in range(len(own)):
        level[number] = said[where == number].nanmedian(0).values
    return Drive((own + 0.5) * side, reports_of(level), drive.rejected, drive.merged)


def _problems(config: CalibrateConfig, task: Task, stages: Stages) -> tuple[Problem, Problem]:
    """What is learned from and what judges, on one pool of chains."""
    position = torch.cat([task.learn.position, task.judge.position])
    reach = REACH * config.beliefs.height
    key = {"tile": task.tile.fingerprint, "sites": [asdict(s) for s in task.sim.sites], "position": position.tolist()}
    key |= {"chains": asdict(config.chains), "reach": reach, "depth": config.tracing.max_depth}

    def make(out: Path) -> None:
        pool = gather(task.sim, position, reach, replace(config.chains, depth=config.tracing.max_depth))
        pool.pruned(_rungs(task.sim, reach)).save(out)

    pool = Pool.load(stages.make(f"chains-{task.tile.name}", key, make), task.sim, position)
    first = torch.arange(len(task.learn))
    rest = torch.arange(len(task.learn), len(position))
    noise = config.pretend.range_noise or 5.0
    return tuple(
        Problem.of(pool.of(index), task.unknowns, drive, noise)
        for index, drive in ((first, task.learn), (rest, task.judge))
    )  # type: ignore[return-value]


def _rungs(sim: Sionna, reach: float) -> list[Tensor]:
    """Heights of all cells at which chains are asked."""
    height = torch.tensor([site.position[2] for site in sim.sites for _ in site.cells])
    count = 2 * math.ceil(reach / RUNG) + 1
    return [height + rise for rise in torch.linspace(-reach, reach, count)]


# ---- fits ----------------------------------------------------------------------------------------------------


def _fits(config: CalibrateConfig, problem: Problem, folder: Path) -> Iterator[Fitted]:
    """Every start's end; those that a killed run had finished are read."""
    key = digest(
        {"config": {k: v for k, v in asdict(config).items() if k not in ("run", "starts")}, "links": problem.levels}
    )
    random = torch.Generator().manual_seed(config.seed + 1)
    for number in track(range(config.starts), "starts", transient=True):
        start = torch.randn(len(problem.unknowns), generator=random, dtype=torch.float64) * (number > 0)
        file = folder / "starts" / f"{number:02}.json"
        if (told := _stored(file)) and told["key"] == key:
            yield Fitted.read(told["fit"])
            continue
        done = fit(problem, start, config.fit)
        log.info("start %d: cost %.1f, %.2f dB, %s", number, done.cost, done.scale, done.status)
        replace_file(file, as_json({"key": key, "start": start.tolist(), "fit": done.told()}))
        yield done


def _stored(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _maps(config: CalibrateConfig, task: Task, made: Tile, stages: Stages) -> dict[str, str]:
    """Folders of radio maps: of what was believed, of what was found, and of the truth where that is known."""
    worlds = {"before": (task.tile, task.sim.sites), "after": (made, made.sites)}
    worlds |= {"true": (task.true_tile, task.true_tile.sites)} if task.true_tile else {}
    told = {}
    for name, (tile, sites) in worlds.items():
        key = {"tile": tile.fingerprint, "sites": [asdict(s) for s in sites], "tracing": asdict(config.map_tracing)}

        def make(out: Path, tile: Tile = tile, sites: tuple[Site, ...] = sites) -> None:
            open_simulator(tile, sites, config.map_tracing).radio_map(tile.grid(config.maps)).save(out)

        told[name] = str(stages.make(f"map-{tile.name}", {**key, "pixel": config.maps}, make))
    return told


def _curves(fits: list[Fitted]) -> str:
    """Cost and errors of every step of every start, as CSV."""
    rows = [{"start": n, "at": k, **row} for n, done in enumerate(fits) for k, row in enumerate(done.curve)]
    return as_csv(rows)


def _write(
    folder: Path,
    config: CalibrateConfig,
    task: Task,
    found: Found,
    fits: list[Fitted],
    told: dict[str, Any],
    judged: list[dict[str, float]],
) -> None:
    replace_file(folder / "losses.csv", _curves(fits).encode())
    replace_file(folder / "judged.csv", as_csv(judged).encode())
    save(config, folder / "config.yaml")
    rejected = "row,reason\n" + "".join(f'{row},"{why}"\n' for row, why in task.learn.rejected)
    replace_file(folder / "rejected.csv", rejected.encode())
    replace_file(folder / "table.csv", as_csv(found.rows(task.true)).encode())
    replace_file(folder / "calibration.json", as_json({**told, "parameters": found.rows(task.true)}))
