"""`uel train`: a locator trained on many deployments, with right and wrong maps."""

import logging
import os
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from sim_bridge.backend.runtime import use_gpu_of_rank
from sim_bridge.engines.config import ENGINE_FIELDS, without_engine
from training.cache import StageCache, digest
from training.commands.config import TrainConfig
from training.commands.deployments import deployment_units, make_deployment, prepare_deployments
from training.locator.callbacks import FixDrawing
from training.locator.fit import discard_training, first_process, fit, require_no_other_training
from training.locator.fit_map_restorer import fit_restorer
from training.locator.setup import LocatorTrainingConfig
from training.pipeline.map_adaptation import adapt_deployment
from uel.config import save
from uel.core.display.progress import with_progress
from uel.core.files.folder_names import run_folder
from uel.core.files.locks import folder_lock
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, replace_file
from uel.core.outside.json_text import read_json_object
from uel.inference.deployment import Deployment
from uel.inference.run_folder import write_run
from uel.measurement.model import ObservationModel
from uel.models.config import RESTORER_FILE as RESTORER
from uel.models.locator import SCHEMA
from uel.models.map_restorer import SCHEMA as RESTORER_SCHEMA
from uel.models.map_restorer import MapRestorer
from uel.radio.sites import sites_to_json
from uel.results.condition import EXACT_MAPS
from uel.survey.dataset import Survey

_FIELDS_OUTSIDE_KEY = ("run", "watch", "sweep", "wandb_sweep", "overwrite", *ENGINE_FIELDS)
log = logging.getLogger(__name__)


def locator_training_config(config: TrainConfig) -> LocatorTrainingConfig:
    """The configuration of the training of the locator, without its deployments."""
    values = {f.name: getattr(config, f.name) for f in fields(LocatorTrainingConfig)}
    values |= {
        "conditions": config.conditions.positive,
        "measurement": ObservationModel.from_parameters(config.measurement),
    }
    return LocatorTrainingConfig(**values)


def run(config: TrainConfig, draw: FixDrawing | None = None) -> Path | None:
    """Run the stages that are not in the cache, train, and return the run's folder.

    It holds `locator.pt`, `run.json`, the radio map of the first tile to validate on, `config.yaml`, `metrics.csv`,
    `metrics.json` and `training/`; `uel locate`, `eval`, `export` and `explore` take it. A killed run resumes after the
    last whole epoch. Of several processes each calls this; the first one writes, the others return None. A process that
    makes the same run waits for the one that is at it. Raises `UelError` where the folder holds a training of another
    configuration, unless `config.overwrite` says that it is to be removed.

    Example:
        >>> import training
        >>> folder = training.train(training.TrainConfig(run="small"))  # doctest: +SKIP
        >>> training.TrainConfig(validate=("munich@0,0",))  # a city that is trained on
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    use_gpu_of_rank(os.environ)
    folder = run_folder(run_name(config.run))
    require_writable(folder, data_folder())
    with folder_lock(folder) if first_process() else nullcontext():
        if config.overwrite and first_process():
            discard_training(folder / "training")
        require_no_other_training(folder / "training", _configuration_key(config))  # before any map is traced
        return _run(config, folder, draw)


def _run(config: TrainConfig, folder: Path, draw: FixDrawing | None) -> Path | None:
    stage_cache = StageCache(data_folder())
    units = deployment_units(config)
    count, held_out = sum(not unit.is_validation for unit in units), sum(unit.is_validation for unit in units)
    conditions, steps = len({EXACT_MAPS, *config.conditions.positive}), config.training.steps
    plan = (
        "train: %d deployments, %d to validate on, maps of %d conditions each (those made before are reused), %d steps"
    )
    log.info(plan, count, held_out, conditions, steps)
    prepare_deployments(config, units)
    deployments = [make_deployment(config, stage_cache, unit) for unit in with_progress(units, "maps")]
    train, validate = deployments[:count], deployments[count:]
    restorer_folder = _restorer(config, stage_cache, train, validate)
    if config.locator.corrected_maps:
        train, validate = (
            _adapt_deployments(config, stage_cache, deployments, restorer_folder) for deployments in (train, validate)
        )
    survey = Survey.open(config.survey) if config.survey else None
    key = {
        **_configuration_key(config),
        "tiles": [deployment.tile.fingerprint for deployment in (*train, *validate)],
        "survey": digest(survey.manifest.plan) if survey else "",
    }
    locator, facts = fit(folder / "training", key, locator_training_config(config), train, validate, survey, draw)
    if not first_process():
        return None
    write_run(folder, locator, validate[0], "uel train")
    if restorer_folder is not None:
        replace_file(folder / RESTORER, (restorer_folder / RESTORER).read_bytes())
    save(replace(without_engine(config), overwrite=False), folder / "config.yaml")
    replace_file(folder / "metrics.csv", (folder / "training" / "metrics.csv").read_bytes())
    parameters = sum(p.numel() for p in locator.parameters())
    metrics = {"training": facts, "parameters": parameters, "stages": stage_cache.seconds, "seed": config.seed}
    if restorer_folder is not None:
        metrics["restorer"] = read_json_object(restorer_folder / "restorer.json")
    replace_file(folder / "metrics.json", as_json(metrics))
    return folder


def _configuration_key(config: TrainConfig) -> dict[str, Any]:
    """The part of a training's key that is known before its tiles are made."""
    named = {name: value for name, value in asdict(config).items() if name not in _FIELDS_OUTSIDE_KEY}
    return {"schema": SCHEMA, "config": named}


def run_name(run: str) -> str:
    """A run's name; the agents of a wandb sweep, which all give the same one, append their own."""
    agent = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    return f"{run}-{agent}" if agent else run


def _restorer(
    config: TrainConfig, stage_cache: StageCache, train: list[Deployment], validate: list[Deployment]
) -> Path | None:
    """The folder of the trained map restorer, or None if none is configured."""
    if (
        not config.locator.corrected_maps
        or not config.map_restorer.steps
        or set(config.conditions.positive) == {EXACT_MAPS}
    ):
        return None
    key = {
        "schema": RESTORER_SCHEMA,
        "deployments": [_deployment_key(deployment) for deployment in (*train, *validate)],
        "maps": asdict(config.maps),
        "conditions": list(config.conditions.positive),
        "map_restorer": asdict(config.map_restorer),
        "model": asdict(config.measurement),
        "seed": config.seed,
    }
    device = torch.device("cuda" if config.hardware.accelerator == "gpu" else "cpu")
    return stage_cache.make(
        "restorer",
        key,
        lambda out: fit_restorer(
            config.map_restorer,
            train,
            validate,
            ObservationModel.from_parameters(config.measurement),
            config.seed,
            out,
            device,
        ),
        resumable=True,
    )


def _adapt_deployments(
    config: TrainConfig, stage_cache: StageCache, deployments: list[Deployment], restorer: Path | None
) -> list[Deployment]:
    """Deployments with corrected maps, under each condition."""
    network, adapted = restorer and MapRestorer.load(restorer), list[Deployment]()
    for index, deployment in enumerate(with_progress(deployments, "correcting maps")):
        key = {**_deployment_key(deployment), "maps": asdict(config.maps), "restorer": restorer and restorer.name}
        adapted.append(
            adapt_deployment(
                deployment,
                config.conditions.positive,
                config.map_adaptation,
                ObservationModel.from_parameters(config.measurement),
                network,
                key,
                index,
                stage_cache,
            )
        )
    return adapted


def _deployment_key(deployment: Deployment) -> dict[str, Any]:
    """The identity of a deployment in cache keys."""
    return {"tile": deployment.tile.fingerprint, "sites": sites_to_json(deployment.maps.radio.sites)}
