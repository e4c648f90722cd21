"""`uel demo`, end to end: real cities → tiles → radio maps → surveys → a locator → its distance to the limit."""

import json
import logging
import os
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sim_bridge.simulator import open as open_simulator
from sim_bridge.survey.worker import TileWithSites
from training.cache import StageCache, digest
from training.commands.config import DemoConfig
from training.evaluation.demo_metrics import example_fix, method_errors, metric_tables
from training.locator.fit import fit
from training.locator.setup import LocatorTrainingConfig
from training.pipeline.scene_pipeline import (
    live_simulator,
    open_tile,
    place_sites,
    track_survey,
)
from uel.core.io import data_folder
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.mobility.config import TrackConfig
from uel.models.locator import Locator
from uel.radio import radio_map_io

log = logging.getLogger(__name__)


def run(config: DemoConfig) -> Path:
    """Run every stage that is not in the cache and return the run's folder.

    Example:
        >>> import training
        >>> folder = training.demo(training.DemoConfig(run="mine"))  # doctest: +SKIP
        >>> training.DemoConfig(test="munich@0,0")  # a city that is trained on
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    start = time.perf_counter()
    torch.manual_seed(config.seed)
    stage_cache = StageCache(data_folder())
    folder = Path("runs") / config.run
    folder.mkdir(parents=True, exist_ok=True)
    train = [build_deployment(config, stage_cache, name, config.survey, live=True) for name in config.train]
    validate = build_deployment(config, stage_cache, config.validate, config.survey)
    test = build_deployment(config, stage_cache, config.test, config.test_survey)
    key = {
        "config": _without(config, "run", "test", "test_survey", "evaluation"),
        "data": _fingerprints([*train, validate]),
    }
    training_config = LocatorTrainingConfig(
        seed=config.seed,
        measurement=ObservationModel.from_parameters(config.measurement),
        locator=config.locator,
        training=config.training,
    )
    locator, facts = fit(folder / "training", digest(key), training_config, train, [validate])
    locator.save(folder)
    evaluate_demo(
        folder, digest([key, asdict(config), test.tile.fingerprint]), config, test, locator, facts, stage_cache.seconds
    )
    log.info("demo finished in %.0f s", time.perf_counter() - start)
    return folder


def evaluate_demo(
    folder: Path,
    key: str,
    config: DemoConfig,
    test: Deployment,
    locator: Locator,
    facts: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    """Evaluate on the unseen city and write metrics.json, errors.npz and example.npz, or reuse those of this `key`."""
    key_file = folder / "judged"
    if key_file.is_file() and key_file.read_text() == key:
        log.info("evaluation: reusing %s", folder)
        return
    key_file.unlink(missing_ok=True)
    log.info("evaluation: on %s", config.test)
    start = time.perf_counter()
    model = ObservationModel.from_parameters(config.measurement)
    errors = method_errors(locator, test, model, config.evaluation, config.seed)
    np.savez(folder / "example.npz", **example_fix(locator, test, model, config.seed))
    seconds = seconds | {"training": facts["wall_s"], "evaluation": round(time.perf_counter() - start, 1)}
    _write(folder, config, test, errors, facts, seconds)
    key_file.write_text(key)


def build_deployment(
    config: DemoConfig, stage_cache: StageCache, name: str, tracks: TrackConfig, live: bool = False
) -> Deployment:
    """Tile, sites, radio map and survey of one place, made or reused; `live` adds a simulator for training."""
    tile = open_tile(name, config.size, config.margin, stage_cache)
    geometry = {"place": name, "size": config.size, "margin": config.margin}
    network = {**geometry, "tile": tile.fingerprint, "sites": asdict(config.sites), "seed": config.seed}
    traced = {**network, "tracing": asdict(config.tracing)}
    place = TileWithSites(tile, place_sites(tile, config.sites, config.seed))
    map_folder = stage_cache.make(
        f"map-{name}",
        {**traced, "pixel": config.pixel},
        lambda out: radio_map_io.save(
            open_simulator(tile, place.sites, config.tracing).radio_map(tile.grid(config.pixel)), out
        ),
    )
    survey = track_survey(
        f"survey-{name}", {**traced, "plan": asdict(tracks)}, place, tracks, config.tracing, config.seed, stage_cache
    )
    maps = TileMaps.from_tile(tile, radio_map_io.load(map_folder))
    simulator = None
    if live:
        simulator = live_simulator(
            f"atlas-{name}", network, place, config.training.live_tracing(config.tracing), config.atlas, stage_cache
        )
    return Deployment(tile, maps, survey, simulator)


def _without(config: DemoConfig, *names: str) -> dict[str, Any]:
    return {k: v for k, v in asdict(config).items() if k not in names}


def _fingerprints(deployments: list[Deployment]) -> list[str]:
    return [deployment.tile.fingerprint for deployment in deployments]


def _write(
    folder: Path,
    config: DemoConfig,
    test: Deployment,
    errors: dict[str, Any],
    facts: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    np.savez(folder / "errors.npz", **{key: value.numpy() for key, value in errors.items()})
    radio_map_io.save(test.maps.radio, folder / "test")
    tile = os.path.relpath(test.tile.folder.resolve(), folder.resolve())  # runs and data may be moved together
    (folder / "artefacts.json").write_text(json.dumps({"test": {"tile": tile, "radio": "test"}}))
    versions = {name: version(name) for name in ("torch", "drjit", "mitsuba", "sionna-rt", "lightning", "zarr")}
    metrics = {
        **metric_tables(errors, config.test),
        "training": facts,
        "seed": config.seed,
        "versions": versions | {"python": platform.python_version()},
        "stages": seconds,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
