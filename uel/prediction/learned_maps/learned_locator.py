"""Locates phones in a district of which no level is labelled: learned maps, and Bayes on its squares."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.predictor import MapPredictor, PredictedDistrict
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Answer, SquareEstimate, Squares


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedLocator:
    """Posteriors over the squares of a district, from maps that networks predicted."""

    predictor: MapPredictor
    district: PredictedDistrict
    squares: Squares
    listed: Int[Tensor, " cell"]
    """columns of reports whose cells have maps"""
    cells: int
    """columns of reports"""
    answer: Answer = "median"

    @staticmethod
    def of(
        predictor: MapPredictor, network: MeasuredNetwork, squares: Squares, answer: Answer = "median"
    ) -> "LearnedLocator":
        """Predict the maps of a network whose cells are those that its reports name; no level of it is looked at.

        Cells whose antennas are not known have no map, and their levels count for nothing.
        """
        listed = network.cells.is_listed.nonzero()[:, 0]
        district = PredictedDistrict.of(predictor.links, network.with_cells(listed), squares)
        return LearnedLocator(
            predictor=predictor, district=district, squares=squares, listed=listed, cells=len(network.cells),
            answer=answer,
        )  # fmt: skip

    @property
    def level_dbm(self) -> Float[Tensor, "cell square"]:
        """Predicted levels of all cells; of a cell without a map the mean of the others."""
        predicted = self.district.maps.mean_dbm[:, self.district.places.place_of_square]
        return torch.full((self.cells, len(self.squares)), float(predicted.mean()), device="cpu").index_copy(
            0, self.listed, predicted
        )

    def grid_bayes(self, reports: LevelReports) -> SquareEstimate:
        """Posteriors by the evidence alone."""
        return self._estimate(reports, corrected=False)

    def __call__(self, reports: LevelReports) -> SquareEstimate:
        """Posteriors that the network corrects which weighs the evidence."""
        return self._estimate(reports, corrected=True)

    def _estimate(self, reports: LevelReports, corrected: bool) -> SquareEstimate:
        padded = PaddedReports.of(reports.level_dbm[:, self.listed], reports.is_reported[:, self.listed])
        log_posterior = self.predictor.log_posterior(self.district, padded, corrected)
        places = self.district.places
        log_share = log_posterior - places.squares.log()
        return SquareEstimate(self.squares, log_share[:, places.place_of_square].exp(), self.answer)
