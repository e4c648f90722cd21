"""Configurations of `uel locate` and `uel export`; no framework is imported here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.measurement.logs.config import REJECTED_FILE, ColumnConfig
from uel.models.config import RESTORER_FILE
from uel.radio.tracing_config import ACCURATE_TRACING, TracingConfig


@dataclass(frozen=True, kw_only=True)
class TileChoiceConfig:
    """The tile and radio map that a locator is used on."""

    tile: Path | None = None
    """folder of the tile, with sites; the run's own unless given"""
    radio: Path | None = None
    """folder of that tile's radio map (`uel map`); unless given, one in the data folder is used, or traced"""


@dataclass(frozen=True, kw_only=True)
class LocateConfig(TileChoiceConfig):
    """Locate phones from their reports: `uel locate runs/demo log.csv --tile data/tiles/paris --out fixes.geojson`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator is used; of a sweep, its best run"""
    report: tyro.conf.Positional[Path]
    """log of a phone or a drive test: CSV and relatives, Parquet, JSON, JSON lines, a modem's scans, gzip of these, or
    the JSON of `uel.measurement.report_io`"""
    out: tuple[Path, ...] = ()
    """files of the answers, by their endings: .jsonl, .csv, .geojson, .parquet (GeoParquet), .kml, .gpkg"""
    geojson: Path | None = None
    """also write every report's position with its candidates and credible regions to this file"""
    rejected: Path | None = None
    """table of what is set aside, with row, rule and value; `rejected.csv` beside the first file of `out`, or in the
    working directory; that of the labelled reports is `labelled_rejected.csv` there"""
    cells_max: int | None = None
    """the most cells that one report of this log can list; default: as many as one of its first reports does, for the
    JSON of `uel.measurement.report_io` as many as the locator expects"""
    refine: Literal["none", "map", "rt"] = "map"
    """refine undecided fixes on the map's finest grid (map), and also by rays traced to their likeliest positions
    (rt)"""
    labelled_reports: Path | None = None
    """reports of this deployment with known positions (any log as above with positions): they correct the radio map and
    the antennas' azimuths, and fixes are refined on the corrected map"""
    restorer: Path | None = None
    """folder of a run of `uel train` with a map-restoration network (`restorer.pt`; this run's own, if it has one): its
    map of this tile is used where the labelled reports are likelier under it"""
    fit_mast_heights: bool = False
    """also estimate mast heights from the labelled reports, by tracing maps: thirteen with a tenth of all rays and one
    with all, some minutes"""
    columns: ColumnConfig = field(default_factory=ColumnConfig)
    """of the logs: names of columns and cells where they are not found by themselves, and the limits of rules"""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    rescoring: RayRescoringConfig = field(default_factory=RayRescoringConfig)
    tracing: TracingConfig = field(default_factory=lambda: ACCURATE_TRACING)
    """of rays to likely positions (`refine rt`), and of radio maps at other mast heights; its simulator makes the radio
    map of a tile that has none, too"""
    speed: float = 0.0
    """m/s at which the phone moved between its reports, which are then filtered as one track (particles, on refined
    fixes): 1.4 on foot, 10 in a car. 0: every report by itself"""
    particles: int = 4000
    likelihood_exponent: float = 0.5
    """of each report's likelihood on a track: below 1, because the fading of consecutive reports is correlated"""
    seed: int = 1
    """of the particles"""

    def __post_init__(self) -> None:
        require_numbers(self)
        self._require_track_options()
        if self.cells_max is not None and self.cells_max < 1:
            raise UelError("--cells-max must be at least 1", got=self.cells_max, do="give --cells-max 8, say")
        if self.labelled_reports and self.refine == "none":
            got, do = f"--refine {self.refine}", "give --refine map, or leave out --labelled-reports"
            raise UelError("--labelled-reports corrects the map on which fixes are refined", got=got, do=do)
        if self.fit_mast_heights and not self.labelled_reports:
            raise UelError("--fit-mast-heights needs labelled reports", got="none", do="add --labelled-reports FILE")
        if self.restorer and not self.labelled_reports:
            do = "add --labelled-reports FILE"
            raise UelError("--restorer needs labelled reports to compare its map with", got="none", do=do)
        if self.restorer and not (self.restorer / RESTORER_FILE).is_file():
            do = "give a run of a locator that was trained on corrected maps: uel train --config train/small"
            raise UelError(f"no {RESTORER_FILE} in the folder of --restorer", got=str(self.restorer), do=do)

    @property
    def rejected_file(self) -> Path:
        """Where the table of what is set aside is written."""
        beside = self.out[0].parent if self.out else Path()
        return self.rejected or beside / REJECTED_FILE

    def _require_track_options(self) -> None:
        if not 0 <= self.speed < 100:
            raise UelError("--speed must be at least 0 and below 100 m/s", got=self.speed, do="give --speed 1.4, say")
        if self.particles < 1:
            raise UelError("--particles must be at least 1", got=self.particles, do="give --particles 4000, say")
        if not 0 < self.likelihood_exponent <= 1:
            got, do = self.likelihood_exponent, "give --likelihood-exponent 0.5, say"
            raise UelError("--likelihood-exponent must be above 0 and at most 1", got=got, do=do)
        if self.speed and self.refine != "map":
            do = "give --refine map, or leave out --speed"
            raise UelError("--speed works on fixes that are refined on the map", got=f"--refine {self.refine}", do=do)


@dataclass(frozen=True, kw_only=True)
class ExportConfig(TileChoiceConfig):
    """Export a locator for deployment: `uel export runs/demo`."""

    run: tyro.conf.Positional[Path]
    """folder of the run whose locator is exported; of a sweep, its best run"""
    out: Path | None = None
    """file to write; locator.pt2 in the run's folder unless given"""
    backend: str = TracingConfig().backend
    """simulator of the radio map, see `uel map`"""
