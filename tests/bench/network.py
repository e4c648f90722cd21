"""A network of 64 sites and 192 cells on a real city: radio map, atlas and one fix, per cell, and the peak memory."""

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

import scenes
import sim_bridge
from sim_bridge.chains.config import AtlasConfig
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.sites import cells_of
from uel.radio.tracing_config import TracingConfig

CITY, SIZE, SITES, SECTORS, PIXEL = "munich", 512.0, 64, 3, 8.0
TRACING = TracingConfig(max_depth=2, samples=10_000, map_rays=200_000, map_batches=4)
ATLAS = AtlasConfig(depth=TRACING.max_depth, pixel=32.0, rays=20_000, audit=0)
GIBIBYTE = 2**20  # of the kibibytes that Linux counts


def run(count: int = SITES) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        tile = scenes.build(CITY, Path(folder) / CITY, size=SIZE, margin=0.0, progress=False)
        sites = scenes.place(tile, count, seed=0, sectors=SECTORS)
        cells, memory = len(cells_of(sites)), _peak_gib()
        simulator = sim_bridge.open(tile, sites, TRACING, backend="sionna")
        radio, map_seconds = _timed(lambda: simulator.radio_map(tile.grid(PIXEL)))
        map_memory = _peak_gib() - memory
        specular = sim_bridge.open(tile, sites, replace(TRACING, diffraction=False), backend="sionna")
        _, atlas_seconds = _timed(lambda: specular.build_atlas(ATLAS))
        maps, model = TileMaps.from_tile(tile, radio), ObservationModel()
        at = radio.grid.centres()[maps.prior > 0.5][::97][:1]
        reports = model.observe(radio.pixel_truth(at), maps.power_dbm, torch.Generator().manual_seed(0))
        locator = Locator(LocatorConfig(patches=16), model).eval()
        with torch.no_grad():
            locator(reports, maps)  # warm
            _, fix_seconds = _timed(lambda: locator(reports, maps))
    return {
        "network_cells": cells,
        "network_map_s_per_cell": map_seconds / cells,
        "network_map_mib_per_cell": 1024 * map_memory / cells,
        "network_atlas_s_per_cell": atlas_seconds / cells,
        "network_fix_ms": 1000 * fix_seconds,
        "network_peak_gib": _peak_gib(),
    }


def _timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIBIBYTE
