"""Simple methods that a locator has to beat: sites and labelled squares of the strongest cell, nearest neighbours."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.baselines import mean_of_nearest
from uel.estimation.estimates import PointEstimate
from uel.estimation.scoring import error_summary, score
from uel.measurement.drive_test import block_index
from uel.measurement.measured_network import BLOCK_SIDE, MeasuredNetwork
from uel.prediction.level_reports import LevelReports

NEIGHBOUR_COUNTS = (1, 2, 3, 5, 8, 16)
SILENT_STEPS_DB = (0.0, -5.0, -10.0, -20.0)
SILENT_QUANTILE = 0.01  # of labelled levels: a silent cell's level, unless it is tuned
FOLD_COUNT = 5
PointMethod = Callable[[LevelReports], PointEstimate]


def strongest_cell_site(network: MeasuredNetwork) -> PointMethod:
    """The site of the strongest cell; the mean of all known sites where that of the cell is not known."""
    cells = network.cells
    known = cells.position[cells.is_listed]
    middle = known.mean(0) if len(known) else torch.zeros(2, device="cpu")
    place = torch.where(cells.is_listed[:, None], cells.position, middle)
    return lambda reports: PointEstimate(place[reports.strongest])


def strongest_cell_centroid(labels: MeasuredNetwork) -> PointMethod:
    """The mean of the labelled squares with the same strongest cell; of all of them where there is none."""
    strongest = LevelReports.of(labels).strongest
    same = torch.nn.functional.one_hot(strongest, len(labels.cells)).float()
    count = same.sum(0)[:, None]
    centroid = torch.where(count > 0, same.T @ labels.position / count.clamp(min=1), labels.position.mean(0))
    return lambda reports: PointEstimate(centroid[reports.strongest])


def nearest_neighbours(labels: MeasuredNetwork, count: int, silent_step_db: float = 0.0) -> PointMethod:
    """The mean of the `count` labelled squares with the nearest levels.

    Silent cells have the level below which `SILENT_QUANTILE` of the labelled levels lie, plus `silent_step_db`.
    """
    levels = labels.level_dbm[labels.is_reported]
    silent_dbm = float(levels.quantile(SILENT_QUANTILE)) + silent_step_db
    known = LevelReports.of(labels).filled(silent_dbm)

    def locate(reports: LevelReports) -> PointEstimate:
        return PointEstimate(mean_of_nearest(torch.cdist(reports.filled(silent_dbm), known), labels.position, count))

    return locate


def tuned_nearest_neighbours(labels: MeasuredNetwork) -> PointMethod:
    """Nearest neighbours with the number and the silent level of least median error in cross-validation by blocks."""
    choices = [(count, step) for count in NEIGHBOUR_COUNTS for step in SILENT_STEPS_DB]
    _, block = torch.unique(block_index(labels.position, BLOCK_SIDE), return_inverse=True)
    fold = block % FOLD_COUNT
    pairs = [(labels.select(fold != number), labels.select(fold == number)) for number in range(FOLD_COUNT)]
    pairs = [(known, asked) for known, asked in pairs if len(known) and len(asked)]
    if not pairs:  # all labels in one block
        return nearest_neighbours(labels, 1)

    def median_error(choice: tuple[int, float]) -> float:
        errors = [_errors(nearest_neighbours(known, *choice), asked) for known, asked in pairs]
        return error_summary(torch.cat(errors))["p50_m"]

    return nearest_neighbours(labels, *min(choices, key=median_error))


def _errors(method: PointMethod, asked: MeasuredNetwork) -> Float[Tensor, " n"]:
    return score(method, LevelReports.of(asked), asked.position, reports_per_call=len(asked)).error
