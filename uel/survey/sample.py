"""Some of a survey's reports in memory, from all of its tiles: enough to judge it by."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.geo.tile import Tile
from uel.radio.link_truth import LinkTruth
from uel.radio.sites import Site, cell_positions, reference_power_dbm
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.manifest import WorkUnit
from uel.survey.store import known_values

SAMPLE_REPORTS = 20_000  # of a sample, about: single reports are what histograms and quantiles need
MAX_UNITS = 64  # that are opened, about: each takes some tenths of a second
PATH_FEATURES = ("path_known", "path_gain_db", "path_interactions", "path_departure_elevation_deg")
SIGNAL_FEATURES = ("rsrp_dbm", "sinr_db", "ss_sinr_db", "effective_sinr_db", "serving", "serving_known")

ProgressWrapper = Callable[[Sequence["UnitSlice"]], Iterable["UnitSlice"]]
"""hands parts on, one by one, and shows how far it is"""


@dataclass(frozen=True)
class UnitSlice:
    """The first tracks of a unit: any run of tracks covers a tile evenly."""

    unit: WorkUnit
    tracks: int


@dataclass(frozen=True, eq=False)
class TileSample:
    """Valid reports of one tile, one a row."""

    tile: str
    sites: tuple[Site, ...]
    values: dict[str, Tensor]
    """what the checks need, axes (report[, cell, …]), as far as the survey holds it; `track` is the track's number"""
    some: dict[str, Tensor]
    """of every feature some of the values that are known, flat"""

    def __len__(self) -> int:
        return len(self.values["valid"])

    def __contains__(self, name: str) -> bool:
        return name in self.values

    @property
    def truth(self) -> LinkTruth:
        return LinkTruth(**{name: self.values[name] for name in TRUTH_FEATURES})

    def rsrp_dbm(self) -> Float[Tensor, "report cell"]:
        """As stored, else without fading: path gain and power of a resource element; 0 where no path is known."""
        if "rsrp_dbm" in self:
            return self.values["rsrp_dbm"]
        return torch.where(self.truth.known, self.truth.gain_db + reference_power_dbm(self.sites), 0.0)

    def best(self) -> tuple[Tensor, Bool[Tensor, " report"]]:
        """The serving cell of each report as stored, else the strongest, and whether there is one."""
        if "serving" in self:
            return self.values["serving"].long(), self.values["serving_known"]
        level = self.rsrp_dbm().masked_fill(~self.truth.known, -torch.inf)
        return level.argmax(-1), self.truth.known.any(-1)

    def of_best(self, values: Float[Tensor, "report cell"]) -> Float[Tensor, " n"]:
        """Values of that cell, for reports that have one."""
        cell, there = self.best()
        return values.gather(-1, cell.unsqueeze(-1))[there, 0]

    def level_distance(self) -> Float[Tensor, "report cell"]:
        """Horizontal distances to the cells in metres."""
        return (self.truth.position.unsqueeze(1) - cell_positions(self.sites)[:, :2]).norm(dim=-1)

    def direct(self) -> Bool[Tensor, "report cell path"]:
        """Which of the paths that are kept meets nothing on its way."""
        return self.values["path_known"] & (self.values["path_interactions"] == 0)

    def places(self, tile: Tile | None, ue_height: float) -> tuple[Float[Tensor, "report 3"], Bool[Tensor, " report"]]:
        """Where phones are in three dimensions, and whether that is known; in double precision.

        `ue_height` (m) above the tile's ground; without the tile, as high as the direct path from the nearest cell
        in sight tells by its angle.
        """
        position = self.truth.position
        if tile is not None:
            return tile.at_height(position, ue_height).double(), torch.ones(len(self), dtype=torch.bool)
        seen = self.direct().any(-1)
        path = self.direct().int().argmax(-1, keepdim=True)
        elevation = self.values["path_departure_elevation_deg"].gather(-1, path)[..., 0].double()
        level = self.level_distance().double()
        heights = cell_positions(self.sites)[:, 2] + level * torch.deg2rad(elevation).tan()
        nearest = level.masked_fill(~seen, torch.inf).argmin(-1, keepdim=True)
        return torch.cat([position.double(), heights.gather(-1, nearest)], -1), seen.any(-1)


def draw_sample(survey: Survey, reports: int = SAMPLE_REPORTS, watch: ProgressWrapper = iter) -> list[TileSample]:
    """About so many reports over all tiles, or all there are: the same ones every time.

    Raises `UelError` for a survey that is not finished, or damaged.
    """
    for tile in survey.tiles:
        survey.require(tile)
    wanted = _parts(survey, reports)
    each = max(1, reports // len(wanted))
    found: dict[str, list[TileSample]] = {tile: [] for tile in survey.tiles}
    for part in watch(wanted):
        found[part.unit.tile].append(_read(survey, part, each))
    return [_together(parts) for parts in found.values()]


def _parts(survey: Survey, reports: int) -> list[UnitSlice]:
    """Units spread evenly over each tile, and as many tracks of each as make up the sample."""
    manifest = survey.manifest
    most = max(1, MAX_UNITS // len(manifest.tiles))
    units: list[WorkUnit] = []
    for tile in manifest.tiles:
        own = manifest.units_of(tile)
        step = max(1.0, len(own) / most)
        units += [own[int(k * step)] for k in range(min(len(own), most))]
    there = sum(record.reports for unit in units if (record := survey.record(unit)))
    share = min(1.0, reports / max(there, 1))
    return [UnitSlice(unit, max(1, round(share * unit.count))) for unit in units]


def _read(survey: Survey, part: UnitSlice, most: int) -> TileSample:
    """A part of the sample, with no more than `most` values of a feature, evenly spaced."""
    unit, manifest = part.unit, survey.manifest
    values = survey.read(unit.tile, survey.features, unit.first, part.tracks)
    some = {name: _thinned(known_values(values, name, feature), most) for name, feature in manifest.arrays.items()}
    valid = values["valid"]
    kept = {
        name: values[name][valid]
        for name in (*TRUTH_FEATURES, "valid", *PATH_FEATURES, *SIGNAL_FEATURES)
        if name in values
    }
    kept["track"] = valid.nonzero()[:, 0] + unit.first
    return TileSample(unit.tile, manifest.tiles[unit.tile].sites, kept, some)


def _thinned(values: Tensor, most: int) -> Tensor:
    step = max(1, -(-len(values) // most))
    return values[::step]


def _together(parts: Sequence[TileSample]) -> TileSample:
    cat = lambda of: {name: torch.cat([getattr(p, of)[name] for p in parts]) for name in getattr(parts[0], of)}  # noqa: E731
    return TileSample(parts[0].tile, parts[0].sites, cat("values"), cat("some"))
