"""`uel train`: a locator out of many worlds, the maps it is given being right or wrong."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from sim_bridge.survey.worker import TileWithSites
from training.cache import StageCache, digest
from training.commands.config import TrainConfig
from training.data.config import EXACT_MAPS
from training.data.deployment import Deployment
from training.locator.callbacks import FixDrawing
from training.locator.fit import first_process, fit
from training.locator.fit_map_restorer import fit_restorer
from training.locator.setup import LocatorTrainingConfig
from training.pipeline.map_adaptation import adapt_deployment
from training.pipeline.map_conditions import maps_for_condition
from training.pipeline.scene_pipeline import (
    live_simulator,
    open_tile,
    place_sites,
    track_survey,
)
from uel.config import save
from uel.core.io import as_json, data_folder, replace_file
from uel.geo.tile import Tile
from uel.measurement.model import ObservationModel
from uel.models.config import RESTORER_FILE as RESTORER
from uel.models.locator import SCHEMA, require_nesting
from uel.models.map_restorer import SCHEMA as RESTORER_SCHEMA
from uel.models.map_restorer import MapRestorer
from uel.radio.sites import Site, sites_to_json
from uel.survey.dataset import Survey

VALIDATION_SEED = 10_000  # of the masts on places to validate on, beyond those on places to train on


def locator_training_config(config: TrainConfig) -> LocatorTrainingConfig:
    """What the training of the locator depends on, without its deployments."""
    same = {f.name: getattr(config, f.name) for f in fields(LocatorTrainingConfig)}
    same |= {"conditions": config.conditions.positive, "measurement": ObservationModel.of(config.measurement)}
    return LocatorTrainingConfig(**same)


def run(config: TrainConfig, draw: FixDrawing | None = None) -> Path | None:
    """Make what is not there yet, train, and return the run's folder.

    It holds `locator.pt`, `config.yaml`, `metrics.csv`, `metrics.json` and `training/`. Killed, the same call goes on
    after the last whole epoch. Of several processes each calls this; the first one writes, the others return None.
    """
    folder = Path("runs") / run_name(config.run)
    stages = StageCache(data_folder())
    train = list(_deployments(config, stages, config.train, live=config.training.uses_ray_tracer))
    validate = list(_deployments(config, stages, config.validate))
    at = _restorer(config, stages, train, validate)
    if config.locator.corrected_maps:
        train, validate = (_adapted(config, stages, worlds, at) for worlds in (train, validate))
    survey = Survey.open(config.survey) if config.survey else None
    key = {
        "schema": SCHEMA,
        "config": {k: v for k, v in asdict(config).items() if k not in ("run", "watch", "sweep", "wandb_sweep")},
        "tiles": [world.tile.fingerprint for world in (*train, *validate)],
        "survey": digest(survey.manifest.plan) if survey else "",
    }
    locator, facts = fit(
        folder / "training", digest(key), locator_training_config(config), train, validate, survey, draw
    )
    if not first_process():
        return None
    locator.save(folder)
    if at is not None:
        shutil.copyfile(at / RESTORER, folder / RESTORER)
    save(config, folder / "config.yaml")
    shutil.copyfile(folder / "training" / "metrics.csv", folder / "metrics.csv")
    parameters = sum(p.numel() for p in locator.parameters())
    told = {"training": facts, "parameters": parameters, "stages": stages.seconds, "seed": config.seed}
    if at is not None:
        told["restorer"] = json.loads((at / "restorer.json").read_text())
    replace_file(folder / "metrics.json", as_json(told))
    return folder


def run_name(run: str) -> str:
    """A run's name; the agents of a wandb sweep, which all give the same one, add their own."""
    agent = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    return f"{run}-{agent}" if agent else run


def _deployments(
    config: TrainConfig, stages: StageCache, places: tuple[str, ...], live: bool = False
) -> Iterator[Deployment]:
    """Every set of masts on every place."""
    sets = config.deployments if places == config.train else config.validate_deployments
    chosen = [(place, number) for place in places for number in range(sets)]
    for index, (place, number) in enumerate(track(chosen, "maps of places", transient=True)):
        tile = open_tile(place, config.size, config.margin, stages)
        require_nesting(tile.grid(config.maps.pixel), config.locator.patches)
        yield _deployment(config, stages, tile, index, number, live, places != config.train)


def _deployment(
    config: TrainConfig, stages: StageCache, tile: Tile, index: int, number: int, live: bool, validate: bool
) -> Deployment:
    """A tile with a set of masts, its maps under every condition that has a weight, and its traced truth."""
    seed = config.seed + index + VALIDATION_SEED * validate
    place = TileWithSites(tile, _sites(config, tile, index, number, seed))
    maps = {
        name: maps_for_condition(name, tile, place.sites, config.maps, stages, seed)
        for name in dict.fromkeys((EXACT_MAPS, *config.conditions.positive))
    }
    network = {"tile": tile.fingerprint, "sites": [asdict(site) for site in place.sites], "seed": seed}
    tracing, survey, simulator = config.maps.tracing, None, None
    if config.training.traced_fraction and (validate or config.survey is None):
        key = {**network, "tracing": asdict(tracing), "plan": asdict(config.tracks)}
        survey = track_survey(f"survey-{tile.name}", key, place, config.tracks, tracing, seed, stages)
    if live:
        simulator = live_simulator(
            f"atlas-{tile.name}", network, place, config.training.live_tracing(tracing), config.atlas, stages
        )
    return Deployment(tile, maps.pop(EXACT_MAPS), survey, simulator, maps)


def _restorer(
    config: TrainConfig, stages: StageCache, train: list[Deployment], validate: list[Deployment]
) -> Path | None:
    """The folder of a network that learned how these maps are wrong, where one is asked for."""
    if (
        not config.locator.corrected_maps
        or not config.map_restorer.steps
        or set(config.conditions.positive) == {EXACT_MAPS}
    ):
        return None
    key = {
        "schema": RESTORER_SCHEMA,
        "worlds": [_deployment_key(world) for world in (*train, *validate)],
        "maps": asdict(config.maps),
        "conditions": list(config.conditions.positive),
        "map_restorer": asdict(config.map_restorer),
        "model": asdict(config.measurement),
        "seed": config.seed,
    }
    device = torch.device("cuda" if config.hardware.accelerator == "gpu" else "cpu")
    return stages.make(
        "restorer",
        key,
        lambda out: fit_restorer(
            config.map_restorer, train, validate, ObservationModel.of(config.measurement), config.seed, out, device
        ),
        resumable=True,
    )


def _adapted(
    config: TrainConfig, stages: StageCache, worlds: list[Deployment], restorer: Path | None
) -> list[Deployment]:
    """Worlds whose maps are put right, under each condition."""
    network, found = restorer and MapRestorer.load(restorer), list[Deployment]()
    for index, world in enumerate(track(worlds, "putting maps right", transient=True)):
        key = {**_deployment_key(world), "maps": asdict(config.maps), "restorer": restorer and restorer.name}
        found.append(
            adapt_deployment(
                world,
                config.conditions.positive,
                config.map_adaptation,
                ObservationModel.of(config.measurement),
                network,
                key,
                index,
                stages,
            )
        )
    return found


def _deployment_key(world: Deployment) -> dict[str, Any]:
    """What tells a world from others."""
    return {"tile": world.tile.fingerprint, "sites": sites_to_json(world.maps.radio.sites)}


def _sites(config: TrainConfig, tile: Tile, index: int, number: int, seed: int) -> tuple[Site, ...]:
    """The folder's own masts where it has some and they are asked for first, else drawn ones."""
    if number == 0 and (tile.folder / "sites.json").is_file():
        return tile.sites
    count = config.site_counts[index % len(config.site_counts)] if config.site_counts else config.sites.count
    return place_sites(tile, replace(config.sites, count=count), seed)
