"""`uel calibrate`: materials and antennas out of measured levels, through the ray tracer."""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from scenes.variants.calibrated_tile import write_calibrated_tile
from sim_bridge.paths.chain_pool import ChainPool, gather_chains
from sim_bridge.simulator import Sionna
from sim_bridge.simulator import open as open_simulator
from training.cache import StageCache, digest
from training.calibration import synthetic_truth
from training.calibration.config import CalibrateConfig
from training.calibration.drive_localization import score_phones
from training.calibration.objective import CalibrationObjective
from training.calibration.optimizers import FitResult, fit, posterior
from training.calibration.result import CalibrationResult, as_csv, held_out_errors, held_out_links
from training.calibration.setup import CalibrationSetup, calibration_setup
from uel.config import save
from uel.core.io import as_json, data_folder, replace_file
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio import radio_map_io
from uel.radio.sites import Site

log = logging.getLogger(__name__)
MAX_HEIGHT_DEVIATIONS = 2.5  # deviations of the belief in heights: how far masts may move in a fit
HEIGHT_STEP = 0.5  # m between the heights at which chains are asked whether they are paths


def run(config: CalibrateConfig) -> Path:
    """Calibrate and return the run's folder.

    It holds `tile/` (the corrected one, which `uel map` takes), `calibration.json`, `table.csv`, `losses.csv`,
    `judged.csv`, `starts/`, `rejected.csv` and `config.yaml`. Killed, the same call goes on after the last start that
    was finished.
    """
    folder = Path("runs") / config.run
    stages = StageCache(data_folder())
    task = calibration_setup(config, stages)
    objective, held = _objectives(config, task, stages)
    fits = list(_fits(config, objective, folder))
    best = min(fits, key=lambda done: done.cost)
    covariance, information = posterior(objective, best.theta)
    found = CalibrationResult(
        task.parameters, task.known, fits, covariance, information, task.sim.sites[0].cells[0].carrier.frequency
    )
    fixed = found.estimate
    walls, masts = synthetic_truth.materials_of(task.parameters, fixed, task.known), task.parameters.sites_at(fixed)
    said = {"run": config.run, "identified": found.identified}
    made = write_calibrated_tile(task.tile, folder / "tile", walls, masts, said)
    told = {
        "tile": task.tile.name,
        "reports": len(task.learn),
        "links": objective.level_count,
        "rejected": task.learn.rejection_counts,
        "merged": task.learn.merged,
        "fit": best.told(),
        "starts": found.starts(),
        "judged": held_out_errors(held, found),
        "corrected": made.fingerprint,
        "stages": stages.seconds,
    }
    if config.maps:
        told["maps"] = _radio_maps(config, task, made, stages)
        if task.heard is not None:
            radio = {name: radio_map_io.load(at) for name, at in told["maps"].items()}
            told["phones"] = score_phones(*task.heard, task.tile, radio, config.block)
    _write(folder, config, task, found, fits, told, held_out_links(held, found))
    return folder


# ---- paths ---------------------------------------------------------------------------------------------------


def _objectives(
    config: CalibrateConfig, task: CalibrationSetup, stages: StageCache
) -> tuple[CalibrationObjective, CalibrationObjective]:
    """What is learned from and what judges, on one pool of chains."""
    position = torch.cat([task.learn.position, task.judge.position])
    reach = MAX_HEIGHT_DEVIATIONS * config.beliefs.height
    key = {"tile": task.tile.fingerprint, "sites": [asdict(s) for s in task.sim.sites], "position": position.tolist()}
    key |= {"chains": asdict(config.chains), "reach": reach, "depth": config.tracing.max_depth}

    def make(out: Path) -> None:
        pool = gather_chains(task.sim.finder, position, reach, replace(config.chains, depth=config.tracing.max_depth))
        pool.keep_paths(_candidate_heights(task.sim, reach)).save(out)

    pool = ChainPool.load(stages.make(f"chains-{task.tile.name}", key, make), task.sim.finder, position)
    first = torch.arange(len(task.learn))
    rest = torch.arange(len(task.learn), len(position))
    noise = config.pretend.range_noise or 5.0
    return tuple(
        CalibrationObjective.of(pool.select(index), task.parameters, drive, noise)
        for index, drive in ((first, task.learn), (rest, task.judge))
    )  # type: ignore[return-value]


def _candidate_heights(sim: Sionna, reach: float) -> list[Tensor]:
    """Heights of all cells at which chains are asked."""
    height = torch.tensor([site.position[2] for site in sim.sites for _ in site.cells])
    count = 2 * math.ceil(reach / HEIGHT_STEP) + 1
    return [height + rise for rise in torch.linspace(-reach, reach, count)]


# ---- fits ----------------------------------------------------------------------------------------------------


def _fits(config: CalibrateConfig, objective: CalibrationObjective, folder: Path) -> Iterator[FitResult]:
    """Every start's end; those that a killed run had finished are read."""
    told = {k: v for k, v in asdict(config).items() if k not in ("run", "starts", "maps", "map_tracing")}
    key = digest({"config": told, "links": objective.level_count})
    random = torch.Generator().manual_seed(config.seed + 1)
    for number in track(range(config.starts), "starts", transient=True):
        start = torch.randn(len(objective.parameters), generator=random, dtype=torch.float64) * (number > 0)
        file = folder / "starts" / f"{number:02}.json"
        if (told := _read_start(file)) and told["key"] == key:
            yield FitResult.read(told["fit"])
            continue
        try:
            done = fit(objective, start, config.fit)
        except UelError as error:
            if not number:
                raise
            log.warning("start %d left out: %s", number, error)
            continue
        log.info("start %d: cost %.1f, %.2f dB, %s", number, done.cost, done.scale, done.status)
        replace_file(file, as_json({"key": key, "start": start.tolist(), "fit": done.told()}))
        yield done


def _read_start(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _radio_maps(config: CalibrateConfig, task: CalibrationSetup, made: Tile, stages: StageCache) -> dict[str, str]:
    """Folders of radio maps: of what was believed, of what was found, and of the truth where that is known."""
    worlds = {"before": (task.tile, task.sim.sites), "after": (made, made.sites)}
    worlds |= {"true": (task.true_tile, task.true_tile.sites)} if task.true_tile else {}
    told = {}
    for name, (tile, sites) in worlds.items():
        key = {"tile": tile.fingerprint, "sites": [asdict(s) for s in sites], "tracing": asdict(config.map_tracing)}

        def make(out: Path, tile: Tile = tile, sites: tuple[Site, ...] = sites) -> None:
            radio_map_io.save(open_simulator(tile, sites, config.map_tracing).radio_map(tile.grid(config.maps)), out)

        told[name] = str(stages.make(f"map-{tile.name}", {**key, "pixel": config.maps}, make))
    return told


def _curves(fits: list[FitResult]) -> str:
    """Cost and errors of every step of every start, as CSV."""
    rows = [{"start": n, "at": k, **row} for n, done in enumerate(fits) for k, row in enumerate(done.curve)]
    return as_csv(rows)


def _write(
    folder: Path,
    config: CalibrateConfig,
    task: CalibrationSetup,
    found: CalibrationResult,
    fits: list[FitResult],
    told: dict[str, Any],
    judged: list[dict[str, Any]],
) -> None:
    replace_file(folder / "losses.csv", _curves(fits).encode())
    replace_file(folder / "judged.csv", as_csv(judged).encode())
    save(config, folder / "config.yaml")
    rejected = "row,reason\n" + "".join(f'{row},"{why}"\n' for row, why in task.learn.rejected)
    replace_file(folder / "rejected.csv", rejected.encode())
    replace_file(folder / "table.csv", as_csv(found.rows(task.true)).encode())
    replace_file(folder / "calibration.json", as_json({**told, "parameters": found.rows(task.true)}))
