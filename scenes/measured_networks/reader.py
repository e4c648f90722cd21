"""Reads a folder of a measured network.

`cells.csv` is the operator's list: `easting` and `northing` in the rasters' CRS, and columns as every list of cells has
them (`scenes/sites/cell_lists`). `reports.csv` or `reports.csv.gz` holds the levels: `easting` and `northing` of a
square's south-west corner, `cell_id`, `rsrp_dbm` and, where several makes of phones measured, `device`.
`building_height.tif`, `terrain.tif` and `clutter.tif` are rasters of one grid; each may be missing: it is not known.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scenes.measured_networks.cell_table import read_cell_table
from scenes.measured_networks.rasters import RasterFrame, read_district_rasters
from uel.core.grid import Grid
from uel.core.tables.small_tables import read_table
from uel.errors import UelError
from uel.measurement.measured_network import DistrictRasters, MeasuredNetwork
from uel.radio.cells.identity import normal_cell_id

CELL_FILE = "cells.csv"  # whose presence tells the format
REPORT_FILES = ("reports.csv.gz", "reports.csv")
REPORT_COLUMNS = ("easting", "northing", "cell_id", "rsrp_dbm")
RSRP_LIMITS_DBM = (-156.0, -20.0)  # reportable RSRP ends at -156 dBm (TS 36.133, table 9.1.4-1)
SQUARE_SIDE = 5.0  # m, where no raster says it
log = logging.getLogger(__name__)


def read_measured_network(folder: Path) -> MeasuredNetwork:
    """The measured network of a folder.

    Args:
        folder: with the files that this module's description names.

    Returns:
        Listed cells first, in the order of the list, then measured cells that the list does not have. Several levels
        of one cell on one square are averaged.

    Raises:
        UelError: for a missing list or table, columns that are missing, numbers that are none or cannot be, squares
            off the rasters, and rasters of different grids or CRSs.
    """
    reports = _read_reports(folder)
    frame, rasters = read_district_rasters(folder)
    if frame is None:
        frame = _frame_of(reports)
        rasters = _unknown_rasters(frame.grid)
        log.warning(
            "%s has no rasters: heights, ground and clutter are unknown, every square counts as outdoors", folder
        )
    squares = _squares(reports, frame, folder)
    cells = read_cell_table(folder / CELL_FILE, frame, tuple(dict.fromkeys(reports["cell_id"])))
    number_of = {cell_id: number for number, cell_id in enumerate(cells.cell_id)}
    levels, is_reported = _levels(squares.square, reports, number_of)
    unlisted = int((~cells.is_listed).sum())
    if unlisted:
        log.warning("%s: the antennas of %d of the measured cells are not in %s", folder, unlisted, CELL_FILE)
    return MeasuredNetwork(
        name=folder.name,
        crs=frame.crs,
        origin=frame.origin,
        grid=frame.grid,
        cells=cells,
        rasters=rasters,
        row=squares.row,
        column=squares.column,
        level_dbm=levels,
        is_reported=is_reported,
        device=squares.device,
        devices=squares.devices,
    )


# ---- reports -------------------------------------------------------------------------------------------


def _read_reports(folder: Path) -> pd.DataFrame:
    """The table of reports, checked; `cell_id` in its normal spelling, `device` a text."""
    file = next((folder / name for name in REPORT_FILES if (folder / name).is_file()), None)
    if file is None:
        raise UelError("the folder has no table of reports", got=str(folder), do=f"add {REPORT_FILES[0]}")
    try:
        table = read_table(file, {"cell_id": str, "device": str})
    except UelError as error:
        raise UelError("the table of reports cannot be read", got=f"{file}: {error}", do="give a CSV file") from error
    missing = [name for name in REPORT_COLUMNS if name not in table.columns]
    if missing:
        got = f"{file}: columns {', '.join(map(str, table.columns))}"
        raise UelError(
            f"the table of reports lacks {', '.join(missing)}", got=got, do=f"give {', '.join(REPORT_COLUMNS)}"
        )
    if table.empty:
        raise UelError("the table of reports is empty", got=str(file), do="give at least one measured level")
    for name in ("easting", "northing", "rsrp_dbm"):
        numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        _require(np.isfinite(numbers), table, name, file, "is no number", "correct the row")
        table[name] = numbers
    low, high = RSRP_LIMITS_DBM
    levels = table["rsrp_dbm"].to_numpy()
    _require((levels >= low) & (levels <= high), table, "rsrp_dbm", file, "is no RSRP", f"give {low:g} to {high:g} dBm")
    spelling = {raw: normal_cell_id(raw) for raw in table["cell_id"].unique()}
    table["cell_id"] = table["cell_id"].map(spelling)
    _require(table["cell_id"].notna().to_numpy(), table, "cell_id", file, "is missing", "name the cell of each level")
    table["device"] = table["device"].fillna("") if "device" in table.columns else ""
    return table


def _require(is_good: np.ndarray, table: pd.DataFrame, name: str, file: Path, what: str, do: str) -> None:
    """Raise `UelError` that names the first row of a table which is not good."""
    if not is_good.all():
        row = int(np.flatnonzero(~is_good)[0])
        raise UelError(f"{name} in row {row + 1} of {file} {what}", got=repr(table[name].iloc[row]), do=do)


@dataclass(frozen=True, eq=False)
class _MeasuredSquares:
    """Measured squares of each make of phone, and the number of that which each row of the table belongs to."""

    row: Tensor
    column: Tensor
    device: Tensor
    devices: tuple[str, ...]
    square: np.ndarray


def _squares(reports: pd.DataFrame, frame: RasterFrame, folder: Path) -> _MeasuredSquares:
    pixel, half = frame.grid.pixel, frame.grid.size / 2
    # Half a pixel off the corner: rounding errors of coordinates do not move a report to the neighbouring square.
    column = np.floor((reports["easting"].to_numpy() - frame.origin[0] + half) / pixel + 0.5).astype(np.int64)
    row = np.floor((reports["northing"].to_numpy() - frame.origin[1] + half) / pixel + 0.5).astype(np.int64)
    inside = (row >= 0) & (row < frame.grid.count) & (column >= 0) & (column < frame.grid.count)
    if not inside.all():
        first = reports[~inside].iloc[0]
        got = f"{int((~inside).sum())} of {len(inside)} rows, the first at {first['easting']:g}, {first['northing']:g}"
        do = f"give eastings and northings in {frame.crs}, and rasters that cover them"
        raise UelError(f"reports of {folder} lie off its rasters", got=got, do=do)
    devices, device = np.unique(reports["device"].to_numpy(str), return_inverse=True)
    key = np.stack([row, column, device], 1)
    unique, square = np.unique(key, axis=0, return_inverse=True)
    row, column, device = (torch.from_numpy(values.copy()) for values in unique.T)
    return _MeasuredSquares(row, column, device, tuple(devices.tolist()), square.reshape(-1))


def _levels(square: np.ndarray, reports: pd.DataFrame, number_of: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Mean levels in dBm of squares and cells, and where there is one."""
    cell = reports["cell_id"].map(number_of).to_numpy(np.int64)
    shape = (int(square.max()) + 1, len(number_of))
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (square, cell), reports["rsrp_dbm"].to_numpy())
    np.add.at(count, (square, cell), 1)
    levels = np.divide(total, count, out=np.zeros(shape), where=count > 0)
    return torch.from_numpy(levels).float(), torch.from_numpy(count > 0)


# ---- without rasters -----------------------------------------------------------------------------------


def _frame_of(reports: pd.DataFrame) -> RasterFrame:
    """A square grid of `SQUARE_SIDE` around all reports, for a folder without rasters: its CRS is not known."""
    corner = reports[["easting", "northing"]].to_numpy()
    low = np.floor(corner.min(0) / SQUARE_SIDE) * SQUARE_SIDE
    count = int(np.ceil((corner.max(0) - low).max() / SQUARE_SIDE)) + 1
    size = count * SQUARE_SIDE
    return RasterFrame("", (float(low[0] + size / 2), float(low[1] + size / 2)), Grid(size=size, pixel=SQUARE_SIDE))


def _unknown_rasters(grid: Grid) -> DistrictRasters:
    zero, no = torch.zeros(grid.shape), torch.zeros(grid.shape, dtype=torch.bool)
    return DistrictRasters(building_height=zero, building_known=no, terrain=zero, terrain_known=no, clutter=zero.long())
