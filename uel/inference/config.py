"""Configurations of `uel locate` and `uel export`; no framework is imported here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from uel.errors import UelError
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.measurement.columns import ColumnConfig
from uel.models.config import RESTORER_FILE as RESTORER


@dataclass(frozen=True, kw_only=True)
class RayTracingConfig:
    """How hard the ray tracer tries where it is asked; see `sim_bridge.scene.tracing_config.TracingConfig`."""

    depth: int = 5
    """interactions on a path at most"""
    samples: int = 20_000
    """rays per cell"""
    scattering: float = 0.3
    """scattering coefficient of walls and ground"""
    map_rays: int = 20_000_000
    """rays per cell of a map that is traced anew"""


@dataclass(frozen=True, kw_only=True)
class LocateConfig:
    """Where a phone is: `uel locate runs/demo report.json`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator answers, on the tile that it was judged on"""
    report: tyro.conf.Positional[Path]
    """reports as JSON, see `uel.measurement.report_io`"""
    geojson: Path | None = None
    """write the fixes with their candidates and regions here, too; of several reports the last one's"""
    refine: Literal["none", "map", "rt"] = "map"
    """look at undecided fixes again: on the map's finest grid, or also by tracing rays to their likeliest places"""
    labelled_reports: Path | None = None
    """reports of this place that say where they were sent from (JSON as above with `position`, or a drive's .csv or
    .csv.gz): they put the map and its antennas right first, on which fixes are then looked at again"""
    restorer: Path | None = None
    """folder of a run of `uel train` whose network has learned how maps are wrong (`restorer.pt`; this run's own, if it
    has one): labelled reports are asked about the map that it makes of this place's, too"""
    fit_mast_heights: bool = False
    """labelled reports also tell how high masts stand, by tracing maps anew: thirteen by a tenth of all
    rays and one by all, some minutes"""
    columns: ColumnConfig = field(default_factory=ColumnConfig)
    """of a drive's table"""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    rescoring: RayRescoringConfig = field(default_factory=RayRescoringConfig)
    rays: RayTracingConfig = field(default_factory=RayTracingConfig)
    speed: float = 0.0
    """m/s at which the phone moved between its reports, which are then taken together (particles, on refined
    evidence): 1.4 on foot, 10 in a car. 0: every report by itself"""
    particles: int = 4000
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
        if self.labelled_reports and self.refine == "none":
            got = f"--labelled-reports {self.labelled_reports} --refine none"
            raise UelError("a map put right is for refining fixes on", got=got, do="leave out one of them")
        if self.fit_mast_heights and not self.labelled_reports:
            raise UelError("--fit-mast-heights needs labelled reports", got="none", do="add --labelled-reports FILE")
        if self.restorer and not self.labelled_reports:
            raise UelError(
                "--restorer needs labelled reports to judge its map by", got="none", do="add --labelled-reports FILE"
            )
        if self.restorer and not (self.restorer / RESTORER).is_file():
            do = "give a run of a locator of mended maps: uel train --config train/small"
            raise UelError(f"no {RESTORER} here", got=str(self.restorer), do=do)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a locator for deployment: `uel export runs/demo`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator is exported"""
    tile: Path | None = None
    """folder of the tile where it is to locate; the run's own unless given"""
    radio: Path | None = None
    """folder of that tile's radio map (`uel map`)"""
    out: Path | None = None
    """file to write; locator.pt2 in the run's folder unless given"""

    def __post_init__(self) -> None:
        if (self.tile is None) != (self.radio is None):
            raise UelError("a tile and its radio map come together", got=self, do="give --tile and --radio, or neither")
