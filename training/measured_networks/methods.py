"""Methods on measured networks by their names in tables.

A new method is an entry of `MEASURED_METHODS`: a function from a `MeasuredCase` to a function from reports to an
`Estimate`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from training.measured_networks.simple_rival import law_kriging
from training.measured_networks.traced_maps import TRACED_TREND, traced_levels_of_tile
from uel.errors import UelError
from uel.estimation.estimates import Estimate
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import Answer, PredictionParameters
from uel.prediction.fingerprints import (
    nearest_neighbours,
    strongest_cell_centroid,
    strongest_cell_site,
    tuned_nearest_neighbours,
)
from uel.prediction.label_locator import DriftMaps, LabelLocator
from uel.prediction.learned_maps.labelled_maps import LabelledLocator, learned_kriging
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Squares

LocateMethod = Callable[[LevelReports], Estimate]


@dataclass(frozen=True, eq=False)
class MeasuredCase:
    """What every method of a row may use: the antennas, the rasters, and the labelled squares."""

    labels: MeasuredNetwork
    """the network with its labelled squares alone"""
    squares: Squares
    """where a phone can be"""
    parameters: PredictionParameters
    answer: Answer
    learned_parameters: PredictionParameters
    """of levels around learned maps"""
    learned: LearnedLocator | None = None
    """maps that networks predicted which have learned from other districts"""

    @property
    def learned_maps(self) -> LearnedLocator:
        """The learned maps. Raises `UelError` where none are given."""
        if self.learned is None:
            do = "train them on other districts (uel train-maps), and give --maps RUN"
            raise UelError("the methods learned, learned_kriging and locator need learned maps", got="no --maps", do=do)
        return self.learned


@dataclass(frozen=True)
class MeasuredMethod:
    """A method, and the budgets that it takes."""

    fit: Callable[[MeasuredCase], LocateMethod]
    least_labels: int = 1
    most_labels: int | None = None
    """None: any number"""

    def takes(self, budget: int) -> bool:
        """Whether the method has a row of this label budget."""
        return self.least_labels <= budget and (self.most_labels is None or budget <= self.most_labels)


def _path_loss_kriging(case: MeasuredCase) -> LocateMethod:
    prior = case.squares.prior(case.labels, case.parameters.places)
    return LabelLocator.fit(case.labels, case.squares, prior, case.parameters, answer=case.answer)


def _learned_kriging(case: MeasuredCase) -> LocateMethod:
    """Kriging of what the learned maps leave over."""
    return learned_kriging(case.learned_maps, case.labels, case.learned_parameters)


def _locator(case: MeasuredCase) -> LocateMethod:
    """The network that weighs the evidence, on learned maps and, where there are labels, on kriged ones."""
    if not len(case.labels):
        return case.learned_maps
    return LabelledLocator.of(case.learned_maps, case.labels, case.learned_parameters)


def _traced_kriging(case: MeasuredCase) -> LocateMethod:
    """Kriging with the ray-traced levels as drift; the trend is what the tracer gets wrong with distance and angle."""
    drift = DriftMaps(traced_levels_of_tile(case.labels, case.squares, case.parameters.trend))
    prior = case.squares.prior(case.labels, case.parameters.places)
    parameters = replace(case.parameters, trend=TRACED_TREND)
    return LabelLocator.fit(case.labels, case.squares, prior, parameters, drift, case.answer)


MEASURED_METHODS: Mapping[str, MeasuredMethod] = {
    "strongest_cell": MeasuredMethod(lambda case: strongest_cell_site(case.labels), 0, 0),
    "centroid": MeasuredMethod(lambda case: strongest_cell_centroid(case.labels)),
    "knn_1": MeasuredMethod(lambda case: nearest_neighbours(case.labels, 1)),
    "knn_5": MeasuredMethod(lambda case: nearest_neighbours(case.labels, 5)),
    "knn_tuned": MeasuredMethod(lambda case: tuned_nearest_neighbours(case.labels)),
    "path_loss": MeasuredMethod(_path_loss_kriging, 0, 0),
    "law_kriging": MeasuredMethod(lambda case: law_kriging(case.labels, case.squares, case.parameters, case.answer)),
    "path_loss_kriging": MeasuredMethod(_path_loss_kriging),
    "learned": MeasuredMethod(lambda case: case.learned_maps.grid_bayes, 0, 0),
    "locator": MeasuredMethod(_locator, 0),
    "learned_kriging": MeasuredMethod(_learned_kriging),
    "traced": MeasuredMethod(_traced_kriging, 0, 0),
    "traced_kriging": MeasuredMethod(_traced_kriging),
}


def measured_method(name: str) -> MeasuredMethod:
    """The method of a name. Raises `UelError` for an unknown one."""
    if name not in MEASURED_METHODS:
        raise UelError("unknown method", got=name, do=f"choose from {', '.join(MEASURED_METHODS)}")
    return MEASURED_METHODS[name]
