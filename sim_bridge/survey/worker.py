"""Measure the tracks of a survey: one function for each unit of work, and what a process keeps between them."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from sim_bridge.chains.atlas import Atlas
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.channel.features import measure_features, serving_features
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.engines import LocalEngine, UnitDone, run_units
from sim_bridge.survey.progress import show_progress
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.trajectories import Tracks, draw_tracks
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cells_of, require_sites
from uel.survey.feature_schema import Feature
from uel.survey.manifest import Manifest, TileEntry, WorkUnit
from uel.survey.store import empty_values, explain_write_errors, prepare_folder, write_unit

COVERAGE_MAP_PIXEL = 4.0  # m, of the map that says where there is coverage
REPORTS_PER_BATCH = 1024  # reports that an atlas answers at a time: what the PHY layer works on takes some 0.1 MB each
UnitValues = dict[str, Tensor]
MeasureFunction = Callable[[WorkUnit, Tracks], UnitValues]
"""features of some tracks, axes (track, report, …)"""


@dataclass(frozen=True)
class TileWithSites:
    """A tile and the masts on it."""

    tile: Tile
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class SurveyJob:
    """A survey to be made; it travels to the processes that make it."""

    folder: Path
    places: tuple[TileWithSites, ...]
    plan: SurveyMakingConfig
    open: "Callable[[SurveyJob, TileWithSites], MeasureFunction]" = field(default_factory=lambda: open_sionna)
    """opens a simulator of a tile"""

    def manifest(self) -> Manifest:
        """The survey on paper. Raises `UelError` for tiles of one name, without tracks or with several carriers."""
        names = [place.tile.name for place in self.places]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UelError(
                "two tiles of one name", got=", ".join(twice), do="leave one out, or build it by another name"
            )
        for place in self.places:
            place.tile.require_sites(place.sites)
        self._require_one_carrier()
        return Manifest(
            tracks=self.plan.tracks.tracks,
            reports=self.plan.tracks.reports,
            unit=min(self.plan.unit, self.plan.tracks.tracks),
            features=tuple(self.plan.measure.features),
            tiles={place.tile.name: self._entry(place) for place in self.places},
            plan=asdict(self.plan),
            versions={name: version(name) for name in ("uel", "torch", "drjit", "mitsuba", "sionna-rt", "zarr")},
        )

    def _require_one_carrier(self) -> None:
        """One measurement model reads all of a survey, and timing advances are steps of one spacing."""
        carriers = {place.tile.name: require_sites(place.sites) for place in self.places}
        if len(set(carriers.values())) > 1:
            said = [
                f"{n}: {c.frequency / 1e9:g} GHz at {c.subcarrier_spacing / 1e3:g} kHz" for n, c in carriers.items()
            ]
            raise UelError(
                "the tiles of a survey have one carrier",
                got=", ".join(said),
                do="make a survey of each carrier, or place the same masts on all tiles: uel place",
            )

    def _entry(self, place: TileWithSites) -> TileEntry:
        city = place.tile.meta.get("place", place.tile.name)
        return TileEntry(city, place.tile.fingerprint, place.sites, _sizes(self.plan.measure, place.sites))

    def prepare(self) -> Manifest:
        """The folder with everything but measurements: manifest, empty arrays, atlases. Goes on where it was left."""
        manifest = self.manifest()
        prepare_folder(self.folder, manifest)
        for place in self.places:
            if self.plan.tracks.coverage_dbm is not None:
                _once(self.radio_folder(place), lambda out, at=place: radio_map_io.save(_radio_map(self, at), out))
            if self.plan.by_atlas and self.open is open_sionna:
                _once(self.atlas_folder(place), lambda out, at=place: _atlas(self, at).save(out))
        return manifest

    def atlas_folder(self, place: TileWithSites) -> Path:
        return self.folder / "atlas" / place.tile.name

    def radio_folder(self, place: TileWithSites) -> Path:
        """The map that says where there is coverage."""
        return self.folder / "radio" / place.tile.name

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        """What a process does with the number of a unit; `threads` it may use (all without)."""
        if threads:
            torch.set_num_threads(threads)
        if threads and self.open is open_sionna:
            from sim_bridge.simulator import dr

            dr.set_thread_count(threads)
        return SurveyWorker(self)


def _sizes(plan: FeatureConfig, sites: tuple[Site, ...]) -> dict[str, int]:
    """Of every axis after track and report."""
    array = cells_of(sites)[0][1].array
    ports = array.rows * array.columns * (2 if array.polarization in ("VH", "cross") else 1)
    fixed = {"xy": 2, "xyz": 3, "antenna": 2, "part": 2}
    counts = {"path": plan.paths, "tap": plan.taps, "csi_tap": plan.csi_taps, "neighbour": plan.neighbours}
    return {**fixed, "cell": len(cells_of(sites)), "port": ports, **counts}


class SurveyWorker:
    """Makes units in one process; keeps the simulator of the tile that it measured last."""

    def __init__(self, work: SurveyJob) -> None:
        self.work, self.manifest = work, Manifest.load(work.folder)
        self._places = {place.tile.name: place for place in work.places}
        self._open: tuple[str, MeasureFunction] | None = None

    def __call__(self, number: int) -> UnitDone:
        """Draw a unit's tracks, measure them, write its shards and its record."""
        start, unit = time.perf_counter(), self.manifest.units[number]
        place, plan = self._places[unit.tile], self.work.plan
        covered = plan.tracks.coverage_dbm is not None
        radio = radio_map_io.load(self.work.radio_folder(place)) if covered else None
        tracks = draw_tracks(place.tile, place.sites, plan.tracks, plan.seed, unit.first, unit.count, radio)
        values = self._measure(place)(unit, tracks)
        seconds = time.perf_counter() - start
        record = write_unit(self.work.folder, self.manifest, unit, values, seconds)
        return UnitDone(number, record.reports, record.links)

    def _measure(self, place: TileWithSites) -> MeasureFunction:
        if self._open is None or self._open[0] != place.tile.name:
            self._open = None  # the old scene goes before the new one comes
            self._open = place.tile.name, self.work.open(self.work, place)
        return self._open[1]


# ---- Sionna RT ----------------------------------------------------------------------------------------


def open_sionna(work: SurveyJob, place: TileWithSites) -> MeasureFunction:
    """The ray tracer on a tile, with its atlas from the survey's folder."""
    from sim_bridge import simulator

    plan = work.plan
    sim = simulator.open(place.tile, place.sites, plan.tracing)
    atlas = Atlas.load(work.atlas_folder(place)) if plan.by_atlas else None
    manifest = Manifest.load(work.folder)

    def measured(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        # Rays of its own, and nothing that units before taught the atlas: a unit is the same whoever makes it when.
        sim.reseed(plan.tracing.seed + unit.index)
        if atlas is not None:
            sim.attach_atlas(atlas)
        values = empty_values(manifest, unit.tile, unit.count)
        width = max(1, (REPORTS_PER_BATCH if atlas else plan.tracing.chunk) // manifest.reports)
        for first in range(0, unit.count, width):
            rows = slice(first, first + width)
            part = _measured(sim, Tracks(*(of[rows] for of in tracks)), plan.measure, manifest.arrays)
            for name, value in part.items():
                values[name][rows] = value
        return values

    return measured


def _measured(sim: Any, tracks: Tracks, plan: FeatureConfig, arrays: dict[str, Feature]) -> UnitValues:
    """All features of tracks, 0 where these have ended or nothing is known."""
    valid = tracks.valid
    flat = measure_features(sim, tracks.position[valid], tracks.velocity[valid], plan)
    values = {name: _filled(value, valid) for name, value in flat.items()}
    values |= serving_features(values, tracks.time, valid, plan, require_sites(sim.sites))
    return {name: value for name, value in {**values, **track_features(tracks)}.items() if name in arrays}


def _filled(value: Shaped[Tensor, "row ..."], valid: Bool[Tensor, "track report"]) -> Tensor:
    out = value.new_zeros(*valid.shape, *value.shape[1:])
    out[valid] = value
    return out


def track_features(tracks: Tracks) -> UnitValues:
    """What a survey holds of tracks whatever is measured."""
    valid = tracks.valid
    velocity = torch.where(valid.unsqueeze(-1), tracks.velocity, 0.0)
    return {"time": torch.where(valid, tracks.time, 0.0), "valid": valid, "velocity": velocity}


def _atlas(work: SurveyJob, place: TileWithSites) -> Atlas:
    from sim_bridge import simulator

    return simulator.open(place.tile, place.sites, work.plan.tracing).build_atlas(work.plan.by_atlas)


def _radio_map(work: SurveyJob, place: TileWithSites) -> RadioMap:
    from sim_bridge import simulator

    return simulator.open(place.tile, place.sites, work.plan.tracing).radio_map(place.tile.grid(COVERAGE_MAP_PIXEL))


def _once(folder: Path, save: Callable[[Path], None]) -> None:
    """Fill a folder aside and rename it, unless it is there; another process may do the same meanwhile."""
    if folder.exists():
        return
    with explain_write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
            save(Path(aside) / "new")
            if not folder.exists():
                (Path(aside) / "new").rename(folder)


def tiles_with_sites(tiles: Sequence[Path]) -> tuple[TileWithSites, ...]:
    """Tile folders with the masts that were put on them. Raises `UelError` where there is no tile, or no mast."""
    opened = [Tile.open(folder) for folder in tiles]
    return tuple(TileWithSites(tile, tile.sites) for tile in opened)


def make_survey_locally(work: SurveyJob) -> None:
    """Make a survey in this process. Raises `UelError` for whatever cannot be, and when a unit fails."""
    manifest = work.prepare()
    failures = show_progress(run_units(LocalEngine(work), range(len(manifest.units))), len(manifest.units), "survey")
    if failures:
        raise UelError("a unit of the survey failed", got=failures[0].text, do="report this")
