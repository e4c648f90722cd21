"""Locates phones in a district of which no level is labelled: learned maps, and Bayes on its squares."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.label_locator import DriftMaps
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.predictor import MapPredictor, PredictedDistrict
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Answer, SquareEstimate, Squares


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LearnedLocator(ShortRepr):
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
    def drift(self) -> DriftMaps:
        """Maps of all cells; a cell without a map has the mean of the others."""
        maps = self.district.maps
        return DriftMaps(self._on_squares(maps.mean_dbm), self._on_squares(maps.log_odds))

    def _on_squares(self, values: Float[Tensor, "listed place"]) -> Float[Tensor, "cell square"]:
        every = torch.full((self.cells, len(self.squares)), float(values.mean()), device="cpu")
        return every.index_copy(0, self.listed, values[:, self.district.places.place_of_square])

    def grid_bayes(self, reports: LevelReports) -> SquareEstimate:
        """Posteriors by the evidence alone."""
        return self._estimate(reports, corrected=False)

    def __call__(self, reports: LevelReports) -> SquareEstimate:
        """Posteriors that the network corrects which weighs the evidence."""
        return self._estimate(reports, corrected=True)

    def log_posterior(self, reports: LevelReports, corrected: bool = True) -> Float[Tensor, "report place"]:
        """Log-probabilities of the blocks of squares."""
        padded = PaddedReports.of(reports.level_dbm[:, self.listed], reports.is_reported[:, self.listed])
        return self.predictor.log_posterior(self.district, padded, corrected)

    def _estimate(self, reports: LevelReports, corrected: bool) -> SquareEstimate:
        places = self.district.places
        log_share = self.log_posterior(reports, corrected) - places.squares.log()
        return SquareEstimate(self.squares, log_share[:, places.place_of_square].exp(), self.answer)
