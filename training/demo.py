"""The main job, end to end: real cities → tiles → radio maps → surveys → a locator → its distance to the limit."""

import json
import logging
import math
import platform
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import scenes
from scenes.bundled import scene_file
from sim_bridge.atlas import Atlas, AtlasPlan
from sim_bridge.measure import MeasurePlan
from sim_bridge.survey import Place, SurveyPlan, Work, survey_here
from sim_bridge.tracer import Sionna, Tracing
from sim_bridge.tracer import open as open_simulator
from training.evaluate import EvalPlan, evaluate, example, tables
from training.fit import fit
from training.stages import Stages, digest
from training.task import TrainPlan
from training.world import World
from uel.errors import UelError
from uel.folders import data_folder
from uel.grid import Grid
from uel.locator import Locator, LocatorConfig, require_nesting
from uel.maps import Maps
from uel.measurement import MeasurementModel
from uel.radiomap import RadioMap
from uel.sites import Site, sites_from_json, sites_to_json
from uel.survey import Survey
from uel.tile import Tile
from uel.tracks import TrackPlan

log = logging.getLogger(__name__)

RASTER = 1.0  # m, pixel of a tile's rasters


@dataclass(frozen=True, kw_only=True)
class SitePlan:
    """Sites on each tile."""

    count: int = 8
    """rooftop sites"""
    sectors: int = 1
    """cells on each site; more than one are sectors of 120° elements"""
    mast: float = 8.0
    """m of the antenna above the roof"""

    def __post_init__(self) -> None:
        if min(self.count, self.sectors) < 1 or not 0 < self.mast < math.inf:
            raise UelError("a tile needs sites with cells above the roofs", got=self, do="try 8 sites, 1 sector, 8 m")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Everything the demo depends on. Tiles are written `city@x,y`: the centre in the city's own metres."""

    run: str = "demo"
    """name of the folder under `runs/`"""
    seed: int = 1
    """seed of sites, tracks, fading, network and rays"""
    train: tuple[str, ...] = ("munich@-300,-150", "munich@0,0", "san_francisco@0,0")
    """tiles to train on"""
    validate: str = "etoile@0,0"
    """tile to choose the best epoch on"""
    test: str = "florence@0,100"
    """unseen city to judge on"""
    size: float = 512.0
    """m, side of a tile"""
    margin: float = 128.0
    """m of city kept around a tile, so that rays do not fall off its edge"""
    pixel: float = 4.0
    """m, pixel of radio maps"""
    sites: SitePlan = field(default_factory=SitePlan)
    tracing: Tracing = field(default_factory=Tracing)
    atlas: AtlasPlan = field(default_factory=lambda: AtlasPlan(rays=300_000))
    """chains of walls kept for the ray tracing in training"""
    survey: TrackPlan = field(default_factory=TrackPlan)
    """tracks on each training and validation tile"""
    test_survey: TrackPlan = field(default_factory=lambda: TrackPlan(tracks=256))
    """tracks on the test tile"""
    measurement: MeasurementModel = field(default_factory=MeasurementModel)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: TrainPlan = field(default_factory=TrainPlan)
    evaluation: EvalPlan = field(default_factory=EvalPlan)

    def __post_init__(self) -> None:
        # Whatever can be wrong is said now, not after the stages before it.
        if not self.train:
            raise UelError("nothing to train on", got="train=()", do="name at least one tile, munich@0,0 say")
        _require_unseen(self.test, (*self.train, self.validate))
        _require_raster(self.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.pixel), self.locator.patches)


def _require_unseen(test: str, others: tuple[str, ...]) -> None:
    """Every place is known, and the test city is none of the others."""
    cities = {name: parse_place(name)[0] for name in (*others, test)}
    for city in cities.values():
        scene_file(city)
    seen = [name for name in others if cities[name] == cities[test]]
    if seen:
        raise UelError(
            "the test city must be unseen",
            got=f"test {test}, train and validate {', '.join(others)}",
            do=f"test on another city, or take {', '.join(seen)} out of train and validate",
        )


def _require_raster(pixel: float, size: float) -> None:
    """Pixels of maps are whole pixels of the tile's rasters."""
    Grid(size=size, pixel=RASTER)
    if pixel < RASTER or pixel % RASTER:
        raise UelError(
            "pixels must nest in the tile's rasters",
            got=f"pixel {pixel} m over {RASTER} m",
            do=f"choose a multiple of {RASTER:g} m that divides the size, for example 4 m",
        )


def parse_place(text: str) -> tuple[str, tuple[float, float]]:
    """ "city@x,y" → city and centre in metres; the centre is (0, 0) when it is left out."""
    city, _, centre = text.partition("@")
    try:
        x, y = (float(v) for v in (centre or "0,0").split(","))
        if not math.isfinite(x + y):
            raise ValueError("not finite")
    except ValueError as error:
        raise UelError(
            "cannot read this place", got=repr(text), do="write city@x,y, for example munich@-300,-150"
        ) from error
    return city, (x, y)


def run(config: DemoConfig) -> Path:
    """Run every stage that is not there yet and return the run's folder."""
    start = time.perf_counter()
    torch.manual_seed(config.seed)
    stages = Stages(data_folder())
    folder = Path("runs") / config.run
    folder.mkdir(parents=True, exist_ok=True)
    train = [build_world(config, stages, name, config.survey, live=True) for name in config.train]
    validate = build_world(config, stages, config.validate, config.survey)
    test = build_world(config, stages, config.test, config.test_survey)
    key = {
        "config": _without(config, "run", "test", "test_survey", "evaluation"),
        "data": _provenance([*train, validate]),
    }
    locator, facts = fit(folder / "training", digest(key), config, train, validate)
    locator.save(folder)
    judge(folder, digest([key, asdict(config), test.tile.fingerprint]), config, test, locator, facts, stages.seconds)
    log.info("demo finished in %.0f s", time.perf_counter() - start)
    return folder


def judge(
    folder: Path,
    key: str,
    config: DemoConfig,
    test: World,
    locator: Locator,
    facts: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    """Evaluate on the unseen city and write metrics.json, errors.npz and example.npz, or reuse those of this `key`."""
    mark = folder / "judged"
    if mark.is_file() and mark.read_text() == key:
        log.info("evaluation: reusing %s", folder)
        return
    mark.unlink(missing_ok=True)
    log.info("evaluation: on %s", config.test)
    start = time.perf_counter()
    errors = evaluate(locator, test, config.measurement, config.evaluation, config.seed)
    np.savez(folder / "example.npz", **example(locator, test, config.measurement, config.seed))
    seconds = seconds | {"training": facts["wall_s"], "evaluation": round(time.perf_counter() - start, 1)}
    _write(folder, config, test, errors, facts, seconds)
    mark.write_text(key)


def build_world(config: DemoConfig, stages: Stages, name: str, plan: TrackPlan, live: bool = False) -> World:
    """Tile, sites, radio map and survey of one place, made or reused; `live` keeps a simulator for training."""
    city, centre = parse_place(name)
    geometry = {"place": name, "size": config.size, "margin": config.margin}
    at = stages.make(
        f"tile-{name}",
        geometry,
        lambda out: _build_tile(city, centre, config, out),
    )
    tile = Tile.open(at / "tile")
    network = {**geometry, "tile": tile.fingerprint, "sites": asdict(config.sites), "seed": config.seed}
    traced = {**network, "tracing": asdict(config.tracing)}
    sites = _place(tile, config)
    radio_at = stages.make(
        f"map-{name}",
        {**traced, "pixel": config.pixel},
        lambda out: _simulator(tile, sites, config).radio_map(tile.grid(config.pixel)).save(out),
    )
    survey_at = stages.make(
        f"survey-{name}",
        {**traced, "plan": asdict(plan)},
        lambda out: _survey(Place(tile, sites), plan, config, out / "survey"),
    )
    maps = Maps.of(tile, RadioMap.load(radio_at))
    simulator = _live_simulator(tile, sites, config, stages, name, network) if live else None
    return World(tile, maps, Survey.open(survey_at / "survey")[tile.name], simulator)


def _build_tile(city: str, centre: tuple[float, float], config: DemoConfig, out: Path) -> None:
    scenes.build(city, out / "tile", center=centre, size=config.size, margin=config.margin, pixel=RASTER)


def _place(tile: Tile, config: DemoConfig) -> tuple[Site, ...]:
    sites = scenes.place(
        tile, config.sites.count, seed=config.seed, sectors=config.sites.sectors, mast=config.sites.mast
    )
    return sites_from_json(json.loads(json.dumps(sites_to_json(sites))))


def _survey(place: Place, tracks: TrackPlan, config: DemoConfig, out: Path) -> None:
    """Paths alone: what a phone makes of them is drawn on read."""
    rays = MeasurePlan(layers=("rt",))
    survey_here(Work(out, (place,), SurveyPlan(tracks=tracks, measure=rays, tracing=config.tracing, seed=config.seed)))


def _simulator(tile: Tile, sites: tuple[Site, ...], config: DemoConfig) -> Sionna:
    return open_simulator(tile, sites, config.tracing)


def _live_simulator(
    tile: Tile, sites: tuple[Site, ...], config: DemoConfig, stages: Stages, name: str, network: dict[str, Any]
) -> Sionna:
    """The ray tracer that the loss asks, with an atlas of chains unless it is to diffract."""
    plan = config.training
    # Scattered paths are many and weak, and their backward pass is slow: the loss follows the others.
    tracing = {"samples": plan.rt_samples, "max_depth": plan.rt_depth, "scattering": 0.0}
    tracing |= {"diffraction": plan.rt_diffraction, "chunk": plan.batch * plan.candidates, "max_paths": 100_000}
    simulator = open_simulator(tile, sites, replace(config.tracing, **tracing))
    if not plan.rt_diffraction:
        atlas = replace(config.atlas, depth=plan.rt_depth)
        at = stages.make(
            f"atlas-{name}", {**network, "atlas": asdict(atlas)}, lambda out: simulator.build_atlas(atlas).save(out)
        )
        simulator.use(Atlas.load(at))
    return simulator


def _without(config: DemoConfig, *names: str) -> dict[str, Any]:
    return {k: v for k, v in asdict(config).items() if k not in names}


def _provenance(worlds: list[World]) -> list[str]:
    return [world.tile.fingerprint for world in worlds]


def _write(
    folder: Path,
    config: DemoConfig,
    test: World,
    errors: dict[str, Any],
    facts: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    np.savez(folder / "errors.npz", **{key: value.numpy() for key, value in errors.items()})
    test.maps.radio.save(folder / "test")
    tile = test.tile.folder.resolve()
    (folder / "artefacts.json").write_text(json.dumps({"test": {"tile": str(tile), "radio": "test"}}))
    versions = {name: version(name) for name in ("torch", "drjit", "mitsuba", "sionna-rt", "lightning", "zarr")}
    metrics = {
        **tables(errors, config.test),
        "training": facts,
        "seed": config.seed,
        "versions": versions | {"python": platform.python_version()},
        "stages": seconds,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
