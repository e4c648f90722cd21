"""Deployments in the ray tracer: maps of every map condition and link truth, made once and kept in a stage cache."""

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.chains.config import LINKS_TO_PAY, AtlasConfig
from sim_bridge.registry import open as open_simulator
from sim_bridge.survey.worker import TileWithSites
from training.cache import StageCache
from training.pipeline.config import MapConditionConfig
from training.pipeline.map_conditions import map_factory, maps_for_condition
from training.pipeline.scene_pipeline import simulator_with_atlas
from uel.adaptation.mast_heights import MapFactory
from uel.core.io import array_bytes, replace_file
from uel.core.outside.array_files import read_arrays
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import DeferredSimulator, Simulator
from uel.radio.sites import Site, cells_of, sites_to_json
from uel.radio.tracing_config import tracing_key
from uel.results.condition import EXACT_MAPS

LIVE_SEED_OFFSET = 7919  # added to the seed of the truth's rays, so that live queries use others
TRUTH_ATLAS = AtlasConfig(rays=200_000, audit=16)  # of traced truths of so many links that it pays
POSITIONS_PER_STAGE = 512  # positions of one stage of tracing, so that a killed run loses little


@dataclass(frozen=True, eq=False, kw_only=True)
class TracedDeployment(Deployment):
    """A deployment whose maps and link truth are ray-traced when they are first asked for."""

    config: MapConditionConfig
    stage_cache: StageCache
    seed: int
    """of the errors of wrong maps"""
    _maps: dict[str, TileMaps] = field(default_factory=dict)

    def assumed_maps(self, condition: str) -> TileMaps:
        if condition == EXACT_MAPS:
            return self.maps
        if condition not in self._maps:
            self._maps[condition] = maps_for_condition(
                condition, self.tile, self.sites, self.config, self.stage_cache, self.seed
            )
        return self._maps[condition]

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        by_atlas = len(position) * len(cells_of(self.sites)) >= LINKS_TO_PAY
        return LinkTruth.cat([self._trace_chunk(part, by_atlas) for part in position.split(POSITIONS_PER_STAGE)])

    def map_factory(self, condition: str) -> MapFactory:
        return map_factory(condition, self.tile, self.sites, self.config, self.stage_cache, self.seed)

    def _trace_chunk(self, position: Float[Tensor, "n 2"], by_atlas: bool) -> LinkTruth:
        key = self._network | {"tracing": tracing_key(self.config.tracing)}
        key |= {"atlas": asdict(TRUTH_ATLAS)} if by_atlas else {}
        folder = self.stage_cache.make(
            f"paths-{self.tile.name}",
            key | {"at": position.tolist()},
            lambda out: self._save(position, self._atlas_simulator if by_atlas else self._truth_simulator, out),
        )
        stored = read_arrays(folder / "truth.npz")
        return LinkTruth(**{name: torch.from_numpy(values) for name, values in stored.items()})

    @staticmethod
    def _save(position: Float[Tensor, "n 2"], simulator: Simulator, out: Path) -> None:
        truth = simulator.paths(position)
        replace_file(out / "truth.npz", array_bytes({name: value.numpy() for name, value in vars(truth).items()}))

    @property
    def _network(self) -> dict[str, Any]:
        return {"tile": self.tile.fingerprint, "sites": sites_to_json(self.sites)}

    @cached_property
    def _truth_simulator(self) -> Simulator:
        return open_simulator(self.tile, self.sites, self.config.tracing)

    @cached_property
    def _atlas_simulator(self) -> Simulator:
        place = TileWithSites(self.tile, self.sites)
        name, tracing = f"atlas-{self.tile.name}", self.config.tracing
        return simulator_with_atlas(name, self._network, place, tracing, TRUTH_ATLAS, self.stage_cache, learns=False)


def traced_deployment(
    tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TracedDeployment:
    """A deployment with its exact maps; maps of other conditions and link truth are traced when they are needed.

    Its simulator shoots other rays than the truth's. Raises the errors of the ray tracer for sites and carriers.
    """
    live_tracing = replace(config.tracing, seed=config.tracing.seed + LIVE_SEED_OFFSET)
    return TracedDeployment(
        tile=tile,
        maps=maps_for_condition(EXACT_MAPS, tile, sites, config, stage_cache, seed),
        simulator=DeferredSimulator(sites, lambda: open_simulator(tile, sites, live_tracing)),
        config=config,
        stage_cache=stage_cache,
        seed=seed,
    )
