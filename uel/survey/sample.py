"""A sample of a survey's reports in memory, from all of its tiles, for checks and figures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.geo.tile import Tile
from uel.radio.link_truth import LinkTruth
from uel.radio.sites import Site, cell_positions, reference_power_dbm
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.manifest import WorkUnit
from uel.survey.store import known_values

SAMPLE_REPORTS = 20_000  # of a sample, about: enough for histograms and quantiles
MAX_UNITS = 64  # opened for a sample, about: each takes some tenths of a second
PATH_FEATURES = ("path_known", "path_gain_db", "path_interactions", "path_departure_elevation_deg")
SIGNAL_FEATURES = ("rsrp_dbm", "sinr_db", "ss_sinr_db", "effective_sinr_db", "serving", "serving_known")

ProgressWrapper = Callable[[Sequence["UnitSlice"]], Iterable["UnitSlice"]]
"""iterates over the slices of a sample and shows progress"""


@dataclass(frozen=True)
class UnitSlice:
    """The first tracks of a unit: any run of tracks covers a tile evenly."""

    unit: WorkUnit
    tracks: int


@dataclass(frozen=True, eq=False, repr=False)
class TileSample(ShortRepr):
    """Valid reports of one tile, one a row."""

    tile: str
    sites: tuple[Site, ...]
    values: dict[str, Tensor]
    """features that the checks need and the survey holds, axes (report[, cell, …]); `track` is the track's number"""
    known_values: dict[str, Tensor]
    """some known values of every feature, flat"""

    def __len__(self) -> int:
        return len(self.values["valid"])

    def __contains__(self, name: str) -> bool:
        return name in self.values

    @property
    def truth(self) -> LinkTruth:
        return LinkTruth(**{name: self.values[name] for name in TRUTH_FEATURES})

    def rsrp_dbm(self) -> Float[Tensor, "report cell"]:
        """RSRP as stored, or path gain plus power of a resource element, without fading; 0 where no path is known."""
        if "rsrp_dbm" in self:
            return self.values["rsrp_dbm"]
        return torch.where(self.truth.known, self.truth.gain_db + reference_power_dbm(self.sites), 0.0)

    def serving_cell(self) -> tuple[Tensor, Bool[Tensor, " report"]]:
        """Serving cell of each report as stored, or the strongest one, and whether a report has any."""
        if "serving" in self:
            return self.values["serving"].long(), self.values["serving_known"]
        level = self.rsrp_dbm().masked_fill(~self.truth.known, -torch.inf)
        return level.argmax(-1), self.truth.known.any(-1)

    def serving_values(self, values: Float[Tensor, "report cell"]) -> Float[Tensor, " n"]:
        """Values of the serving cell, for the reports that have one."""
        cell, served = self.serving_cell()
        return values.gather(-1, cell.unsqueeze(-1))[served, 0]

    def ground_distance(self) -> Float[Tensor, "report cell"]:
        """Horizontal distances to the cells in metres."""
        return (self.truth.position.unsqueeze(1) - cell_positions(self.sites)[:, :2]).norm(dim=-1)

    def direct_paths(self) -> Bool[Tensor, "report cell path"]:
        """Which of the stored paths have no interaction; for a survey with paths."""
        return self.values["path_known"] & (self.values["path_interactions"] == 0)

    def direct_gain_db(self) -> Float[Tensor, "report cell"]:
        """Gain in dB of the direct path alone, minus infinity without one, or where the survey holds no paths."""
        if "path_known" not in self:
            return torch.full_like(self.truth.gain_db, -torch.inf)
        return torch.where(self.direct_paths(), self.values["path_gain_db"], -torch.inf).amax(-1)

    def phone_positions(
        self, tile: Tile | None, ue_height: float
    ) -> tuple[Float[Tensor, "report 3"], Bool[Tensor, " report"]]:
        """Three-dimensional positions of the phones in double precision, and whether each is known.

        Phones are `ue_height` (m) above the tile's ground. Without the tile, the height follows from the elevation
        angle of the direct path from the nearest cell in sight; phones without such a cell are not known, nor any phone
        of a survey without paths.
        """
        position = self.truth.position
        if tile is not None:
            return tile.at_height(position, ue_height).double(), torch.ones(len(self), dtype=torch.bool, device="cpu")
        if "path_known" not in self:
            return torch.nn.functional.pad(position.double(), (0, 1)), torch.zeros(
                len(self), dtype=torch.bool, device="cpu"
            )
        in_sight = self.direct_paths().any(-1)
        path = self.direct_paths().int().argmax(-1, keepdim=True)
        elevation = self.values["path_departure_elevation_deg"].gather(-1, path)[..., 0].double()
        distance = self.ground_distance().double()
        heights = cell_positions(self.sites)[:, 2] + distance * torch.deg2rad(elevation).tan()
        nearest = distance.masked_fill(~in_sight, torch.inf).argmin(-1, keepdim=True)
        return torch.cat([position.double(), heights.gather(-1, nearest)], -1), in_sight.any(-1)


def draw_sample(
    survey: Survey,
    reports: int = SAMPLE_REPORTS,
    watch: ProgressWrapper = iter,
    tiles: Sequence[str] | None = None,
) -> list[TileSample]:
    """About `reports` reports over `tiles` (default: all), or all the survey has; the same ones every time.

    Raises `UelError` for tiles that the survey does not have or has not finished, and for a damaged one.
    """
    tiles = survey.tiles if tiles is None else tiles
    for tile in tiles:
        survey.require(tile)
    slices = _slices(survey, reports, tiles)
    max_values = max(1, reports // len(slices))
    samples: dict[str, list[TileSample]] = {tile: [] for tile in tiles}
    for part in watch(slices):
        samples[part.unit.tile].append(_read(survey, part, max_values))
    return [_concatenate(parts) for parts in samples.values()]


def _slices(survey: Survey, reports: int, tiles: Sequence[str]) -> list[UnitSlice]:
    """Units spaced evenly over each tile, and the number of tracks to read of each."""
    manifest = survey.manifest
    units_per_tile = max(1, MAX_UNITS // len(tiles))
    units: list[WorkUnit] = []
    for tile in tiles:
        tile_units = manifest.units_of(tile)
        step = max(1.0, len(tile_units) / units_per_tile)
        units += [tile_units[int(k * step)] for k in range(min(len(tile_units), units_per_tile))]
    available = sum(record.reports for unit in units if (record := survey.record(unit)))
    fraction = min(1.0, reports / max(available, 1))
    return [UnitSlice(unit, max(1, round(fraction * unit.count))) for unit in units]


def _read(survey: Survey, part: UnitSlice, max_values: int) -> TileSample:
    """The sample's reports of one unit, with at most `max_values` known values of a feature, evenly spaced."""
    unit, manifest = part.unit, survey.manifest
    values = survey.read(unit.tile, survey.features, unit.first, part.tracks)
    thinned = {
        name: _thinned(known_values(values, name, feature), max_values) for name, feature in manifest.arrays.items()
    }
    valid = values["valid"]
    kept = {
        name: values[name][valid]
        for name in (*TRUTH_FEATURES, "valid", *PATH_FEATURES, *SIGNAL_FEATURES)
        if name in values
    }
    kept["track"] = valid.nonzero()[:, 0] + unit.first
    return TileSample(unit.tile, manifest.tiles[unit.tile].sites, kept, thinned)


def _thinned(values: Tensor, max_values: int) -> Tensor:
    step = max(1, -(-len(values) // max_values))
    return values[::step]


def _concatenate(parts: Sequence[TileSample]) -> TileSample:
    """One sample of a tile's parts."""
    values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
    known = {name: torch.cat([part.known_values[name] for part in parts]) for name in parts[0].known_values}
    return TileSample(parts[0].tile, parts[0].sites, values, known)
