"""Inputs of a survey's report: records of its units, a sample of its reports, and its tiles where they are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from uel.core.display.progress import with_progress
from uel.core.outside.yaml_text import read_yaml
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.survey.checks import Excess, Links, SurveyCheck, excess_statistics, survey_checks
from uel.survey.dataset import Survey
from uel.survey.feature_schema import Feature
from uel.survey.sample import TileSample, draw_sample
from uel.survey.statistics import StreamingStatistics
from uel.survey.store import UnitRecord

CONFIG_FILE = "config.yaml"  # in the survey's folder: the options that made it


@dataclass(frozen=True, eq=False)
class SurveyContents:
    """A survey with a sample of its reports, its tiles, and statistics derived from them."""

    survey: Survey
    samples: list[TileSample]
    tiles: dict[str, Tile]
    """tiles with the fingerprint that the survey knows, by name"""

    @staticmethod
    def of(survey: Survey, given: Sequence[Path]) -> "SurveyContents":
        """Draw the sample of a finished survey, and open its tiles from the folders `given` or from `config.yaml`."""
        return SurveyContents(
            survey, draw_sample(survey, watch=partial(with_progress, text="report")), _tiles(survey, given)
        )

    @cached_property
    def records(self) -> list[UnitRecord]:
        return [record for unit in self.survey.manifest.units if (record := self.survey.record(unit))]

    @cached_property
    def moments(self) -> dict[str, StreamingStatistics]:
        """Statistics of each feature over the whole survey."""
        return self.survey.statistics()

    @cached_property
    def links(self) -> Links:
        """Links of the sample."""
        height = self.survey.manifest.plan["tracing"]["ue_height"]
        places = [sample.phone_positions(self.tiles.get(sample.tile), height) for sample in self.samples]
        return Links.cat(
            [Links.from_sample(sample, *place) for sample, place in zip(self.samples, places, strict=True)]
        )

    @cached_property
    def excess(self) -> Excess:
        return excess_statistics(self.links)

    @cached_property
    def checks(self) -> list[SurveyCheck]:
        return survey_checks(self.links, self.moments)

    @cached_property
    def sampled(self) -> dict[str, Tensor]:
        """Sampled values of each feature, over all tiles."""
        return {
            name: torch.cat([sample.known_values[name] for sample in self.samples]) for name in self.survey.features
        }

    def features(self, kinds: Sequence[str]) -> dict[str, Feature]:
        """Features whose data type begins with one of `kinds`."""
        arrays = self.survey.manifest.arrays
        return {name: f for name, f in arrays.items() if f.dtype.startswith(tuple(kinds))}

    @cached_property
    def known_fraction(self) -> dict[str, float]:
        """Fraction of a feature's values in valid reports that are known, by feature."""
        manifest, possible = self.survey.manifest, dict.fromkeys(self.survey.features, 0)
        for unit, record in zip(manifest.units, self.records, strict=True):
            for name in possible:
                possible[name] += record.reports * int(torch.Size(manifest.shape(unit.tile, name)).numel())
        return {name: self.moments[name].count / max(count, 1) for name, count in possible.items()}

    @property
    def sample_size(self) -> int:
        return sum(len(sample) for sample in self.samples)


def _tiles(survey: Survey, given: Sequence[Path]) -> dict[str, Tile]:
    """Tiles of the survey with the fingerprint that it knows, by name."""
    tiles = {}
    for folder in given or _configured_tiles(survey.folder):
        try:
            tile = Tile.open(folder)
        except UelError:  # the report names the missing tile
            continue
        entry = survey.manifest.tiles.get(tile.name)
        if entry and entry.fingerprint == tile.fingerprint:
            tiles[tile.name] = tile
    return tiles


def _configured_tiles(folder: Path) -> list[Path]:
    """Folders of tiles in the survey's `config.yaml`; none where it cannot be read."""
    try:
        return [Path(tile) for tile in read_yaml(folder / CONFIG_FILE)["tiles"]]
    except (UelError, TypeError, KeyError):
        return []
