"""`uel calibrate`: fit materials and antennas to measured levels, through the ray tracer."""

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
from training.cache import StageCache, digest
from training.calibration import synthetic_truth
from training.calibration.config import CalibrateConfig
from training.calibration.drive_localization import score_phones
from training.calibration.objective import CalibrationObjective
from training.calibration.optimizers import FitResult, fit, posterior
from training.calibration.result import CalibrationResult, as_csv, held_out_errors, held_out_links
from training.calibration.setup import CalibrationSetup, calibration_setup
from training.pipeline.scene_pipeline import radio_map_stage
from uel.config import save
from uel.core.io import as_json, data_folder, replace_file
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio import radio_map_io

log = logging.getLogger(__name__)
MAX_HEIGHT_DEVIATIONS = 2.5  # prior standard deviations of heights, range of heights in a fit
HEIGHT_STEP = 0.5  # m between the heights at which chains are tested for paths


def run(config: CalibrateConfig) -> Path:
    """Calibrate and return the run's folder.

    It holds `tile/` (the calibrated tile, an input of `uel map`), `calibration.json`, `table.csv`, `losses.csv`,
    `judged.csv`, `starts/`, `rejected.csv` and `config.yaml`. A killed run resumes after its last finished start.

    Example:
        >>> import training
        >>> folder = training.calibrate(training.CalibrateConfig(run="mine"))  # doctest: +SKIP
        >>> training.CalibrateConfig(starts=0)
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    folder = Path("runs") / config.run
    stage_cache = StageCache(data_folder())
    setup = calibration_setup(config, stage_cache)
    objective, held_out = _objectives(config, setup, stage_cache)
    fits = list(_fits(config, objective, folder))
    best = min(fits, key=lambda fit_result: fit_result.cost)
    covariance, information = posterior(objective, best.theta)
    result = CalibrationResult(
        setup.parameters,
        setup.materials,
        fits,
        covariance,
        information,
        setup.simulator.sites[0].cells[0].carrier.frequency,
    )
    estimate = result.estimate
    materials = synthetic_truth.materials_of(setup.parameters, estimate, setup.materials)
    sites = setup.parameters.sites_at(estimate)
    provenance = {"run": config.run, "identified": result.identified}
    calibrated_tile = write_calibrated_tile(setup.tile, folder / "tile", materials, sites, provenance)
    metadata = {
        "tile": setup.tile.name,
        "reports": len(setup.fit_drive),
        "links": objective.level_count,
        "rejected": setup.fit_drive.rejection_counts,
        "merged": setup.fit_drive.merged,
        "fit": best.to_dict(),
        "starts": result.start_summary(),
        "judged": held_out_errors(held_out, result),
        "corrected": calibrated_tile.fingerprint,
        "stages": stage_cache.seconds,
    }
    if config.maps:
        metadata["maps"] = _radio_maps(config, setup, calibrated_tile, stage_cache)
        if setup.raw_drives is not None:
            radio = {name: radio_map_io.load(at) for name, at in metadata["maps"].items()}
            metadata["phones"] = score_phones(*setup.raw_drives, setup.tile, radio, config.block)
    _write(folder, config, setup, result, fits, metadata, held_out_links(held_out, result))
    return folder


# ---- paths ---------------------------------------------------------------------------------------------------


def _objectives(
    config: CalibrateConfig, setup: CalibrationSetup, stage_cache: StageCache
) -> tuple[CalibrationObjective, CalibrationObjective]:
    """The objectives of the fitted and of the held-out reports, on one pool of chains."""
    position = torch.cat([setup.fit_drive.position, setup.test_drive.position])
    height_range = MAX_HEIGHT_DEVIATIONS * config.priors.height
    key = {
        "tile": setup.tile.fingerprint,
        "sites": [asdict(s) for s in setup.simulator.sites],
        "position": position.tolist(),
    }
    key |= {"chains": asdict(config.chains), "reach": height_range, "depth": config.tracing.max_depth}

    def build(out: Path) -> None:
        pool = gather_chains(
            setup.simulator.finder, position, height_range, replace(config.chains, depth=config.tracing.max_depth)
        )
        pool.keep_paths(_candidate_heights(setup.simulator, height_range)).save(out)

    pool = ChainPool.load(stage_cache.make(f"chains-{setup.tile.name}", key, build), setup.simulator.finder, position)
    fit_index = torch.arange(len(setup.fit_drive))
    test_index = torch.arange(len(setup.fit_drive), len(position))
    noise = config.synthetic.range_noise or 5.0
    return tuple(
        CalibrationObjective.of(pool.select(index), setup.parameters, drive, noise)
        for index, drive in ((fit_index, setup.fit_drive), (test_index, setup.test_drive))
    )  # type: ignore[return-value]


def _candidate_heights(simulator: Sionna, height_range: float) -> list[Tensor]:
    """Heights of all cells at which chains are tested for paths."""
    height = torch.tensor([site.position[2] for site in simulator.sites for _ in site.cells])
    count = 2 * math.ceil(height_range / HEIGHT_STEP) + 1
    return [height + offset for offset in torch.linspace(-height_range, height_range, count)]


# ---- fits ----------------------------------------------------------------------------------------------------


def _fits(config: CalibrateConfig, objective: CalibrationObjective, folder: Path) -> Iterator[FitResult]:
    """The fits from all starts; those that an earlier run finished are read."""
    fit_config = {k: v for k, v in asdict(config).items() if k not in ("run", "starts", "maps", "map_tracing")}
    key = digest({"config": fit_config, "links": objective.level_count})
    generator = torch.Generator().manual_seed(config.seed + 1)
    for number in track(range(config.starts), "starts", transient=True):
        start = torch.randn(len(objective.parameters), generator=generator, dtype=torch.float64) * (number > 0)
        file = folder / "starts" / f"{number:02}.json"
        if (stored := _read_start(file)) and stored["key"] == key:
            yield FitResult.from_dict(stored["fit"])
            continue
        try:
            fit_result = fit(objective, start, config.fit)
        except UelError as error:
            if not number:
                raise
            log.warning("start %d skipped: %s", number, error)
            continue
        log.info("start %d: cost %.1f, %.2f dB, %s", number, fit_result.cost, fit_result.scale, fit_result.status)
        replace_file(file, as_json({"key": key, "start": start.tolist(), "fit": fit_result.to_dict()}))
        yield fit_result


def _read_start(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _radio_maps(
    config: CalibrateConfig, setup: CalibrationSetup, calibrated_tile: Tile, stage_cache: StageCache
) -> dict[str, str]:
    """Folders of radio maps: of the tile before and after, and of the true tile if there is one."""
    variants = {"before": (setup.tile, setup.simulator.sites), "after": (calibrated_tile, calibrated_tile.sites)}
    variants |= {"true": (setup.true_tile, setup.true_tile.sites)} if setup.true_tile else {}
    return {
        name: str(radio_map_stage("map", tile, sites, config.map_tracing, config.maps, stage_cache))
        for name, (tile, sites) in variants.items()
    }


def _curves(fits: list[FitResult]) -> str:
    """Cost and errors of every step of every start, as CSV."""
    rows = [{"start": n, "at": k, **row} for n, fit_result in enumerate(fits) for k, row in enumerate(fit_result.curve)]
    return as_csv(rows)


def _write(
    folder: Path,
    config: CalibrateConfig,
    setup: CalibrationSetup,
    result: CalibrationResult,
    fits: list[FitResult],
    metadata: dict[str, Any],
    links: list[dict[str, Any]],
) -> None:
    replace_file(folder / "losses.csv", _curves(fits).encode())
    replace_file(folder / "judged.csv", as_csv(links).encode())
    save(config, folder / "config.yaml")
    rejected = "row,reason\n" + "".join(f'{row},"{why}"\n' for row, why in setup.fit_drive.rejected)
    replace_file(folder / "rejected.csv", rejected.encode())
    replace_file(folder / "table.csv", as_csv(result.rows(setup.true_values)).encode())
    replace_file(folder / "calibration.json", as_json({**metadata, "parameters": result.rows(setup.true_values)}))
