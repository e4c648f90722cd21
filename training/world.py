"""One tile with everything that training and evaluation ask of it, and the reports drawn there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from uel.maps import Maps
from uel.measurement import MeasurementModel
from uel.reports import TIERS, Reports
from uel.simulator import Simulator
from uel.survey import TileSurvey
from uel.tile import Tile
from uel.tracks import draw_positions


@dataclass(frozen=True, eq=False)
class World:
    """A tile, its maps, its traced survey, and (where training asks it) the live simulator."""

    tile: Tile
    maps: Maps
    survey: TileSurvey
    simulator: Simulator | None = None

    def from_map(
        self, count: int, model: MeasurementModel, generator: torch.Generator
    ) -> tuple[Reports, Float[Tensor, "count 2"]]:
        """Reports drawn by lookup in the radio map, at uniform outdoor places where a cell is heard.

        Place and fading are redrawn together until a cell is heard, so that the posterior under a uniform
        prior stays exact.
        """
        reports, positions, found = [], [], 0
        while found < count:
            position = draw_positions(self.tile, self.survey.sites, 2 * count, generator)
            truth = self.maps.radio.truth(position)
            observed = model.observe(truth, self.maps.power_dbm, generator)
            audible = observed.heard.any(-1)
            reports.append(observed[audible])
            positions.append(position[audible])
            found += int(audible.sum())
        return Reports.cat(reports)[:count], torch.cat(positions)[:count]

    def from_survey(
        self, model: MeasurementModel, generator: torch.Generator, count: int | None = None
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on ray-traced truth: `count` at random (with repetition), or each of the survey once.

        Reports that hear no cell are left out, so fewer than `count` may come.
        """
        truth = self.survey.truth[self.survey.valid]
        if count is not None:
            truth = truth[torch.randint(len(truth), (count,), generator=generator)]
        observed = model.for_traced.observe(truth, self.maps.power_dbm, generator)
        audible = observed.heard.any(-1)
        return observed[audible], truth.position[audible]


@dataclass(frozen=True, eq=False)
class Batch:
    """Phones on one world, with their true positions in metres."""

    world: int
    index: int
    reports: Reports
    position: Float[Tensor, "batch 2"]

    def to(self, *where: Any, **how: Any) -> "Batch":
        """The same batch on another device; Lightning calls it."""
        reports = Reports(**{name: value.to(*where, **how) for name, value in vars(self.reports).items()})
        return replace(self, reports=reports, position=self.position.to(*where, **how))


class Batches(Dataset[Batch]):
    """Endless training batches: number `i` depends on the seed and on `i` alone, so that a run can resume.

    Batches go round the worlds and the feature tiers; `traced_share` of each comes from the survey, the rest
    from the map.
    """

    def __init__(
        self,
        worlds: Sequence[World],
        model: MeasurementModel,
        size: int,
        seed: int,
        start: int,
        count: int,
        traced_share: float = 0.25,
    ) -> None:
        self.worlds, self.model, self.size, self.seed = worlds, model, size, seed
        self.start, self.count, self.traced = start, count, round(size * traced_share)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.count:
            raise IndexError(index)
        number = self.start + index
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        which = number % len(self.worlds)
        tier = TIERS[number // len(self.worlds) % len(TIERS)]
        traced, traced_at = self.worlds[which].from_survey(self.model, generator, self.traced)
        drawn, drawn_at = self.worlds[which].from_map(self.size - len(traced), self.model, generator)
        reports = Reports.cat([traced, drawn]).tier(tier)
        return Batch(which, number, reports, torch.cat([traced_at, drawn_at]))
