"""A survey: noiseless tracks over many tiles, to which an observation model is applied on read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel._lazy import function_named
from uel.core.display.short_repr import ShortRepr
from uel.core.display.viewable import Viewable
from uel.core.tile_reference import TileReference
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.sites import Site, reference_power_dbm
from uel.survey.manifest import Manifest, WorkUnit
from uel.survey.statistics import StreamingStatistics
from uel.survey.store import UnitRecord, group_path, record_path, shard_path

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

TRUTH_FEATURES = tuple(f.name for f in fields(LinkTruth))


@dataclass(frozen=True, eq=False, repr=False)
class TileSurvey(ShortRepr):
    """One tile's tracks in memory: `truth` has axes (track, report[, cell])."""

    truth: LinkTruth
    time: Float[Tensor, "track report"]
    """s since the track's first report"""
    valid: Bool[Tensor, "track report"]
    """False where a shorter track has ended; its values there are 0"""
    velocity: Float[Tensor, "track report 3"]
    """m/s"""
    sites: tuple[Site, ...]
    made_on: TileReference | None = None
    """the tile that was surveyed"""

    def observe(self, model: ObservationModel, seed: int) -> Reports:
        """Reports of all tracks under `model`, reproducible by seed; axes (track, report[, cell])."""
        generator = torch.Generator().manual_seed(seed)
        return model.for_ray_tracing.observe(self.truth, reference_power_dbm(self.sites), generator, self.valid)


@dataclass(frozen=True, eq=False, repr=False)
class Survey(Viewable):
    """A survey's folder; values are read on demand.

    Raises:
        UelError: by `Survey.open`, for a folder that is no survey or is of an older schema.

    Example:
        >>> import uel
        >>> uel.Survey.open("no/such/folder")
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """

    folder: Path
    """where its files are"""
    manifest: Manifest
    """what it is made of and of which units"""

    @staticmethod
    def open(folder: str | Path) -> "Survey":
        """Open a survey. Raises `UelError` when it is absent, damaged, or of another schema."""
        return Survey(Path(folder), Manifest.load(Path(folder)))

    @property
    def tiles(self) -> tuple[str, ...]:
        """Names of the tiles."""
        return tuple(self.manifest.tiles)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all arrays."""
        return tuple(self.manifest.arrays)

    def __getitem__(self, tile: str) -> TileSurvey:
        """All tracks of a tile in memory. Raises `UelError` when it is unknown, unfinished or damaged."""
        self.require(tile)
        values = self.read(tile, (*TRUTH_FEATURES, "time", "valid", "velocity"))
        truth = LinkTruth(**{name: values.pop(name) for name in TRUTH_FEATURES})
        entry = self.manifest.tiles[tile]
        made_on = TileReference(tile, entry.fingerprint)
        return TileSurvey(truth, sites=entry.sites, made_on=made_on, **values)

    def read(self, tile: str, names: Iterable[str], first: int = 0, count: int | None = None) -> dict[str, Tensor]:
        """Features of tracks `first` to `first + count` (to the last without it), axes (track, report, …).

        Raises `UelError` for unknown names, and for units that are missing or damaged.
        """
        count = self.manifest.tracks - first if count is None else count
        tracks = slice(first, first + count)
        units = [u for u in self.manifest.units_of(tile) if u.first < tracks.stop and first < u.first + u.count]
        return {name: torch.from_numpy(self._values(tile, name, tracks, units)) for name in names}

    def _values(self, tile: str, name: str, tracks: slice, units: Sequence[WorkUnit]) -> np.ndarray:
        if name not in self.manifest.arrays:
            raise UelError("no such feature in this survey", got=name, do=f"choose from {', '.join(self.features)}")
        # Zarr reads a missing shard as fill values.
        missing = [u.name for u in units if not self._is_whole(u, name)]
        if missing:
            raise self._damaged(f"{name} of {', '.join(missing[:5])} is missing or not of the size that was written")
        expected = (self.manifest.tracks, self.manifest.reports, *self.manifest.shape(tile, name))
        try:
            array = self._group(tile)[name]
            if tuple(array.shape) != expected:
                raise ValueError(f"shape {tuple(array.shape)} instead of {expected}")
            values = np.asarray(array[tracks])
        except Exception as error:  # zarr's codecs raise what their compressor raises
            raise self._damaged(f"{name} of {tile}: {error}") from error
        if not np.isfinite(values).all():
            raise self._damaged(f"{name} of {tile}: {int((~np.isfinite(values)).sum())} values are not finite")
        return values

    def _is_whole(self, unit: WorkUnit, name: str) -> bool:
        """Whether a unit's shard is there, and as large as its record says."""
        path = shard_path(self.folder, self.manifest, unit, name)
        if unit.name not in self._shard_sizes:
            record = self.record(unit)
            if record is None and record_path(self.folder, unit.name).is_file():
                raise self._damaged(f"the record of unit {unit.name} cannot be read")
            self._shard_sizes[unit.name] = {n: size for n, (size, _) in record.files.items()} if record else {}
        size = self._shard_sizes[unit.name].get(path.relative_to(self.folder).as_posix())
        return path.is_file() and size in (None, path.stat().st_size)

    @cached_property
    def _shard_sizes(self) -> dict[str, dict[str, int]]:
        """Bytes of the shards of finished units, by unit and path in the survey."""
        return {}

    def _group(self, tile: str) -> Any:
        from uel.core.outside.zarr_groups import open_arrays

        if tile not in self._groups:
            self._groups[tile], _ = open_arrays(group_path(self.folder, tile))
        return self._groups[tile]

    @cached_property
    def _groups(self) -> dict[str, dict[str, Any]]:
        return {}

    def _damaged(self, got: str) -> UelError:
        do = "make these units again: uel survey --verify, then the command that made the survey"
        return UelError("this survey is damaged", got=f"{self.folder}: {got}", do=do)

    # ---- state of the units ---------------------------------------------------------------------------

    def require(self, tile: str) -> None:
        """Raise `UelError` unless a tile is in the survey and all of its units are done."""
        if tile not in self.manifest.tiles:
            raise UelError("no such tile in this survey", got=tile, do=f"choose from {', '.join(self.tiles)}")
        unfinished = [u for u in self.manifest.units_of(tile) if not record_path(self.folder, u.name).is_file()]
        if unfinished:
            got = f"{len(unfinished)} units of {tile} are not done, for example {unfinished[0].name}"
            raise UelError("this survey is not finished", got=got, do="repeat the command that started it")

    def record(self, unit: WorkUnit) -> UnitRecord | None:
        """Record of a finished unit; None before that."""
        return UnitRecord.load(self.folder, unit)

    def unfinished_units(self) -> list[WorkUnit]:
        """Units without a record, or with missing or short shards. Reads no shard."""
        return [u for u in self.manifest.units if (r := self.record(u)) is None or r.missing_files(self.folder)]

    def verify(self) -> dict[str, list[str]]:
        """Shards that differ from their recorded hash, by unit, of all finished units; reads every shard."""
        records = filter(None, map(self.record, self.manifest.units))
        return {record.unit: files for record in records if (files := record.corrupt_files(self.folder))}

    def discard(self, units: Iterable[str]) -> None:
        """Delete the records of units, so that they are made again."""
        chosen = set(units)
        for unit in self.manifest.units:
            if unit.name in chosen:
                record_path(self.folder, unit.name).unlink(missing_ok=True)

    # ---- for training --------------------------------------------------------------------------------

    def statistics(self, tiles: Sequence[str] | None = None) -> dict[str, StreamingStatistics]:
        """Statistics of the known values of every feature over `tiles` (default: all), for normalisation.

        Raises `UelError` for tiles that are unknown or not finished.
        """
        tiles = self.tiles if tiles is None else tiles
        for tile in tiles:
            self.require(tile)
        records = filter(None, (self.record(unit) for tile in tiles for unit in self.manifest.units_of(tile)))
        moments = [record.moments for record in records]
        return {name: StreamingStatistics.merge([unit[name] for unit in moments]) for name in self.features}

    # ---- views ---------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, str]:
        """Tiles, tracks, reports and features by the manifest, and the folder; reads no other file."""
        names = ", ".join(self.tiles[:3]) + (", …" if len(self.tiles) > 3 else "")
        return {
            "tiles": f"{len(self.tiles)} ({names})",
            "tracks": f"{self.manifest.tracks:,} on each tile",
            "reports": f"up to {self.manifest.reports} on a track",
            "features": str(len(self.features)),
            "folder": str(self.folder),
        }

    def plot(
        self, ax: "matplotlib.axes.Axes | None" = None, *, tile: str | None = None, ground: Tile | None = None
    ) -> "matplotlib.axes.Axes":
        """Draw some reports of one tile in metres, north up, coloured by the serving cell's level.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            tile: its name in the survey; None: the first one.
            ground: the tile itself, for its buildings.

        Raises:
            UelError: for a tile that the survey does not have or has not finished, and for another ground than its own.
        """
        return function_named("uel.plots.survey:plot_survey")(self, ax, tile, ground)

    def to_dataframe(self, tile: str | None = None, tracks: int | None = None) -> "pandas.DataFrame":
        """A row for each report and cell of a tile's first tracks, by default of all of the first tile; columns as
        those of `to_parquet`.

        Raises `UelError` for a tile that the survey does not have or has not finished.
        """
        return function_named("uel.survey.parquet:track_rows")(self, tile or self.tiles[0], tracks)

    def split(self, **cities: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tiles by purpose: `survey.split(train=("munich", "paris"), test=("florence",))`.

        A city stands for all tiles that were cut from it or whose names begin with its name, so that no city is in two
        parts. Raises `UelError` for a city without a tile, and for a tile or city in two parts.
        """
        parts = {part: tuple(t for name in names for t in self._of_city(name)) for part, names in cities.items()}
        all_tiles = [tile for tiles in parts.values() for tile in tiles]
        if repeated := sorted({tile for tile in all_tiles if all_tiles.count(tile) > 1}):
            raise UelError("a tile is in two parts of the split", got=", ".join(repeated), do="name each city once")
        part_cities = [{self.manifest.tiles[tile].city for tile in tiles} for tiles in parts.values()]
        shared = {city for one, other in combinations(part_cities, 2) for city in one & other}
        if shared:
            raise UelError(
                "a city is in two parts of the split", got=", ".join(sorted(shared)), do="split by whole cities"
            )
        return parts

    def _of_city(self, name: str) -> list[str]:
        pattern = re.compile(rf"{re.escape(name)}(?![^\W\d_])")  # matches paris_9e and munich+0-150, not parish
        tiles = [t for t, entry in self.manifest.tiles.items() if name in (t, entry.city) or pattern.match(t)]
        if not tiles:
            raise UelError("no tile of this city in the survey", got=name, do=f"choose from {', '.join(self.tiles)}")
        return tiles
