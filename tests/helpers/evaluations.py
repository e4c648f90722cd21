"""Small evaluations in empty space, where every answer can be written down."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scenes.perturbation import Perturbation
from scenes.variants.map_perturbation import perturb_sites
from tests.helpers.toy_city import SITES, SIZE
from training.evaluation.protocol import EvalConfig
from training.evaluation.scenarios import EvaluationScenario
from training.pipeline.config import MapConditionConfig
from training.pipeline.map_conditions import no_radio_map
from uel.adaptation.mast_heights import MapFactory
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.models.config import LocatorConfig
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site

PLAN = MapConditionConfig(pixel=8.0)
SIZES = LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class EmptySpace(Deployment):
    """A deployment in empty space; its sites may be assumed elsewhere, or the map be missing."""

    seed: int

    def assumed_maps(self, condition: str) -> TileMaps:
        if condition == "no_radio_map":
            return TileMaps.from_tile(self.tile, no_radio_map(self.tile, self.sites, PLAN))
        wrong = Perturbation(azimuth_deg=10.0, antenna_height=3.0) if condition == "wrong_sites" else Perturbation()
        sites, _ = perturb_sites(self.sites, wrong, self.seed)
        return empty_maps(self.tile, sites)

    def map_factory(self, condition: str) -> MapFactory:
        def trace(sites, _):
            return empty_maps(self.tile, sites).radio

        return MapFactory(trace, (15.0,) * len(self.sites))


def empty_maps(tile: Tile, sites: tuple[Site, ...]) -> TileMaps:
    return TileMaps.from_tile(tile, FreeSpace(sites, size=SIZE).radio_map(tile.grid(PLAN.pixel)))


def empty_space(tile: Tile, seed: int) -> EmptySpace:
    return EmptySpace(tile=tile, maps=empty_maps(tile, SITES), simulator=FreeSpace(SITES, size=SIZE), seed=seed)


ONE = {
    "truths": ("map",), "tiers": ("rsrp_ta_azimuth",), "conditions": (), "sigmas": (), "correlations": (), "cells": (),
    "dropouts": (), "sites": (4,), "speeds": (), "deployments": 1, "controls": False,
}  # fmt: skip
"""one condition of one deployment"""


def config_of(run: Path, **changes: object) -> EvalConfig:
    plain = {
        "run": run, "name": "toy", "phones": 60, "fingerprints": 40, "tracks": 4, "reports": 4, "maps": PLAN,
        "size": SIZE, "tiers": ("rsrp", "rsrp_ta_azimuth"), "axis_tiers": ("rsrp_ta_azimuth",),
        "map_tiers": ("rsrp_ta_azimuth",), "sigmas": (10.0,), "correlations": (0.5,), "cells": (2,), "dropouts": (0.5,),
        "conditions": ("wrong_sites", "no_radio_map"), "sites": (4, 3),
        "carriers": (3.5e9,), "speeds": (0.0, 10.0), "particles": 64, "limit_particles": 128, "deployments": 2,
        "rt": 8,
    }  # fmt: skip
    return EvalConfig(**{**plain, **changes})  # type: ignore[arg-type]


def made(tile: Tile, config: EvalConfig) -> list[Callable[[], EvaluationScenario]]:
    return [partial(empty_scenario, tile, config, seed) for seed in range(config.deployments)]


def empty_scenario(tile: Tile, config: EvalConfig, seed: int) -> EvaluationScenario:
    return EvaluationScenario(f"toy#{seed}", seed, tile, lambda _: empty_space(tile, seed), config)
