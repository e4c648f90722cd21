"""A measured district: levels, measured and predicted, and posteriors of phones, from the tile that `uel network` made.

Levels are predicted from the labelled squares, fixes judged on the others: other blocks of 64 m.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scenes.measured_networks.tile_network import JUDGED_FILE, LABELLED_FILE, read_tile_network
from uel.estimation.scoring import position_error
from uel.geo.tile import Tile
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import PredictionParameters
from uel.prediction.label_locator import LabelLocator
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import SquareEstimate, Squares

MAX_LABELS = 1000  # labelled squares that levels are kriged from while a visitor waits
JUDGED_PHONES = 60  # whose fixes the page's errors are of


@dataclass(frozen=True, eq=False)
class DistrictView:
    """What the District page shows of a tile."""

    labels: MeasuredNetwork
    judged: MeasuredNetwork
    locator: LabelLocator

    @staticmethod
    def of(tile: Tile) -> "DistrictView":
        """Krige the labelled squares of a measured network's tile. Raises `UelError` for a tile of another kind."""
        labelled, judged = (read_tile_network(tile, name) for name in (LABELLED_FILE, JUDGED_FILE))
        some = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(0))[:MAX_LABELS]
        labels = labelled.select(some)
        squares = Squares(labels.grid, _possible(labelled, judged))
        locator = LabelLocator.fit(labels, squares, torch.ones(len(squares)), PredictionParameters())
        return DistrictView(labels, judged, locator)

    @property
    def squares(self) -> Squares:
        return self.locator.squares

    def measured(self, cell: int) -> np.ndarray:
        """Levels in dBm on the district's grid, `row column`, NaN where the cell was not reported; labelled and judged
        squares."""
        raster = np.full(self.squares.grid.shape, np.nan)
        for network in (self.labels, self.judged):
            reported = network.is_reported[:, cell]
            raster[network.row[reported], network.column[reported]] = network.level_dbm[reported, cell]
        return self._cut(raster)

    def predicted(self, cell: int) -> np.ndarray:
        """Kriged levels in dBm, NaN where a phone cannot be."""
        return self._raster(self.locator.prediction.mean[cell])

    def level_error(self, cell: int) -> np.ndarray:
        """Predicted minus measured level in dB on judged squares, NaN elsewhere."""
        raster = np.full(self.squares.grid.shape, np.nan)
        reported = self.judged.is_reported[:, cell]
        raster[self.judged.row[reported], self.judged.column[reported]] = self.judged.level_dbm[reported, cell]
        return self.predicted(cell) - self._cut(raster)

    @cached_property
    def errors(self) -> Float[Tensor, " phone"]:
        """Distances in metres of the first judged phones' fixes from where they were."""
        phones = self.judged.select(torch.arange(min(JUDGED_PHONES, len(self.judged))))
        return position_error(self.locator(LevelReports.of(phones)).position, phones.position)

    @property
    def largest_usual_error(self) -> float:
        """The 95th percentile of `errors` in metres, at least 1: the end of a scale of colours."""
        return max(float(self.errors.quantile(0.95)), 1.0)

    def estimate(self, phone: int) -> SquareEstimate:
        """The posterior of one judged phone."""
        return self.locator(LevelReports.of(self.judged.select(torch.tensor([phone]))))

    def posterior(self, estimate: SquareEstimate) -> np.ndarray:
        """Probability of the squares, NaN where a phone cannot be."""
        return self._raster(estimate.probability[0])

    def level_rows(self, phone: int, estimate: SquareEstimate) -> list[dict[str, str]]:
        """A row for each cell that a phone reported, strongest first: measured, and predicted at truth and answer."""
        numbers = []
        for place in (self.judged.position[phone], estimate.position[0]):
            numbers.append(int((self.squares.position - place).norm(dim=1).argmin()))
        cells = self.judged.is_reported[phone].nonzero()[:, 0]
        order = cells[self.judged.level_dbm[phone, cells].argsort(descending=True)]
        levels = self.locator.prediction.mean
        return [
            {
                "cell": self.judged.cells.cell_id[cell],
                "measured, dBm": f"{float(self.judged.level_dbm[phone, cell]):.1f}",
                "at the truth": f"{float(levels[cell, numbers[0]]):.1f}",
                "at the answer": f"{float(levels[cell, numbers[1]]):.1f}",
            }
            for cell in order.tolist()
        ]

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Metres east and north of the shown columns and rows."""
        grid = self.squares.grid
        axis = (np.arange(grid.count) + 0.5) * grid.pixel - grid.size / 2
        rows, columns = self._window
        return axis[columns], axis[rows]

    @cached_property
    def _window(self) -> tuple[slice, slice]:
        """Rows and columns that hold all squares where a phone can be."""
        rows, columns = (self.squares.possible.any(axis).nonzero()[:, 0] for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def _cut(self, raster: np.ndarray) -> np.ndarray:
        return raster[self._window]

    def _raster(self, values: Float[Tensor, " square"]) -> np.ndarray:
        raster = np.full(self.squares.possible.numel(), np.nan)
        raster[self.squares.index] = values.numpy()
        return self._cut(raster.reshape(self.squares.grid.shape))


def _possible(labelled: MeasuredNetwork, judged: MeasuredNetwork) -> Tensor:
    """Squares of the measured rectangle that may be outdoors, and every measured one."""
    row, column = torch.cat([labelled.row, judged.row]), torch.cat([labelled.column, judged.column])
    possible = torch.zeros(labelled.grid.shape, dtype=torch.bool)
    box = slice(int(row.min()), int(row.max()) + 1), slice(int(column.min()), int(column.max()) + 1)
    possible[box] = labelled.rasters.outdoors[box]
    possible[row, column] = True
    return possible
