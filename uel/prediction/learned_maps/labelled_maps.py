"""Learned maps that labelled squares of the district have corrected, and phones located by them."""

from dataclasses import dataclass, replace

import torch

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import PredictionParameters
from uel.prediction.detection import detection_probability, map_features
from uel.prediction.district_levels import DistrictKriging
from uel.prediction.label_locator import LabelLocator
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.learned_maps.link_network import LinkPrediction
from uel.prediction.learned_maps.predictor import PredictedDistrict
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import SquareEstimate, Squares


def with_labels(
    district: PredictedDistrict, squares: Squares, labels: MeasuredNetwork, parameters: PredictionParameters
) -> PredictedDistrict:
    """The district with maps that are kriged around the learned ones.

    Args:
        district: learned maps of the cells of `labels`.
        squares: where phones can be; the district's places are blocks of them. Labels elsewhere are left out.
        labels: a network with the labelled squares alone.
        parameters: of levels around learned maps.
    """
    number = squares.number[labels.row, labels.column]
    labels, number = labels.select(number >= 0), number[number >= 0]
    maps, position, place = district.maps, district.places.position, district.places.place_of_square[number]
    level, features = maps.mean_dbm, map_features(maps.log_odds)
    prediction = DistrictKriging.fit(labels, parameters, level[:, place].T).predict(position, level)
    law, detection = parameters.detection.map_law, parameters.detection
    probability = detection_probability(labels, position, features[:, place], features, law, detection)
    kriged = LinkPrediction(prediction.mean, prediction.std, probability.logit(), maps.log_odds_per_cell)
    return replace(district, maps=kriged)


def learned_kriging(learned: LearnedLocator, labels: MeasuredNetwork, parameters: PredictionParameters) -> LabelLocator:
    """Bayes' rule on the squares with what labels leave over of learned maps, levels and reports."""
    prior = learned.squares.prior(labels, parameters.places)
    return LabelLocator.fit(labels, learned.squares, prior, parameters, learned.drift, learned.answer)


@dataclass(frozen=True, eq=False)
class LabelledLocator:
    """Blocks of squares by the network that weighs the evidence, and the squares of each block by Bayes' rule."""

    blocks: LearnedLocator
    """with the maps of `with_labels`"""
    squares: LabelLocator
    """of `learned_kriging`"""

    @staticmethod
    def of(learned: LearnedLocator, labels: MeasuredNetwork, parameters: PredictionParameters) -> "LabelledLocator":
        """Correct learned maps by labelled squares; `parameters` are those of levels around learned maps."""
        listed = labels.with_cells(learned.listed)
        district = with_labels(learned.district, learned.squares, listed, parameters)
        return LabelledLocator(replace(learned, district=district), learned_kriging(learned, labels, parameters))

    def __call__(self, reports: LevelReports) -> SquareEstimate:
        """Posteriors over the squares."""
        offset = self.squares.device_offset[reports.device][:, None]
        average = LevelReports(reports.level_dbm - offset, reports.is_reported, reports.device)
        block = self.blocks.log_posterior(average).exp()
        fine, places = self.squares(reports).probability, self.blocks.district.places
        place = places.place_of_square
        of_block = torch.zeros_like(block).index_add(1, place, fine)[:, place]
        share = torch.where(of_block > 0, fine / of_block, 1 / places.squares[place])
        return SquareEstimate(self.blocks.squares, block[:, place] * share, self.squares.answer)
