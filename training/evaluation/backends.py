"""Backends of evaluation deployments: maps and ray-traced link truth of a tile, made once and kept."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.simulator import open as open_simulator
from training.cache import StageCache
from training.pipeline.config import MapConditionConfig
from training.pipeline.map_conditions import map_factory, maps_for_condition
from uel.adaptation.mast_heights import MapFactory
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Simulator
from uel.radio.sites import Site, sites_to_json

RESCORING_SEED_OFFSET = 7919  # added to the seed of the truth's rays, so that re-scoring uses others
POSITIONS_PER_STAGE = 512  # positions of one stage of tracing, so that a killed run loses little


@runtime_checkable
class ScenarioBackend(Protocol):
    """The source of a deployment's maps and ray-traced truth."""

    @property
    def tile(self) -> Tile: ...

    @property
    def sites(self) -> tuple[Site, ...]: ...

    def maps(self, condition: str, seed: int) -> TileMaps:
        """Maps of all sites under a map condition."""
        ...

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        """The ray-traced link truth at positions."""
        ...

    def map_factory(self, condition: str, seed: int) -> MapFactory:
        """A factory of more maps with the assumptions of a map condition."""
        ...

    @property
    def simulator(self) -> Simulator:
        """The ray tracer of the true deployment, for live queries."""
        ...


@dataclass(frozen=True, eq=False)
class RayTracedBackend:
    """A tile in the ray tracer; all results are kept in a stage cache."""

    tile: Tile
    sites: tuple[Site, ...]
    config: MapConditionConfig
    stage_cache: StageCache

    def maps(self, condition: str, seed: int) -> TileMaps:
        return maps_for_condition(condition, self.tile, self.sites, self.config, self.stage_cache, seed)

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        return LinkTruth.cat([self._trace_chunk(part) for part in position.split(POSITIONS_PER_STAGE)])

    def map_factory(self, condition: str, seed: int) -> MapFactory:
        return map_factory(condition, self.tile, self.sites, self.config, self.stage_cache, seed)

    def _trace_chunk(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        tracing = asdict(self.config.tracing)
        key = {"tile": self.tile.fingerprint, "sites": sites_to_json(self.sites), "tracing": tracing}
        folder = self.stage_cache.make(
            f"paths-{self.tile.name}", key | {"at": position.tolist()}, lambda out: self._save(position, out)
        )
        with np.load(folder / "truth.npz") as stored:
            return LinkTruth(**{name: torch.from_numpy(stored[name]) for name in stored.files})

    def _save(self, position: Float[Tensor, "n 2"], out: Path) -> None:
        truth = self._simulator.paths(position)
        np.savez(out / "truth.npz", **{name: value.numpy() for name, value in vars(truth).items()})

    @cached_property
    def _simulator(self):
        return open_simulator(self.tile, self.sites, self.config.tracing)

    @property
    def simulator(self) -> Simulator:
        return self._rescoring_simulator

    @cached_property
    def _rescoring_simulator(self):
        tracing = replace(self.config.tracing, seed=self.config.tracing.seed + RESCORING_SEED_OFFSET)
        return open_simulator(self.tile, self.sites, tracing)


class CachedBackend:
    """A backend that keeps maps in memory for later conditions."""

    def __init__(self, backend: ScenarioBackend) -> None:
        self.backend, self.tile, self.sites = backend, backend.tile, backend.sites
        self._maps: dict[tuple[str, int], TileMaps] = {}

    def maps(self, condition: str, seed: int) -> TileMaps:
        if (condition, seed) not in self._maps:
            self._maps[condition, seed] = self.backend.maps(condition, seed)
        return self._maps[condition, seed]

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        return self.backend.trace(position)

    def map_factory(self, condition: str, seed: int) -> MapFactory:
        return self.backend.map_factory(condition, seed)

    @property
    def simulator(self) -> Simulator:
        return self.backend.simulator
