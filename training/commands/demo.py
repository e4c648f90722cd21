"""`uel demo`: `uel train` and `uel eval` with a small protocol, on real cities, end to end."""

import logging
import platform
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from sim_bridge.survey.worker import TileWithSites
from training.cache import StageCache
from training.commands import train
from training.commands.config import DemoConfig
from training.evaluation.example_fix import example_fix
from training.evaluation.protocol import protocol_conditions
from training.evaluation.runner import run_protocol
from training.evaluation.scenarios import evaluation_scenarios
from training.pipeline.scene_pipeline import track_survey
from uel.core.files.folder_names import run_folder
from uel.core.files.locks import folder_lock
from uel.core.io import array_bytes, as_json, data_folder, replace_file
from uel.core.outside.json_text import read_json_object
from uel.inference.deployment import Deployment
from uel.inference.run_folder import write_run
from uel.models.locator import Locator
from uel.radio.tracing_config import tracing_key
from uel.results.run_summary import accuracy_tables, base_errors

log = logging.getLogger(__name__)

VERSIONED_PACKAGES = ("torch", "drjit", "mitsuba", "sionna-rt", "lightning", "zarr")
EXAMPLE_TIER = "rsrp_ta_azimuth"
TEST_TRACKS = 32  # tracks on the test tile, for its map and for fixes by hand in `uel explore`


def run(config: DemoConfig) -> Path:
    """Train and evaluate, or reuse what is there, and return the run's folder.

    Example:
        >>> import training
        >>> folder = training.demo(training.DemoConfig(run="mine"))  # doctest: +SKIP
        >>> training.DemoConfig(test="munich@0,0")  # a city that is trained on
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    start = time.perf_counter()
    with folder_lock(run_folder(config.run)):
        folder = train.run(config.train_config)
        assert folder is not None, "the demo runs in one process"
        seconds = time.perf_counter()
        evaluation = run_protocol(config.eval_config)
        _complete_run(folder, evaluation, config, round(time.perf_counter() - seconds, 1))
    log.info("demo finished in %.0f s", time.perf_counter() - start)
    return folder


def _complete_run(folder: Path, evaluation: Path, config: DemoConfig, seconds: float) -> None:
    """Add the evaluation to the run: its tile, its accuracy, and one fix for a picture."""
    locator, stage_cache = Locator.load(folder), StageCache(data_folder())
    (make_scenario,) = evaluation_scenarios(config.eval_config, stage_cache)
    scenario = make_scenario()
    condition = next(c for c in protocol_conditions(scenario.config) if c.tier == EXAMPLE_TIER)
    deployment = scenario.deployment(condition)
    write_run(folder, locator, deployment, "uel demo")
    _trace_test_tracks(deployment, config, stage_cache)
    replace_file(folder / "example.npz", array_bytes(example_fix(locator, scenario, condition)))
    trained = read_json_object(folder / "metrics.json")
    metrics = {
        **trained,
        **accuracy_tables(base_errors(evaluation), config.test),
        "versions": {name: version(name) for name in VERSIONED_PACKAGES} | {"python": platform.python_version()},
        "stages": trained["stages"] | {"training": trained["training"]["wall_s"], "evaluation": seconds},
    }
    replace_file(folder / "metrics.json", as_json(metrics))


def _trace_test_tracks(deployment: Deployment, config: DemoConfig, stage_cache: StageCache) -> None:
    """A survey of the test tile, whose phones `uel explore` shows and locates."""
    place = TileWithSites(deployment.tile, deployment.maps.radio.sites)
    tracks = replace(config.survey, tracks=min(config.survey.tracks, TEST_TRACKS))
    sites = [asdict(site) for site in place.sites]
    key = {"tile": place.tile.fingerprint, "sites": sites, "seed": config.seed, "plan": asdict(tracks)}
    key["tracing"] = tracing_key(config.tracing)
    track_survey(f"survey-{place.tile.name}", key, place, tracks, config.tracing, config.seed, stage_cache)
