"""`uel calibrate`: fit materials and antennas to measured levels, through the ray tracer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from scenes.variants.calibrated_tile import write_calibrated_tile
from sim_bridge.engines.progress import larger_job
from sim_bridge.engines.run import make_all
from training.cache import StageCache
from training.calibration import synthetic_truth
from training.calibration.config import CalibrateConfig
from training.calibration.drive_localization import score_phones
from training.calibration.optimizers import FitResult, posterior
from training.calibration.result import CalibrationResult, as_csv, held_out_errors, held_out_links
from training.calibration.setup import CalibrationSetup
from training.calibration.starts import CalibrationJob, work
from training.pipeline.scene_pipeline import radio_map_stage
from uel.config import save
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, replace_file
from uel.geo.tile import Tile
from uel.measurement.logs.config import REJECTED_FILE
from uel.radio import radio_map_io


def run(config: CalibrateConfig) -> Path:
    """Calibrate and return the run's folder.

    It holds `tile/` (the calibrated tile, an input of `uel map`), `calibration.json`, `table.csv`, `losses.csv`,
    `judged.csv`, `starts/`, `rejected.csv` and `config.yaml`. Starts are units of work: a killed run keeps those that
    are finished. Where the configuration makes some `unit` alone, nothing but `starts/` is written.

    Example:
        >>> import training
        >>> folder = training.calibrate(training.CalibrateConfig(run="mine"))  # doctest: +SKIP
        >>> training.CalibrateConfig(starts=0)
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    job = CalibrationJob(config)
    require_writable(job.folder, data_folder())
    folder, setup, stage_cache = job.folder, job.setup, job.stage_cache
    job.require_no_other_fits()
    larger = larger_job("calibrate", config, "munich", config.starts, work) if config.drive is None else None
    make_all(job, "calibrate", config, "starts", larger=larger)
    if config.is_partial:
        return folder
    objective, held_out = job.objectives
    fits = job.fits()
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


def _curves(fits: list[FitResult]) -> bytes:
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
    replace_file(folder / "losses.csv", _curves(fits))
    replace_file(folder / "judged.csv", as_csv(links))
    save(replace(config, overwrite=False), folder / "config.yaml")
    rejected = [(row, *reason.split(": ", 1)) for row, reason in setup.fit_drive.rejected]
    named: list[dict[str, Any]] = [dict(zip(("row", "rule", "value"), parts, strict=True)) for parts in rejected]
    replace_file(folder / REJECTED_FILE, as_csv(named) if named else b"row,rule,value\n")
    replace_file(folder / "table.csv", as_csv(result.rows(setup.true_values)))
    replace_file(folder / "calibration.json", as_json({**metadata, "parameters": result.rows(setup.true_values)}))
