"""`uel locate RUN REPORT.json`: fixes for reports from a file."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from uel import geojson, report_json
from uel.errors import UelError
from uel.estimates import LEAST
from uel.files import as_json, replace_file
from uel.fix import Fix, pooled
from uel.grid import Grid
from uel.particles import Cloud, Motion, RasterEvidence, followed
from uel.places import places_of
from uel.refine import FineMap, Refinement, refined
from uel.report_json import Timeline
from uel.reports import Reports
from uel.rescore import Rescoring, rescored
from uel.runs import Run
from uel.simulator import Simulator
from uel.sites import Site
from uel.tile import Tile

DRIVES = 3.0  # m/s from which on a phone is taken to be in a car, which does not wander


@dataclass(frozen=True, kw_only=True)
class RayPlan:
    """How hard the ray tracer tries where it is asked; see `sim_bridge.tracing.Tracing`."""

    depth: int = 5
    """interactions on a path at most"""
    samples: int = 20_000
    """rays per cell"""
    scattering: float = 0.3
    """scattering coefficient of walls and ground"""


@dataclass(frozen=True, kw_only=True)
class LocateConfig:
    """Where a phone is: `uel locate runs/demo report.json`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator answers, on the tile that it was judged on"""
    report: tyro.conf.Positional[Path]
    """reports as JSON, see `uel.report_json`"""
    geojson: Path | None = None
    """write the fixes with their candidates and regions here, too; of several reports the last one's"""
    refine: Literal["none", "map", "rt"] = "map"
    """look at undecided fixes again: on the map's finest grid, or also by tracing rays to their likeliest places"""
    refinement: Refinement = field(default_factory=Refinement)
    rescoring: Rescoring = field(default_factory=Rescoring)
    rays: RayPlan = field(default_factory=RayPlan)
    speed: float = 0.0
    """m/s at which the phone moved between its reports, which are then taken together (particles, on refined
    evidence): 1.4 on foot, 10 in a car. 0: every report by itself"""
    particles: int = 2000
    power: float = 0.5
    """of each report's evidence on a track: below 1, because the fading of neighbours is the same in part"""
    seed: int = 1
    """of the particles"""

    def __post_init__(self) -> None:
        if not 0 <= self.speed < 100 or self.particles < 1 or not 0 < self.power <= 1:
            raise UelError(
                "a phone moves at 0 to 100 m/s, by particles, on evidence to a power of at most 1",
                got=f"speed {self.speed}, particles {self.particles}, power {self.power}",
                do="give --speed 1.4, say",
            )
        if self.speed and self.refine != "map":
            raise UelError("reports of a track are taken together on the map", got=self.refine, do="give --refine map")


Tracer = Callable[[Tile, tuple[Site, ...], RayPlan], Simulator]


@dataclass(frozen=True, eq=False)
class Located:
    """One report's answer."""

    time: float
    fix: Fix


def locate(config: LocateConfig, tracer: Tracer) -> Iterator[str]:
    """One line of text for each report: its position and how sure that is; `tracer` opens the ray tracer, if asked.

    Raises `UelError` for bad files.
    """
    run = Run.open(config.run)
    if not config.report.is_file():
        raise UelError("no such report", got=str(config.report), do="give a JSON file, see uel/report_json.py")
    maps = run.maps
    timeline = report_json.read(config.report.read_bytes(), len(maps.radio.gain))
    found = None
    for found in _track(config, run, timeline) if config.speed else _single(config, run, timeline, tracer):
        yield line(found.fix, found.time)
    if config.geojson and found:
        told = geojson.features(found.fix, run.tile, maps.radio.grid, time=round(found.time, 3))
        replace_file(config.geojson, as_json(told))


def _single(config: LocateConfig, run: Run, timeline: Timeline, tracer: Tracer) -> Iterator[Located]:
    """Every report by itself."""
    maps = run.maps
    fine = FineMap.of(maps, run.locator.config.patches)
    simulator = tracer(run.tile, maps.radio.sites, config.rays) if config.refine == "rt" else None
    for n, time in enumerate(timeline.time.tolist()):
        yield Located(time, _fixed(config, run, fine, timeline.reports[n : n + 1], simulator))


@torch.no_grad()
def _fixed(config: LocateConfig, run: Run, fine: FineMap, report: Reports, simulator: Simulator | None) -> Fix:
    """A single report's fix, looked at again where that is asked for."""
    maps, model = run.maps, run.locator.measurement
    fix = run.locator(report, maps)
    if config.refine == "none":
        return fix
    answer = refined(fix, report, fine, model, config.refinement)
    if simulator is None or not bool(answer.chosen):
        return answer.fix
    return rescored(answer.fix, report, fine, maps, model, simulator, config.rescoring)


def _track(config: LocateConfig, run: Run, timeline: Timeline) -> Iterator[Located]:
    """All reports up to each, by particles that move as phones do."""
    maps, grid = run.maps, run.maps.radio.grid
    free = places_of(run.tile, maps.radio.sites, (0.0, 1e4), None, False, None)
    motion = Motion(free.grid, free.free, config.speed, wander=config.speed < DRIVES)
    evidence = RasterEvidence(grid, _rasters(config, run, timeline.reports)[None], maps.prior, config.power)
    generator = torch.Generator().manual_seed(config.seed)
    clouds = followed(evidence, grid, motion, timeline.time[None], config.particles, generator)
    for time, cloud in zip(timeline.time.tolist(), clouds, strict=True):
        yield Located(time, _summed(cloud, grid, run.locator.config.patches))


@torch.no_grad()
def _rasters(config: LocateConfig, run: Run, reports: Reports) -> Float[Tensor, "report row column"]:
    """Log-probability of the pixels by each report."""
    fine = FineMap.of(run.maps, run.locator.config.patches)
    always = replace(config.refinement, entropy=0.0)
    ones = [reports[n : n + 1] for n in range(len(reports))]
    answers = [refined(run.locator(one, run.maps), one, fine, run.locator.measurement, always) for one in ones]
    return torch.cat([answer.pixels.probability for answer in answers]).clamp(min=LEAST).log()


def _summed(cloud: Cloud, grid: Grid, patches: int) -> Fix:
    """A cloud of particles as one Gaussian per patch."""
    row, column = grid.pixel_of(cloud.position[0])
    share = torch.zeros(grid.count**2).index_add(0, row * grid.count + column, cloud.weight[0])
    return pooled(share.clamp(min=LEAST).log().view(1, *grid.shape), grid, patches)


def line(fix: Fix, time: float) -> str:
    """Position in metres, its covariance in m², and the likeliest candidates, as one line of JSON."""
    where, likely, _ = fix.candidates(geojson.CANDIDATES)
    candidates = [
        {"position": [round(v, 1) for v in xy], "probability": round(p, 4)}
        for xy, p in zip(where[0].tolist(), likely[0].tolist(), strict=True)
    ]
    told = {
        "time": round(time, 3),
        "position": [round(v, 1) for v in fix.position[0].tolist()],
        "covariance": [[round(v, 1) for v in row] for row in fix.covariance[0].tolist()],
        "candidates": candidates,
    }
    return json.dumps(told)
