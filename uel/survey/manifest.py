"""Manifest of a survey (`survey.json`): its plan, its tiles, and the units of work that it is made in."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from uel.core.files.folder_names import require_folder_name
from uel.core.io import replace_file
from uel.core.outside.checksums import json_with_checksum, require_checksum
from uel.core.outside.json_text import read_json_object
from uel.core.outside.structure import require_structure
from uel.errors import UelError, brief
from uel.radio.sites import Site, sites_from_json, sites_to_json
from uel.survey.feature_schema import REPORT_FEATURES, TRACK_FEATURES, Feature

SCHEMA = "uel-survey-2"
MANIFEST_NAME = "survey.json"


MAX_UNITS = 10**6
MAX_VALUES_PER_REPORT = 10**8  # of one feature


class EntryValues(TypedDict):
    """A tile in `survey.json`."""

    city: str
    fingerprint: str
    sites: list[dict[str, Any]]
    sizes: dict[str, Annotated[int, Ge(0)]]


class ManifestValues(TypedDict):
    """The content of `survey.json`, beside its schema."""

    tracks: Annotated[int, Ge(1), Le(10**9)]
    reports: Annotated[int, Ge(1), Le(10**6)]
    unit: Annotated[int, Ge(1)]
    features: list[str]
    tiles: dict[str, EntryValues]
    plan: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True)
class WorkUnit:
    """Some tracks of one tile, which become one shard of each of its arrays."""

    number: int
    """number in the survey"""
    tile: str
    index: int
    """number on the tile, and of its shards"""
    first: int
    count: int
    """tracks"""

    @property
    def name(self) -> str:
        return f"{self.tile}-{self.index}"


@dataclass(frozen=True)
class TileEntry:
    """One tile of a survey."""

    city: str
    fingerprint: str
    """`Tile.fingerprint` of the tile that the survey was made on"""
    sites: tuple[Site, ...]
    sizes: dict[str, int]
    """length of each axis after track and report"""


@dataclass(frozen=True)
class Manifest:
    """Complete description of a survey: its values depend on nothing else, neither the workers nor their number."""

    tracks: int
    """tracks on each tile"""
    reports: int
    """greatest number of reports on a track"""
    unit: int
    """tracks in a unit"""
    features: tuple[str, ...]
    tiles: dict[str, TileEntry]
    plan: dict[str, Any]
    """configuration of the survey as plain JSON values"""
    versions: dict[str, str]
    """versions of the packages that made it"""

    @cached_property
    def units(self) -> list[WorkUnit]:
        """All units in the order of their numbers, tile after tile."""
        firsts = range(0, self.tracks, self.unit)
        starts = [(tile, index, first) for tile in self.tiles for index, first in enumerate(firsts)]
        return [WorkUnit(n, *start, min(self.unit, self.tracks - start[2])) for n, start in enumerate(starts)]

    def units_of(self, tile: str) -> list[WorkUnit]:
        return [unit for unit in self.units if unit.tile == tile]

    def feature(self, name: str) -> Feature:
        return TRACK_FEATURES[name] if name in TRACK_FEATURES else REPORT_FEATURES[name]

    @property
    def arrays(self) -> dict[str, Feature]:
        """Every array of the survey, by name."""
        return {name: self.feature(name) for name in (*TRACK_FEATURES, *self.features)}

    def shape(self, tile: str, name: str) -> tuple[int, ...]:
        """Shape of a feature's values in one report."""
        return tuple(self.tiles[tile].sizes[axis] for axis in self.feature(name).axes)

    def unit_bytes(self, tile: str) -> int:
        """Memory of all arrays of a unit in bytes."""
        bytes_per_report = (
            np.dtype(feature.dtype).itemsize * math.prod(self.shape(tile, name))
            for name, feature in self.arrays.items()
        )
        return min(self.unit, self.tracks) * self.reports * sum(bytes_per_report)

    # ---- on disk -------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the schema first."""
        tiles = {name: {**vars(entry), "sites": sites_to_json(entry.sites)} for name, entry in self.tiles.items()}
        return json.loads(json.dumps({"schema": SCHEMA, **asdict(self), "tiles": tiles}))

    def save(self, folder: Path) -> None:
        """Write `survey.json`."""
        replace_file(folder / MANIFEST_NAME, json_with_checksum(self.as_dict()))

    @staticmethod
    def load(folder: Path) -> "Manifest":
        """Read `survey.json`. Raises `UelError` when it is absent, damaged, or of another schema."""
        try:
            stored = read_json_object(folder / MANIFEST_NAME)
        except UelError as error:
            got = f"{folder}: {brief(error)}"
            raise UelError("no readable survey here", got=got, do="make one: uel survey") from error
        schema = stored.get("schema")
        if schema != SCHEMA:
            raise UelError(
                f"this is not a survey of schema {SCHEMA!r}",
                got=f"schema {schema!r} in {folder}",
                do="make the survey again with this version, into another folder",
            )
        try:
            stored = require_checksum(stored, MANIFEST_NAME)
            del stored["schema"]
            require_structure(stored, ManifestValues, MANIFEST_NAME)
            tiles = {n: TileEntry(**{**e, "sites": sites_from_json(e["sites"])}) for n, e in stored["tiles"].items()}
            manifest = Manifest(**{**stored, "tiles": tiles, "features": tuple(stored["features"])})
            manifest.arrays  # noqa: B018  (raises for unknown features)
            for name in tiles:
                require_folder_name(name, "a tile's name")
            manifest.require_possible()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            got = f"{folder / MANIFEST_NAME}: {brief(error)}"
            do = "copy it again, or make the survey again: uel survey"
            raise UelError("the survey's manifest cannot be read", got=got, do=do) from error
        return manifest

    def require_possible(self) -> None:
        """Raise `ValueError` for more units than a survey has, and for tiles whose axes are not those of their
        cells."""
        if (units := len(self.tiles) * -(-self.tracks // self.unit)) > MAX_UNITS:
            raise ValueError(f"{units} units of work, more than {MAX_UNITS}")
        for name, entry in self.tiles.items():
            if name in (".", "..") or not set("/\\\0").isdisjoint(name):
                raise ValueError(f"a tile of name {name!r}")
            cells = sum(len(site.cells) for site in entry.sites)
            if entry.sizes.get("cell") != cells:
                raise ValueError(f"{name} has {cells} cells, and an axis of {entry.sizes.get('cell')}")
            for feature in self.arrays:
                if math.prod(self.shape(name, feature)) > MAX_VALUES_PER_REPORT:
                    raise ValueError(f"{feature} of {name} has shape {self.shape(name, feature)} in a report")

    def require_same(self, other: "Manifest") -> None:
        """Raise `UelError` that names what differs, unless both describe the same survey (versions are ignored)."""
        requested, existing = (dict(_leaves(m.as_dict() | {"versions": {}})) for m in (self, other))
        differing = [name for name in {**requested, **existing} if requested.get(name) != existing.get(name)]
        if differing:
            examples = [f"{n}: {existing.get(n)} in the folder, {requested.get(n)} requested" for n in differing[:5]]
            raise UelError(
                "the folder holds a survey of another plan",
                got="; ".join(examples) + (f"; {len(differing) - 5} more" if len(differing) > 5 else ""),
                do="use the folder's plan, or choose another folder (--out)",
            )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf of nested mappings."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{name}.{key}" if name else key)
