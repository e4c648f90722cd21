"""A deployment (tile, sites, maps, simulator) and the reports drawn on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from training.data.augmentation import IDENTITY_TRANSFORM, SimilarityTransform
from training.data.config import EXACT_MAPS
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports, rotate_to_assumed_azimuths
from uel.mobility.trajectories import draw_positions
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Simulator
from uel.survey.dataset import TileSurvey


@dataclass(frozen=True, eq=False)
class Deployment:
    """A tile with its maps, its ray-traced survey, and (for training with ray tracing) the live simulator."""

    tile: Tile
    maps: TileMaps
    """the true maps"""
    survey: TileSurvey | None
    """ray-traced link truth along tracks, in memory"""
    simulator: Simulator | None = None
    variants: Mapping[str, TileMaps] = field(default_factory=dict)
    """other maps of the same tile that a locator may be given, by map condition"""
    adapted_models: Mapping[str, ObservationModel] = field(default_factory=dict)
    """observation models fitted to labelled reports, which a locator is given with those maps, by map condition"""

    def assumed_maps(self, condition: str) -> TileMaps:
        """The maps that a locator is given under a map condition."""
        return {EXACT_MAPS: self.maps, **self.variants}[condition]

    def as_reported(
        self, reports: Reports, condition: str, similarity: SimilarityTransform = IDENTITY_TRANSFORM
    ) -> Reports:
        """Reports as a locator reads them that assumes the site azimuths of the maps of a condition."""
        true, assumed = self.maps.radio.sites, self.assumed_maps(condition).radio.sites
        if assumed == true:
            return reports
        return rotate_to_assumed_azimuths(reports, similarity.sites(true), similarity.sites(assumed))

    def reports_from_map(
        self,
        count: int,
        model: ObservationModel,
        generator: torch.Generator,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "count 2"]]:
        """Reports drawn by lookup in the radio map, at uniform outdoor positions where a cell is heard, with these
        positions in metres.

        Position and fading are redrawn together until a cell is heard, so that the posterior under a uniform prior
        stays exact. Under a transform the pixels of the transformed map are looked up, which keeps it exact, too.
        """
        reports, positions, count_heard = [], [], 0
        maps = similarity.maps(self.maps)
        while count_heard < count:
            position = draw_positions(self.tile, self.maps.radio.sites, 2 * count, generator)
            if not similarity.is_identity:
                position = _outdoor_positions(similarity.position(position), maps)
            observed = model.observe(maps.radio.pixel_truth(position), maps.power_dbm, generator)
            audible = observed.heard.any(-1)
            reports.append(observed[audible])
            positions.append(position[audible])
            count_heard += int(audible.sum())
        return Reports.cat(reports)[:count], torch.cat(positions)[:count]

    def reports_from_survey(
        self,
        model: ObservationModel,
        generator: torch.Generator,
        count: int | None = None,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on ray-traced truth with their positions: `count` drawn with repetition, or each of the survey once.

        Reports that hear no cell are left out, so fewer than `count` may be returned.
        """
        assert self.survey is not None, "this deployment has no survey"
        truth = self.survey.truth[self.survey.valid]
        if count is not None:
            truth = truth[torch.randint(len(truth), (count,), generator=generator)]
        return self.reports_from_paths(truth, model, generator, similarity)

    def reports_from_paths(
        self,
        truth: LinkTruth,
        model: ObservationModel,
        generator: torch.Generator,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on given ray-traced truth with their positions, of the phones that hear a cell and are on the
        (transformed) tile.
        """
        truth = truth if similarity.is_identity else similarity.truth(truth)
        truth = truth[self.maps.radio.grid.contains(truth.position)]
        observed = model.for_ray_tracing.observe(truth, self.maps.power_dbm, generator)
        audible = observed.heard.any(-1)
        return observed[audible], truth.position[audible]


def _outdoor_positions(position: Float[Tensor, "n 2"], maps: TileMaps) -> Float[Tensor, "m 2"]:
    """The positions on the tile and in pixels of nonzero prior: resampled maps have walls in other places than the
    tile.
    """
    position = position[maps.radio.grid.contains(position)]
    return position[maps.prior[maps.radio.grid.pixel_of(position)] > 0]
