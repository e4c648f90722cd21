"""Worker of a survey: measures the tracks of one unit of work after another in one process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.channel.features import measure_features, serving_features
from sim_bridge.engines.config import EngineConfig
from sim_bridge.engines.run import make_units
from sim_bridge.engines.units import UnitDone
from sim_bridge.registry import open as open_simulator
from sim_bridge.registry import open_ray_tracer
from sim_bridge.scene.cell_antennas import sionna_array
from sim_bridge.survey.config import SurveyMakingConfig
from uel.core.files.write_errors import explain_write_errors
from uel.core.io import staged_folder
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.trajectories import Tracks, draw_tracks
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cells_of, require_sites
from uel.radio.tracing_config import tracing_settings
from uel.survey.feature_schema import Feature
from uel.survey.manifest import Manifest, TileEntry, WorkUnit
from uel.survey.store import empty_values, prepare_folder, write_unit

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

COVERAGE_MAP_PIXEL = 4.0  # m, of the radio map that tracks keep to where coverage is asked for
REPORTS_PER_BATCH = 1024  # traced at a time with an atlas: the PHY layer needs some 0.1 MB each
UnitValues = dict[str, Tensor]
MeasureFunction = Callable[[WorkUnit, Tracks], UnitValues]
"""features of some tracks, axes (track, report, …)"""


@dataclass(frozen=True)
class TileWithSites:
    """A tile and the sites on it."""

    tile: Tile
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class SurveyJob:
    """A survey to be made; it travels to the processes that make it."""

    folder: Path
    tiles: tuple[TileWithSites, ...]
    config: SurveyMakingConfig
    open: "Callable[[SurveyJob, TileWithSites], MeasureFunction]" = field(default_factory=lambda: open_measurement)
    """opens the simulator of a tile"""

    def manifest(self) -> Manifest:
        """Contents of the survey. Raises `UelError` for two tiles of one name, no tracks or several carriers."""
        names = [site_tile.tile.name for site_tile in self.tiles]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise UelError(
                "two tiles of the survey have one name",
                got=", ".join(repeated),
                do="leave one out, or build it under another name",
            )
        for site_tile in self.tiles:
            site_tile.tile.require_sites(site_tile.sites, self.config.tracing.material_extrapolation)
        self._require_one_carrier()
        return Manifest(
            tracks=self.config.tracks.tracks,
            reports=self.config.tracks.reports,
            unit=min(self.config.unit, self.config.tracks.tracks),
            features=tuple(self.config.features),
            tiles={site_tile.tile.name: self._entry(site_tile) for site_tile in self.tiles},
            plan=asdict(self.config) | {"tracing": tracing_settings(self.config.tracing)},
            versions={name: version(name) for name in ("uel", "torch", "drjit", "mitsuba", "sionna-rt", "zarr")},
        )

    def _require_one_carrier(self) -> None:
        """One measurement model reads all of a survey, and timing advances are steps of one spacing."""
        carriers = {site_tile.tile.name: require_sites(site_tile.sites) for site_tile in self.tiles}
        if len(set(carriers.values())) > 1:
            carriers_by_tile = [
                f"{n}: {c.frequency / 1e9:g} GHz at {c.subcarrier_spacing / 1e3:g} kHz" for n, c in carriers.items()
            ]
            raise UelError(
                "the tiles of a survey have different carriers",
                got=", ".join(carriers_by_tile),
                do="make a survey of each carrier, or place the same sites on all tiles: uel place",
            )

    def _entry(self, site_tile: TileWithSites) -> TileEntry:
        city = site_tile.tile.meta.get("place", site_tile.tile.name)
        return TileEntry(
            city, site_tile.tile.fingerprint, site_tile.sites, _sizes(self.config.measure, site_tile.sites)
        )

    def prepare(self) -> Manifest:
        """Write everything but measurements: manifest, empty arrays, atlases. Goes on where it was left."""
        manifest = self.manifest()
        prepare_folder(self.folder, manifest)
        for site_tile in self.tiles:
            if self.config.tracks.coverage_dbm is not None:
                _fill_once(
                    self.radio_folder(site_tile), lambda out, of=site_tile: radio_map_io.save(_radio_map(self, of), out)
                )
            if self.atlas_config(site_tile) and self.open is open_measurement:
                _fill_once(self.atlas_folder(site_tile), lambda out, of=site_tile: _atlas(self, of).save(out))
        return manifest

    def atlas_config(self, site_tile: TileWithSites) -> AtlasConfig | None:
        """The atlas of a tile, if the survey uses one there."""
        return self.config.usable_atlas(len(cells_of(site_tile.sites)))

    def atlas_folder(self, site_tile: TileWithSites) -> Path:
        return self.folder / "atlas" / site_tile.tile.name

    def radio_folder(self, site_tile: TileWithSites) -> Path:
        """Folder of the radio map that tracks keep to where coverage is asked for."""
        return self.folder / "radio" / site_tile.tile.name

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        """The function that a process calls with the number of a unit; it may use `threads` (None: all)."""
        if threads:
            limit_threads(threads)
        return SurveyWorker(self)


def _sizes(config: FeatureConfig, sites: tuple[Site, ...]) -> dict[str, int]:
    """Size of every axis after track and report."""
    array = sionna_array(sites)
    ports = array.rows * array.columns * (2 if array.polarization in ("VH", "cross") else 1)
    fixed = {"xy": 2, "xyz": 3, "antenna": 2, "part": 2}
    counts = {"path": config.paths, "tap": config.taps, "csi_tap": config.csi_taps, "neighbour": config.neighbours}
    return {**fixed, "cell": len(cells_of(sites)), "port": ports, **counts}


class SurveyWorker:
    """Makes units in one process; keeps the simulator of the tile that it measured last."""

    def __init__(self, job: SurveyJob) -> None:
        self.job, self.manifest = job, Manifest.load(job.folder)
        self._tiles = {site_tile.tile.name: site_tile for site_tile in job.tiles}
        self._open: tuple[str, MeasureFunction] | None = None

    def __call__(self, number: int) -> UnitDone:
        """Draw a unit's tracks, measure them, write its shards and its record."""
        start, unit = time.perf_counter(), self.manifest.units[number]
        site_tile, config = self._tiles[unit.tile], self.job.config
        covered = config.tracks.coverage_dbm is not None
        radio = radio_map_io.load(self.job.radio_folder(site_tile)) if covered else None
        tracks = draw_tracks(site_tile.tile, site_tile.sites, config.tracks, config.seed, unit.first, unit.count, radio)
        values = self._measure(site_tile)(unit, tracks)
        seconds = time.perf_counter() - start
        record = write_unit(self.job.folder, self.manifest, unit, values, seconds)
        return UnitDone(number, counts={"reports": record.reports, "links": record.links})

    def _measure(self, site_tile: TileWithSites) -> MeasureFunction:
        if self._open is None or self._open[0] != site_tile.tile.name:
            self._open = None  # frees the old scene before the new one is opened
            self._open = site_tile.tile.name, self.job.open(self.job, site_tile)
        return self._open[1]


# ---- the simulator -------------------------------------------------------------------------------------


def open_measurement(job: SurveyJob, site_tile: TileWithSites) -> MeasureFunction:
    """The survey's simulator on a tile, which measures traced paths, or links where it has no paths."""
    return _open_ray_tracer(job, site_tile) if job.config.traces_paths else _open_link_simulator(job, site_tile)


def _open_ray_tracer(job: SurveyJob, site_tile: TileWithSites) -> MeasureFunction:
    """The ray tracer, with its atlas from the survey's folder."""
    config = job.config
    sim = open_ray_tracer(site_tile.tile, site_tile.sites, config.tracing, "a survey of paths")
    atlas = Atlas.load(job.atlas_folder(site_tile)) if job.atlas_config(site_tile) else None
    manifest = Manifest.load(job.folder)

    def measure(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        # Own rays, and an atlas without what earlier units added: a unit is the same in any process and order.
        sim.reseed(config.tracing.seed + unit.index)
        if atlas is not None:
            sim.attach_atlas(atlas)
        reports = REPORTS_PER_BATCH if atlas else config.tracing.chunk

        def of_tracks(part):
            return _measure_tracks(sim, part, config.measure, manifest.arrays)

        return _by_chunks(manifest, unit, tracks, reports, of_tracks)

    return measure


def _open_link_simulator(job: SurveyJob, site_tile: TileWithSites) -> MeasureFunction:
    """Any other simulator: gain, first arrival, azimuth and line of sight of every link."""
    simulator = open_simulator(site_tile.tile, site_tile.sites, job.config.tracing)
    manifest = Manifest.load(job.folder)

    def of_tracks(tracks: Tracks) -> UnitValues:
        with torch.no_grad():
            truth = simulator.paths(tracks.position[tracks.valid])
        links = {name: _filled(value, tracks.valid) for name, value in vars(truth).items()}
        return {**links, **track_features(tracks)}

    return lambda unit, tracks: _by_chunks(manifest, unit, tracks, REPORTS_PER_BATCH, of_tracks)


def _by_chunks(
    manifest: Manifest, unit: WorkUnit, tracks: Tracks, reports: int, measure: Callable[[Tracks], UnitValues]
) -> UnitValues:
    """Features of a unit's tracks, of which about `reports` reports are measured at a time."""
    values = empty_values(manifest, unit.tile, unit.count)
    width = max(1, reports // manifest.reports)
    for first in range(0, unit.count, width):
        rows = slice(first, first + width)
        for name, value in measure(Tracks(*(of[rows] for of in tracks))).items():
            values[name][rows] = value
    return values


def _measure_tracks(sim: "Sionna", tracks: Tracks, config: FeatureConfig, arrays: dict[str, Feature]) -> UnitValues:
    """All features of tracks; 0 after a track's end and where nothing is known."""
    valid = tracks.valid
    flat = measure_features(sim, tracks.position[valid], tracks.velocity[valid], config)
    values = {name: _filled(value, valid) for name, value in flat.items()}
    values |= serving_features(values, tracks.time, valid, config, require_sites(sim.sites))
    return {name: value for name, value in {**values, **track_features(tracks)}.items() if name in arrays}


def _filled(value: Shaped[Tensor, "row ..."], valid: Bool[Tensor, "track report"]) -> Tensor:
    out = value.new_zeros(*valid.shape, *value.shape[1:])
    out[valid] = value
    return out


def track_features(tracks: Tracks) -> UnitValues:
    """Features of tracks that every survey holds: time, validity, velocity."""
    valid = tracks.valid
    velocity = torch.where(valid.unsqueeze(-1), tracks.velocity, 0.0)
    return {"time": torch.where(valid, tracks.time, 0.0), "valid": valid, "velocity": velocity}


def _atlas(job: SurveyJob, site_tile: TileWithSites) -> Atlas:
    simulator = open_ray_tracer(site_tile.tile, site_tile.sites, job.config.tracing, "an atlas")
    return simulator.build_atlas(job.atlas_config(site_tile))


def _radio_map(job: SurveyJob, site_tile: TileWithSites) -> RadioMap:
    simulator = open_simulator(site_tile.tile, site_tile.sites, job.config.tracing)
    return simulator.radio_map(site_tile.tile.grid(COVERAGE_MAP_PIXEL))


def _fill_once(folder: Path, save: Callable[[Path], None]) -> None:
    """Fill a folder unless it exists; written aside and renamed, because another process may do the same meanwhile."""
    if folder.exists():
        return
    with explain_write_errors("the survey", folder), staged_folder(folder) as staged:
        save(staged)


def tiles_with_sites(tiles: Sequence[Path]) -> tuple[TileWithSites, ...]:
    """Tiles in folders, with their sites. Raises `UelError` where there is no tile, or no site."""
    return tuple(TileWithSites(tile, tile.sites) for tile in [Tile.open(folder) for folder in tiles])


def make_survey_locally(job: SurveyJob) -> None:
    """Make a survey in this process. Raises `UelError` for inputs that cannot be surveyed, and when a unit fails."""
    manifest = job.prepare()
    failures = make_units(job, range(len(manifest.units)), EngineConfig(), "survey")
    if failures:
        raise UelError("a unit of the survey failed", got=failures[0].text, do="report this")
