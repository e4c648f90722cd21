"""One tile with everything that training and evaluation ask of it, and the reports drawn there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from training.data.augmentation import IDENTITY_TRANSFORM, SimilarityTransform
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports, rotate_to_assumed_azimuths
from uel.mobility.trajectories import draw_positions
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Simulator
from uel.survey.dataset import TileSurvey

EXACT_MAPS = "exact"  # the map condition under which a locator is given the world's own maps


@dataclass(frozen=True, eq=False)
class Deployment:
    """A tile, its maps, its traced survey, and (where training asks it) the live simulator."""

    tile: Tile
    maps: TileMaps
    """the truth, as far as maps tell it"""
    survey: TileSurvey | None
    """ray-traced truth, in memory"""
    simulator: Simulator | None = None
    variants: Mapping[str, TileMaps] = field(default_factory=dict)
    """other maps that a locator may be given of the same place, by map condition"""
    models: Mapping[str, ObservationModel] = field(default_factory=dict)
    """what a locator is told of phones beside them, where labelled reports have shown it"""

    def given(self, condition: str) -> TileMaps:
        """The maps that a locator is given under a condition."""
        return {EXACT_MAPS: self.maps, **self.variants}[condition]

    def said(self, reports: Reports, condition: str, similarity: SimilarityTransform = IDENTITY_TRANSFORM) -> Reports:
        """Reports as they read to a locator that believes the masts to be as they are on the maps it is given."""
        true, believed = self.maps.radio.sites, self.given(condition).radio.sites
        if believed == true:
            return reports
        return rotate_to_assumed_azimuths(reports, similarity.sites(true), similarity.sites(believed))

    def from_map(
        self,
        count: int,
        model: ObservationModel,
        generator: torch.Generator,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "count 2"]]:
        """Reports drawn by lookup in the radio map, at uniform outdoor places where a cell is heard.

        Place and fading are redrawn together until a cell is heard, so that the posterior under a uniform
        prior stays exact; so it does in a turned world, whose own pixels are looked up.
        """
        reports, positions, found = [], [], 0
        maps = similarity.maps(self.maps)
        while found < count:
            position = draw_positions(self.tile, self.maps.radio.sites, 2 * count, generator)
            if not similarity.identity:
                position = _possible(similarity.position(position), maps)
            observed = model.observe(maps.radio.truth(position), maps.power_dbm, generator)
            audible = observed.heard.any(-1)
            reports.append(observed[audible])
            positions.append(position[audible])
            found += int(audible.sum())
        return Reports.cat(reports)[:count], torch.cat(positions)[:count]

    def from_survey(
        self,
        model: ObservationModel,
        generator: torch.Generator,
        count: int | None = None,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on ray-traced truth: `count` at random (with repetition), or each of the survey once.

        Reports that hear no cell are left out, so fewer than `count` may come.
        """
        assert self.survey is not None
        truth = self.survey.truth[self.survey.valid]
        if count is not None:
            truth = truth[torch.randint(len(truth), (count,), generator=generator)]
        return self.traced(truth, model, generator, similarity)

    def traced(
        self,
        truth: LinkTruth,
        model: ObservationModel,
        generator: torch.Generator,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on given ray-traced truth, of the phones that hear a cell and are on the (turned) tile."""
        truth = truth if similarity.identity else similarity.truth(truth)
        truth = truth[self.maps.radio.grid.contains(truth.position)]
        observed = model.for_traced.observe(truth, self.maps.power_dbm, generator)
        audible = observed.heard.any(-1)
        return observed[audible], truth.position[audible]


def _possible(position: Float[Tensor, "n 2"], maps: TileMaps) -> Float[Tensor, "m 2"]:
    """Positions on the tile and in pixels where a phone can be: those of resampled maps end elsewhere than walls."""
    position = position[maps.radio.grid.contains(position)]
    return position[maps.prior[maps.radio.grid.pixel_of(position)] > 0]
