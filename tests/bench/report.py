"""Reports of a survey at new places: all layers beside the rays alone, eight cells in Munich."""

import torch
from torch import Tensor

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.channel.features import measure_features, serving_features
from sim_bridge.simulator import Sionna, TracingConfig, rt
from tests.bench.common import MASTS, ROUNDS, SIZE, compare, outdoors
from uel.radio.sites import Site, require_sites

TRACKS, LENGTH = 50, 20


def run() -> dict[str, float]:
    places = (*MASTS, (60, -40, 30), (-120, 150, 30))
    sites = tuple(Site(position=(float(x), float(y), float(z))) for x, y, z in places)
    sim = Sionna(rt.load_scene(rt.scene.munich), sites, TracingConfig(samples=30_000, diffraction=False), size=SIZE)
    sim.build_atlas(AtlasConfig(rays=200_000, audit=0))
    generator, count = torch.Generator().manual_seed(0), TRACKS * LENGTH
    where = [outdoors(count, generator) for _ in range(ROUNDS + 1)]
    speed = torch.randn(count, 3, generator=generator)
    rays = FeatureConfig(layers=("rt",))
    whole, bare, _ = compare(
        lambda turn: _survey(sim, where[turn], speed, FeatureConfig()),
        lambda turn: measure_features(sim, where[turn], speed, rays),
        "reports",
    )
    return {
        "munich_reports_per_s": count / whole,
        "rt_reports_per_s": count / bare,
        "phy_sys_ms_per_report": 1e3 * (whole - bare) / count,
    }


def _survey(sim: Sionna, where: Tensor, speed: Tensor, plan: FeatureConfig) -> None:
    found = {
        name: value.unflatten(0, (TRACKS, LENGTH)) for name, value in measure_features(sim, where, speed, plan).items()
    }
    time, valid = (torch.arange(LENGTH) * 0.2).expand(TRACKS, -1), torch.ones(TRACKS, LENGTH, dtype=torch.bool)
    serving_features(found, time, valid, plan, require_sites(sim.sites))
