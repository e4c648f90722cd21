"""Many tracks over tiles: the truth, to which realism is applied on read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.sites import Site, reference_power_dbm
from uel.survey.manifest import Manifest, WorkUnit
from uel.survey.statistics import StreamingStatistics
from uel.survey.store import UnitRecord, group_path, record_path, shard_path

TRUTH_FEATURES = tuple(f.name for f in fields(LinkTruth))


@dataclass(frozen=True, eq=False)
class TileSurvey:
    """One tile's tracks in memory: `truth` has axes (track, report[, cell])."""

    truth: LinkTruth
    time: Float[Tensor, "track report"]
    """s since the track's first report"""
    valid: Bool[Tensor, "track report"]
    """False where a shorter track has ended: nothing is known there"""
    velocity: Float[Tensor, "track report 3"]
    """m/s"""
    sites: tuple[Site, ...]

    def observe(self, model: ObservationModel, seed: int) -> Reports:
        """Reports of all tracks under `model`, reproducible by seed; axes (track, report[, cell])."""
        generator = torch.Generator().manual_seed(seed)
        return model.for_traced.observe(self.truth, reference_power_dbm(self.sites), generator, self.valid)


@dataclass(frozen=True, eq=False)
class Survey:
    """A survey's folder; values are read when they are asked for."""

    folder: Path
    manifest: Manifest

    @staticmethod
    def open(folder: str | Path) -> "Survey":
        """Open a survey. Raises `UelError` when it is absent, damaged, or of another schema."""
        return Survey(Path(folder), Manifest.load(Path(folder)))

    @property
    def tiles(self) -> tuple[str, ...]:
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
        return TileSurvey(truth, sites=self.manifest.tiles[tile].sites, **values)

    def read(self, tile: str, names: Iterable[str], first: int = 0, count: int | None = None) -> dict[str, Tensor]:
        """Features of tracks `first` to `first + count` (to the last without it), axes (track, report, …).

        Raises `UelError` for unknown names, and for units that are missing or damaged.
        """
        count = self.manifest.tracks - first if count is None else count
        wanted = slice(first, first + count)
        units = [u for u in self.manifest.units_of(tile) if u.first < wanted.stop and first < u.first + u.count]
        return {name: torch.from_numpy(self._values(tile, name, wanted, units)) for name in names}

    def _values(self, tile: str, name: str, wanted: slice, units: Sequence[WorkUnit]) -> np.ndarray:
        if name not in self.manifest.arrays:
            raise UelError("no such feature in this survey", got=name, do=f"choose from {', '.join(self.features)}")
        # Zarr takes an absent shard for fill values.
        gone = [u.name for u in units if not shard_path(self.folder, self.manifest, u, name).is_file()]
        if gone:
            raise self._damaged(f"{name} of {', '.join(gone[:5])} is missing")
        try:
            return np.asarray(self._group(tile)[name][wanted])
        except Exception as error:  # zarr's codecs raise what their compressor raises
            raise self._damaged(f"{name} of {tile}: {error}") from error

    def _group(self, tile: str) -> Any:
        import zarr

        if tile not in self._groups:
            self._groups[tile] = dict(zarr.open_group(group_path(self.folder, tile), mode="r", zarr_format=3).arrays())
        return self._groups[tile]

    @cached_property
    def _groups(self) -> dict[str, dict[str, Any]]:
        return {}

    def _damaged(self, got: str) -> UelError:
        do = "make these units again: uel survey --verify, then the command that made the survey"
        return UelError("this survey is damaged", got=f"{self.folder}: {got}", do=do)

    # ---- what is there -------------------------------------------------------------------------------

    def require(self, tile: str) -> None:
        """Raise `UelError` unless a tile is in the survey and all of its units are done."""
        if tile not in self.manifest.tiles:
            raise UelError("no such tile in this survey", got=tile, do=f"choose from {', '.join(self.tiles)}")
        waiting = [u for u in self.manifest.units_of(tile) if not record_path(self.folder, u.name).is_file()]
        if waiting:
            got = f"{len(waiting)} units of {tile} are not done, {waiting[0].name} for one"
            raise UelError("this survey is not finished", got=got, do="give the command that began it again")

    def record(self, unit: WorkUnit) -> UnitRecord | None:
        """What was written of a unit; None before that."""
        return UnitRecord.load(self.folder, unit)

    def waiting(self) -> list[WorkUnit]:
        """Units that are not done: they have no record, or lack bytes. Reads no shard."""
        return [u for u in self.manifest.units if (r := self.record(u)) is None or r.lacking(self.folder)]

    def verify(self) -> dict[str, list[str]]:
        """Shards that differ from what was written, by unit, for units that are done; reads everything."""
        records = filter(None, map(self.record, self.manifest.units))
        return {record.unit: wrong for record in records if (wrong := record.corrupt(self.folder))}

    def forget(self, units: Iterable[str]) -> None:
        """Take units for not done, so that they are made again."""
        for name in units:
            record_path(self.folder, name).unlink(missing_ok=True)

    # ---- for training --------------------------------------------------------------------------------

    def statistics(self, tiles: Sequence[str] | None = None) -> dict[str, StreamingStatistics]:
        """Of every feature where it is known, over tiles (all without any): what normalisation needs.

        Raises `UelError` for tiles that are unknown or not finished.
        """
        tiles = self.tiles if tiles is None else tiles
        for tile in tiles:
            self.require(tile)
        records = filter(None, (self.record(unit) for tile in tiles for unit in self.manifest.units_of(tile)))
        moments = [record.moments for record in records]
        return {name: StreamingStatistics.merged([of[name] for of in moments]) for name in self.features}

    def split(self, **cities: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tiles by purpose: `survey.split(train=("munich", "paris"), test=("florence",))`.

        A city takes all tiles that were cut from it, or whose names begin with its own: no city is on two sides.
        Raises `UelError` for a city without a tile, and for a tile on two sides.
        """
        parts = {part: tuple(t for name in names for t in self._of_city(name)) for part, names in cities.items()}
        every = [tile for tiles in parts.values() for tile in tiles]
        if twice := sorted({tile for tile in every if every.count(tile) > 1}):
            raise UelError("a tile on two sides of a split", got=", ".join(twice), do="name each city once")
        sides = {part: {self.manifest.tiles[tile].city for tile in tiles} for part, tiles in parts.items()}
        shared = {c for part, own in sides.items() for other, its in sides.items() if part != other for c in own & its}
        if shared:
            raise UelError("a city on two sides of a split", got=", ".join(sorted(shared)), do="split by whole cities")
        return parts

    def _of_city(self, name: str) -> list[str]:
        begins = re.compile(rf"{re.escape(name)}(?![^\W\d_])")  # paris_9e and munich+0-150 are, parish is not
        found = [t for t, entry in self.manifest.tiles.items() if name in (t, entry.city) or begins.match(t)]
        if not found:
            raise UelError("no tile of this city in the survey", got=name, do=f"choose from {', '.join(self.tiles)}")
        return found
